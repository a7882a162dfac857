package holdoff

import (
	"cmp"
	"fmt"
	"time"

	"github.com/go-holdoff/holdoff/internal/jitter"
)

// A Backoff says how long to wait before a retry when the server did not say.
// It must be safe for concurrent use. A negative delay counts as zero.
type Backoff interface {
	Delay(Retry) time.Duration
}

// Retry is what a [Backoff] may go by.
type Retry struct {
	// Attempt is the number of the attempt that failed, from 0.
	Attempt int
	// Previous is the delay before that attempt; 0 where it was the first.
	Previous time.Duration
	// Latency is the key's smoothed time to response headers, over first
	// attempts that succeeded; 0 while none has.
	Latency time.Duration
	// Refused reports whether the server throttled the request (429, or 403 in its
	// place) and did not say for how long.
	Refused bool
}

// Jitter spreads delays, so that clients that failed together do not come back
// together.
type Jitter int

const (
	// FullJitter draws from [0, e], where e = min(Cap, Base·2^attempt). It does
	// the least work for nearly the least time.
	FullJitter Jitter = iota
	// EqualJitter draws from [e/2, e]: it keeps half of the wait as a floor.
	EqualJitter
	// DecorrelatedJitter draws from [Base, 3·previous], at most Cap.
	DecorrelatedJitter
	// NoJitter waits e exactly. A fleet that uses it retries in step.
	NoJitter
)

// Exponential is the default [Backoff]: delays that double with each attempt,
// up to a cap, spread by jitter. The zero value is ready for use.
type Exponential struct {
	// Base is the delay that doubles. If zero, it follows the key's latency:
	// twice the smoothed latency, at least 25 ms and at most 250 ms (100 ms
	// while the latency is unknown), or 1 s where the server throttled and did
	// not say for how long.
	Base time.Duration
	// Cap is the longest delay. If zero, 10 s.
	Cap time.Duration
	// Jitter spreads the delay. If zero, FullJitter.
	Jitter Jitter
}

const (
	defaultCap    = 10 * time.Second
	minBase       = 25 * time.Millisecond
	maxBase       = 250 * time.Millisecond
	unknownBase   = 100 * time.Millisecond
	throttledBase = time.Second
)

// Delay returns the delay before the retry that follows r.Attempt.
func (e Exponential) Delay(r Retry) time.Duration {
	limit := cmp.Or(e.Cap, defaultCap)
	base := min(cmp.Or(e.Base, baseFor(r)), limit)
	d := jitter.Doubled(base, r.Attempt, limit)
	switch e.Jitter {
	case EqualJitter:
		return d - jitter.Uniform(d/2)
	case DecorrelatedJitter:
		high := limit
		if previous := max(r.Previous, base); previous < limit/3 {
			high = 3 * previous
		}
		return base + jitter.Uniform(high-base)
	case NoJitter:
		return d
	}
	return jitter.Uniform(d)
}

func (e Exponential) validate() error {
	switch {
	case e.Base < 0:
		return fmt.Errorf("holdoff: Exponential.Base is %v; it must not be negative", e.Base)
	case e.Cap < 0:
		return fmt.Errorf("holdoff: Exponential.Cap is %v; it must not be negative", e.Cap)
	case e.Jitter < FullJitter || e.Jitter > NoJitter:
		return fmt.Errorf("holdoff: Exponential.Jitter is %d; it must be one of the constants, 0 to %d", e.Jitter, NoJitter)
	}
	return nil
}

// baseFor scales the base with the host: a fast one is worth asking again
// soon, and a slow one must not stretch the delays without bound.
func baseFor(r Retry) time.Duration {
	switch {
	case r.Refused:
		return throttledBase
	case r.Latency == 0:
		return unknownBase
	}
	return min(max(2*r.Latency, minBase), maxBase)
}
