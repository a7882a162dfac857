package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// maxKeys is how many keys a Transport remembers while no request waits for them.
var maxKeys = admissionConstant("maxKeys").(int)

// host is a Base with a clock: it notes when each request came, in time since
// the test began, and answers by handler.
type host struct {
	start   time.Time
	handler func(at time.Duration, req *http.Request) (*http.Response, error)

	mu   sync.Mutex
	hits []time.Duration
}

func newHost(handler func(at time.Duration, req *http.Request) (*http.Response, error)) *host {
	return &host{start: time.Now(), handler: handler}
}

func (h *host) RoundTrip(req *http.Request) (*http.Response, error) {
	at := time.Since(h.start)
	h.mu.Lock()
	h.hits = append(h.hits, at)
	h.mu.Unlock()
	if req.Body != nil {
		req.Body.Close()
	}
	return h.handler(at, req)
}

// between counts the requests that came in [from, to).
func (h *host) between(from, to time.Duration) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, at := range h.hits {
		if from <= at && at < to {
			n++
		}
	}
	return n
}

// get sends a GET and returns the status, or the error.
func get(t testing.TB, tr *holdoff.Transport, url string) (int, error) {
	t.Helper()
	return statusOf(tr, newRequest(t, "GET", url, ""))
}

// statusOf sends a request and returns the status, or the error.
func statusOf(tr *holdoff.Transport, req *http.Request) (int, error) {
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// wants sends a GET that must be answered with status.
func wants(t testing.TB, tr *holdoff.Transport, url string, status int) {
	t.Helper()
	if got, err := get(t, tr, url); err != nil || got != status {
		t.Errorf("GET %s: got %d, %v; want %d", url, got, err, status)
	}
}

// sendsAt checks when, since the start, a request for url is sent and answered.
func sendsAt(t *testing.T, tr *holdoff.Transport, start time.Time, url string, want time.Duration) {
	t.Helper()
	wants(t, tr, url, 200)
	if got := time.Since(start); got != want {
		t.Errorf("GET %s: answered at %v, want %v", url, got, want)
	}
}

// A hold that one request met delays the first attempt of every other, to the end of
// the longest hint and no further.
func TestHold_DelaysFirstAttemptsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			switch req.URL.Path {
			case "/five":
				return answer(429, "Retry-After: 5"), nil
			case "/two":
				time.Sleep(time.Second)
				return answer(429, "Retry-After: 2"), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Route: oneScope, Base: h, MaxAttempts: 1}
		go get(t, tr, "http://h/two") // sent before the hold; its answer comes in the hold, and ends before it
		synctest.Wait()
		wants(t, tr, "http://h/five", 429)
		time.Sleep(1500 * time.Millisecond)
		sendsAt(t, tr, h.start, "http://h/", 5*time.Second)
		if got := h.between(1, 5*time.Second); got != 0 {
			t.Errorf("got %d requests in the hold, want none", got)
		}
	})
}

// Holds are measured finer than seconds.
func TestHold_WithAHintOfMillisecondsIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			if at == 0 {
				return answer(503, "Retry-After-Ms: 2345"), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
		wants(t, tr, "http://h/", 503)
		sendsAt(t, tr, h.start, "http://h/", 2345*time.Millisecond)
	})
}

// The answer to a request that was sent before the hold does not clear it.
func TestHold_StaleSuccessDoesNotEndIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			switch req.URL.RawQuery {
			case "slow":
				time.Sleep(3 * time.Second)
			case "bad":
				return answer(429, "Retry-After: 10"), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
		go get(t, tr, "http://h/?slow")
		time.Sleep(time.Second)
		wants(t, tr, "http://h/?bad", 429)
		time.Sleep(3 * time.Second) // the slow one is answered
		if got := keyAt(tr, "http://h"); got.Phase != holdoff.Held {
			t.Errorf("got %v after a stale success, want held", got.Phase)
		}
		sendsAt(t, tr, h.start, "http://h/", 11*time.Second)
	})
}

