package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// notes collects events.
type notes struct {
	mu     sync.Mutex
	events []holdoff.Event
}

func (n *notes) observe(_ context.Context, e holdoff.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
}

// lines are the events in short.
func (n *notes) lines() (lines []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		switch {
		case e.Kind >= holdoff.HoldStarted:
			lines = append(lines, fmt.Sprintf("%v: %v for %v, level %d, status %d, %d failed", e.Kind, e.Phase, e.Hold, e.Level, e.Status, e.Attempts))
		default:
			lines = append(lines, fmt.Sprintf("%v %d: %s, status %d, err %v, duration %v, wait %v", e.Kind, e.Attempt, e.Reason, e.Status, e.Err, e.Duration, e.Wait))
		}
	}
	return lines
}

func sameLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: got\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// fixed is a Backoff without chance.
type fixed time.Duration

func (f fixed) Delay(holdoff.Retry) time.Duration { return time.Duration(f) }

// slowly is a step for script: it answers after d.
func slowly(d time.Duration, step func() *http.Response) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		time.Sleep(d)
		return step(), nil
	}
}

// One event per decision, with attempt, delay, reason and status.
func TestOneEventPerDecision(t *testing.T) {
	refused := errors.New("broken")
	for _, tt := range []struct {
		name string
		tr   *holdoff.Transport
		want []string
	}{
		{"a success", &holdoff.Transport{Base: script(slowly(time.Second, with(200)))}, []string{
			"attempt 0: ok, status 200, err <nil>, duration 1s, wait 0s",
		}},
		{"a retry", &holdoff.Transport{Base: script(slowly(time.Second, with(503)), slowly(time.Second, with(200))), Backoff: fixed(3 * time.Second)}, []string{
			"attempt 0: server error, status 503, err <nil>, duration 1s, wait 0s",
			"waiting 1: server error, status 503, err <nil>, duration 0s, wait 3s",
			"attempt 1: ok, status 200, err <nil>, duration 1s, wait 0s",
		}},
		{"giving up", &holdoff.Transport{Base: script(slowly(time.Second, with(500))), MaxAttempts: 1}, []string{
			"attempt 0: server error, status 500, err <nil>, duration 1s, wait 0s",
			"gave up 0: attempts, status 500, err <nil>, duration 0s, wait 0s",
		}},
		{"an error that is final", &holdoff.Transport{Base: script(refused)}, []string{
			"attempt 0: error, status 0, err broken, duration 1ns, wait 0s",
		}},
		{"a hold", &holdoff.Transport{Base: script(slowly(time.Second, with(429, "Retry-After: 5")), slowly(50*time.Millisecond, with(200)))}, []string{
			"attempt 0: too many requests, status 429, err <nil>, duration 1s, wait 0s",
			"hold started: held for 5s, level 0, status 429, 1 failed",
			"waiting 1: held, status 429, err <nil>, duration 0s, wait 5s",
			"hold changed: probing for 0s, level 0, status 429, 1 failed",
			"attempt 1: ok, status 200, err <nil>, duration 50ms, wait 0s",
			"hold changed: ramping for 0s, level 0, status 429, 1 failed",
			"hold ended: healthy for 0s, level 0, status 0, 0 failed",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n notes
				tt.tr.Observe = n.observe
				if _, err := get(t, tt.tr, "http://h/"); err != nil && err != refused {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				sameLines(t, "events", n.lines(), tt.want)
				for _, e := range n.events {
					if e.Key != "http://h" {
						t.Errorf("%v: got key %q, want http://h", e.Kind, e.Key)
					}
					if e.Kind < holdoff.HoldStarted && e.Method != "GET" {
						t.Errorf("%v: got method %q, want GET", e.Kind, e.Method)
					}
				}
			})
		})
	}
}

