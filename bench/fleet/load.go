// Package fleet has what the runs in virtual time and those over real sockets have
// in common: servers in trouble, what fleets of clients ask of them, and the
// measures of what reaches the servers and what becomes of the callers.
//
// The servers are [http.Handler]s that read time.Now, so that they serve both. All
// times of a run are from its first request on.
package fleet

import (
	"cmp"
	"context"
	"errors"
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
	Paths    int           // that requests are spread over: /a and on, see Path
	IDs      bool          // paths are /users/0 and on
	// Credentials is how many senders requests are spread over, each with a token of its
	// own. If zero, requests have none.
	Credentials int `json:",omitempty"`
	// Step is a time in which more is asked. If zero, there is none.
	Step Step `json:",omitzero"`
}

// Step is a time in which requests are made more often by a factor.
type Step struct {
	From, To time.Duration
	Factor   float64
}

// Path returns the i-th path of a server: a word, since limits are found by the shape of
// paths, in which numbers are ids.
func Path(i int) string {
	word := ""
	for {
		word = string(rune('a'+i%26)) + word
		if i = i/26 - 1; i < 0 {
			return "/" + word
		}
	}
}

func (w Work) path(i int) string {
	if w.IDs {
		return fmt.Sprintf("/users/%d", i)
	}
	return Path(i)
}

// Token returns what the i-th sender is authorized with.
func Token(i int) string { return fmt.Sprintf("Bearer token-of-the-bench-%08d", i) }

// Offered is how many requests per second the whole fleet makes, except in a step.
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

	Path, Credential, Replica int `json:",omitempty"`
}

// Ask is a request that a caller makes through a replica, and how long the caller waits.
type Ask struct {
	At                        time.Duration
	Path, Credential, Replica int
	Patience                  time.Duration
}

// Asks returns the requests of the work in the order of time. The seed says when each is
// made, and of which path.
func (w Work) Asks(seed uint64) []Ask {
	var asks []Ask
	for i := range w.Replicas {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		interval := time.Duration(float64(time.Second) / w.Rate)
		for at := time.Duration(0); at < w.Sending; at += interval {
			a := Ask{At: at + time.Duration(random.Int64N(int64(interval))), Replica: i, Patience: w.Timeout}
			a.Path = random.IntN(max(w.Paths, 1))
			if w.Credentials > 0 {
				a.Credential = random.IntN(w.Credentials)
			}
			if a.At < w.Sending { // where intervals are long, the last one ends too late
				asks = append(asks, a)
			}
		}
	}
	if step := w.Step; step.Factor > 1 {
		more := w
		more.Rate, more.Sending, more.Step = w.Rate*(step.Factor-1), min(step.To, w.Sending)-step.From, Step{}
		for _, a := range more.Asks(^seed) {
			a.At += step.From
			asks = append(asks, a)
		}
	}
	slices.SortStableFunc(asks, func(a, b Ask) int { return cmp.Compare(a.At, b.At) })
	return asks
}

// Run makes the work's requests through the clients, one per replica, whether or
// not those before are answered, as users do. The jitter of those who retry is their own.
func (w Work) Run(ctx context.Context, url string, clients func(replica int) *http.Client, asks []Ask) []Answer {
	var mu sync.Mutex
	var answers []Answer
	w.Each(ctx, url, clients, asks, func(a Answer) {
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, a)
	})
	return answers
}

// Each is Run for those who want every answer as soon as it is there. It calls got
// from many goroutines at once.
func (w Work) Each(ctx context.Context, url string, clients func(replica int) *http.Client, asks []Ask, got func(Answer)) {
	start := time.Now()
	var wg sync.WaitGroup
	for _, ask := range asks {
		time.Sleep(time.Until(start.Add(ask.At)))
		wg.Go(func() {
			asked := time.Since(start)
			token := ""
			if w.Credentials > 0 {
				token = Token(ask.Credential)
			}
			err := get(ctx, clients(ask.Replica), url+w.path(ask.Path), token, ask.Patience)
			got(Answer{asked, time.Since(start) - asked, err == nil, ask.Path, ask.Credential, ask.Replica})
		})
	}
	wg.Wait()
}

func get(ctx context.Context, client *http.Client, url, token string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", token)
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
