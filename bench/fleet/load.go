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
	Paths    int           // that requests are spread over: /a and on, see Path
	IDs      bool          // paths are /users/0 and on
	// Credentials is how many senders requests are spread over, each with a token of its
	// own. If zero, requests have none.
	Credentials int `json:",omitempty"`
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

	Path, Credential, Replica int `json:",omitempty"`
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
				credential := 0
				if w.Credentials > 0 {
					credential = random.IntN(w.Credentials)
				}
				if due >= w.Sending {
					return // where intervals are long, the last one ends too late
				}
				time.Sleep(time.Until(start.Add(due)))
				wg.Go(func() {
					asked := time.Since(start)
					token := ""
					if w.Credentials > 0 {
						token = Token(credential)
					}
					err := get(ctx, clients(i), url+w.path(path), token, w.Timeout)
					got(Answer{asked, time.Since(start) - asked, err == nil, path, credential, i})
				})
			}
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
