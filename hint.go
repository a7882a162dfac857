package holdoff

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxHint is what an absurdly long hint is cut to: over a century, far above
// any MaxHold, and small enough to be added to a time without overflow.
const maxHint = time.Duration(1 << 62)

// hintOf returns how long the server that sent resp asked to be left alone, and
// whether it asked at all. Zero with true means that it asked for nothing that
// lies ahead ("Retry-After: 0", or a date in the past): the caller's own
// backoff applies.
//
// The order is by precision and trust: milliseconds, then Retry-After
// (RFC 9110, section 10.2.3), then, where resp itself says that a limit was
// met, the reset time of that limit.
func hintOf(resp *http.Response, now time.Time) (time.Duration, bool) {
	h := resp.Header
	if cached(h) {
		return 0, false
	}
	now = serverTime(h, now)
	if d, ok := retryAfter(h, now); ok {
		return d, true
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusForbidden:
		return resetHint(h, now)
	}
	return 0, false
}

// limited tells whether a 403 is a rate limit in disguise, as GitHub and
// Google send it: it says when to come back, or that nothing remains.
func limited(h http.Header, now time.Time) bool {
	if _, ok := retryAfter(h, now); ok {
		return true
	}
	for _, f := range limitFields {
		if left, ok := f.left(h); ok && left == 0 {
			return true
		}
	}
	d, _ := usedUp(h)
	return d > 0
}

// retryAfter reads the headers that say just that, the precise ones first.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	for _, name := range []string{"Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Amz-Retry-After"} {
		if d, ok := longest(h[name], millis); ok {
			return d, true
		}
	}
	return longest(h["Retry-After"], func(v string) (time.Duration, bool) {
		return delayOrDate(v, now)
	})
}

// resetHint reads the reset times of quotas: the IETF field first, then the
// longest of the older ones. A family that says that something remains speaks
// of another limiter than the one that refused (GitLab does that), and is left
// out.
func resetHint(h http.Header, now time.Time) (time.Duration, bool) {
	hint, found := usedUp(h)
	if found {
		return hint, true
	}
	for _, f := range limitFields {
		if left, ok := f.left(h); h[f.remaining] != nil && !(ok && left == 0) {
			continue
		}
		if d, ok := f.refill(h, now); ok {
			hint, found = max(hint, d), true
		}
	}
	return hint, found
}

// usedUp reads the RateLimit field. Only a quota with nothing left asks for a
// delay; of several the longest counts.
func usedUp(h http.Header) (hint time.Duration, found bool) {
	eachLimit(h, func(left int64, refill time.Duration) {
		if left == 0 {
			hint, found = max(hint, refill), true
		}
	})
	return hint, found
}

// longest returns the longest duration that parse finds in lines, since the
// longest is never too early. A line may be several, joined by commas; a
// date has a comma of its own, so each line is first tried whole.
func longest(lines []string, parse func(string) (time.Duration, bool)) (hint time.Duration, found bool) {
	for _, line := range lines {
		if d, ok := parse(strings.TrimSpace(line)); ok {
			hint, found = max(hint, d), true
			continue
		}
		for part := range strings.SplitSeq(line, ",") {
			if d, ok := parse(strings.TrimSpace(part)); ok {
				hint, found = max(hint, d), true
			}
		}
	}
	return hint, found
}

// millis reads a number of milliseconds.
func millis(s string) (time.Duration, bool) {
	n, ok := decimal(s)
	return seconds(n / 1e3), ok
}

// delayOrDate reads what servers put where a delay is expected: seconds (a
// fraction is allowed), an epoch in seconds or milliseconds (31 years cannot be
// meant as a delay; Docker Hub and GitHub mean a date), an HTTP date, RFC 3339,
// or a Go duration.
func delayOrDate(s string, now time.Time) (time.Duration, bool) {
	if n, ok := decimal(s); ok {
		switch {
		case n >= 1e15:
			return maxHint, true // no clock says that: too long, rather than too short
		case n >= 1e12:
			return until(time.UnixMilli(int64(n)), now), true
		case n >= 1e9:
			whole, part := math.Modf(n)
			return until(time.Unix(int64(whole), int64(part*1e9)), now), true
		}
		return seconds(n), true
	}
	if t, ok := parseDate(s); ok {
		return until(t, now), true
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 && s[0] != '+' && s[0] != '-' {
		return min(d, maxHint), true
	}
	return 0, false
}

// dateForms are the three of RFC 9110, section 5.6.7 (the first three), and
// what is seen besides.
var dateForms = []string{
	http.TimeFormat, time.RFC850, time.ANSIC,
	time.RFC1123Z, time.RFC3339Nano, "2006-01-02T15:04Z07:00",
}

func parseDate(s string) (time.Time, bool) {
	s = strings.Replace(s, ":60 ", ":59 ", 1) // a leap second, which time.Parse does not know
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// serverTime returns the server's own clock at the time of the response, where
// it is sane: subtracting it from the server's dates cancels whatever the two
// clocks differ by.
func serverTime(h http.Header, now time.Time) time.Time {
	said := h.Get("Date")
	if said == "" {
		return now
	}
	date, err := http.ParseTime(said)
	if err != nil || date.Sub(now).Abs() > 24*time.Hour {
		return now
	}
	return date
}

// until is t - now, within [0, maxHint].
func until(t, now time.Time) time.Duration {
	return min(max(t.Sub(now), 0), maxHint)
}

// seconds converts upwards (a hint is never undercut) and without overflow: ten
// billion seconds are too many for a time.Duration, and must not wrap to a retry at
// once.
func seconds(n float64) time.Duration {
	if n >= maxHint.Seconds() {
		return maxHint
	}
	return time.Duration(math.Ceil(n * float64(time.Second)))
}

// decimal reads digits with at most one fraction: no sign, no exponent, no
// NaN, all of which strconv.ParseFloat would take.
func decimal(s string) (float64, bool) {
	if s == "" {
		return 0, false // before strconv makes an error of it
	}
	dots := 0
	for i, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9':
		case c == '.' && dots == 0 && i > 0 && i < len(s)-1:
			dots++
		default:
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(n, 1) {
		return 0, false
	}
	return n, true
}