// A key that is held is not forgotten for the healthy ones of a crawler.
func TestTransport_ManyHealthyKeysLeaveTheHeldOnesRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := baseFunc(func(req *http.Request) (*http.Response, error) {
			if strings.HasPrefix(req.URL.Host, "held") {
				return answer(429, "Retry-After: 100"), nil
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
		})
		tr := &holdoff.Transport{Base: base, MaxAttempts: 1, MaxWait: -1}
		for i := range 10 {
			wants(t, tr, fmt.Sprintf("http://held%d/", i), 429)
		}
		req := newRequest(t, "GET", "http://h/", "")
		for i := range maxKeys + 100 {
			req.URL.Host = fmt.Sprintf("h%d", i)
			if _, err := tr.RoundTrip(req); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 10 {
			url := fmt.Sprintf("http://held%d/", i)
			if _, err := get(t, tr, url); !is[*holdoff.HeldError](err) {
				t.Errorf("GET %s after eviction: got error %v, want a HeldError", url, err)
			}
		}
	})
}

// Where all keys are held, they are bounded as well, but a key for which a request
// waits stays.
func TestTransport_ManyHeldKeysAreBoundedExceptThoseWithWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{Base: script(with(429, "Retry-After: 50")), MaxAttempts: 1}
		wants(t, tr, "http://waited/", 429)
		waiter := make(chan error, 1)
		go func() { waiter <- func() error { _, err := get(t, tr, "http://waited/"); return err }() }()
		synctest.Wait()
		req := newRequest(t, "GET", "http://h/", "")
		for i := range 2 * maxKeys {
			req.URL.Host = fmt.Sprintf("h%d", i)
			if status, err := statusOf(tr, req); status != 429 {
				t.Fatalf("got %d, %v; want 429", status, err)
			}
		}
		idle := 0
		for s := range tr.Keys() {
			if s.Waiters == 0 {
				idle++
			}
		}
		if idle > maxKeys {
			t.Errorf("got %d keys for which no request waits, want at most %d", idle, maxKeys)
		}
		if got := keyAt(tr, "http://waited"); got.Phase != holdoff.Held || got.Waiters != 1 {
			t.Errorf("got %v, want it held, with its waiter", got)
		}
		if err := <-waiter; err != nil {
			t.Errorf("the waiter got %v, want a response", err)
		}
	})
}

// An outcome that comes when its key was forgotten meanwhile is not lost.
func TestTransport_OutcomeOfAForgottenKeyIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(_ time.Duration, req *http.Request) (*http.Response, error) {
			if req.URL.Host != "h" {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
			}
			time.Sleep(time.Second)
			return answer(429, "Retry-After: 10"), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1, MaxWait: -1}
		go get(t, tr, "http://h/")
		synctest.Wait()
		req := newRequest(t, "GET", "http://h/", "")
		for i := range maxKeys + 100 { // the oldest healthy key goes first
			req.URL.Host = fmt.Sprintf("h%d", i)
			if status, err := statusOf(tr, req); status != 200 {
				t.Fatalf("got %d, %v; want 200", status, err)
			}
		}
		time.Sleep(2 * time.Second)
		if _, err := get(t, tr, "http://h/"); !is[*holdoff.HeldError](err) {
			t.Errorf("got error %v, want a HeldError: the hint was lost", err)
		}
	})
}

