// Fleet is the program of the README for many replicas.
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/go-holdoff/holdoff"
	"github.com/redis/go-redis/v9"
)

func main() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer rdb.Close()
	store, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{Namespace: "billing"})
	if err != nil {
		log.Fatal(err) // invalid options; an unreachable Redis is not an error
	}
	defer store.Close()
	client := &http.Client{Transport: &holdoff.Transport{Store: store}}

	resp, err := client.Get("https://api.github.com/zen")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
}
