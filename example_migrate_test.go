package holdoff_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-holdoff/holdoff"
)

// A go-retryablehttp client with RetryMax 4, RetryWaitMin 1 s, RetryWaitMax 30 s and a
// timeout of 10 s per attempt, as a Transport.
func Example_migrate() {
	base := answers(503, 200)
	client := &http.Client{
		Transport: &holdoff.Transport{
			Base:              base,
			MaxAttempts:       5,                // RetryMax: 4
			PerAttemptTimeout: 10 * time.Second, // HTTPClient.Timeout
			MaxWait:           2 * time.Minute,  // no field; a context's deadline there
			Backoff: holdoff.Exponential{
				Base:   time.Second,         // RetryWaitMin
				Cap:    30 * time.Second,    // RetryWaitMax
				Jitter: holdoff.EqualJitter, // half of the delay is fixed
			},
		},
	}
	resp, err := client.Get("https://api.example.com/invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}

// A batch waits as long as it must. Requests of users share what it learns, and fail fast.
func Example_batchAndInteractive() {
	store := new(holdoff.MemoryStore) // a RedisStore, where they are separate processes
	batch := &holdoff.Transport{Store: store, Base: answers(200), MaxAttempts: 10, MaxWait: 10 * time.Minute}
	interactive := &holdoff.Transport{Store: store, Base: answers(200), MaxAttempts: 2, MaxWait: 500 * time.Millisecond}

	fmt.Println(do(context.Background(), batch, "GET", invoices))
	fmt.Println(do(context.Background(), interactive, "GET", invoices))
	// Output:
	// 200
	// 200
}
