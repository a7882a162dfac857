package holdoff_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// serverNow is the Date of the vectors.
var serverNow = time.Date(2022, 11, 15, 8, 0, 0, 0, time.UTC)

// Golden vectors of 403, of x-should-retry, of 200 and of resets that need a
// hook: what a whole Transport makes of them.
func TestHintGoldenVectorsThroughTransport(t *testing.T) {
	reset := func(d time.Duration) string {
		return "X-RateLimit-Reset: " + strconv.FormatInt(time.Now().Add(d).Unix(), 10)
	}
	// A Classify that reads OpenAI's reset, as users do who know what it means.
	hook := func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
		v := holdoff.DefaultClassify(req, resp, err)
		if resp != nil && v.Retry {
			if d, err := time.ParseDuration(resp.Header.Get("X-Ratelimit-Reset-Requests")); err == nil {
				v.Hint = max(v.Hint, d)
			}
		}
		return v
	}
	for _, test := range []struct {
		name     string
		classify func(*http.Request, *http.Response, error) holdoff.Verdict
		first    func() *http.Response
		sends    int
		status   int
		wait     time.Duration // of the call, at least; at most half more
		hold     time.Duration // afterwards
	}{
		{"longer than MaxHold", nil, with(503, "Retry-After: 99999999999999999999"), 1, 503, 0, 5 * time.Minute},
		{"six minutes by a hook", hook, with(429, "x-ratelimit-reset-requests: 6m0s"), 1, 429, 0, 5 * time.Minute},
		{"200 with nothing remaining", nil, func() *http.Response {
			return answer(200, "X-RateLimit-Remaining: 0", reset(30*time.Second))
		}, 1, 200, 0, 0},
		{"403 with nothing remaining", nil, func() *http.Response {
			return answer(403, "X-RateLimit-Remaining: 0", reset(30*time.Second))
		}, 2, 200, 30 * time.Second, 0},
		{"403 without rate headers", nil, with(403), 1, 403, 0, 0},
		{"503 that says not to retry", nil, with(503, "x-should-retry: false"), 1, 503, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(serverNow)) // a bubble starts before the first epoch of ten digits
				base := script(test.first, 200)
				tr := &holdoff.Transport{Base: base, Classify: test.classify}
				req := newRequest(t, "GET", "https://api.example.com/", "")
				start := time.Now()
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if base.sends() != test.sends || resp.StatusCode != test.status {
					t.Errorf("got status %d after %d sends, want %d after %d", resp.StatusCode, base.sends(), test.status, test.sends)
				}
				if got := time.Since(start); got < test.wait || got > test.wait+test.wait/2 {
					t.Errorf("the call took %v, want %v at least and half more at most", got, test.wait)
				}
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body" {
					t.Errorf("the response's body is %q, %v; want it intact", body, err)
				}
				var held time.Duration
				if s := keyAt(tr, "https://api.example.com"); s.Phase == holdoff.Held {
					held = max(time.Until(s.Until), 0)
				}
				// A ramp that goes on after a hold counts as none.
				if test.hold != held && !(test.hold == 0 && held < hold.MinHold) {
					t.Errorf("the key is held for %v afterwards, want %v", held, test.hold)
				}
			})
		})
	}
}

// Each attempt comes no earlier than it was told, and a hint of nothing is followed by
// one's own backoff, not by a retry at once.
func TestHintIsNeverUndercut(t *testing.T) {
	for value, least := range map[string]time.Duration{
		"0.001": time.Millisecond, "1": time.Second, "1.9": 1900 * time.Millisecond, "3": 3 * time.Second, "45": 45 * time.Second,
		"0": 70 * time.Millisecond, "-3": 70 * time.Millisecond, "NaN": 70 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			base := script(with(503, "Retry-After: "+value), 200)
			tr := &holdoff.Transport{Base: base, Backoff: holdoff.Exponential{Base: 70 * time.Millisecond, Jitter: holdoff.NoJitter}}
			if _, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", "")); err != nil {
				t.Fatal(err)
			}
			if base.sends() != 2 {
				t.Fatalf("Retry-After %s: got %d sends, want 2", value, base.sends())
			}
			if got := base.times[1].Sub(base.times[0]); got < least {
				t.Errorf("Retry-After %s: the retry came after %v, want %v at least", value, got, least)
			}
		})
	}
}