// A request that can't outwait the hold fails at once, with the last reason, and its
// body is closed. It leaves nothing behind.
func TestHold_BeyondPatienceFailsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name     string
		maxWait  time.Duration
		deadline time.Duration
		timeout  bool
	}{
		{"deadline before the end of the hold", 0, 5 * time.Second, true},
		{"deadline at the end of the hold", 0, 30 * time.Second, true},
		{"MaxWait before the end of the hold", 5 * time.Second, 0, false},
		{"MaxWait negative", -1, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(with(503, "Retry-After: 30"))
				tr := &holdoff.Transport{Base: base, MaxWait: tt.maxWait}
				if tt.maxWait == 0 {
					tr.MaxWait = 2 * time.Minute
				}
				if got, err := statusOf(tr, newRequest(t, "GET", "http://User:pw@H.example:80/path?query", "").WithContext(holdoff.WithoutRetry(t.Context()))); got != 503 {
					t.Fatalf("got %d, %v; want 503", got, err)
				}
				before := base.sends()
				until := keyAt(tr, "http://h.example").Until
				time.Sleep(time.Second)
				body := &closeCounter{Reader: strings.NewReader("body")}
				var out holdoff.Outcome
				ctx := holdoff.WithOutcome(t.Context(), &out)
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithDeadline(ctx, until.Add(tt.deadline-30*time.Second))
					defer cancel()
				}
				req := newRequest(t, "PUT", "http://User:pw@h.example/path", "").WithContext(ctx)
				req.Body = body
				begun := time.Now()
				resp, err := tr.RoundTrip(req)
				held, ok := errors.AsType[*holdoff.HeldError](err)
				if !ok || resp != nil {
					t.Fatalf("got %v, %v; want a HeldError", resp, err)
				}
				if took := time.Since(begun); took != 0 {
					t.Errorf("failed after %v, want at once", took)
				}
				if held.Key != "http://h.example" || held.Status != 503 || held.Attempts < 1 {
					t.Errorf("got key %q, status %d, %d attempts; want http://h.example, 503, at least 1", held.Key, held.Status, held.Attempts)
				}
				if got, want := held.RetryAfter(), time.Until(until); got != want || got <= 0 {
					t.Errorf("got RetryAfter %v, want %v", got, want)
				}
				if got := held.Timeout(); got != tt.timeout {
					t.Errorf("got Timeout %v, want %v", got, tt.timeout)
				}
				if got := body.closed(); got != 1 {
					t.Errorf("body closed %d times, want once", got)
				}
				if got := base.sends() - before; got != 0 {
					t.Errorf("got %d sends, want none", got)
				}
				if out.Ended != holdoff.EndHeld || out.Attempts != 0 || out.Waited != 0 {
					t.Errorf("got outcome %+v, want held with no attempt and no wait", out)
				}
				if n := keyAt(tr, "http://h.example").Waiters; n != 0 {
					t.Errorf("%d waiters left, want none", n)
				}
			})
		})
	}
}

// A waiter whose patience a longer hint has outgrown is told at once.
func TestWaiter_OutgrownByALongerHintFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			if req.URL.RawQuery == "slow" {
				time.Sleep(2 * time.Second)
				return answer(429, "Retry-After: 60"), nil
			}
			return answer(429, "Retry-After: 5"), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1, MaxWait: 10 * time.Second}
		go get(t, tr, "http://h/?slow")
		synctest.Wait()
		wants(t, tr, "http://h/", 429)
		_, err := get(t, tr, "http://h/")
		held, ok := errors.AsType[*holdoff.HeldError](err)
		if !ok {
			t.Fatalf("got %v, want a HeldError", err)
		}
		if got := time.Since(h.start); got != 2*time.Second {
			t.Errorf("told after %v, want 2 s", got)
		}
		if got := held.RetryAfter(); got != 60*time.Second {
			t.Errorf("got RetryAfter %v, want 1 min", got)
		}
	})
}

// Waiters are let go as a probe, and then by a ramp, not together. Of 1600 waiters one
// is sent before the first success, and each slot of the ramp sends at most twice what
// the one before could.
func TestWaiters_AtTheEndOfAHoldAreReleasedByProbeAndRamp(t *testing.T) {
	const n = 1600
	for _, latency := range []time.Duration{time.Millisecond, 50 * time.Millisecond, 350 * time.Millisecond} {
		t.Run(latency.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
					if at == 0 {
						return answer(429, "Retry-After: 5"), nil
					}
					time.Sleep(latency)
					return answer(200), nil
				})
				tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
				wants(t, tr, "http://h/", 429)
				var all sync.WaitGroup
				for range n {
					all.Go(func() { wants(t, tr, "http://h/", 200) })
				}
				all.Wait()
				if got := len(h.hits) - 1; got != n {
					t.Errorf("got %d requests, want %d", got, n)
				}
				success := 5*time.Second + latency // the probe's
				if got := h.between(1, success); got != 1 {
					t.Errorf("got %d requests before the first success, want 1", got)
				}
				permits := 2
				for at := success; permits < n; at += hold.Slot {
					if got := h.between(at, at+hold.Slot); got > permits {
						t.Errorf("got %d requests in the hold.Slot from %v, want at most %d", got, at, permits)
					}
					permits *= 2
				}
				time.Sleep(time.Second)
				if got := keyAt(tr, "http://h"); got.Phase != holdoff.Healthy || got.Attempts != 0 {
					t.Errorf("got %v when all is over, want healthy", got)
				}
			})
		})
	}
}

