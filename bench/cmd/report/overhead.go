package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff/bench/overhead"
	"github.com/go-holdoff/holdoff/bench/peers"
	"github.com/go-holdoff/holdoff/bench/redisserver"
	"github.com/go-holdoff/holdoff/bench/report"
)

func overheadSection(ctx context.Context, out *report.Out) error {
	opts := overhead.Options{Time: 100 * time.Millisecond, Repetitions: 5, Progress: os.Stderr}
	if out.Quick {
		opts.Time, opts.Repetitions = time.Millisecond, 1
	}
	srv, stop, err := redisserver.Start()
	if err != nil && !errors.Is(err, redisserver.ErrNone) {
		return err
	}
	if err == nil {
		defer stop()
		client := redis.NewClient(&redis.Options{Addr: srv.Addr})
		defer client.Close()
		store, err := holdoff.NewRedisStore(client, holdoff.RedisOptions{Namespace: "overhead"})
		if err != nil {
			return err
		}
		defer store.Close()
		opts.Store = store
	}
	rows, err := overhead.Run(ctx, opts)
	if err != nil {
		return err
	}
	versions := make(map[string]string)
	for _, p := range peers.All[1:] { // without bare
		versions[p.Name] = p.Version
	}
	return out.Put("overhead", rows, versions, overhead.Markdown(rows))
}
