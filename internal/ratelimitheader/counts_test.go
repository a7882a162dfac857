package ratelimitheader

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// remaining returns the tightest of the counts.
func remaining(h http.Header, now time.Time) (left int, reset time.Duration, ok bool) {
	Counts(h, now, func(c Count) {
		if !ok || c.Remaining < left {
			left, reset, ok = c.Remaining, c.Reset, true
		}
	})
	return left, reset, ok
}

// What the header families that are seen in the wild say of a limit.
func TestCounts_OfRealHeaders(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	const date = "Date: Thu, 01 Jan 2026 12:00:30 GMT" // the server is half a minute ahead
	for _, tt := range []struct {
		name    string
		headers []string
		remains int
		reset   time.Duration // 0: nothing is said
	}{
		{"nothing", nil, 0, 0},
		{"IETF", []string{`RateLimit: "default";r=50;t=30`}, 50, 30 * time.Second},
		{"Cloudflare", []string{`Ratelimit: "default";r=50;t=30`, `Ratelimit-Policy: "burst";q=100;w=60`}, 50, 30 * time.Second},
		{"IETF, two quotas: the tightest", []string{`RateLimit: "hour";r=900;t=3000, "burst";r=7;t=4`}, 7, 4 * time.Second},
		{"IETF, two lines", []string{`RateLimit: "hour";r=5;t=3000`, `RateLimit: "burst";r=7;t=4`}, 5, 3000 * time.Second},
		{"IETF, spaces", []string{`RateLimit:  "a" ; r=3 ; t=2 `}, 3, 2 * time.Second},
		{"IETF, rounded down to nothing", []string{`RateLimit: "a";r=3;t=0`}, 3, time.Second},
		{"IETF, without a time", []string{`RateLimit: "a";r=3`}, 0, 0},
		{"IETF, negative", []string{`RateLimit: "a";r=-1;t=5`}, 0, 0},
		{"IETF, no number", []string{`RateLimit: "a";r=x;t=5`}, 0, 0},
		{"IETF, beyond all numbers", []string{`RateLimit: "a";r=9223372036854775807;t=9223372036854775807`}, MaxRemaining, MaxDelay},
		{"draft 7", []string{"RateLimit: limit=10, remaining=4, reset=30"}, 4, 30 * time.Second},
		{"GitHub", []string{"X-RateLimit-Limit: 5000", "X-RateLimit-Remaining: 4999", "X-RateLimit-Used: 1", "X-RateLimit-Reset: 1767269430", date}, 4999, 10 * time.Minute},
		{"GitLab: an epoch in the IETF's older names", []string{"RateLimit-Remaining: 595", "RateLimit-Reset: 1767268890", date}, 595, time.Minute},
		{"OpenAI: per kind", []string{"X-Ratelimit-Remaining-Requests: 59", "X-Ratelimit-Reset-Requests: 1s", "X-Ratelimit-Remaining-Tokens: 9", "X-Ratelimit-Reset-Tokens: 6m0s"}, 0, 0},
		{"a Go duration", []string{"X-Ratelimit-Remaining: 59", "X-Ratelimit-Reset: 6m0s"}, 59, 6 * time.Minute},
		{"Azure: -1", []string{"X-Ratelimit-Remaining: -1", "X-Ratelimit-Reset: 10"}, 0, 0},
		{"Azure: 0", []string{"X-Ratelimit-Remaining: 0", "X-Ratelimit-Reset: 0"}, 0, time.Second},
		{"Anthropic: names of its own", []string{"Anthropic-Ratelimit-Requests-Remaining: 5", "Anthropic-Ratelimit-Requests-Reset: 2026-01-01T12:00:31Z"}, 0, 0},
		{"Discord", []string{"X-RateLimit-Remaining: 4", "X-RateLimit-Reset: 1767268831.5", "X-RateLimit-Reset-After: 1.250", date}, 4, 1250 * time.Millisecond},
		{"X", []string{"x-rate-limit-remaining: 14", "x-rate-limit-reset: 1767269730", date}, 14, 15 * time.Minute},
		{"Reddit: floats, and a delay", []string{"X-Ratelimit-Used: 6", "X-Ratelimit-Remaining: 594.0", "X-Ratelimit-Reset: 123"}, 594, 123 * time.Second},
		{"Jira: a date without seconds", []string{"X-RateLimit-Remaining: 9", "X-RateLimit-Reset: 2026-01-01T12:03Z", date}, 9, 150 * time.Second},
		{"Zendesk", []string{"X-Rate-Limit: 700", "X-Rate-Limit-Remaining: 699", "ratelimit-remaining: 698", "ratelimit-reset: 41"}, 698, 41 * time.Second},
		{"Prisjakt: milliseconds, taken for seconds", []string{"X-Rate-Limit-Remaining: 9", "X-Rate-Limit-Reset: 600000"}, 9, 600000 * time.Second},
		{"LaunchDarkly: epoch in ms", []string{"X-Ratelimit-Remaining: 9", "X-Ratelimit-Reset: 1767268832000", date}, 9, 2 * time.Second},
		{"a reset that has passed", []string{"X-Ratelimit-Remaining: 9", "X-Ratelimit-Reset: 1767268800", date}, 9, time.Second},
		{"two lines of one family", []string{"X-Ratelimit-Remaining: 9", "X-Ratelimit-Remaining: 7", "X-Ratelimit-Reset: 5"}, 0, 0},
		{"no number", []string{"X-Ratelimit-Remaining: many", "X-Ratelimit-Reset: 5"}, 0, 0},
		{"no number that a counter would be", []string{"X-Ratelimit-Remaining: Inf", "X-Ratelimit-Reset: 5"}, 0, 0},
		{"too much", []string{"X-Ratelimit-Remaining: 1" + fmt.Sprintf("%0300d", 0), "X-Ratelimit-Reset: 5"}, MaxRemaining, 5 * time.Second},
		{"no reset", []string{"X-Ratelimit-Remaining: 9"}, 0, 0},
		{"lemlist: a date of JavaScript's", []string{"X-RateLimit-Remaining: 9", "X-RateLimit-Reset: Tue Feb 16 2021 09:02:42 GMT+0100 (Central European Standard Time)"}, 0, 0},
		{"out of a cache", []string{`RateLimit: "default";r=50;t=30`, "Age: 3"}, 0, 0},
		{"out of a cache that says so", []string{`RateLimit: "default";r=50;t=30`, "X-From-Cache: 1"}, 0, 0},
		{"parameters", []string{"Ratelimit-Remaining: 5;w=60", "Ratelimit-Reset: 50;w=60"}, 5, 50 * time.Second},
		{"a list: two counters", []string{"X-RateLimit-Remaining: 3, 14523", "X-RateLimit-Reset: 1, 1419704"}, 0, 0},
		{"more items than are read", []string{"RateLimit: " + strings.Repeat("a;r=9;t=5, ", 8) + "b;r=1;t=5"}, 9, 5 * time.Second},
		{"more bytes than are read", []string{"X-RateLimit-Remaining: 5" + strings.Repeat(" ", 64) + "0", "X-RateLimit-Reset: 9"}, 5, 9 * time.Second},
		{"from its origin", []string{`RateLimit: "default";r=50;t=30`, "Age: 0"}, 50, 30 * time.Second},
	} {
		remains, reset, ok := remaining(answer(200, tt.headers...).Header, now)
		if ok != (tt.reset != 0) || remains != tt.remains || reset != tt.reset {
			t.Errorf("%s: got %d for %v, %t; want %d for %v", tt.name, remains, reset, ok, tt.remains, tt.reset)
		}
	}
}

// It is read of answers of healthy servers.
func TestCounts_AllocateNothing(t *testing.T) {
	now := time.Now()
	for _, headers := range [][]string{
		nil,
		{`RateLimit: "hour";r=900;t=3000, "burst";r=7;t=4`},
		{"X-RateLimit-Remaining: 4999", "X-RateLimit-Reset: 1767269430", "Date: " + now.UTC().Format(http.TimeFormat)},
		{"Ratelimit-Remaining: 5;w=60", "Ratelimit-Reset: 50"},
	} {
		h := answer(200, headers...).Header
		if n := testing.AllocsPerRun(100, func() { remaining(h, now) }); n != 0 {
			t.Errorf("%q: %v allocations, want 0", headers, n)
		}
	}
}

// http.Header is read by its keys, which net/http canonicalises.
func TestFields_AreCanonical(t *testing.T) {
	names := slices.Concat(millisecondFields, delayFields, nameFields[:])
	for _, f := range slices.Concat(windowFamilies, vendorFamilies) {
		names = append(names, f.limit, f.remaining, f.reset)
	}
	for _, name := range names {
		if name != http.CanonicalHeaderKey(name) {
			t.Errorf("%q is not canonical", name)
		}
	}
}
