// Package fleet runs fleets of clients against servers in trouble, and counts
// what reaches the servers and what becomes of the callers.
package fleet

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
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

// Result is what came of a run.
type Result struct {
	Requests, Served, Failed int
	Sent, Refused            int // that reached the server; that it did not serve
	P50, P99, Last           time.Duration
	Slots                    []Count
	Answers                  []Answer `json:"-"`
}

// Answer is what became of one request.
type Answer struct {
	Asked, Took time.Duration
	Served      bool
}

// Run makes the work's requests through the clients, one per replica, whether or
// not those before are answered, as users do.
func (w Work) Run(ctx context.Context, url string, clients func(replica int) *http.Client, seed uint64) []Answer {
	start := time.Now()
	var mu sync.Mutex
	var answers []Answer
	var wg sync.WaitGroup
	for i := range w.Replicas {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			interval := time.Duration(float64(time.Second) / w.Rate)
			for at := time.Duration(0); at < w.Sending; at += interval {
				time.Sleep(time.Until(start.Add(at + time.Duration(random.Int64N(int64(interval))))))
				path := random.IntN(max(w.Paths, 1))
				wg.Go(func() {
					asked := time.Since(start)
					err := get(ctx, clients(i), fmt.Sprintf("%s/%d", url, path), w.Timeout)
					mu.Lock()
					defer mu.Unlock()
					answers = append(answers, Answer{asked, time.Since(start) - asked, err == nil})
				})
			}
		})
	}
	wg.Wait()
	return answers
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
		return fmt.Errorf("%s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func result(answers []Answer, slots []Count) Result {
	r := Result{Requests: len(answers), Slots: slots, Answers: answers}
	var took []time.Duration
	for _, a := range answers {
		if !a.Served {
			r.Failed++
			continue
		}
		r.Served++
		took = append(took, a.Took)
		r.Last = max(r.Last, a.Asked+a.Took)
	}
	slices.Sort(took)
	if n := len(took); n > 0 {
		r.P50, r.P99 = took[n/2], took[n*99/100]
	}
	for _, c := range slots {
		r.Sent += c.Sent
		r.Refused += c.Sent - c.Served
	}
	return r
}

// Goodput is what the server served from one time to another, per second.
func (r Result) Goodput(from, to time.Duration) float64 {
	served := 0
	for i := int(from / Slot); i < min(int(to/Slot), len(r.Slots)); i++ {
		served += r.Slots[i].Served
	}
	return float64(served) / (to - from).Seconds()
}
