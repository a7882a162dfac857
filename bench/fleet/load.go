// Package fleet has what the runs in virtual time and those over real sockets have
// in common: servers in trouble, what fleets of clients ask of them, and the
// measures of what reaches the servers and what becomes of the callers.
//
// The servers are [http.Handler]s that read time.Now, so that they serve both. All
// times of a run are from its first request on.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Work is what a fleet does.
type Work struct {
	Replicas int
	Rate     float64       // requests per second of each replica
	Sending  time.Duration // for how long new requests are made
	Timeout  time.Duration // of each caller
	Paths    int           // that requests are spread over: /0 and on
}

// Offered is how many requests per second the whole fleet makes.
func (w Work) Offered() float64 { return float64(w.Replicas) * w.Rate }

// Among is the same work, done by another number of replicas.
func (w Work) Among(replicas int) Work {
	w.Rate *= float64(w.Replicas) / float64(replicas)
	w.Replicas = replicas
	return w
}

// Answer is what became of one request.
type Answer struct {
	Asked, Took time.Duration
	Served      bool
}

// Run makes the work's requests through the clients, one per replica, whether or
// not those before are answered, as users do. The seed says when each is made, and
// of which path; the jitter of those who retry is their own.
func (w Work) Run(ctx context.Context, url string, clients func(replica int) *http.Client, seed uint64) []Answer {
	var mu sync.Mutex
	var answers []Answer
	w.Each(ctx, url, clients, seed, func(a Answer) {
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, a)
	})
	return answers
}

// Each is Run for those who want every answer as soon as it is there. It calls got
// from many goroutines at once.
func (w Work) Each(ctx context.Context, url string, clients func(replica int) *http.Client, seed uint64, got func(Answer)) {
	start := time.Now()
	var wg sync.WaitGroup
	for i := range w.Replicas {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			interval := time.Duration(float64(time.Second) / w.Rate)
			for at := time.Duration(0); at < w.Sending; at += interval {
				due := at + time.Duration(random.Int64N(int64(interval)))
				path := random.IntN(max(w.Paths, 1))
				if due >= w.Sending {
					return // where intervals are long, the last one ends too late
				}
				time.Sleep(time.Until(start.Add(due)))
				wg.Go(func() {
					asked := time.Since(start)
					err := get(ctx, clients(i), fmt.Sprintf("%s/%d", url, path), w.Timeout)
					got(Answer{asked, time.Since(start) - asked, err == nil})
				})
			}
		})
	}
	wg.Wait()
}

func get(ctx context.Context, client *http.Client, url string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
