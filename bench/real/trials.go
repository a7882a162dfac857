package real

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// Trial is a scenario, and who is tried in it.
type Trial struct {
	fleet.Scenario
	Contenders []string
	// Why says for whom they stand, or what else is to be known.
	Why string

	disturb disturbance // what happens besides; nil for nothing
}

// Trials are all that there are. Of peers that would behave alike, one is tried.
var Trials = []Trial{
	{
		Scenario: known("limited route"), Contenders: []string{shared, alone, hashi},
		Why: "The callers of that path fail, whatever is done; nobody else's should.",
	},
	{
		Scenario: known("limited credential"), Contenders: []string{shared, alone, hashi},
	},
	{
		Scenario: known("throttle"), Contenders: []string{shared, alone, hashi, re, bare},
		Why: "go-retryablehttp stands for peers that obey the hint (oras, failsafehttp), rehttp for those that know of none (go-containerregistry).",
	},
	{
		Scenario: known("outage"), Contenders: []string{shared, alone, failsafe, bare},
		Why: "Without a hint, peers differ by their delays only.",
	},
	{
		Scenario: known("quota"), Contenders: []string{shared, alone, hashi, oras, bare},
		Why: "Peers read the hint of a refusal, if any, and not what is left.",
	},
	{
		Scenario: known("bucket"), Contenders: []string{shared, alone, hashi, failsafe, bare},
	},
	{
		Scenario: known("partial"), Contenders: []string{shared, re, bare},
		Why: "The callers of that path fail, whatever is done. Peers all send four times.",
	},
	{
		Scenario: waiting(known("poisoned replica"), 10*time.Second), Contenders: []string{shared, alone},
		Why: "Its 250 callers fail, and nobody else's should. Peers without a store have nothing by which to hold the others.",
	},
	{
		Scenario:   calm("poisoned replica, calm", "the same, at a rate that leaves a breaker time: it holds a lock in Redis during each request", 1),
		Contenders: []string{shared, breaker},
		Why:        "Its 40 callers fail, and nobody else's should.",
	},
	{
		Scenario:   calm("stopped store", "all is well, but the Redis is stopped from 5 s to 12 s", 0),
		Contenders: []string{shared, breaker, bare}, disturb: stopStore(5*time.Second, 12*time.Second),
		Why: "The rate is one that leaves a breaker time: it holds a lock in Redis during each request.",
	},
	{
		Scenario:   named("stopped store, throttled", "throttle, and the Redis is stopped from 4 s to 9 s", known("throttle")),
		Contenders: []string{shared, alone}, disturb: stopStore(4*time.Second, 9*time.Second),
	},
	{
		Scenario: known("brown-out"), Contenders: []string{shared, alone, hashi, bare},
		Why: "go-retryablehttp waits longest of the peers.",
	},
	{
		Scenario: known("flapping"), Contenders: []string{shared, alone, failsafe, bare},
		Why: "Without a hint, peers differ by their delays only.",
	},
	{
		Scenario:   named("rolling restart", "throttle, and from 3 s on every 0.4 s a replica is killed, and another started in its place", known("throttle")),
		Contenders: []string{shared, alone, hashi}, disturb: rollingRestart(3*time.Second, 400*time.Millisecond),
		Why: "What a killed process had under way is not counted.",
	},
}

// Quick are two that are short, and tell whether all works.
var Quick = []Trial{
	{
		Scenario: brief("throttle, briefly", "429 with Retry-After: 2 for 1 s", func() http.Handler {
			return &fleet.Phased{
				Bad: fleet.Between(time.Second/2, 3*time.Second/2), Status: http.StatusTooManyRequests,
				Header: http.Header{"Retry-After": {"2"}},
			}
		}),
		Contenders: []string{shared, alone, bare},
	},
	{
		Scenario:   brief("rolling restart, briefly", "all is well, and from 0.5 s on every 0.2 s a replica is killed, and another started in its place", well),
		Contenders: []string{shared}, disturb: rollingRestart(time.Second/2, time.Second/5),
	},
}

// known returns a scenario that the runs in virtual time have as well.
func known(name string) fleet.Scenario {
	i := slices.IndexFunc(fleet.Scenarios, func(s fleet.Scenario) bool { return s.Name == name })
	return fleet.Scenarios[i]
}

func named(name, about string, s fleet.Scenario) fleet.Scenario {
	s.Name, s.About = name, about
	return s
}

// waiting is s with callers of another patience.
func waiting(s fleet.Scenario, timeout time.Duration) fleet.Scenario {
	s.Work.Timeout = timeout
	return s
}

// calm is a server that is well, of which little is asked.
func calm(name, about string, unreachable int) fleet.Scenario {
	return fleet.Scenario{
		Name: name, About: about, Server: well, Unreachable: unreachable,
		Work:     fleet.Work{Replicas: 16, Rate: 2, Sending: 20 * time.Second, Timeout: 10 * time.Second, Paths: 20},
		Capacity: float64(2 * (16 - unreachable)),
	}
}

func brief(name, about string, server func() http.Handler) fleet.Scenario {
	return fleet.Scenario{
		Name: name, About: about, Server: server, Released: 3 * time.Second / 2,
		Work:     fleet.Work{Replicas: 4, Rate: 25, Sending: 3 * time.Second, Timeout: 30 * time.Second, Paths: 20},
		Capacity: 100,
	}
}

func well() http.Handler { return fleet.Paths{} }

// disturbance does what happens in a run besides what the replicas and the server
// do, and returns when that is done.
type disturbance func(ctx context.Context, x *experiment) error

// stopStore stops the Redis, if there is one, from one time to another.
func stopStore(from, to time.Duration) disturbance {
	return func(ctx context.Context, x *experiment) error {
		if err := x.at(ctx, from); err != nil || x.redis == nil {
			return err
		}
		x.redis.Pause()
		defer x.redis.Continue()
		return x.at(ctx, to)
	}
}

// rollingRestart restarts one replica after another.
func rollingRestart(from, every time.Duration) disturbance {
	return func(ctx context.Context, x *experiment) error {
		for i := range x.members {
			if err := x.at(ctx, from+time.Duration(i)*every); err != nil {
				return err
			}
			if err := x.restart(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}
}
