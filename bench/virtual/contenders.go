package virtual

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"

	"github.com/go-holdoff/holdoff/bench/peers"
)

// Contender is what the replicas of a fleet put around their network.
type Contender struct {
	Name string
	// New returns the contender around base, which shares what it learns through
	// store, if it can.
	New func(base http.RoundTripper, store holdoff.Store) http.RoundTripper
}

// The names of holdoff's two ways to run.
const (
	Shared = "holdoff, shared"
	Alone  = "holdoff, alone"
)

// Contenders are all that run, in the order of the tables.
var Contenders = contenders()

func contenders() []Contender {
	all := []Contender{
		{Shared, func(base http.RoundTripper, store holdoff.Store) http.RoundTripper {
			return &holdoff.Transport{Base: base, Store: store}
		}},
		{Alone, func(base http.RoundTripper, _ holdoff.Store) http.RoundTripper {
			return &holdoff.Transport{Base: base}
		}},
	}
	for _, p := range peers.All {
		if p.Name != "holdoff" {
			all = append(all, Contender{p.Name, func(base http.RoundTripper, _ holdoff.Store) http.RoundTripper { return p.New(base) }})
		}
	}
	return all
}

// storeDelay is how long an exchange with a store takes.
const storeDelay = time.Millisecond

// counted counts the exchanges with a store, and makes them as slow as those with
// another process.
type counted struct {
	holdoff.Store
	exchanges atomic.Int64
}

func (c *counted) Report(ctx context.Context, key string, r holdoff.Report) (holdoff.Reply, error) {
	c.exchanges.Add(1)
	time.Sleep(storeDelay)
	return c.Store.Report(ctx, key, r)
}

func (c *counted) Commit(ctx context.Context, key string, d holdoff.Decision) (holdoff.Reply, error) {
	c.exchanges.Add(1)
	time.Sleep(storeDelay)
	return c.Store.Commit(ctx, key, d)
}
