package ratelimitheader

import (
	"net/http"
	"strings"
	"time"
)

// MaxRemaining replaces larger numbers.
const MaxRemaining = 1e9

// A Count is what the server says to remain of one limit.
type Count struct {
	Limit     string // its name; "": the server gave none
	Remaining int
	Reset     time.Duration // how long it is until then: a second at least, since servers round
}

// Counts reports what the response says to remain of each limit: of those without a
// name, of the tightest one. It reports nothing where the response does not say when
// the reset is, or came out of a cache.
func Counts(h http.Header, now time.Time, report func(Count)) {
	if cached(h) {
		return
	}
	var rest Count // of the items without a name
	var found, unnamed bool
	eachRateLimit(h, func(name string, n, after int64) {
		if after < 0 {
			return
		}
		found = true
		c := Count{name, int(min(n, MaxRemaining)), max(seconds(float64(after)), time.Second)}
		switch {
		case name != "":
			report(c)
		case !unnamed || c.Remaining < rest.Remaining:
			rest, unnamed = c, true
		}
	})
	if !found {
		rest, unnamed = clock{h, now}.window()
	}
	if unnamed {
		rest.Limit = fieldName(h)
		report(rest)
	}
}

// window returns the count of the first family that says both numbers.
func (c clock) window() (Count, bool) {
	for _, f := range windowFamilies {
		remaining, reset := c.header[f.remaining], c.header[f.reset]
		// Lists are several counters, which the caller does not tell apart.
		if len(remaining) != 1 || len(reset) != 1 {
			continue
		}
		n, ok := decimal(bare(remaining[0]))
		if !ok {
			continue
		}
		if after, ok := c.delay(bare(reset[0])); ok {
			return Count{Remaining: int(min(n, MaxRemaining)), Reset: max(after, time.Second)}, true
		}
	}
	return Count{}, false
}

// limitFamily names the fields of one limit, as net/http canonicalises them.
type limitFamily struct {
	remaining string
	reset     string        // when the window ends, or when the bucket is full
	window    time.Duration // how long the window lasts, where there is no reset

	// Of a token bucket:

	limit string // its size
	need  need   // how much of it a request needs

	// Of a limit with a unit:

	name string // what is counted
	cost string // what the request of this response was charged
}

// need is how much of a token bucket a request needs.
type need int

const (
	all        need = iota // it is no bucket, but a window that ends
	oneRequest             // the bucket is counted in requests
	someTokens             // the bucket is counted in tokens
)

// tokenShare is the share of a token bucket that is waited for: what a request
// costs is not known here. A bucket that fills loses nothing by the wait, as long
// as it is not full, and a request that needs more is refused a few times at most.
const tokenShare = 4

// windowFamilies are the fields of limits whose reset is the end of a window.
var windowFamilies = []limitFamily{
	{reset: "X-Ratelimit-Reset-After", remaining: "X-Ratelimit-Remaining"},
	{reset: "Ratelimit-Reset", remaining: "Ratelimit-Remaining"},
	{reset: "X-Ratelimit-Reset", remaining: "X-Ratelimit-Remaining"},
	{reset: "X-Rate-Limit-Reset", remaining: "X-Rate-Limit-Remaining"},
}

// vendorFamilies are the fields of limits with a name and a size. OpenAI's and
// Anthropic's resets are when the bucket is full again; those without a reset say by
// their names how long the window is.
var vendorFamilies = []limitFamily{
	{name: "requests", limit: "X-Ratelimit-Limit-Requests", remaining: "X-Ratelimit-Remaining-Requests", reset: "X-Ratelimit-Reset-Requests", need: oneRequest},
	{name: "tokens", limit: "X-Ratelimit-Limit-Tokens", remaining: "X-Ratelimit-Remaining-Tokens", reset: "X-Ratelimit-Reset-Tokens", need: someTokens},
	{name: "requests", limit: "X-Rate-Limit-Limit-Requests", remaining: "X-Rate-Limit-Remaining-Requests", reset: "X-Rate-Limit-Reset-Requests", need: oneRequest},
	{name: "tokens", limit: "X-Rate-Limit-Limit-Tokens", remaining: "X-Rate-Limit-Remaining-Tokens", reset: "X-Rate-Limit-Reset-Tokens", need: someTokens},
	{name: "requests", limit: "Anthropic-Ratelimit-Requests-Limit", remaining: "Anthropic-Ratelimit-Requests-Remaining", reset: "Anthropic-Ratelimit-Requests-Reset", need: oneRequest},
	{name: "tokens", limit: "Anthropic-Ratelimit-Tokens-Limit", remaining: "Anthropic-Ratelimit-Tokens-Remaining", reset: "Anthropic-Ratelimit-Tokens-Reset", need: someTokens},
	{name: "input-tokens", limit: "Anthropic-Ratelimit-Input-Tokens-Limit", remaining: "Anthropic-Ratelimit-Input-Tokens-Remaining", reset: "Anthropic-Ratelimit-Input-Tokens-Reset", need: someTokens},
	{name: "output-tokens", limit: "Anthropic-Ratelimit-Output-Tokens-Limit", remaining: "Anthropic-Ratelimit-Output-Tokens-Remaining", reset: "Anthropic-Ratelimit-Output-Tokens-Reset", need: someTokens},
	{name: "requests", limit: "X-Hubspot-Ratelimit-Secondly", remaining: "X-Hubspot-Ratelimit-Secondly-Remaining", window: time.Second},
}

