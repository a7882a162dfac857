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
	tally := &fleet.Tally{Server: s.Server()}
	store := &counted{Store: &holdoff.MemoryStore{}}
	f := &replicas{restarts: s.Restarts, begun: time.Now(), all: make([]replica, s.Work.Replicas)}
	f.build = func(i int) *http.Client {
		if i < s.Unreachable {
			return &http.Client{Transport: c.New(noRoute{}, store)}
		}
		return &http.Client{Transport: c.New(network{tally, i}, store)}
	}
	answers := s.Work.Run(ctx, "http://api.example", f.client, seed)
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
