package ratelimitheader

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answer makes a response with a status and headers given as "Name: value".
func answer(status int, headers ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		resp.Header.Add(name, strings.TrimSpace(value))
	}
	return resp
}

// serverNow is the Date of the golden vectors; localNow is 90 s ahead of it.
var (
	serverNow = time.Date(2022, 11, 15, 8, 0, 0, 0, time.UTC)
	localNow  = serverNow.Add(90 * time.Second)
)

const serverDate = "Date: Tue, 15 Nov 2022 08:00:00 GMT"

// absent marks a vector that holds no hint at all.
const absent = time.Duration(-1)

// readHint returns the delay of a hint, and whether there is one.
func readHint(resp *http.Response, now time.Time) (time.Duration, bool) {
	h := Read(resp, now)
	return h.Delay, h.Found
}

// wantHint checks what readHint reads out of a response with Date and headers.
func wantHint(t *testing.T, want time.Duration, status int, headers ...string) {
	t.Helper()
	got, ok := readHint(answer(status, headers...), localNow)
	if !ok && got != 0 {
		t.Errorf("%d %q: got %v together with false, want 0", status, headers, got)
	}
	if !ok {
		got = absent
	}
	if got != want {
		t.Errorf("%d %q: got hint %v, want %v (-1ns: absent)", status, headers, got, want)
	}
}

// Golden vectors. The dates are whole seconds, and the server's own clock is
// subtracted, so that of "30-31 s" it is 30 s.
func TestHintGoldenVectors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		status  int
		headers []string
		want    time.Duration
	}{
		{"seconds", 503, []string{"Retry-After: 120"}, 120 * time.Second},
		{"a fraction of zero", 429, []string{"Retry-After: 2.0"}, 2 * time.Second},
		{"zero asks for one's own backoff", 503, []string{"Retry-After: 0"}, 0},
		{"negative", 503, []string{"Retry-After: -1"}, absent},
		{"a plus sign", 503, []string{"Retry-After: +5"}, absent},
		{"an exponent", 503, []string{"Retry-After: 1e3"}, absent},
		{"not a number", 503, []string{"Retry-After: NaN"}, absent},
		{"hexadecimal", 503, []string{"Retry-After: 0x10"}, absent},
		{"empty", 503, []string{"Retry-After:"}, absent},
		{"IMF-fixdate", 503, []string{"Retry-After: Tue, 15 Nov 2022 08:00:30 GMT"}, 30 * time.Second},
		{"RFC 850 date", 503, []string{"Retry-After: Tuesday, 15-Nov-22 08:00:30 GMT"}, 30 * time.Second},
		{"asctime date", 503, []string{"Retry-After: Tue Nov 15 08:00:30 2022"}, 30 * time.Second},
		{"numeric zone", 503, []string{"Retry-After: Tue, 15 Nov 2022 08:00:30 +0000"}, 30 * time.Second},
		{"a date in the past", 503, []string{"Retry-After: Tue, 15 Nov 2022 07:59:00 GMT"}, 0},
		{"twenty digits", 503, []string{"Retry-After: 99999999999999999999"}, MaxDelay},
		{"milliseconds come first", 429, []string{"Retry-After-Ms: 250", "Retry-After: 1"}, 250 * time.Millisecond},
		{"Amazon means milliseconds", 429, []string{"X-Amz-Retry-After: 1500"}, 1500 * time.Millisecond},
		{"the longest of several lines", 503, []string{"Retry-After: 5", "Retry-After: 10"}, 10 * time.Second},
		{"out of a cache", 503, []string{"Age: 30", "Retry-After: 5"}, absent},
		{"only exhausted quotas", 429, []string{`RateLimit: "a";r=3;t=9, "b";r=0;t=5`}, 5 * time.Second},
		{"draft 7", 429, []string{"RateLimit: limit=100, remaining=0, reset=7"}, 7 * time.Second},
		{"reset as a delta", 429, []string{"RateLimit-Reset: 50"}, 50 * time.Second},
		{"reset as an epoch", 429, []string{"RateLimit-Reset: 1668499230"}, 30 * time.Second},
		{"reset in epoch milliseconds", 429, []string{"X-RateLimit-Reset: 1668499230123"}, 30123 * time.Millisecond},
		{"reset as a fractional epoch", 429, []string{"X-RateLimit-Reset: 1668499230.5"}, 30500 * time.Millisecond},
		{"reset without seconds", 429, []string{"X-RateLimit-Reset: 2022-11-15T08:00Z"}, 0},
		{"reset in RFC 3339", 429, []string{"X-RateLimit-Reset: 2022-11-15T08:01:00Z"}, time.Minute},
		{"a negative reset of the user's hook", 429, []string{"X-Ratelimit-Reset-Tokens: -1"}, absent},
		{"a 403 with nothing remaining", 403, []string{"X-Ratelimit-Remaining: 0", "X-Ratelimit-Reset: 1668499230"}, 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wantHint(t, test.want, test.status, append(test.headers, serverDate)...)
		})
	}
	t.Run("a date without the server's clock", func(t *testing.T) {
		t.Parallel()
		// The local clock is past it.
		wantHint(t, 0, 503, "Retry-After: Tue, 15 Nov 2022 08:00:30 GMT")
		wantHint(t, 10*time.Second, 503, "Retry-After: Tue, 15 Nov 2022 08:01:40 GMT")
	})
}

