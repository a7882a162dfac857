package ratelimitheader

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/internal/limit"
)

// callLimit is Shopify's field of the REST API, "39/40": used, and the size of a bucket
// that is emptied in shopifyPeriod, whatever its size is.
const (
	callLimit     = "X-Shopify-Shop-Api-Call-Limit"
	shopifyPeriod = 20 * time.Second
)

// Limits reports the limits of which the response says what is counted: requests, tokens.
// It reports those of which it says what remains. Windows of requests without a unit are
// left to [Counts].
func Limits(h http.Header, now time.Time, report func(limit.Limit)) {
	if cached(h) {
		return
	}
	c := clock{h, now}
	for _, families := range [...][]limitFamily{vendorFamilies, weightFamilies} {
		for i := range families {
			if l, ok := families[i].read(c); ok {
				report(l)
			}
		}
	}
	if used, size, ok := strings.Cut(Value(h, callLimit), "/"); ok {
		n, ok := decimal(strings.TrimSpace(used))
		if most, sized := decimal(strings.TrimSpace(size)); ok && sized && most > 0 && most <= limit.MaxAmount {
			report(limit.Limit{Name: "requests", Max: most, Remaining: max(most-n, 0), Reset: limit.Unknown, Per: shopifyPeriod})
		}
	}
}

// read reads the limit of a family. Servers say -1, or 0 of 0, for what they do not
// know (Azure).
func (f *limitFamily) read(c clock) (l limit.Limit, ok bool) {
	lines := c.header[f.remaining]
	if len(lines) != 1 {
		return l, false
	}
	l = limit.Limit{Name: f.name, Reset: limit.Unknown, Per: f.window}
	if l.Remaining, ok = decimal(bare(lines[0])); !ok || l.Remaining > limit.MaxAmount {
		return l, false
	}
	if n, ok := decimal(Value(c.header, f.limit)); ok && n <= limit.MaxAmount {
		l.Max = n
	}
	if reset := Value(c.header, f.reset); reset != "" {
		if d, ok := c.delay(reset); ok {
			l.Reset = d
		}
	}
	if f.cost != "" {
		if n, ok := decimal(Value(c.header, f.cost)); ok && n <= limit.MaxAmount {
			l.Charged = n
		}
	}
	// 0 of an unknown size, without a time, is what a server says that does not know.
	return l, l.Max > 0 || l.Remaining > 0 || l.Reset > 0
}

// Asked returns how long the response asks to be left alone in so many words: without
// what the resets of limits imply.
func Asked(resp *http.Response, now time.Time) time.Duration {
	if cached(resp.Header) {
		return 0
	}
	return clock{resp.Header, now}.retryAfter().Delay
}
