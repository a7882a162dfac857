// Package limit keeps account of the limits of a server: what remains of each, how it
// refills, and what was drawn on it. A limit is a token bucket or a window, in any unit:
// requests, tokens, points. The package is pure: it is told the time.
package limit

import "time"

// Unknown stands for a number that a server does not say.
const Unknown = -1

// A Limit is one counter that a server keeps of its callers: as the server says it in an
// answer, or as the user knows it.
type Limit struct {
	// Name says what is counted: "requests", "tokens", "input-tokens", "output-tokens".
	Name string
	// Max is the size of the bucket, or the quota of a window; 0 where that is unknown.
	Max float64
	// Remaining is what is left; negative where that is unknown.
	Remaining float64
	// Reset is the time until the bucket is full, or until the window ends; negative
	// where that is unknown.
	Reset time.Duration
	// Per is the time in which Max is refilled; 0 where that is unknown.
	Per time.Duration
	// Charged is what the answer's own request cost; 0 where the server does not say.
	Charged float64
}

// MaxAmount bounds the numbers of a limit that are taken from servers.
const MaxAmount = 1e15

// Valid reports whether the numbers of a limit may be used: they are finite and small
// enough to be added up.
func (l Limit) Valid() bool {
	within := func(n float64) bool { return n == n && n <= MaxAmount }
	return l.Max >= 0 && within(l.Max) && within(l.Remaining) && within(l.Charged) && l.Charged >= 0 && l.Per >= 0
}
