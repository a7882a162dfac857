package random

import (
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// Oracle returns how many of the callers a scheduler could have served in time at most that
// knows all numbers, and serves every caller that can be served. Callers of broken replicas do not
// count.
//
// It is a bound rather than a schedule, so that no contender can beat it: what a limiter
// lets through from one time to another is bounded by a curve, and the largest set of
// requests that all those bounds allow is found exactly. Where several limiters are in the
// way, requests are divided among them, so that each bounds its own.
func (d Draw) Oracle(asks []fleet.Ask) int {
	windows := d.windows(asks)
	best := len(windows)
	var hosts, parts []limiter
	for _, l := range d.limiters() {
		if l.part.Of == Everything {
			hosts = append(hosts, l)
		} else {
			parts = append(parts, l)
		}
	}
	for chosen := range 1 << len(parts) {
		rest, served := windows, 0
		for i, l := range parts {
			if chosen>>i&1 == 0 {
				continue
			}
			var in, out []window
			for _, w := range rest {
				if l.part.has(w.ask.Path, w.ask.Credential, w.ask.Replica) {
					in = append(in, w)
				} else {
					out = append(out, w)
				}
			}
			served, rest = served+l.most(in), out
		}
		best = min(best, served+len(rest))
		for _, l := range hosts {
			best = min(best, served+l.most(rest))
		}
	}
	return best
}

// window is when a server may begin to serve a request, at the earliest and at the latest.
type window struct {
	ask      fleet.Ask
	from, to time.Duration
}

// windows returns those of all asks that can be served at all.
func (d Draw) windows(asks []fleet.Ask) (all []window) {
	before, after := d.around()
	for _, a := range asks {
		if a.Replica < d.Unreachable {
			continue
		}
		w := window{a, a.At + before, a.At + a.Patience - after}
		for d.avoidOutages(&w) {
		}
		if w.from <= w.to {
			all = append(all, w)
		}
	}
	return all
}

// around returns how long before a server begins to serve it a request is made at least, and
// how long after that it is answered.
func (d Draw) around() (before, after time.Duration) {
	if d.Latency.Refusals {
		return virtual.OneWay + d.Latency.least(), d.Host.Work + virtual.OneWay
	}
	return virtual.OneWay, d.Host.Work + d.Latency.least() + virtual.OneWay
}

// avoidOutages moves the ends of a window out of outages, and reports whether it has.
func (d Draw) avoidOutages(w *window) bool {
	moved := false
	for _, t := range d.Troubles {
		if t.Kind == Outage && t.Part.has(w.ask.Path, w.ask.Credential, w.ask.Replica) {
			moved = w.avoid(t, d.Host.Room > 0) || moved
		}
	}
	return moved
}

// avoid moves the ends of a window out of an outage, and reports whether it has. Where there
// is a queue, what came in before the outage is served during it.
func (w *window) avoid(t Trouble, queued bool) bool {
	moved := false
	for w.from <= w.to && t.at(w.from) {
		w.from, moved = t.until(w.from), true
	}
	for !queued && w.from <= w.to && t.at(w.to) {
		w.to, moved = t.since(w.to)-1, true
	}
	return moved
}

// until is when an outage that is there ends, and since is when it began.
func (t Trouble) until(at time.Duration) time.Duration {
	if t.Every == 0 {
		return t.To
	}
	return min(t.since(at)+t.Every, t.To)
}

func (t Trouble) since(at time.Duration) time.Duration {
	if t.Every == 0 {
		return t.From
	}
	return t.From + (at-t.From)/t.Every*t.Every
}