// What a request waited is told with what came of it: by its next attempt, or by
// its end.
func TestWaitedIsToldOnce(t *testing.T) {
	hint := with(429, "Retry-After: 5")
	for _, tt := range []struct {
		name string
		base *scripted
		want []string
	}{
		{"nothing", script(200), []string{"attempt 0s"}},
		{"a backoff", script(503, 503, 200), []string{"attempt 0s", "waiting 0s", "attempt 3s", "waiting 0s", "attempt 3s"}},
		{"a hold", script(hint, 200), []string{"attempt 0s", "waiting 0s", "attempt 5s"}},
		{"in vain", script(hint, with(429, "Retry-After: 60")), []string{"attempt 0s", "waiting 0s", "attempt 5s", "gave up 0s"}},
		{"the context ends in a backoff", script(503, 503, 503), []string{"attempt 0s", "waiting 0s", "attempt 3s", "waiting 0s", "attempt 3s", "waiting 0s", "gave up 2s"}},
		{"the context ends in a hold", script(with(429, "Retry-After: 20")), []string{"attempt 0s", "waiting 0s", "gave up 8s"}},
		{"the context ends before the first attempt", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n notes
				var out holdoff.Outcome
				tr := &holdoff.Transport{Base: tt.base, Backoff: fixed(3 * time.Second), Observe: n.observe}
				ctx, cancel := context.WithCancel(holdoff.WithOutcome(t.Context(), &out))
				defer cancel()
				if tt.base == nil {
					cancel()
				}
				time.AfterFunc(8*time.Second, cancel)
				statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(ctx))

				var got []string
				var sum time.Duration
				for _, e := range n.events {
					if e.Kind < holdoff.HoldStarted {
						got = append(got, fmt.Sprint(e.Kind, " ", e.Waited))
						sum += e.Waited
					}
				}
				sameLines(t, "waited", got, tt.want)
				if sum != out.Waited {
					t.Errorf("events tell of %v, and the outcome of %v", sum, out.Waited)
				}
			})
		})
	}
}

// A request that is held for longer than it may wait is one event.
func TestHeldRequestIsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n notes
		tr := &holdoff.Transport{Base: script(with(429, "Retry-After: 5")), MaxAttempts: 1, MaxWait: -1, Observe: n.observe}
		get(t, tr, "http://h/")
		n.events = nil
		get(t, tr, "http://h/")
		sameLines(t, "events", n.lines(), []string{"gave up 0: held, status 429, err <nil>, duration 0s, wait 5s"})
	})
}

// A hook gets the request's context, and the background context where no request is
// the cause.
func TestHookGetsTheRequestsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type mark struct{}
		tr := &holdoff.Transport{Base: script(with(429, "Retry-After: 2"), 200), Observe: func(ctx context.Context, e holdoff.Event) {
			want := any("mine")
			if e.Kind >= holdoff.HoldStarted {
				want = nil
			}
			if got := ctx.Value(mark{}); got != want {
				t.Errorf("%v: got %v in the context, want %v", e.Kind, got, want)
			}
		}}
		if got, err := statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(context.WithValue(t.Context(), mark{}, "mine"))); got != 200 {
			t.Errorf("got %d, %v; want 200", got, err)
		}
		time.Sleep(time.Second)
	})
}