// Whatever Retry-After holds, it is understood or ignored, and a valid hint is never
// undercut.
func TestHintReadsEveryFormOfRetryAfter(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for value, want := range map[string]time.Duration{
		"1": s, " 7 ": 7 * s, "\t7\t": 7 * s, "007": 7 * s, "2, 3": 3 * s, "3,2": 3 * s, "2,,": 2 * s, "x, 4": 4 * s,
		"1.5": 1500 * time.Millisecond, "0.0000000001": 1, "1.0000000001": s + 1, "0.5": s / 2,
		"Sun, 06 Nov 1994 08:49:37 GMT":  0,
		"Sunday, 06-Nov-94 08:49:37 GMT": 0,
		"Sun Nov  6 08:49:37 1994":       0,
		"Fri, 31 Dec 9999 23:59:59 GMT":  MaxDelay,
		"1m30s":                          90 * s,
		"":                               absent, " ": absent, ",": absent, "soon": absent, "-": absent, ".": absent, "1.": absent, ".5": absent,
		"1.2.3": absent, "1_000": absent, "Inf": absent, "-Inf": absent, "+Inf": absent, "infinity": absent, "nan": absent,
		"1e100": absent, "-5": absent, "-0": absent, "-1s": absent, "+1s": absent, "١": absent, "5 seconds": absent, "\x00": absent, "\xff": absent,
		"Tue, 15 Nov 2022": absent, "GMT": absent, "Tue, 99 Nov 2022 08:00:30 GMT": absent,
	} {
		resp := answer(503, serverDate)
		resp.Header["Retry-After"] = []string{value} // unlike answer, without trimming
		got, ok := readHint(resp, localNow)
		if !ok {
			got = absent
		}
		if got != want {
			t.Errorf("Retry-After: %q: got %v, want %v (-1ns: absent)", value, got, want)
		}
	}
	resp := answer(503, serverDate)
	resp.Header["Retry-After"] = []string{"", "garbage", "3", "-9", "2"}
	if got, ok := readHint(resp, localNow); got != 3*s || !ok {
		t.Errorf("several lines, of which two are good: got %v, %v; want the longest, 3s", got, ok)
	}
}

// What is too long for a time.Duration is long, and not negative, 0 or short.
func TestHintDoesNotWrap(t *testing.T) {
	t.Parallel()
	for _, digits := range []string{"9223372036", "9223372037", "9223372036.854775807", "10000000000", "18446744073", "18446744074",
		"9223372036854775807", "9223372036854775808", "18446744073709551616", "99999999999999999999", strings.Repeat("9", 400)} {
		for _, header := range []string{"Retry-After", "Retry-After-Ms", "RateLimit-Reset", "X-RateLimit-Reset"} {
			got, ok := readHint(answer(429, header+": "+digits, serverDate), localNow)
			// Ten-digit milliseconds are months; they stay below the longest.
			least := 100 * 24 * time.Hour
			if !ok || got < least || got > MaxDelay {
				t.Errorf("%s: %s: got %v, %v; want between %v and %v", header, digits, got, ok, least, MaxDelay)
			}
		}
	}
	for n, want := range map[float64]time.Duration{
		0: 0, 1e-10: 1, 4611686018: 4611686018 * time.Second, 4611686019: MaxDelay, 9223372037: MaxDelay,
		1e19: MaxDelay, math.MaxFloat64: MaxDelay, math.Inf(1): MaxDelay,
	} {
		if got := seconds(n); got != want {
			t.Errorf("seconds(%v): got %v, want %v", n, got, want)
		}
	}
}

