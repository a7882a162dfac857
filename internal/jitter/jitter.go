// Package jitter draws random durations, and doubles delays without overflow.
package jitter

import (
	"math/rand/v2"
	"time"
)

// Uniform returns a random duration in [0, d], or 0 where d is not positive.
func Uniform(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(rand.Uint64N(uint64(d) + 1)) // d+1 need not fit a Duration
}

// Doubled returns min(limit, base·2^n), for any n.
func Doubled(base time.Duration, n int, limit time.Duration) time.Duration {
	for ; n > 0 && base > 0 && base < limit; n-- {
		if base > limit/2 {
			return limit
		}
		base *= 2
	}
	return min(base, limit)
}