// Two Transports share nothing, and a zero value remembers, for each host of its own.
// A hold of a.example is none of b.example, nor of another port or scheme, but of
// every spelling of the same.
func TestHold_AppliesToOneKeyOfOneTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/bad" {
				return answer(429, "Retry-After: 10"), nil
			}
			return answer(200), nil
		})
		one, two := &holdoff.Transport{Route: oneScope, Base: h, MaxAttempts: 1, MaxWait: -1}, &holdoff.Transport{Route: oneScope, Base: h, MaxAttempts: 1, MaxWait: -1}
		wants(t, one, "http://a.example/bad", 429)
		for _, url := range []string{"http://b.example/", "https://a.example/", "http://a.example:8080/", "http://www.a.example/"} {
			wants(t, one, url, 200)
		}
		wants(t, two, "http://a.example/", 200)
		for _, url := range []string{"http://a.example/", "http://A.EXAMPLE/x?y", "http://a.example:80/", "http://u:p@a.example./"} {
			if _, err := get(t, one, url); !is[*holdoff.HeldError](err) {
				t.Errorf("GET %s: got error %v, want a HeldError", url, err)
			}
		}
	})
}

// Key splits what a hold applies to.
func TestKey_OfTheUsersSplitsHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/bad" {
				return answer(429, "Retry-After: 10"), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Route: oneScope, Base: h, MaxAttempts: 1, MaxWait: -1, Key: func(req *http.Request) string { return req.Header.Get("Tenant") }}
		as := func(tenant, url string) (int, error) {
			req := newRequest(t, "GET", url, "")
			req.Header.Set("Tenant", tenant)
			return statusOf(tr, req)
		}
		if got, err := as("a", "http://h/bad"); got != 429 {
			t.Fatalf("got %d, %v; want 429", got, err)
		}
		if got, err := as("b", "http://h/"); got != 200 {
			t.Errorf("another key: got %d, %v; want 200", got, err)
		}
		if got, err := as("", "http://h/"); got != 200 {
			t.Errorf("no key of its own: got %d, %v; want 200", got, err)
		}
		_, err := as("a", "http://elsewhere/")
		if held, ok := errors.AsType[*holdoff.HeldError](err); !ok || held.Key != "a" {
			t.Errorf("same key, other host: got %v, want a HeldError of a", err)
		}
	})
}

// A bad probe means the next hold, and nobody else sends; what the server asks for is
// cut to MaxHold.
func TestProbe_ThatIsRefusedLetsNoOtherRequestThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			if at < 100*time.Second {
				return answer(429, "Retry-After: 3600"), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1, MaxHold: 30 * time.Second, MaxWait: 10 * time.Minute}
		wants(t, tr, "http://h/", 429)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { get(t, tr, "http://h/") })
		}
		all.Wait()
		for i, want := range []time.Duration{0, 30 * time.Second, 60 * time.Second, 90 * time.Second, 120 * time.Second} {
			if h.hits[i] != want {
				t.Errorf("request %d came at %v, want %v", i, h.hits[i], want)
			}
		}
		if got := h.between(0, 120*time.Second); got != 4 {
			t.Errorf("got %d requests while the host refused, want 4: one per hold", got)
		}
	})
}

// The level grows with each bad probe, and with it an unhinted hold, up to its cap.
func TestProbe_InAnOutageIsOnePerHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(time.Duration, *http.Request) (*http.Response, error) { return answer(500), nil })
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
		for range 20 {
			wants(t, tr, "http://h/", 500)
		}
		var all sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		for range 200 {
			all.Go(func() { statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(ctx)) })
		}
		all.Wait()
		if got := h.between(1, time.Hour); got < 30 || got > 65 {
			t.Errorf("got %d probes in a minute of outage, want one per hold of 1 to 2 s", got)
		}
		for i := 21; i < len(h.hits); i++ {
			least := []time.Duration{250, 500, 1000}[min(i-21, 2)] * time.Millisecond
			if gap := h.hits[i] - h.hits[i-1]; i > 21 && (gap < least || gap > hold.MaxBackoff) {
				t.Errorf("probe %d came %v after the one before, want %v to %v", i-20, gap, least, hold.MaxBackoff)
			}
		}
	})
}

