// Package ratelimitheader reads what servers write in header fields about rate
// limits: how long to stay away, and what remains until when. It knows the notations
// of RFC 9110, of draft-ietf-httpapi-ratelimit-headers, and of vendors, and bounds
// what it reads of each field.
package ratelimitheader

import (
	"net/http"
	"time"
)

// A Hint is what a response says about coming back.
type Hint struct {
	Delay     time.Duration // how long the server asked to be left alone; 0: nothing that lies ahead
	Found     bool          // the server asked at all
	Exhausted bool          // a limit is used up; only read while no Delay was found
}

// or adds what a less precise source says. Nothing ahead ("Retry-After: 0", or a
// date in the past) does not hide a later source.
func (a Hint) or(b Hint) Hint {
	if a.Delay > 0 {
		b.Delay = a.Delay
	}
	return Hint{b.Delay, a.Found || b.Found, a.Exhausted || b.Exhausted}
}

// Read reads what resp says about coming back; now is the local time. The order is
// by precision and trust: milliseconds, then Retry-After (RFC 9110, section 10.2.3),
// then, where resp says by its status that a limit was met, the resets of limits.
func Read(resp *http.Response, now time.Time) Hint {
	if cached(resp.Header) {
		return Hint{}
	}
	c := clock{resp.Header, now}
	asked := c.retryAfter()
	if asked.Delay > 0 {
		return asked
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		exhausted, unknown := c.resets()
		return asked.or(exhausted).or(unknown)
	case http.StatusForbidden, http.StatusTeapot, StatusEnhanceYourCalm, StatusSecurityRejection:
		// Only some of these are about a limit: those that say that it is used up.
		exhausted, _ := c.resets()
		return asked.or(exhausted)
	}
	return asked
}

// Statuses without a name in net/http, with which servers refuse clients that send
// too much: Twitter's of old, and Shopify's.
const (
	StatusEnhanceYourCalm   = 420
	StatusSecurityRejection = 430
)

// millisecondFields and delayFields say how long to wait, and nothing else. They
// are spelt as net/http canonicalises them.
var (
	millisecondFields = []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Amz-Retry-After"}
	delayFields       = []string{"Retry-After", "X-Ratelimit-Retry-After"}
)

// retryAfter reads those fields, the precise ones first.
func (c clock) retryAfter() (asked Hint) {
	for _, name := range millisecondFields {
		asked = asked.or(longest(c.header[name], milliseconds))
	}
	for _, name := range delayFields {
		asked = asked.or(longest(c.header[name], c.delayOrMilliseconds))
	}
	return asked
}

// longest returns the longest delay of a field, since that is never too early.
func longest(lines []string, parse func(string) (time.Duration, bool)) (asked Hint) {
	for _, v := range values(lines) {
		if d, ok := parse(v); ok {
			asked.Delay, asked.Found = max(asked.Delay, d), true
		}
	}
	return asked
}

// delayOrMilliseconds reads a Retry-After. Some servers write milliseconds where
// seconds belong ("60000"); the reset beside it shows that where it is about a
// thousandth.
func (c clock) delayOrMilliseconds(s string) (time.Duration, bool) {
	d, ok := c.delay(s)
	if n, number := decimal(s); !number || n < 1000 || n >= 1e9 {
		return d, ok
	}
	exhausted, unknown := c.resets()
	reset, short := exhausted.or(unknown).Delay, d/1000
	if reset > 0 && (reset-short).Abs() <= max(time.Second, short/10) {
		return max(reset, short), true
	}
	return d, ok
}

// resets sums up the limits. Those that are used up ask for their longest reset.
// Where the server does not say what remains, only one of them may have refused,
// and it is not known which: the shortest reset is the time of the next try. A
// limit of which something remains did not refuse (GitLab sends the numbers of
// another limiter).
func (c clock) resets() (exhausted, unknown Hint) {
	c.eachLimit(func(remaining float64, reset time.Duration) {
		switch {
		case remaining >= 1:
		case remaining >= 0:
			exhausted.Exhausted = true
			if reset >= 0 {
				exhausted.Delay, exhausted.Found = max(exhausted.Delay, reset), true
			}
		case reset >= 0:
			if unknown.Delay == 0 || (reset > 0 && reset < unknown.Delay) {
				unknown.Delay = reset
			}
			unknown.Found = true
		}
	})
	return exhausted, unknown
}
