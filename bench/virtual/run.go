// Package virtual runs fleets in virtual time: the real Transport, and the real
// peers, with a modelled network and server, for minutes and hours that pass in
// moments. Since it takes a testing/synctest bubble to do so, the runs are a test of
// this package, and Report starts it.
package virtual

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// rest is how long a bubble is let to end what goes on behind the last answer.
const rest = 10 * time.Minute

// run makes a scenario's work through one contender. It wants to be called in a
// bubble.
func run(ctx context.Context, s fleet.Scenario, c Contender, seed uint64) fleet.Result {
	return Run(ctx, s, c, s.Work.Asks(seed), nil)
}

// Moment is how long it takes from one look at a fleet to the next.
const Moment = 500 * time.Millisecond

// Run makes requests of a scenario's server through one contender. It wants to be called
// in a bubble. If watch is not nil, it sees the contender of each replica at every Moment,
// as long as callers wait.
func Run(ctx context.Context, s fleet.Scenario, c Contender, asks []fleet.Ask, watch func([]http.RoundTripper)) fleet.Result {
	tally := &fleet.Tally{Server: s.Server()}
	store := &counted{Store: &holdoff.MemoryStore{}}
	f := &replicas{restarts: s.Restarts, begun: time.Now(), all: make([]replica, s.Work.Replicas)}
	f.build = func(i int) *http.Client {
		if i < s.Unreachable {
			return &http.Client{Transport: c.New(noRoute{}, store)}
		}
		return &http.Client{Transport: c.New(network{tally, i}, store)}
	}
	watched, end := context.WithCancel(ctx)
	if watch != nil {
		go f.watch(watched, watch)
	}
	answers := s.Work.Run(ctx, "http://api.example", f.client, asks)
	end()
	time.Sleep(rest)
	result := fleet.NewResult(answers, tally.Slots())
	result.Exchanges = int(store.exchanges.Load())
	return result
}

// replicas are the clients of a fleet.
type replicas struct {
	build    func(replica int) *http.Client
	restarts fleet.Restarts
	begun    time.Time
	mu       sync.Mutex
	all      []replica
}

type replica struct {
	client    *http.Client
	restarted bool
}

// client returns that of a replica: a new one, where it is time for it to be
// started anew.
func (f *replicas) client(i int) *http.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.all[i]
	due := f.restarts.Every > 0 && time.Since(f.begun) >= f.restarts.From+time.Duration(i)*f.restarts.Every
	if r.client == nil || due && !r.restarted {
		r.client, r.restarted = f.build(i), due
	}
	return r.client
}

// watch shows the contenders of all replicas that have begun, at every Moment.
func (f *replicas) watch(ctx context.Context, see func([]http.RoundTripper)) {
	ticks := time.NewTicker(Moment)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		see(f.contenders())
	}
}

func (f *replicas) contenders() (all []http.RoundTripper) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.all {
		if r.client != nil {
			all = append(all, r.client.Transport)
		}
	}
	return all
}