// Attempts and waits are logged at DEBUG, and holds at INFO, with the fields that are
// documented and no others.
func TestLogLevelsAndFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		base := script(slowly(time.Second, with(429, "Retry-After: 5")), slowly(time.Second, with(503)), errors.New("broken"))
		tr := &holdoff.Transport{Base: base, Logger: zap.New(core), Route: oneScope}
		get(t, tr, "http://h/path?query")
		tr.MaxWait = -1
		get(t, tr, "http://h/path?query")
		time.Sleep(time.Minute)
		want := map[string]struct {
			level  zapcore.Level
			fields []string
		}{
			"attempt":      {zapcore.DebugLevel, []string{"key", "method", "attempt", "status", "duration", "waited", "reason", "error"}},
			"waiting":      {zapcore.DebugLevel, []string{"key", "method", "attempt", "status", "wait", "reason"}},
			"gave up":      {zapcore.DebugLevel, []string{"key", "method", "attempt", "status", "wait", "waited", "reason", "error"}},
			"hold started": {zapcore.InfoLevel, []string{"key", "phase", "hold_level", "attempts", "shared", "status", "hold"}},
			"hold changed": {zapcore.DebugLevel, []string{"key", "phase", "hold_level", "attempts", "shared", "status", "hold"}},
			"hold ended":   {zapcore.InfoLevel, []string{"key", "phase", "hold_level", "attempts", "shared", "status"}},
		}
		seen := map[string]bool{}
		for _, entry := range logs.All() {
			w, ok := want[entry.Message]
			if !ok {
				t.Errorf("got message %q, which is none of ours", entry.Message)
			}
			seen[entry.Message] = true
			if entry.Level != w.level {
				t.Errorf("%s: got level %v, want %v", entry.Message, entry.Level, w.level)
			}
			fields := entry.ContextMap()
			if fields["key"] != "http://h" {
				t.Errorf("%s: got key %v, want http://h", entry.Message, fields["key"])
			}
			for name := range fields {
				if !strings.Contains(" "+strings.Join(w.fields, " ")+" ", " "+name+" ") {
					t.Errorf("%s: got field %s, want only %v", entry.Message, name, w.fields)
				}
			}
		}
		for _, message := range []string{"attempt", "waiting", "hold started", "hold changed"} {
			if !seen[message] {
				t.Errorf("got no entry %q", message)
			}
		}
	})
}

// Above DEBUG a logger gets the beginning and the end of holds only.
func TestInfoLoggerGetsHoldsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		tr := &holdoff.Transport{Base: script(with(429, "Retry-After: 5"), 200), Logger: zap.New(core)}
		wants(t, tr, "http://h/", 200)
		time.Sleep(time.Minute)
		var got []string
		for _, entry := range logs.All() {
			got = append(got, entry.Message)
		}
		sameLines(t, "messages", got, []string{"hold started", "hold ended"})
	})
}

// Nothing that may be a secret reaches a log or a hook: no path, query, user info,
// header or body, and no URL in an error's text.
func TestNoSecretsInLogsAndEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "s3cret"
		raw := "https://" + secret + "user:" + secret + "pw@h.example/" + secret + "path?q=" + secret + "#" + secret
		core, logs := observer.New(zapcore.DebugLevel)
		var n notes
		base := script(
			&url.Error{Op: "Get", URL: raw, Err: context.DeadlineExceeded}, // a timeout: retried
			with(503, "Set-Cookie: "+secret, "X: "+secret),
			with(429, "Retry-After: 5", "X: "+secret),
			fmt.Errorf("proxy %s: %w", raw, context.DeadlineExceeded),
		)
		tr := &holdoff.Transport{Base: base, Logger: zap.New(core), Observe: n.observe}
		for range 3 {
			req := newRequest(t, "PUT", raw, secret)
			req.Header.Set("Authorization", secret)
			statusOf(tr, req)
		}
		for _, entry := range logs.All() {
			if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, secret) {
				t.Errorf("log holds a secret: %s", text)
			}
		}
		for _, e := range n.events {
			if text := fmt.Sprintf("%v", e); strings.Contains(text, secret) {
				t.Errorf("event holds a secret: %s", text)
			}
		}
		if len(n.events) < 8 {
			t.Errorf("got %d events, want 8 or more", len(n.events))
		}
	})
}

// Without a logger, and with one that does nothing, all works, and a healthy request
// allocates nothing. It must run alone: it is not parallel.
func TestObserve_NilAndNopLoggersCostNothing(t *testing.T) {
	for name, log := range map[string]*zap.Logger{"nil": nil, "no-op": zap.NewNop()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &holdoff.Transport{Base: script(503, with(429, "Retry-After: 3"), errors.New("x"), 200), Logger: log}
				get(t, tr, "http://h/")
				wants(t, tr, "http://h/", 200)
			})
			resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
			tr := &holdoff.Transport{Base: roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil }), Logger: log}
			req := newRequest(t, "GET", "http://h/", "")
			if got := testing.AllocsPerRun(1000, func() { tr.RoundTrip(req) }); got != 0 {
				t.Errorf("got %v allocations per request, want 0", got)
			}
		})
	}
}