// Dates are taken by the server's own clock, so that a skew of an hour changes
// nothing; a Date that is a day off is not a clock.
func TestHintDatesCancelClockSkew(t *testing.T) {
	t.Parallel()
	now := time.Date(2022, 11, 15, 8, 0, 0, 0, time.UTC)
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour} {
		theirs := now.Add(skew)
		for _, form := range dateForms {
			if form == "2006-01-02T15:04Z07:00" {
				continue // has no seconds
			}
			for _, header := range []string{"Retry-After: ", "X-RateLimit-Reset: "} {
				resp := answer(429, header+theirs.Add(30*time.Second).Format(form), "Date: "+theirs.Format(http.TimeFormat))
				if got, ok := readHint(resp, now); got != 30*time.Second || !ok {
					t.Errorf("skew %v, %s%s: got %v, %v; want 30s", skew, header, form, got, ok)
				}
			}
		}
		epoch := strconv.FormatInt(theirs.Add(30*time.Second).Unix(), 10)
		resp := answer(429, "RateLimit-Reset: "+epoch, "Date: "+theirs.Format(http.TimeFormat))
		if got, ok := readHint(resp, now); got != 30*time.Second || !ok {
			t.Errorf("skew %v, epoch: got %v, %v; want 30s", skew, got, ok)
		}
	}
	date := now.Add(30 * time.Second).Format(http.TimeFormat)
	for _, theirs := range []string{now.Add(25 * time.Hour).Format(http.TimeFormat), now.Add(-25 * time.Hour).Format(http.TimeFormat),
		"Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "garbage", ""} {
		if got, ok := readHint(answer(503, "Retry-After: "+date, "Date: "+theirs), now); got != 30*time.Second || !ok {
			t.Errorf("Date %q: got %v, %v; want 30s by the local clock", theirs, got, ok)
		}
	}
}

// The reset headers of a quota count where the response itself says that a
// limit was met, and where the same family does not say that something is left.
func TestHintResetHeadersNeedARefusal(t *testing.T) {
	t.Parallel()
	const reset = "X-RateLimit-Reset: 1668499230"
	for _, status := range []int{429, 503} {
		wantHint(t, 30*time.Second, status, reset, serverDate)
	}
	for _, status := range []int{403, 418, 420, 430} { // they need not be about a limit
		wantHint(t, absent, status, reset, serverDate)
		wantHint(t, 30*time.Second, status, reset, "X-RateLimit-Remaining: 0", serverDate)
	}
	for _, status := range []int{408, 425, 500, 502, 504} {
		wantHint(t, absent, status, reset, serverDate)
		wantHint(t, 4*time.Second, status, reset, "Retry-After: 4", serverDate)
	}
	wantHint(t, absent, 429, reset, "X-RateLimit-Remaining: 595", serverDate)
	wantHint(t, absent, 429, reset, "X-RateLimit-Remaining: -1", serverDate)
	wantHint(t, 30*time.Second, 429, reset, "X-RateLimit-Remaining: 0.0", serverDate)
	wantHint(t, 30*time.Second, 429, reset, "RateLimit-Remaining: 595", "RateLimit-Reset: 900", serverDate)
	wantHint(t, 2500*time.Millisecond, 429, "X-RateLimit-Reset-After: 2.5", serverDate)
	wantHint(t, 30*time.Second, 429, "X-Rate-Limit-Remaining: 0", "X-Rate-Limit-Reset: 1668499230", serverDate)
	wantHint(t, 9*time.Second, 429, `RateLimit: "a";r=0;t=5`, `RateLimit: "b";t=9;r=0;pk=:YQ==:`, serverDate)
	wantHint(t, 5*time.Second, 429, `RateLimit: "a";r=0;t=5`, "X-RateLimit-Reset: 50", serverDate)
	wantHint(t, absent, 429, `RateLimit: "a";r=1;t=5`, serverDate)
	wantHint(t, absent, 429, `RateLimit: "a";t=5`, serverDate)
	wantHint(t, absent, 429, `RateLimit: "a";r=0;t=-5`, serverDate)
	wantHint(t, 3*time.Second, 429, `RateLimit: "a";r=0;t=5`, "Retry-After: 3", serverDate)
	wantHint(t, 250*time.Millisecond, 429, "X-Ms-Retry-After-Ms: 250", "Retry-After: 9", serverDate)
	wantHint(t, 9*time.Second, 429, "Retry-After-Ms: junk", "Retry-After: 9", serverDate)
	wantHint(t, 9*time.Second, 429, "Age: 0", "Retry-After: 9", serverDate)
}

