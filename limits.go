package holdoff

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What headers say of quotas: hint.go asks when one that is used up is refilled,
// quota.go what is left of it before that.

// limitFields are the families of headers that say when a quota is refilled.
// They are spelt as net/http canonicalises them.
var limitFields = []limitFamily{
	{"X-Ratelimit-Reset-After", "X-Ratelimit-Remaining"},
	{"Ratelimit-Reset", "Ratelimit-Remaining"},
	{"X-Ratelimit-Reset", "X-Ratelimit-Remaining"},
	{"X-Rate-Limit-Reset", "X-Rate-Limit-Remaining"},
}

type limitFamily struct{ reset, remaining string }

// left returns what remains. A negative number means "unknown" where it is seen
// (Azure).
func (f limitFamily) left(h http.Header) (float64, bool) {
	return decimal(strings.TrimSpace(h.Get(f.remaining)))
}

// refill returns after what time the quota is refilled, at the latest.
func (f limitFamily) refill(h http.Header, now time.Time) (time.Duration, bool) {
	return longest(h[f.reset], func(v string) (time.Duration, bool) { return delayOrDate(v, now) })
}

// eachLimit reports the quotas of the RateLimit field of
// draft-ietf-httpapi-ratelimit-headers, in its present form ("name";r=0;t=30) and
// in that of draft 7 (limit=10, remaining=0, reset=30).
func eachLimit(h http.Header, report func(left int64, refill time.Duration)) {
	left, refill := int64(-1), int64(-1)
	for _, line := range h["Ratelimit"] {
		for item := range strings.SplitSeq(line, ",") {
			r, t := int64(-1), int64(-1)
			for param := range strings.SplitSeq(item, ";") {
				switch name, value, _ := strings.Cut(strings.TrimSpace(param), "="); name {
				case "r":
					r = integer(value)
				case "t":
					t = integer(value)
				case "remaining":
					left = integer(value)
				case "reset":
					refill = integer(value)
				}
			}
			if r >= 0 && t >= 0 {
				report(r, seconds(float64(t)))
			}
		}
	}
	if left >= 0 && refill >= 0 {
		report(left, seconds(float64(refill)))
	}
}

// integer reads a non-negative integer, or returns -1.
func integer(s string) int64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// cached reports whether a response is out of a cache: what it says was said to
// somebody else, a while ago.
func cached(h http.Header) bool {
	age, ok := decimal(strings.TrimSpace(h.Get("Age")))
	return ok && age > 0
}