// A hook that panics leaks neither the response's nor the request's body, nor a
// permit, nor a place in line, whatever the event was.
func TestHookPanicLeaksNothing(t *testing.T) {
	// What the host does, and what it takes for the hook to be called.
	for _, tt := range []struct {
		kind   holdoff.EventKind
		phase  holdoff.Phase
		reason string
	}{
		{holdoff.Attempted, 0, "ok"},
		{holdoff.Attempted, 0, "server error"},
		{holdoff.Attempted, 0, "too many requests"},
		{holdoff.Waiting, 0, "server error"},
		{holdoff.Waiting, 0, "held"},
		{holdoff.GaveUp, 0, "attempts"},
		{holdoff.GaveUp, 0, "held"},
		{holdoff.HoldStarted, holdoff.Held, ""},
		{holdoff.HoldChanged, holdoff.Probing, ""},
		{holdoff.HoldChanged, holdoff.Ramping, ""},
	} {
		t.Run(fmt.Sprint(tt.kind, " ", tt.phase, " ", tt.reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var bodies []*closeCounter
				armed := false
				panicked := 0
				count := func() *closeCounter {
					mu.Lock()
					defer mu.Unlock()
					bodies = append(bodies, &closeCounter{Reader: strings.NewReader("body")})
					return bodies[len(bodies)-1]
				}
				h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
					resp := answer(200)
					switch {
					case req.URL.Path == "/503":
						resp = answer(503)
					case req.URL.Path == "/429":
						resp = answer(429, "Retry-After: 3")
					}
					resp.Body = count()
					return resp, nil
				})
				tr := &holdoff.Transport{Base: h, MaxAttempts: 2, MaxWait: 10 * time.Second, Backoff: fixed(time.Second), Route: oneScope}
				tr.Observe = func(_ context.Context, e holdoff.Event) {
					mu.Lock()
					hit := armed && e.Kind == tt.kind && e.Phase == tt.phase && e.Reason == tt.reason
					if hit {
						armed = false
						panicked++
					}
					mu.Unlock()
					if hit {
						panic("hook")
					}
				}
				try := func(path string) {
					defer func() { recover() }()
					req := newRequest(t, "PUT", "http://h"+path, "")
					req.Body = count()
					ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
					defer cancel()
					resp, err := tr.RoundTrip(req.WithContext(ctx))
					if err == nil {
						resp.Body.Close()
					}
				}
				if tt.kind == holdoff.HoldChanged {
					// On a request's goroutine: no request waits when the hold ends.
					statusOf(tr, newRequest(t, "GET", "http://h/429", "").WithContext(holdoff.WithoutRetry(t.Context())))
					time.Sleep(4 * time.Second)
					armed = true
					try("/200")
				} else {
					armed = true
					for _, path := range []string{"/200", "/503", "/429", "/200"} {
						try(path)
					}
					time.Sleep(2 * time.Second) // until it is healthy again: in a ramp, a refusal asks for less
					statusOf(tr, newRequest(t, "GET", "http://h/429", "").WithContext(holdoff.WithoutRetry(t.Context())))
					impatient, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					func() {
						defer func() { recover() }()
						statusOf(tr, newRequest(t, "GET", "http://h/200", "").WithContext(impatient))
					}()
				}
				if panicked != 1 {
					t.Fatalf("the hook panicked %d times, want once", panicked)
				}
				if got := keyAt(tr, "http://h").Waiters; got != 0 {
					t.Errorf("%d waiters left, want none", got)
				}
				for i, b := range bodies {
					if got := b.closed(); got != 1 {
						t.Errorf("body %d closed %d times, want once", i, got)
					}
				}
				// A permit that was lost would make the next wait for a lease.
				time.Sleep(hold.Slot)
				if now := keyAt(tr, "http://h"); now.Phase == holdoff.Held {
					time.Sleep(time.Until(now.Until))
				}
				begun := time.Now()
				wants(t, tr, "http://h/200", 200)
				if got := time.Since(begun); got > hold.Slot {
					t.Errorf("the next request waited %v, want at most a hold.Slot: a permit was lost", got)
				}
			})
		})
	}
}
