package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/hashicorp/go-cleanhttp"
)

// job is what a replica is to do. A replica that is a process gets it as JSON.
type job struct {
	URL     string
	Rate    int           // requests per second
	Sending time.Duration // for how long new requests are made

	Redis, Namespace string // what it shares through, if it is a process and shares
}

// replica is one instance of a service that calls the server.
type replica struct {
	job    job
	client *http.Client
	isHeld atomic.Bool
	failed atomic.Pointer[string] // why the store failed, if it did
	told   func(held bool)
}

// newReplica makes a replica. All that it takes to share is in the Store field:
// with nil the replica is on its own.
func newReplica(j job, store holdoff.Store) *replica {
	base := cleanhttp.DefaultPooledTransport()
	// 128 replicas in one process must not run out of file descriptors.
	base.MaxConnsPerHost, base.MaxIdleConnsPerHost = 16, 16
	r := &replica{job: j}
	r.client = &http.Client{Transport: &holdoff.Transport{Base: base, Store: store, Observe: r.observe}}
	return r
}

// observe is the Transport's hook. It is here only to have something to show.
func (r *replica) observe(_ context.Context, e holdoff.Event) {
	switch e.Kind {
	case holdoff.HoldStarted, holdoff.HoldEnded:
		held := e.Kind == holdoff.HoldStarted
		r.isHeld.Store(held)
		if r.told != nil {
			r.told(held)
		}
	case holdoff.StoreFailed:
		why := e.Err.Error()
		r.failed.CompareAndSwap(nil, &why)
	}
}

// run sends requests at the job's rate, whether or not those before are
// answered, as the users of a service do.
func (r *replica) run(ctx context.Context, start time.Time) (report, error) {
	var total report
	var mu sync.Mutex
	var wg sync.WaitGroup
	interval := time.Second / time.Duration(r.job.Rate)
	for at := time.Duration(0); at < r.job.Sending && ctx.Err() == nil; at += interval {
		sleepUntil(ctx, start.Add(at+rand.N(interval)))
		wg.Go(func() {
			asked := time.Since(start)
			err := r.get(ctx)
			answer := answer{Asked: asked, Took: time.Since(start) - asked, Served: err == nil}
			mu.Lock()
			defer mu.Unlock()
			total.Answers = append(total.Answers, answer)
			if err != nil && total.Failure == "" {
				total.Failure = err.Error()
			}
		})
	}
	wg.Wait()
	if why := r.failed.Load(); why != nil {
		total.StoreFailures, total.StoreFailure = 1, *why
	}
	return total, ctx.Err()
}

// get makes one request. Nothing in it knows of holds and retries.
func (r *replica) get(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	url := fmt.Sprintf("%s/%d", r.job.URL, rand.N(paths))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
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

func (r *replica) held() bool { return r.isHeld.Load() }
func (r *replica) close()     { r.client.CloseIdleConnections() }

// inMemory makes replicas in this process, which share the store, if any.
type inMemory struct{ store *holdoff.MemoryStore }

func (m inMemory) replica(_ context.Context, j job) (member, error) {
	if m.store == nil {
		return newReplica(j, nil), nil
	}
	return newReplica(j, m.store), nil
}

func sleepUntil(ctx context.Context, at time.Time) {
	select {
	case <-time.After(time.Until(at)):
	case <-ctx.Done():
	}
}
