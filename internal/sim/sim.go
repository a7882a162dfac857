package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// A Sim is one run.
type Sim struct {
	Config
	rules    Rules
	now      time.Time
	start    time.Time
	queue    queue
	events   uint64
	rng      *rand.Rand
	jitter   hold.Jitter
	register register
	replicas []*replica
	servers  []server
	network  network
	check    checker
	trace    *strings.Builder // nil unless the run is traced
}

// A Result is what came of a run.
type Result struct {
	Seed     uint64
	Err      error // the first invariant that did not hold
	Events   uint64
	Sends    int
	Rounds   int
	Recovery time.Duration // from the last fault until the fleet was healthy
	Gap      time.Duration // the longest time with demand, no hold and no send
	Stuck    time.Duration // the longest time with demand after a round's end without a decision
	Trace    string
}

// Run runs the simulation of a seed.
func Run(seed uint64, rules Rules, traced bool) Result {
	return RunConfig(configOf(seed), rules, traced)
}

// RunConfig runs the simulation of a configuration.
func RunConfig(c Config, rules Rules, traced bool) Result {
	s := newSim(c, rules, traced)
	s.run()
	r := s.check.result
	r.Seed, r.Err, r.Events = c.Seed, s.check.err, s.events
	if traced {
		r.Trace = s.trace.String()
	}
	return r
}

func newSim(c Config, rules Rules, traced bool) *Sim {
	start := time.UnixMilli(1_800_000_000_000)
	s := &Sim{Config: c, rules: rules.withDefaults(), start: start, now: start, rng: rand.New(rand.NewPCG(c.Seed, 1))}
	s.jitter = func(d time.Duration) time.Duration {
		if d <= 0 {
			return 0
		}
		return time.Duration(s.rng.Int64N(int64(d) + 1))
	}
	if traced {
		s.trace = new(strings.Builder)
	}
	s.network.sim = s
	s.check.init(s)
	s.register.init(s)
	for key := range c.Keys {
		s.servers = append(s.servers, server{sim: s, key: key})
	}
	for i := range c.Replicas {
		r := &replica{sim: s, id: i, version: hold.Version}
		if i < c.NextVersion {
			r.version++
		}
		s.replicas = append(s.replicas, r)
	}
	for _, r := range s.replicas {
		r.boot()
	}
	for i := range c.Faults {
		f := &c.Faults[i]
		s.at(f.From, func() { f.begin(s) })
	}
	return s
}

// run runs until all faults are over and the fleet is healthy, or an invariant fails.
func (s *Sim) run() {
	s.after(checkInterval, s.check.tick)
	for s.check.err == nil && !s.check.done {
		at, do := s.queue.pop()
		s.now = s.start.Add(at)
		s.events++
		do()
	}
}

// after schedules an event.
func (s *Sim) after(d time.Duration, do func()) {
	s.queue.push(s.now.Sub(s.start)+max(d, 0), do)
}

func (s *Sim) at(d time.Duration, do func()) { s.after(s.start.Add(d).Sub(s.now), do) }

// over reports whether the last fault is over.
func (s *Sim) over() bool { return !s.now.Before(s.start.Add(s.Over)) }

// chance reports true with probability p.
func (s *Sim) chance(p float64) bool { return p > 0 && s.rng.Float64() < p }

// logf adds a line to the trace.
func (s *Sim) logf(format string, args ...any) {
	if s.trace != nil {
		fmt.Fprintf(s.trace, "%9.3f  %s\n", s.now.Sub(s.start).Seconds(), fmt.Sprintf(format, args...))
	}
}
