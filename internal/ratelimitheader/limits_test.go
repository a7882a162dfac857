package ratelimitheader

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const second = time.Second

// The server's clock is an hour ahead.
var (
	serverClock = time.Now().Add(time.Hour).Truncate(second).UTC()
	date        = "Date: " + serverClock.Format(http.TimeFormat)
)

// in is a date of the server's that lies d ahead.
func in(d time.Duration, form string) string { return serverClock.Add(d).Format(form) }

// wantHints checks the hints of refusals, each given as lines of headers.
func wantHints(t *testing.T, refusals map[string]time.Duration) {
	t.Helper()
	for headers, want := range refusals {
		if got := Read(answer(429, strings.Split(headers, "\n")...), time.Now()).Delay; got != want {
			t.Errorf("%q: got a hint of %v, want %v", headers, got, want)
		}
	}
}

func TestHint_NothingAheadDoesNotHideALaterSource(t *testing.T) {
	t.Parallel()
	past := time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat)
	wantHints(t, map[string]time.Duration{
		"Retry-After: 0\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 36":            36 * second,
		"Retry-After: 0\nRateLimit: \"a\";r=0;t=36":                                  36 * second,
		"Retry-After: " + past + "\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 36": 36 * second,
		"Retry-After-Ms: 0\nRetry-After: 20":                                         20 * second,
		"X-Ms-Retry-After-Ms: 0\nX-Amz-Retry-After: 1500":                            1500 * time.Millisecond,
		"RateLimit: \"a\";r=0;t=0\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 36":  36 * second,
		"RateLimit: \"a\";r=0;t=0\nX-RateLimit-Reset: 36":                            36 * second,
		"Retry-After-Ms: 250\nRetry-After: 1":                                        250 * time.Millisecond, // the precise one still wins
		"Retry-After: 0\nX-RateLimit-Remaining: 4\nX-RateLimit-Reset: 36":            0,                      // another limiter's
	})
}

func TestHint_ListsOfLimitsArePairsByPosition(t *testing.T) {
	t.Parallel()
	wantHints(t, map[string]time.Duration{
		"X-RateLimit-Remaining: 0, 14523\nX-RateLimit-Reset: 1, 1419704":                                           1 * second,
		"X-RateLimit-Remaining: 14523, 0\nX-RateLimit-Reset: 1, 60":                                                60 * second,
		"X-RateLimit-Remaining: 0, 0, 7\nX-RateLimit-Reset: 1, 60, 3600":                                           60 * second,
		"X-RateLimit-Remaining: 0\nX-RateLimit-Remaining: 14523\nX-RateLimit-Reset: 1\nX-RateLimit-Reset: 1419704": 1 * second,
		"X-RateLimit-Remaining: 3, 14523\nX-RateLimit-Reset: 1, 1419704":                                           0,
		"X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 5, 1419704":                                                  5 * second,
		"X-RateLimit-Remaining: x, 0\nX-RateLimit-Reset: 5, 9":                                                     9 * second,
		"Ratelimit-Remaining: 0;w=60\nRatelimit-Reset: 50":                                                         50 * second,
		"Ratelimit-Remaining: 0;w=60\nRatelimit-Reset: 50;w=60":                                                    50 * second,
		"Ratelimit-Remaining: 4;w=1, 0;w=60\nRatelimit-Reset: 1;w=1, 50;w=60":                                      50 * second,
		"X-RateLimit-Reset: 1, 1419704":                                                                            1 * second, // not 16 days
		"X-RateLimit-Reset: 0, 7, 1419704":                                                                         7 * second,
		"X-RateLimit-Remaining: 0\nX-RateLimit-Reset: " + in(30*second, http.TimeFormat) + "\n" + date:             30 * second,
		"X-RateLimit-Remaining: 4, 0\nX-RateLimit-Reset: 5, " + in(30*second, http.TimeFormat) + "\n" + date:       30 * second,
	})
	if got := Read(answer(403, "X-RateLimit-Remaining: 0, 14523", "X-RateLimit-Reset: 9, 1419704"), time.Now()); !got.Exhausted || got.Delay != 9*second {
		t.Errorf("403: got %+v, want a limit that is used up for 9 s", got)
	}
}

func TestHint_MillisecondsWhereTheResetSaysSo(t *testing.T) {
	t.Parallel()
	wantHints(t, map[string]time.Duration{
		"Retry-After: 60000\nX-RateLimit-Reset: 58":                                            60 * second,
		"Retry-After: 6457\nX-RateLimit-Reset-After: 6.457":                                    6457 * time.Millisecond,
		"Retry-After: 1500\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 2":                    2 * second,
		"Retry-After: 30000\nRateLimit: \"a\";r=0;t=29":                                        30 * second,
		"X-RateLimit-Retry-After: 30000\nX-RateLimit-Reset: 30":                                30 * second,
		fmt.Sprintf("Retry-After: 2000\nX-RateLimit-Reset: %d\n", serverClock.Unix()+2) + date: 2 * second,
		"Retry-After: 60000":                                                  60000 * second,
		"Retry-After: 60000\nX-RateLimit-Reset: 60000":                        60000 * second,
		"Retry-After: 60000\nX-RateLimit-Reset: 3":                            60000 * second,
		"Retry-After: 60000\nX-RateLimit-Remaining: 4\nX-RateLimit-Reset: 58": 60000 * second, // another limiter's reset
		"Retry-After: 120\nX-RateLimit-Reset: 1":                              120 * second,
		"Retry-After: 3600\nX-RateLimit-Reset: 0":                             3600 * second,
	})
	if got := Read(answer(429, "Retry-After: "+in(60000*second, http.TimeFormat), "X-RateLimit-Reset: 60"), time.Now()).Delay; got < 59990*second {
		t.Errorf("a date is not a number of milliseconds: got %v", got)
	}
}