// A refusal in the ramp asks for less. Where nothing is served, it is a hold, until the
// time that the server asked for.
func TestRamp_RefusedAltogetherIsHeldToTheHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			if at == 0 || (at >= 5300*time.Millisecond && at < 6*time.Second) {
				return answer(429, "Retry-After: 5"), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
		wants(t, tr, "http://h/", 429)
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() { get(t, tr, "http://h/") })
		}
		all.Wait()
		// 1 probe, then 2, 4, 8 and, in the slot of the refusal, at most 16.
		if got := h.between(1, 5300*time.Millisecond); got != 1+2+4+8 {
			t.Errorf("got %d requests before the refusal, want 15", got)
		}
		if got := h.between(5300*time.Millisecond, 5600*time.Millisecond); got < 1 || got > 16+16 {
			t.Errorf("got %d requests after the refusal, want those of a slot of the ramp and of one at half its rate, 1 to 32", got)
		}
		if got := h.between(5600*time.Millisecond, 10300*time.Millisecond); got != 0 {
			t.Errorf("got %d requests before the end of the second hint, want none", got)
		}
		if got := h.between(10300*time.Millisecond, 10700*time.Millisecond); got < 1+2 {
			t.Errorf("got %d requests when the second hint ended, want a probe and a ramp", got)
		}
	})
}

// One refusal in the middle of the ramp asks for less, whatever its hint: the server
// accepts the others of the same scope.
func TestRamp_RefusalAmongSuccessesPacesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused atomic.Bool
		phase := make(chan holdoff.Phase, 1)
		var tr *holdoff.Transport
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			if at == 0 {
				return answer(429, "Retry-After: 5"), nil
			}
			if at >= 5300*time.Millisecond && refused.CompareAndSwap(false, true) {
				time.AfterFunc(1, func() { phase <- keyAt(tr, "http://h").Phase })
				return answer(429, "Retry-After: 30"), nil
			}
			return answer(200), nil
		})
		tr = &holdoff.Transport{Base: h, MaxAttempts: 1}
		wants(t, tr, "http://h/", 429)
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() { get(t, tr, "http://h/") })
		}
		all.Wait()
		if got := <-phase; got != holdoff.Paced {
			t.Errorf("got %v after the refusal, want paced", got)
		}
		if took := time.Since(h.start); took > 15*time.Second {
			t.Errorf("the last of 500 was answered after %v, want no more than 15 s: the hint was one request's own", took)
		}
		time.Sleep(time.Minute)
	})
}

// 800 refusals in flight are one hold.
func TestHold_ManyRefusalsInFlightAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var started int
		h := newHost(func(time.Duration, *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return answer(429, "Retry-After: 5"), nil
		})
		var mu sync.Mutex
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1, Observe: func(_ context.Context, e holdoff.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind >= holdoff.HoldStarted {
				started++
			}
		}}
		var all sync.WaitGroup
		for range 800 {
			all.Go(func() { get(t, tr, "http://h/") })
		}
		all.Wait()
		if got := keyAt(tr, "http://h"); got.Generation != 1 || got.Level != 0 || got.Attempts != 800 {
			t.Errorf("got hold %d of level %d with %d attempts, want the first, level 0, 800", got.Generation, got.Level, got.Attempts)
		}
		if started != 1 {
			t.Errorf("got %d events about holds, want 1", started)
		}
	})
}

// A longer hint, given later, extends the hold for those who wait already; a shorter
// one does not let them go.
func TestHold_LaterHintExtendsItForWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			switch req.URL.RawQuery {
			case "long":
				time.Sleep(3 * time.Second)
				return answer(429, "Retry-After: 10"), nil
			case "short":
				time.Sleep(4 * time.Second)
				return answer(429, "Retry-After: 2"), nil
			case "five":
				return answer(429, "Retry-After: 5"), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
		go get(t, tr, "http://h/?long")
		go get(t, tr, "http://h/?short")
		synctest.Wait()
		wants(t, tr, "http://h/?five", 429)
		sendsAt(t, tr, h.start, "http://h/", 13*time.Second)
	})
}

