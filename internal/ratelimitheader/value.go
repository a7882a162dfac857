package ratelimitheader

import (
	"iter"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How the values of header fields are written.

// A server can send megabytes in one field. Of a list the first maxValues values
// are read, and of a value the first maxValueBytes.
const (
	maxValues     = 8
	maxValueBytes = 64
)

// MaxDelay replaces longer delays: over a century, far above any MaxHold, and
// small enough to be added to a time without overflow.
const MaxDelay = time.Duration(1 << 62)

// bounded returns the part of a value that is read.
func bounded(s string) string {
	return strings.TrimSpace(s[:min(len(s), maxValueBytes)])
}

// Value returns the first value of a field, or as much of it as is read. The name is
// spelt as net/http canonicalises it.
func Value(h http.Header, name string) string {
	lines := h[name]
	if len(lines) == 0 {
		return ""
	}
	return bounded(lines[0])
}

// bare returns a value without its parameters, as in "0;w=60".
func bare(s string) string {
	s, _, _ = strings.Cut(bounded(s), ";")
	return strings.TrimSpace(s)
}

// parts yields the first maxValues parts of lists, of any length each.
func parts(separator string, lists ...string) iter.Seq[string] {
	return func(yield func(string) bool) {
		n := 0
		for _, list := range lists {
			for part := range strings.SplitSeq(list, separator) {
				if n++; n > maxValues || !yield(part) {
					return
				}
			}
		}
	}
}

// values yields the positions and the values, without parameters, of a field of
// several lines, each of which may be a list.
func values(lines []string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		n := 0
		for _, rest := range lines {
			for more := true; more; n++ {
				if n == maxValues {
					return
				}
				part := rest
				if more = !hasCommaOfDate(rest); more {
					part, rest, more = strings.Cut(rest, ",")
				}
				if !yield(n, bare(part)) {
					return
				}
			}
		}
	}
}

// hasCommaOfDate reports whether s is one date with a comma of its own.
func hasCommaOfDate(s string) bool {
	if len(s) > maxValueBytes || !strings.Contains(s, ",") {
		return false
	}
	_, ok := parseDate(strings.TrimSpace(s))
	return ok
}

// clock measures what is ahead of a response.
type clock struct {
	header http.Header
	local  time.Time
}

// until returns the time from now to t, within [0, MaxDelay]. Now is the response's
// Date where that is sane: it cancels the difference of the two clocks.
func (c clock) until(t time.Time) time.Duration {
	now := c.local
	if said := Value(c.header, "Date"); said != "" {
		date, err := http.ParseTime(said)
		if err == nil && date.Sub(now).Abs() <= 24*time.Hour {
			now = date
		}
	}
	return min(max(t.Sub(now), 0), MaxDelay)
}

// delay reads what servers put where a delay is expected: seconds (a fraction is
// allowed), an epoch in seconds or milliseconds (31 years cannot be meant as a
// delay; Docker Hub and GitHub mean a date), an HTTP date, RFC 3339, or a Go
// duration.
func (c clock) delay(s string) (time.Duration, bool) {
	if n, ok := decimal(s); ok {
		switch {
		case n >= 1e15:
			return MaxDelay, true // no clock says that: too long, rather than too short
		case n >= 1e12:
			return c.until(time.UnixMilli(int64(n))), true
		case n >= 1e9:
			whole, part := math.Modf(n)
			return c.until(time.Unix(int64(whole), int64(part*1e9))), true
		}
		return seconds(n), true
	}
	if t, ok := parseDate(s); ok {
		return c.until(t), true
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 && s[0] != '+' && s[0] != '-' {
		return min(d, MaxDelay), true
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

// milliseconds reads a number of milliseconds.
func milliseconds(s string) (time.Duration, bool) {
	n, ok := decimal(s)
	return seconds(n / 1e3), ok
}

// seconds converts upwards (a hint is never undercut) and without overflow: ten
// billion seconds are too many for a time.Duration, and must not wrap to a retry at
// once.
func seconds(n float64) time.Duration {
	if n >= MaxDelay.Seconds() {
		return MaxDelay
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

// integer reads a non-negative integer, or returns -1.
func integer(s string) int64 {
	n, err := strconv.ParseUint(bounded(s), 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// cached reports whether a response is out of a cache: what it says was said to
// another request, a while ago.
func cached(h http.Header) bool {
	age, ok := decimal(Value(h, "Age"))
	return ok && age > 0 || Value(h, "X-From-Cache") == "1"
}
