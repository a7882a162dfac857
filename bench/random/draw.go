// Package random draws servers in trouble, and fleets that want something of them, and
// runs contenders against what an all-knowing scheduler could have served: hand-made
// scenarios invite tuning.
package random

import (
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// Draw is a server in trouble, and a fleet that wants something of it. All of it follows
// from the seed.
type Draw struct {
	Seed uint64

	// The fleet. Work.Timeout is the longest patience of a caller.
	Work        fleet.Work
	Impatient   time.Duration // the shortest patience; each caller's is between
	Lives       []Life        // of replicas that come late or leave early, from the last one on
	Restarts    fleet.Restarts
	Unreachable int // the first replicas, whose networks are broken
	Lossy       int // those after them, half of whose attempts get no answer

	// The server.
	Host     Host
	Latency  Latency
	Troubles []Trouble
}

// Life is when a replica gets requests.
type Life struct{ From, To time.Duration }

// Host is what the whole server can do, in trouble or not: Workers, with a queue or, where
// there is no Room, without one. Without Workers it is not limited.
type Host struct {
	Workers, Room int
	Work          time.Duration
	Refusal       fleet.Refusal
	Costly        float64 // the share of Work that a refusal takes
}

// Rate is how many requests per second the host can serve.
func (h Host) Rate() float64 { return float64(h.Workers) / h.Work.Seconds() }

// Latency is what an answer takes besides work and queueing.
type Latency struct {
	Mean     time.Duration
	Shape    Shape
	Refusals bool // refusals take as long
}

// Shape is how latencies are distributed.
type Shape int

const (
	Constant    Shape = iota
	Exponential       // at most ten times the mean
	Bimodal           // one of 20 takes ten times as long as the others
)

// Trouble is one thing that is wrong with a part of the server.
type Trouble struct {
	Kind     Kind
	From, To time.Duration
	Part     Part
	Refusal  fleet.Refusal

	Every       time.Duration // of Outage: it comes and goes. If zero, it lasts.
	Share       float64       // of Failing: of the requests
	Factor      float64       // of Slow: by which the host's work takes longer
	Rate, Burst float64       // of Bucket
	Limit       int           // of Quota, per Window
	Window      time.Duration
	Lax         bool // of Quota: it is announced, and not enforced
	InFlight    int  // of Concurrency, for Work each
	Work        time.Duration
}

// Kind is a kind of trouble, in the order in which requests meet them.
type Kind int

const (
	Outage      Kind = iota // refuses everything
	Failing                 // refuses a share at random
	Hanging                 // does not answer a share in time
	Bucket                  // takes a rate
	Quota                   // takes so many per window, and says so
	Concurrency             // takes so many at a time
	Slow                    // the host's work takes longer
)

// Part is the part of the requests that meet a trouble.
type Part struct {
	Of    Whole
	Index int
}

// Whole is what a part is one of.
type Whole int

const (
	Everything Whole = iota
	Paths
	Credentials
	Replicas
)

// has reports whether an ask is of the part.
func (p Part) has(path, credential, replica int) bool {
	switch p.Of {
	case Paths:
		return path == p.Index
	case Credentials:
		return credential == p.Index
	case Replicas:
		return replica == p.Index
	}
	return true
}

// Released returns when the last trouble ends, or false if one lasts as long as requests
// are made, or there is none.
func (d Draw) Released() (at time.Duration, ok bool) {
	at = d.Work.Step.To
	for _, t := range d.Troubles {
		at = max(at, t.To)
	}
	return at, 0 < at && at < d.Work.Sending
}