// A relapse within a minute goes on with the next level.
func TestHold_RelapseWithinGraceContinuesTheLevel(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		level int
	}{
		{"within hold.Grace", 50 * time.Second, 1},
		{"after hold.Grace", 61 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := true
				h := newHost(func(time.Duration, *http.Request) (*http.Response, error) {
					if bad {
						return answer(500), nil
					}
					return answer(200), nil
				})
				tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
				for range 20 {
					wants(t, tr, "http://h/", 500)
				}
				bad = false
				wants(t, tr, "http://h/", 200)
				time.Sleep(time.Second)
				if got := keyAt(tr, "http://h").Phase; got != holdoff.Healthy {
					t.Fatalf("got %v, want healthy", got)
				}
				time.Sleep(tt.after)
				bad = true
				for range 20 {
					wants(t, tr, "http://h/", 500)
				}
				if got := keyAt(tr, "http://h"); got.Phase != holdoff.Held || got.Level != tt.level {
					t.Errorf("got %v at level %d, want held at level %d", got.Phase, got.Level, tt.level)
				}
			})
		})
	}
}

// A failure that comes late, from before the hold, is ignored, but not the server's
// word in it.
func TestHold_LateFailureOfAnOldGenerationCountsOnlyWithAHint(t *testing.T) {
	for _, tt := range []struct {
		name string
		late *http.Response
		want holdoff.Phase
	}{
		{"without Retry-After it is ignored", answer(503), holdoff.Healthy},
		{"without Retry-After it is ignored, by a route", answer(503), holdoff.Healthy},
		{"with Retry-After it holds", answer(503, "Retry-After: 7"), holdoff.Held},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
					switch {
					case req.URL.RawQuery == "late":
						time.Sleep(10 * time.Second)
						return tt.late, nil
					case at == 0:
						return answer(429, "Retry-After: 2"), nil
					}
					return answer(200), nil
				})
				tr := &holdoff.Transport{Route: oneScope, Base: h, MaxAttempts: 1}
				if strings.HasSuffix(tt.name, "by a route") {
					tr.Route = nil
				}
				go get(t, tr, "http://h/?late")
				synctest.Wait()
				wants(t, tr, "http://h/", 429)
				wants(t, tr, "http://h/", 200)
				time.Sleep(time.Second)
				if got := keyAt(tr, "http://h").Phase; got != holdoff.Healthy {
					t.Fatalf("got %v before the late answer, want healthy", got)
				}
				time.Sleep(9 * time.Second)
				got := keyAt(tr, "http://h")
				if got.Phase != tt.want {
					t.Errorf("got %v, want %v", got.Phase, tt.want)
				}
				if tt.want == holdoff.Healthy && got.Attempts != 0 {
					t.Errorf("got %d attempts on the books, want none", got.Attempts)
				}
			})
		})
	}
}

// A cancelled waiter leaves the line, and the others go on. After 10 000 of them
// nothing is left (the bubble would not end with a goroutine in it).
func TestWaiters_CancelledLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			if at == 0 {
				return answer(429, "Retry-After: 5"), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
		wants(t, tr, "http://h/", 429)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 10_000 {
			all.Go(func() {
				_, err := statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(ctx))
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want context.Canceled", err)
				}
			})
		}
		synctest.Wait()
		if got := keyAt(tr, "http://h").Waiters; got != 10_000 {
			t.Errorf("got %d waiters, want 10000", got)
		}
		time.Sleep(time.Second)
		cancel()
		all.Wait()
		if got := time.Since(h.start); got != time.Second {
			t.Errorf("the cancelled ones left at %v, want 1s", got)
		}
		if got := keyAt(tr, "http://h").Waiters; got != 0 {
			t.Errorf("%d waiters left, want none", got)
		}
		sendsAt(t, tr, h.start, "http://h/", 5*time.Second)
	})
}