func TestHint_FieldsOfLLMVendors(t *testing.T) {
	t.Parallel()
	requests := func(remaining, reset string) string {
		return "x-ratelimit-remaining-requests: " + remaining + "\nx-ratelimit-reset-requests: " + reset
	}
	tokens := func(remaining, reset string) string {
		return "x-ratelimit-remaining-tokens: " + remaining + "\nx-ratelimit-reset-tokens: " + reset
	}
	anthropic := func(kind, limit, remaining string, reset time.Duration) string {
		kind = "anthropic-ratelimit-" + kind
		return kind + "-limit: " + limit + "\n" + kind + "-remaining: " + remaining + "\n" + kind + "-reset: " + in(reset, time.RFC3339) + "\n" + date
	}
	wantHints(t, map[string]time.Duration{
		requests("0", "55"):               55 * second,
		requests("0", "55s"):              55 * second,
		requests("0", "6m0s"):             6 * time.Minute,
		requests("0", "120ms"):            120 * time.Millisecond,
		tokens("0", "7.66s"):              7660 * time.Millisecond,
		tokens("-1", "55"):                0, // Azure: unknown
		tokens("0", "-1"):                 0,
		tokens("149984", "6m0s"):          0,
		"x-ratelimit-reset-tokens: 7.66s": 7660 * time.Millisecond,
		"x-rate-limit-reset-tokens: 12":   12 * second,
		"x-ratelimit-reset-requests: 1s\nx-ratelimit-reset-tokens: 6m0s": 1 * second, // either may have refused
		requests("59", "1s") + "\n" + tokens("0", "20s"):                 20 * second,
		requests("0", "30s") + "\n" + tokens("0", "20s"):                 30 * second,
		"Retry-After: 7\n" + tokens("0", "20s"):                          7 * second,
		"Retry-After: 0\n" + tokens("0", "20s"):                          20 * second,
		// The bucket is full at the reset. A request needs one request of it, and
		// a quarter of the tokens is waited for.
		"x-ratelimit-limit-requests: 60\n" + requests("0", "60s"):                                                                 1 * second,
		"x-ratelimit-limit-requests: 14400\n" + requests("0", "24h"):                                                              6 * second,
		"x-ratelimit-limit-tokens: 10000\n" + tokens("0", "20s"):                                                                  5 * second,
		"x-ratelimit-limit-tokens: 0\n" + tokens("0", "20s"):                                                                      20 * second, // no size
		"x-ratelimit-limit-tokens: 10000\n" + tokens("0", "1ns"):                                                                  1,
		anthropic("requests", "50", "0", time.Minute):                                                                             1200 * time.Millisecond,
		anthropic("tokens", "80000", "0", time.Minute):                                                                            15 * second,
		anthropic("input-tokens", "80000", "0", time.Minute):                                                                      15 * second,
		anthropic("output-tokens", "80000", "0", 2*time.Minute):                                                                   30 * second,
		anthropic("requests", "50", "49", time.Minute):                                                                            0,
		anthropic("requests", "50", "0", -time.Second):                                                                            0, // seen: a second before Date
		"anthropic-ratelimit-tokens-remaining: 0\nanthropic-ratelimit-tokens-reset: " + in(25*second, time.RFC3339) + "\n" + date: 25 * second,
		"X-RateLimit-Retry-After: 30":                                                                                             30 * second,
		"X-HubSpot-RateLimit-Secondly-Remaining: 0":                                                                               1 * second,
		"X-HubSpot-RateLimit-Secondly-Remaining: 3":                                                                               0,
	})
	for _, status := range []int{200, 400, 404, 500} { // no refusals
		if got := Read(answer(status, strings.Split(tokens("0", "20s"), "\n")...), time.Now()).Delay; got != 0 {
			t.Errorf("%d: got a hint of %v, want none", status, got)
		}
	}
}

// Eight values of a field are read, and 64 bytes of a value.
func TestHint_ReadsABoundedPartOfAField(t *testing.T) {
	t.Parallel()
	lines := func(n int, line, last string) string { return strings.Repeat(line+"\n", n-1) + last }
	wantHints(t, map[string]time.Duration{
		"Retry-After: " + strings.Repeat("x,", 7) + "5":                                                          5 * second,
		"Retry-After: " + strings.Repeat("x,", 8) + "5":                                                          0,
		lines(8, "Retry-After: x", "Retry-After: 5"):                                                             5 * second,
		lines(9, "Retry-After: x", "Retry-After: 5"):                                                             0,
		"Retry-After: 5" + strings.Repeat(" ", 64) + "0":                                                         5 * second,
		"RateLimit: " + strings.Repeat("a,", 7) + "a;r=0;t=5":                                                    5 * second,
		"RateLimit: " + strings.Repeat("a,", 8) + "a;r=0;t=5":                                                    0,
		"RateLimit: a" + strings.Repeat(";x=1", 8) + ";r=0;t=5":                                                  0,
		"RateLimit: \"" + strings.Repeat("long", 40) + "\";r=0;t=5":                                              5 * second,
		"X-RateLimit-Reset: " + strings.Repeat("x,", 8) + "5":                                                    0,
		"X-RateLimit-Remaining: " + strings.Repeat("4,", 8) + "0\nX-RateLimit-Reset: " + strings.Repeat("5,", 9): 0,
	})
}