// weightFamilies are fields of limits that no hint is read from: they do not say when a
// request may be sent again.
var weightFamilies = []limitFamily{
	{name: "requests", limit: "X-Ratelimit-Limit-Req-Minute", remaining: "X-Ratelimit-Remaining-Req-Minute", window: time.Minute},
	{name: "tokens", limit: "X-Ratelimit-Limit-Tokens-Minute", remaining: "X-Ratelimit-Remaining-Tokens-Minute", window: time.Minute, cost: "X-Ratelimit-Tokens-Query-Cost"},
	{name: "tokens", limit: "X-Ratelimit-Limit-Tokens-Month", remaining: "X-Ratelimit-Remaining-Tokens-Month", window: month, cost: "X-Ratelimit-Tokens-Query-Cost"},
	{name: "tokens", limit: "Ratelimitbysize-Limit", remaining: "Ratelimitbysize-Remaining", reset: "Ratelimitbysize-Reset", cost: "Ratelimitbysize-Query-Cost"},
	{name: "requests", limit: "X-Hubspot-Ratelimit-Daily", remaining: "X-Hubspot-Ratelimit-Daily-Remaining", window: 24 * time.Hour},
}

const month = 30 * 24 * time.Hour

// eachLimit reports what remains of each limit, and how long it is until the
// reset: until enough is there for a request where it is a token bucket that is
// used up. -1 stands for what the response does not say.
func (c clock) eachLimit(report func(remaining float64, reset time.Duration)) {
	eachRateLimit(c.header, func(_ string, remaining, reset int64) {
		if reset < 0 {
			report(float64(remaining), -1)
			return
		}
		report(float64(remaining), seconds(float64(reset)))
	})
	for _, families := range [][]limitFamily{windowFamilies, vendorFamilies} {
		for i := range families {
			families[i].each(c, report)
		}
	}
}

// each reports the limits of a family. Where its fields are lists, they are pairs
// by position. A negative number that remains means "unknown" where it is seen
// (Azure), and a reset beside it is not believed.
func (f *limitFamily) each(c clock, report func(remaining float64, reset time.Duration)) {
	if c.header[f.remaining] == nil && c.header[f.reset] == nil {
		return
	}
	var remains [maxValues]float64
	for i := range remains {
		remains[i] = -1
	}
	for i, v := range values(c.header[f.remaining]) {
		if n, ok := decimal(v); ok {
			remains[i] = n
			report(n, -1)
		}
	}
	if f.window > 0 && remains[0] >= 0 {
		report(remains[0], f.window)
	}
	for i, v := range values(c.header[f.reset]) {
		d, ok := c.delay(v)
		switch n := remains[i]; {
		case !ok, n < 0 && c.header[f.remaining] != nil:
		case n < 0:
			report(-1, d)
		default:
			report(n, f.enough(c.header, d))
		}
	}
}

// enough returns how long it is until a bucket that is empty now, and full after
// the time full, has what a request needs. Where its size is not known, that is
// until it is full.
func (f *limitFamily) enough(h http.Header, full time.Duration) time.Duration {
	size, ok := decimal(bare(h.Get(f.limit)))
	switch {
	case !ok || size < 1:
	case f.need == oneRequest:
		return seconds(full.Seconds() / size)
	case f.need == someTokens:
		return seconds(full.Seconds() / tokenShare)
	}
	return full
}

// eachRateLimit reports the limits of the RateLimit field of
// draft-ietf-httpapi-ratelimit-headers, in its present form ("name";r=0;t=30) and
// in that of draft 7 (limit=10, remaining=0, reset=30). A reset of -1 is not said,
// nor is a name of "".
func eachRateLimit(h http.Header, report func(name string, remaining, reset int64)) {
	remaining, reset := int64(-1), int64(-1)
	for item := range parts(",", h["Ratelimit"]...) {
		r, t := int64(-1), int64(-1)
		for param := range parts(";", item) {
			switch name, value, _ := strings.Cut(bounded(param), "="); name {
			case "r":
				r = integer(value)
			case "t":
				t = integer(value)
			case "remaining":
				remaining = integer(value)
			case "reset":
				reset = integer(value)
			}
		}
		if r >= 0 {
			name, _, _ := strings.Cut(item, ";")
			report(limitName(name), r, t)
		}
	}
	if remaining >= 0 {
		report("", remaining, reset)
	}
}