// The permit of a waiter that is cancelled when it gets it is not lost: the next
// one waits for a slot, not for the whole lease.
func TestWaiter_CancelledWhenGrantedPassesItsPermitOn(t *testing.T) {
	for range 40 { // the waiter sees the grant first, or its cancellation: by chance
		synctest.Test(t, func(t *testing.T) {
			var others int
			h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
				if at == 0 {
					return answer(429, "Retry-After: 5"), nil
				}
				if req.URL.Path == "/other" {
					others++
				}
				return answer(200), nil
			})
			tr := &holdoff.Transport{Route: oneScope, Base: h, MaxAttempts: 1}
			wants(t, tr, "http://h/", 429)
			ctx, cancel := context.WithCancel(t.Context())
			go statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(ctx))
			synctest.Wait()
			go get(t, tr, "http://h/other")
			synctest.Wait()
			time.AfterFunc(5*time.Second, cancel) // the hold ends at the same moment
			time.Sleep(5*time.Second + hold.Slot + 1)
			synctest.Wait()
			if others != 1 {
				t.Errorf("the other waiter's request was sent %d times by a slot after the probe's waiter was cancelled, want once", others)
			}
			time.Sleep(time.Second)
		})
	}
}

// A prober that never answers is given up for lost after its lease.
func TestProbe_WithoutAnAnswerIsFollowedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			switch {
			case at == 0:
				return answer(429, "Retry-After: 5"), nil
			case at == 5*time.Second:
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
		wants(t, tr, "http://h/", 429)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(ctx)) })
		}
		all.Wait()
		if got := h.between(1, 6*time.Second); got != 1 {
			t.Errorf("got %d requests within the lease, want 1", got)
		}
		if got := h.between(6*time.Second, 7*time.Second); got != 9 {
			t.Errorf("got %d requests in the second after it, want the other 9", got)
		}
	})
}

// The caller's body survives the wait at the gate unread.
func TestBody_AfterAHoldIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := script(with(429, "Retry-After: 3"), 200)
		tr := &holdoff.Transport{Base: base, MaxAttempts: 1}
		wants(t, tr, "http://h/", 429)
		req := newRequest(t, "POST", "http://h/", "")
		req.Body = io.NopCloser(strings.NewReader("hello"))
		if got, err := statusOf(tr, req); got != 200 {
			t.Fatalf("got %d, %v; want 200", got, err)
		}
		if len(base.bodies) != 1 || base.bodies[0] != "hello" {
			t.Errorf("got bodies %q, want hello once", base.bodies)
		}
	})
}

// A tenth of all requests fails whatever the host does. They wait with the
// others for the end of a hold, and fail again and again; but they neither make
// the probes nor end the ramp, and the key gets well. Where the broken path has a hold of
// its own, that ends as well: the path is answered, and not refused.
func TestKey_WithBrokenPathsGetsHealthy(t *testing.T) {
	type result struct {
		ill  int           // keys and scopes that are not healthy 10 s after the end of the hint
		bad  int           // requests to the broken path that were not answered
		took time.Duration // until the last request, sent within 15 s, was answered
	}
	for name, route := range map[string]func(*http.Request) string{"one scope": oneScope, "a scope of each path": nil} {
		t.Run(name, func(t *testing.T) {
			runs := fiveTimes(t, func(t *testing.T) (r result) {
				h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
					time.Sleep(20 * ms)
					switch {
					case at < 5*time.Second:
						return answer(429, "Retry-After: 5"), nil
					case req.URL.Path == "/bad":
						return answer(500), nil
					}
					return answer(200), nil
				})
				tr := &holdoff.Transport{Route: route, Base: h}
				var good, bad sync.WaitGroup
				var unanswered atomic.Int64
				for i := range 400 * 15 {
					if i%10 == 5 {
						bad.Go(func() {
							if status, _ := get(t, tr, "http://h/bad"); status != 500 {
								unanswered.Add(1)
							}
						})
					} else {
						good.Go(func() { wants(t, tr, "http://h/good", 200) })
					}
					time.Sleep(2500 * time.Microsecond)
				}
				for got := range tr.Keys() {
					if got.Phase != holdoff.Healthy {
						r.ill++
					}
				}
				good.Wait()
				bad.Wait()
				r.bad, r.took = int(unanswered.Load()), time.Since(h.start)
				return r
			})
			bad := median(runs, func(r result) int { return r.bad })
			ill := median(runs, func(r result) int { return r.ill })
			took := median(runs, func(r result) time.Duration { return r.took })
			if ill > 0 || bad > 0 || took > 20*time.Second {
				t.Errorf("%d not healthy 10 s after the end of the hint, %d of the broken path not answered, and the last answer came after %v; want none, none, and 20 s at most; all runs: %+v", ill, bad, took, runs)
			}
		})
	}
}