// Fractions are rounded up, to whole nanoseconds.
func TestHintRoundsUp(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"0.00000000001": 1, "1.00000000001": time.Second + 1, "0.1": 100 * time.Millisecond, "59.9999999999": time.Minute,
	} {
		got, ok := readHint(answer(503, "Retry-After: "+value), localNow)
		// One more nanosecond than the exact value is the float's.
		if !ok || got < want || got > want+1 {
			t.Errorf("Retry-After: %s: got %v, want %v", value, got, want)
		}
	}
	if got, _ := readHint(answer(503, "Retry-After-Ms: 0.0000001"), localNow); got != 1 {
		t.Errorf("Retry-After-Ms: 0.0000001: got %v, want 1ns", got)
	}
}

// Any header bytes give a hint within [0, MaxDelay],
// or none.
func FuzzHint(f *testing.F) {
	for _, v := range []string{"", "0", "1", "120", "2.0", "-1", "+5", "1e3", "NaN", "Inf", "0x10", "9223372036", "9223372037", "1e100",
		"99999999999999999999", "Tue, 15 Nov 2022 08:00:30 GMT", "Tuesday, 15-Nov-22 08:00:30 GMT", "Tue Nov 15 08:00:30 2022",
		"Fri, 31 Dec 9999 23:59:59 GMT", "0000-01-01T00:00:00Z", "2022-11-15T08:00Z", "1668499230", "1668499230123", "1668499230.5",
		"6m0s", "2562047h47m16.854775807s", "2, 3", ",;=\x00\xff", `"a";r=0;t=5`, "limit=1, remaining=0, reset=7", `"x";r=0;t=9223372036854775807`} {
		f.Add(v, v, 429)
		f.Add(v, "Thu, 01 Jan 1970 00:00:00 GMT", 503)
		f.Add(v, "0", 403)
	}
	names := []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Amz-Retry-After", "Retry-After", "Ratelimit", "Ratelimit-Reset",
		"X-Ratelimit-Reset", "X-Ratelimit-Reset-After", "X-Rate-Limit-Reset", "X-Ratelimit-Reset-Requests", "X-Ratelimit-Reset-Tokens",
		"Anthropic-Ratelimit-Tokens-Reset", "X-Ratelimit-Retry-After", "X-Hubspot-Ratelimit-Secondly-Remaining"}
	others := []string{"Date", "Age", "Ratelimit-Remaining", "X-Ratelimit-Remaining", "X-Rate-Limit-Remaining", "Retry-After", "Ratelimit",
		"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Remaining-Tokens"}
	f.Fuzz(func(t *testing.T, a, b string, status int) {
		if status < 400 || status > 599 {
			status = 429
		}
		for _, name := range names {
			for _, other := range others {
				resp := answer(status)
				resp.Header[name] = []string{a}
				resp.Header[other] = append(resp.Header[other], b)
				d, ok := readHint(resp, localNow)
				if d < 0 || d > MaxDelay || (!ok && d != 0) {
					t.Fatalf("%s: %q, %s: %q: got %v, %v", name, a, other, b, d, ok)
				}
			}
		}
	})
}