// A hint above MaxHold, or above what the request may wait, gives the response back at
// once and intact. The key is held nevertheless, for MaxHold at most.
func TestHintAboveTheCapsReturnsTheResponse(t *testing.T) {
	for _, test := range []struct {
		name   string
		tr     *holdoff.Transport
		within time.Duration // the context's deadline
		hint   string
		hold   time.Duration
	}{
		{"above MaxHold", &holdoff.Transport{}, 0, "301", 300 * time.Second},
		{"above a MaxHold of the user's", &holdoff.Transport{MaxHold: 10 * time.Second}, 0, "11", 10 * time.Second},
		{"above MaxWait", &holdoff.Transport{}, 0, "61", 61 * time.Second},
		{"equal to MaxWait", &holdoff.Transport{}, 0, "60", 60 * time.Second},
		{"nothing waits", &holdoff.Transport{MaxWait: -1}, 0, "2", 2 * time.Second},
		{"above the deadline", &holdoff.Transport{}, 5 * time.Second, "30", 30 * time.Second},
		{"equal to the deadline", &holdoff.Transport{}, 30 * time.Second, "30", 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(with(429, "Retry-After: "+test.hint))
				tr := test.tr
				tr.Base = base
				req := newRequest(t, "GET", "http://a.example/", "")
				if test.within > 0 {
					ctx, cancel := context.WithTimeout(t.Context(), test.within)
					defer cancel()
					req = req.WithContext(ctx)
				}
				start := time.Now()
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got != 0 {
					t.Errorf("the call took %v, want 0", got)
				}
				body, err := io.ReadAll(resp.Body)
				if resp.StatusCode != 429 || string(body) != "body" || err != nil || base.sends() != 1 {
					t.Errorf("got status %d, body %q, %v after %d sends; want 429 intact after 1", resp.StatusCode, body, err, base.sends())
				}
				s := keyAt(tr, "http://a.example")
				if got := time.Until(s.Until); s.Phase != holdoff.Held || got != test.hold {
					t.Errorf("%v for %v, want held for %v", s.Phase, got, test.hold)
				}
			})
		})
	}
}

// Jitter adds to a server's hint and never takes from it, and replicas that were told
// the same come back at different times.
func TestHintJitterOnlyAdds(t *testing.T) {
	for _, hint := range []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, 1999 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			const replicas = 40
			seen := map[time.Duration]bool{}
			for range replicas {
				base := script(with(429, "Retry-After-Ms: "+strconv.FormatInt(hint.Milliseconds(), 10)), 200)
				// A Transport of its own stands for a replica.
				tr := &holdoff.Transport{Base: base}
				if _, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", "")); err != nil {
					t.Fatal(err)
				}
				got := base.times[1].Sub(base.times[0])
				if most := hint + max(hint/2, holdoff.MinSpread); got < hint || got > most {
					t.Errorf("hint %v: retried after %v, want within [%v, %v]", hint, got, hint, most)
				}
				seen[got] = true
			}
			if len(seen) < replicas/2 {
				t.Errorf("hint %v: %d replicas came back at %d different times, want them spread", hint, replicas, len(seen))
			}
		})
	}
}

// noteRetries is a Backoff that notes what it is asked.
type noteRetries struct{ asked []holdoff.Retry }

func (n *noteRetries) Delay(r holdoff.Retry) time.Duration {
	n.asked = append(n.asked, r)
	return time.Duration(r.Attempt+1) * 10 * time.Millisecond
}

// A hint neither advances nor resets the exponential sequence: the next plain backoff
// goes by the number of the attempt.
func TestHintLeavesTheBackoffSequenceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := &noteRetries{}
		base := script(503, with(429, "Retry-After: 1"), 503, 200)
		tr := &holdoff.Transport{Base: base, Backoff: notes}
		if _, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", "")); err != nil {
			t.Fatal(err)
		}
		if len(notes.asked) != 2 {
			t.Fatalf("the backoff was asked %d times (%+v), want 2: not for the attempt that had a hint", len(notes.asked), notes.asked)
		}
		if got, want := notes.asked[1], 10*time.Millisecond; got.Attempt != 2 || got.Previous != want {
			t.Errorf("after the hint the backoff was asked for %+v, want attempt 2 and its own previous delay %v", got, want)
		}
		if got, want := base.times[3].Sub(base.times[2]), 30*time.Millisecond; got != want {
			t.Errorf("the plain retry after the hint came after %v, want %v", got, want)
		}
	})
}
