package holdoff

import (
	"net/http"
	"time"
)

// hint is what a response says about coming back.
type hint struct {
	wait time.Duration // how long the server asked to be left alone; 0: nothing that lies ahead
	said bool          // the server asked at all
	used bool          // a limit is used up
}

// or adds what a less precise source says. Nothing ahead ("Retry-After: 0", or a
// date in the past) does not hide a later source.
func (a hint) or(b hint) hint {
	if a.wait > 0 {
		b.wait = a.wait
	}
	return hint{b.wait, a.said || b.said, a.used || b.used}
}

// hintOf reads what resp says about coming back. The order is by precision and
// trust: milliseconds, then Retry-After (RFC 9110, section 10.2.3), then, where
// resp says by its status that a limit was met, the resets of limits.
func hintOf(resp *http.Response, now time.Time) hint {
	if cached(resp.Header) {
		return hint{}
	}
	c := clock{resp.Header, now}
	asked := c.retryAfter()
	if asked.wait > 0 {
		return asked
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		usedUp, unknown := c.resets()
		return asked.or(usedUp).or(unknown)
	case http.StatusForbidden, http.StatusTeapot, statusEnhanceYourCalm, statusShopifyRejection:
		// Only some of these are about a limit: those that say that it is used up.
		usedUp, _ := c.resets()
		return asked.or(usedUp)
	}
	return asked
}

// Statuses without a name in net/http, with which servers refuse clients that send
// too much.
const (
	statusEnhanceYourCalm  = 420
	statusShopifyRejection = 430
)

// millisecondFields and delayFields say how long to wait, and nothing else. They
// are spelt as net/http canonicalises them.
var (
	millisecondFields = []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Amz-Retry-After"}
	delayFields       = []string{"Retry-After", "X-Ratelimit-Retry-After"}
)

// retryAfter reads those fields, the precise ones first.
func (c clock) retryAfter() (asked hint) {
	for _, name := range millisecondFields {
		asked = asked.or(longest(c.header[name], milliseconds))
	}
	for _, name := range delayFields {
		asked = asked.or(longest(c.header[name], c.delayOrMilliseconds))
	}
	return asked
}

// longest returns the longest delay of a field, since that is never too early.
func longest(lines []string, parse func(string) (time.Duration, bool)) (asked hint) {
	for _, v := range values(lines) {
		if d, ok := parse(v); ok {
			asked.wait, asked.said = max(asked.wait, d), true
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
	usedUp, unknown := c.resets()
	reset, short := usedUp.or(unknown).wait, d/1000
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
func (c clock) resets() (usedUp, unknown hint) {
	c.eachLimit(func(remaining float64, reset time.Duration) {
		switch {
		case remaining >= 1:
		case remaining >= 0:
			usedUp.used = true
			if reset >= 0 {
				usedUp.wait, usedUp.said = max(usedUp.wait, reset), true
			}
		case reset >= 0:
			if unknown.wait == 0 || (reset > 0 && reset < unknown.wait) {
				unknown.wait = reset
			}
			unknown.said = true
		}
	})
	return usedUp, unknown
}
