// Package quota decides which rate-limit counters are believed.
package quota

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

const (
	// MinDecreases is how often a counter must be seen to fall before it is
	// believed.
	MinDecreases = 3
	// NearExhaustion is how near its end a quota must be, at its rate of use, to
	// be rationed: time for every replica to learn of it.
	NearExhaustion = 250 * time.Millisecond
	// RateWindow is the shortest time over which the rate of use is measured.
	RateWindow = 100 * time.Millisecond
	// shortWatch is how long a counter is watched before it is believed, where its
	// reset is no further away than hold.QuotaSlack.
	shortWatch = 750 * time.Millisecond
	// Distrust is how long inconsistent numbers are ignored.
	Distrust = 10 * time.Minute
)

// A Counter is what a process knows of one quota from the headers of answers:
// what remains, until when. The numbers are believed only while they are those
// of one counter that falls within one window, since many servers send the
// numbers of another limiter than the one that will refuse. The zero value is
// ready for use, and safe for concurrent use.
type Counter struct {
	used atomic.Bool // answers carry numbers: each is looked at

	mu            sync.Mutex // guards what follows
	resetAt       time.Time  // end of the window; the earliest that fits all answers
	lastResetAt   time.Time  // of the window before
	first         int        // what remained when the window was first seen
	remaining     int
	lowestAt      time.Time    // when that was learned
	increases     [2]time.Time // when the counter rose in mid-window: the older first
	since         time.Time    // when the first number was seen
	decreases     int
	proven        bool
	samples       [3]sample // for the rate of use: the older first
	distrustUntil time.Time
}

type sample struct {
	remaining int
	at        time.Time
}

// Used reports whether answers have carried numbers.
func (c *Counter) Used() bool { return c.used.Load() }

// Learn takes in what an answer says to remain, and how long it is until the reset,
// and returns it if the counter is believed. The answer took so long (0: unknown).
// longest is the longest time until a reset for which requests may wait.
func (c *Counter) Learn(remaining int, reset, took time.Duration, now time.Time, longest time.Duration) (hold.Quota, bool) {
	if !c.used.Load() {
		c.used.Store(true)
	}
	if !c.mu.TryLock() {
		return hold.Quota{}, false // the next answer says as much
	}
	defer c.mu.Unlock()
	return c.observe(remaining, now.Add(reset), took, now, longest)
}

func (c *Counter) observe(remaining int, resetAt time.Time, took time.Duration, now time.Time, longest time.Duration) (hold.Quota, bool) {
	if now.Before(c.distrustUntil) {
		return hold.Quota{}, false
	}
	if c.since.IsZero() {
		c.since = now
	}
	moved := resetAt.Sub(c.resetAt)
	same := moved.Abs() <= hold.QuotaSlack && remaining <= c.first+hold.QuotaReorder
	// The request was sent after a smaller number had been learned.
	rose := same && remaining > c.remaining && took > 0 && now.Add(-took).After(c.lowestAt)
	ends := c.resetAt.Sub(now)
	switch {
	case ends <= 0 && remaining <= c.remaining && !c.resetAt.IsZero():
		c.resetAt = resetAt // the server rounds down: nothing was refilled yet
	case moved < -hold.QuotaSlack && (ends <= hold.QuotaSlack || resetAt.Sub(c.lastResetAt) <= 2*hold.QuotaSlack):
		return hold.Quota{}, false // a late answer of the window before
	case rose && (ends > 2*hold.QuotaSlack || now.Sub(c.increases[0]) < hold.QuotaSlack), !same && ends > hold.QuotaSlack:
		// It is refilled all the time (a token bucket that says when it will be
		// full), or is not one counter: one per path, say, or per caller, whose
		// windows all begin on the minute.
		proven := c.proven
		c.distrustUntil, c.resetAt, c.proven = now.Add(Distrust), time.Time{}, false
		return hold.Quota{Inconsistent: true}, proven
	case ends <= 0, !same, rose:
		if rose {
			c.increases = [2]time.Time{c.increases[1], now}
		}
		c.startWindow(remaining, resetAt, now)
	case moved < 0:
		c.resetAt = resetAt // the server rounds up
	}
	if remaining > c.remaining {
		return hold.Quota{}, false // out of order
	}
	last := sample{c.remaining, c.lowestAt}
	c.count(remaining, now)
	if !c.proven || c.resetAt.Sub(now) > longest {
		return hold.Quota{}, false
	}
	// The answer before must already have been on course for exhaustion: a sudden
	// drop may come from a different counter.
	near := c.samples[1].exhaustedWithin(NearExhaustion, sample{remaining, now}) &&
		c.samples[0].exhaustedWithin(2*(NearExhaustion+now.Sub(last.at)), last)
	return hold.Quota{Remaining: remaining, ResetAt: c.resetAt, NearExhaustion: near}, true
}

func (c *Counter) startWindow(remaining int, resetAt, now time.Time) {
	c.lastResetAt, c.resetAt = c.resetAt, resetAt
	c.first, c.remaining, c.lowestAt, c.decreases = remaining, remaining, now, 0
	s := sample{remaining, now}
	c.samples = [3]sample{s, s, s}
}

// count takes in a number of the present window that has not risen.
func (c *Counter) count(remaining int, now time.Time) {
	if remaining < c.remaining {
		c.remaining, c.lowestAt = remaining, now
		c.decreases++
	}
	if now.Sub(c.samples[2].at) >= RateWindow {
		c.samples = [3]sample{c.samples[1], c.samples[2], {remaining, now}}
	}
	// Where the reset is nearer than its rounding, it may be any; that shows in time.
	short := c.resetAt.Sub(now) <= hold.QuotaSlack && now.Sub(c.since) < shortWatch
	c.proven = c.proven || (c.decreases >= MinDecreases && !short)
}

// over reports whether the counter knows nothing that a new one would not learn.
func (c *Counter) over(now time.Time) bool {
	if !c.mu.TryLock() {
		return false
	}
	defer c.mu.Unlock()
	return !c.resetAt.After(now) && !c.distrustUntil.After(now)
}

// exhaustedWithin reports whether what remains at a later sample lasts no longer
// than d, at the rate of use since s.
func (s sample) exhaustedWithin(d time.Duration, later sample) bool {
	took := later.at.Sub(s.at)
	return took >= RateWindow && float64(later.remaining)*took.Seconds() <= float64(s.remaining-later.remaining)*d.Seconds()
}
