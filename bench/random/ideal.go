package random

import (
	"math"
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// ideal returns what callers get of a queue without attempts and delays in front of the
// server: first come, first served, as fast as the limiters allow. It serves no more
// than the oracle, and tells how fast a backlog can be gone.
func (d Draw) ideal(asks []fleet.Ask) fleet.Result {
	windows := d.windows(asks)
	slices.SortStableFunc(windows, func(a, b window) int { return int(a.from - b.from) })
	limiters := d.limiters()
	taken := make([]taken, len(limiters))
	for i := range taken {
		taken[i].highest = math.Inf(-1)
	}
	_, after := d.around()
	var answers []fleet.Answer
	for _, w := range windows {
		served := w
		for again := true; again && served.from <= w.to; {
			again = false
			for i, l := range limiters {
				if !l.part.has(w.ask.Path, w.ask.Credential, w.ask.Replica) {
					continue
				}
				if at := taken[i].next(l, served.from, w.to); at > served.from {
					served.from, again = at, true
				}
			}
			again = d.avoidOutages(&served) || again
		}
		a := fleet.Answer{Asked: w.ask.At, Took: served.from + after - w.ask.At, Served: served.from <= w.to}
		answers = append(answers, a)
		if !a.Served {
			continue
		}
		for i, l := range limiters {
			if l.part.has(w.ask.Path, w.ask.Credential, w.ask.Replica) {
				taken[i].take(l, served.from)
			}
		}
	}
	return fleet.NewResult(answers, nil)
}

// taken is what a limiter has let through.
type taken struct {
	n       int
	highest float64 // of the curve's heights when they were, less the number of those before
}

// next returns when the next request can be let through, or a time after the latest.
func (t *taken) next(l limiter, from, latest time.Duration) time.Duration {
	need := t.highest + float64(t.n+1) - l.burst - rounding
	if l.to(from) >= need {
		return from
	}
	to := latest + 1
	for to-from > time.Microsecond {
		if middle := from + (to-from)/2; l.to(middle) >= need {
			to = middle
		} else {
			from = middle
		}
	}
	return to
}

func (t *taken) take(l limiter, at time.Duration) {
	t.highest = max(t.highest, l.to(at)-float64(t.n))
	t.n++
}
