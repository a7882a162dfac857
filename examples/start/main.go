// Start is one replica of a fleet. It sends a request every second, and prints the
// answer, or how long it has to wait. With -serve it also runs the server that the
// replicas call: docs/GET_STARTED.md runs one replica of each kind in two terminals.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/redis/go-redis/v9"
)

func main() {
	address := flag.String("redis", "localhost:6379", "address of the Redis that the replicas share")
	url := flag.String("url", "http://localhost:8080/orders", "what to call, once per second")
	serving := flag.Bool("serve", false, "also run the server, on localhost:8080")
	flag.Parse()
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *serving {
		go func() { log.Fatal(http.ListenAndServe("localhost:8080", new(server))) }()
	}
	if err := run(ctx, *address, *url); err != nil {
		log.Fatal(err)
	}
}

// run calls url once per second until ctx ends.
func run(ctx context.Context, address, url string) error {
	rdb := redis.NewClient(&redis.Options{Addr: address})
	defer rdb.Close()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("start: no Redis at %s: %w", address, err)
	}
	store, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{Namespace: "start"})
	if err != nil {
		return err
	}
	defer store.Close()

	client := &http.Client{Transport: &holdoff.Transport{Store: store, Observe: report}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := call(ctx, client, url); err != nil && ctx.Err() == nil {
			log.Print(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// report prints each attempt and each wait.
func report(_ context.Context, e holdoff.Event) {
	switch e.Kind {
	case holdoff.Attempted:
		log.Printf("sent      %s", e.Reason)
	case holdoff.Waiting:
		log.Printf("waiting   %v (%s)", e.Wait.Round(10*time.Millisecond), e.Reason)
	}
}

// call sends one request, and reads its answer to the end.
func call(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
