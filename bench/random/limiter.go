package random

import (
	"cmp"
	"slices"
	"time"
)

// limiter bounds how many requests of a part begin to be served from one time to another: by
// burst, and what its curve rises by.
type limiter struct {
	part  Part
	burst float64
	curve curve
	// outages are when no request comes in, in the order of time: what the curve rises by in
	// one is lost, except as much as the limiter stores.
	outages []Life
	stores  float64
}

// limiters returns all that can be in the way.
func (d Draw) limiters() (all []limiter) {
	for _, t := range d.Troubles {
		l := limiter{part: t.Part}
		switch {
		case t.Kind == Bucket:
			l.burst, l.curve = t.Burst, curve{{t.From, t.Rate, 0}, {t.To, unlimited, 0}}
		case t.Kind == Concurrency:
			l.burst = float64(t.InFlight)
			l.curve = curve{{t.From, l.burst / t.Work.Seconds(), 0}, {t.To, unlimited, 0}}
		case t.Kind == Quota && !t.Lax:
			l.burst = float64(t.Limit)
			for at := t.From; at < t.To; at += t.Window {
				l.curve = append(l.curve, knot{at, 0, l.burst})
			}
			l.curve = append(l.curve, knot{t.To, unlimited, 0})
		default:
			continue
		}
		l.stores = l.burst
		all = append(all, l)
	}
	if d.Host.Workers > 0 {
		n := float64(d.Host.Workers)
		l := limiter{burst: n, stores: n + float64(d.Host.Room), curve: curve{{0, d.Host.Rate(), 0}}}
		for _, t := range d.Troubles {
			if t.Kind == Slow {
				// What is worked on already when work begins to take longer does not.
				l.curve = append(l.curve, knot{t.From, d.Host.Rate() / t.Factor, n}, knot{t.To, d.Host.Rate(), 0})
			}
		}
		all = append(all, l)
	}
	for i := range all {
		all[i].outages = d.outages(all[i].part)
	}
	return all
}

// outages returns when nothing of a part is served, whatever the limiters let through.
func (d Draw) outages(part Part) (merged []Life) {
	var all []Life
	for _, t := range d.Troubles {
		if t.Kind == Outage && (t.Part.Of == Everything || t.Part == part) {
			for at := t.From; at < t.To; at = t.until(at) + t.Every {
				all = append(all, Life{at, t.until(at)})
			}
		}
	}
	slices.SortFunc(all, func(a, b Life) int { return cmp.Compare(a.From, b.From) })
	for _, o := range all {
		if last := len(merged) - 1; last >= 0 && o.From <= merged[last].To {
			merged[last].To = max(merged[last].To, o.To)
			continue
		}
		merged = append(merged, o)
	}
	return merged
}

// to returns how high the curve is at a time, less what was lost.
func (l limiter) to(at time.Duration) float64 {
	height := l.curve.to(at)
	for _, o := range l.outages {
		if o.From < at {
			height -= max(l.curve.to(min(at, o.To))-l.curve.to(o.From)-l.stores, 0)
		}
	}
	return height
}

// unlimited is a rate that nothing reaches.
const unlimited = 1e9

// curve rises, from the first knot on, by so much per second from each knot to the next, and
// at each knot by a jump. Before the first it rises without limit.
type curve []knot

type knot struct {
	at   time.Duration
	rate float64
	jump float64
}

// to returns how high the curve is at a time.
func (c curve) to(at time.Duration) float64 {
	if at < c[0].at {
		return unlimited * (at - c[0].at).Seconds()
	}
	sum := 0.
	for i, k := range c {
		if at < k.at {
			break
		}
		end := at
		if i+1 < len(c) {
			end = min(end, c[i+1].at)
		}
		sum += k.jump + k.rate*(end-k.at).Seconds()
	}
	return sum
}

// rounding is what sums of floats are off by at most.
const rounding = 1e-3

// most returns how many of the windows' requests can be let through at most. A set of them
// is possible if for every two times no more of its windows lie between them than the
// limiter lets through. Such sets are those of a matroid, so a set to which requests are
// added one after another, wherever it is possible, is a largest one.
func (l limiter) most(windows []window) int {
	starts := slices.Clone(windows)
	slices.SortFunc(starts, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	byEnd := make([]int, len(starts))
	// used is, for each start, the height of the curve there, and one for each window that
	// was added and begins there or later.
	used := make([]float64, len(starts))
	for i, w := range starts {
		byEnd[i], used[i] = i, l.to(w.from)
	}
	slices.SortStableFunc(byEnd, func(a, b int) int { return cmp.Compare(starts[a].to, starts[b].to) })
	served := 0
	for _, i := range byEnd {
		// All that were added end before this one: it is in the way of those times only
		// that begin before it does.
		if slices.Max(used[:i+1])+1 > l.burst+l.to(starts[i].to)+rounding {
			continue
		}
		for j := range used[:i+1] {
			used[j]++
		}
		served++
	}
	return served
}
