package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	maxKeys = 2
	// MaxHold is the longest hold of the fleet and of its store.
	MaxHold = 20 * time.Second
)

// A Config is a fleet, its demand and its faults.
type Config struct {
	Seed        uint64
	Replicas    int
	NextVersion int // so many of them write records that the others cannot read
	Keys        int
	Demand      [maxKeys]float64 // requests per second of the whole fleet
	Poisson     bool
	Patience    time.Duration
	Impatient   float64       // requests that cannot wait
	Leave       float64       // callers that leave while their request is under way
	Latency     time.Duration // of the server
	GiveUp      time.Duration // when a request that is not answered is given up
	Die, Pause  float64       // deciders that crash, or are late
	Faults      []Fault
	Over        time.Duration // when the last fault is over
}

// configOf draws a configuration from a seed.
func configOf(seed uint64) Config {
	rng := rand.New(rand.NewPCG(seed, 0))
	between := func(a, b time.Duration) time.Duration { return a + time.Duration(rng.Int64N(int64(b-a))) }
	c := Config{
		Seed: seed, Replicas: 2 + rng.IntN(7), Keys: 1 + rng.IntN(5)/4, Poisson: rng.IntN(2) == 0,
		Patience: between(500*time.Millisecond, 10*time.Second), Latency: between(5*time.Millisecond, 60*time.Millisecond),
		GiveUp: between(300*time.Millisecond, 2*time.Second), Leave: 0.01,
	}
	for key := range c.Keys {
		c.Demand[key] = 4 + 36*rng.Float64()
	}
	if rng.IntN(3) == 0 {
		c.Impatient = rng.Float64()
	}
	if rng.IntN(4) == 0 {
		c.NextVersion = 1 + rng.IntN(c.Replicas-1)
	}
	if rng.IntN(2) == 0 {
		c.Die, c.Pause = 0.1*rng.Float64(), 0.3*rng.Float64()
	}
	length := between(5*time.Second, 15*time.Second)
	// The server is in trouble from the first second on, or nothing would happen.
	c.Faults = append(c.Faults, drawMood(rng, c, 0, time.Second))
	for range 2 + rng.IntN(6) {
		c.Faults = append(c.Faults, drawFault(rng, c, between(0, length)))
	}
	for _, f := range c.Faults {
		c.Over = max(c.Over, f.From+f.For)
	}
	return c
}

// String describes a configuration in a few lines.
func (c Config) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d replicas (%d of the next version), demand %.1f and %.1f/s, poisson %v, patience %v, impatient %.2f, latency %v, give up %v, die %.2f, pause %.2f",
		c.Seed, c.Replicas, c.NextVersion, c.Demand[0], c.Demand[1], c.Poisson, c.Patience, c.Impatient, c.Latency, c.GiveUp, c.Die, c.Pause)
	for _, f := range c.Faults {
		fmt.Fprintf(&b, "\n  %v", f)
	}
	return b.String()
}
