package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/replay"
	"github.com/go-holdoff/holdoff/internal/retrybudget"
)

// A quick walk through the whole: a hint that delays one request, and one that
// holds the key.
func TestRetriesAndHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := script(with(429, "Retry-After: 1"), 503, 200, with(429, "Retry-After: 10"), 200)
		client := &http.Client{Transport: &holdoff.Transport{Base: base}}
		start := time.Now()
		for range 2 {
			resp, err := client.Get("https://api.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 200 {
				t.Fatalf("got status %d, want 200", resp.StatusCode)
			}
			resp.Body.Close()
		}
		if got := base.times[1].Sub(start); got < time.Second || got > 1500*time.Millisecond {
			t.Errorf("second attempt after %v, want 1 s and jitter", got)
		}
		if got := base.times[4].Sub(base.times[3]); got != 10*time.Second {
			t.Errorf("attempt after the hold came after %v, want 10 s", got)
		}
	})
}

// A wait that would reach the context's deadline is not begun: the last response comes
// back at once.
func TestWaitPastTheDeadlineIsNotBegun(t *testing.T) {
	for _, tt := range []struct {
		name     string
		deadline time.Duration
		sends    int
		took     time.Duration
	}{
		{"deadline before the end of the wait", 3*time.Second - 1, 1, 0},
		{"deadline at the end of the wait", 3 * time.Second, 1, 0},
		{"deadline after the end of the wait", 3*time.Second + 1, 2, 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []any{503, with(429, "Retry-After: 3"), error(syscall.ECONNRESET)} {
				synctest.Test(t, func(t *testing.T) {
					base := script(step, 200)
					tr := &holdoff.Transport{Base: base, Backoff: fixed(3 * time.Second)}
					ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
					defer cancel()
					begun := time.Now()
					status, err := statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(ctx))
					if got := time.Since(begun); got != tt.took {
						t.Errorf("took %v, want %v", got, tt.took)
					}
					if got := base.sends(); got != tt.sends {
						t.Errorf("got %d sends, want %d", got, tt.sends)
					}
					if tt.sends == 1 && (status == 200 || errors.Is(err, context.DeadlineExceeded)) {
						t.Errorf("got %d, %v; want the last response or error", status, err)
					}
				})
			}
		})
	}
}

// A cancel in the wait ends it at once, with an error in which the context's error,
// its cause and the last attempt's are found.
func TestCancelInTheWait(t *testing.T) {
	cause := errors.New("user went home")
	for name, step := range map[string]any{"status": 503, "error": error(syscall.ECONNRESET), "hold": with(503, "Retry-After: 20")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(step, 200)
				tr := &holdoff.Transport{Base: base, Backoff: fixed(20 * time.Second)}
				var out holdoff.Outcome
				ctx, cancel := context.WithCancelCause(holdoff.WithOutcome(t.Context(), &out))
				time.AfterFunc(5*time.Second, func() { cancel(cause) })
				begun := time.Now()
				resp, err := tr.RoundTrip(newRequest(t, "GET", "http://h/", "").WithContext(ctx))
				if got := time.Since(begun); got != 5*time.Second {
					t.Errorf("returned after %v, want 5s", got)
				}
				wait, ok := errors.AsType[*holdoff.WaitError](err)
				if !ok || resp != nil {
					t.Fatalf("got %v, %v; want a WaitError", resp, err)
				}
				if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
					t.Errorf("got %v; want context.Canceled and its cause in it", err)
				}
				switch {
				case name == "error" && !errors.Is(err, syscall.ECONNRESET):
					t.Errorf("got %v; want the last attempt's error in it", err)
				case name != "error" && wait.Status != 503:
					t.Errorf("got status %d, want 503", wait.Status)
				}
				if wait.Timeout() || wait.Attempts != 1 {
					t.Errorf("got Timeout %v after %d attempts, want false after 1", wait.Timeout(), wait.Attempts)
				}
				if out.Ended != holdoff.EndContext || out.Attempts != 1 || out.Waited != 5*time.Second {
					t.Errorf("got outcome %+v, want context after 1 attempt and a wait of 5s", out)
				}
				time.Sleep(time.Minute)
				if got := base.sends(); got != 1 {
					t.Errorf("got %d sends, want 1", got)
				}
			})
		})
	}
}

// A context that ends together with the wait means no other attempt.
func TestNoAttemptAfterCancelAtTheEndOfTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		base := script(503, 200)
		tr := &holdoff.Transport{Base: base, Backoff: fixed(time.Second), Observe: func(_ context.Context, e holdoff.Event) {
			if e.Kind == holdoff.Waiting {
				cancel() // in a hook
			}
		}}
		if _, err := statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(ctx)); !is[*holdoff.WaitError](err) {
			t.Errorf("got %v, want a WaitError", err)
		}
		if got := base.sends(); got != 1 {
			t.Errorf("got %d sends, want 1", got)
		}
	})
}

// A context that has ended before means that nothing is sent.
func TestEndedContextSendsNothing(t *testing.T) {
	base := script(200)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := &closeCounter{Reader: strings.NewReader("x")}
	req := newRequest(t, "PUT", "http://h/", "").WithContext(ctx)
	req.Body = body
	_, err := statusOf(&holdoff.Transport{Base: base}, req)
	if err != context.Canceled {
		t.Errorf("got %v, want context.Canceled itself", err)
	}
	if got := base.sends(); got != 0 {
		t.Errorf("got %d sends, want none", got)
	}
	if got := body.closed(); got != 1 {
		t.Errorf("body closed %d times, want once", got)
	}
}

// Http.Client.Timeout bounds attempts and waits together, and its error says that it
// was a timeout.
func TestClientTimeoutBoundsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(req *http.Request) (*http.Response, error) {
			select {
			case <-time.After(2 * time.Second):
				return answer(503), nil
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		}
		base := script(slow)
		client := &http.Client{Transport: &holdoff.Transport{Base: base, Backoff: fixed(time.Second)}, Timeout: 4500 * ms}
		begun := time.Now()
		resp, err := client.Get("http://h/") // sent at 0 and 3 s
		if err == nil {
			resp.Body.Close()
			t.Fatalf("got %d, want a timeout", resp.StatusCode)
		}
		if got := time.Since(begun); got != 4500*ms {
			t.Errorf("returned after %v, want 4.5s", got)
		}
		if !isTimeout(err) {
			t.Errorf("got %v, want an error with Timeout() true", err)
		}
		if got := base.sends(); got != 2 {
			t.Errorf("got %d sends, want 2", got)
		}
	})
}

// MaxAttempts counts every send; zero is 4, and after the last there is no wait.
func TestMaxAttempts(t *testing.T) {
	for _, tt := range []struct{ max, want int }{{0, 4}, {1, 1}, {2, 2}, {10, 10}} {
		t.Run(fmt.Sprint(tt.max), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(500)
				tr := &holdoff.Transport{Base: base, MaxAttempts: tt.max, Backoff: fixed(time.Second)}
				begun := time.Now()
				wants(t, tr, "http://h/", 500)
				if got := base.sends(); got != tt.want {
					t.Errorf("got %d sends, want %d", got, tt.want)
				}
				if got, want := time.Since(begun), time.Duration(tt.want-1)*time.Second; got != want {
					t.Errorf("took %v, want %v", got, want)
				}
				for i, got := range base.attempts {
					if got != i {
						t.Errorf("send %d says it is attempt %d", i, got)
					}
				}
			})
		})
	}
}

// MaxWait bounds all waits of one request together.
func TestMaxWaitBoundsAllWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := script(500)
		var out holdoff.Outcome
		tr := &holdoff.Transport{Base: base, MaxAttempts: 100, MaxWait: 10 * time.Second, Backoff: fixed(3 * time.Second)}
		begun := time.Now()
		statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(holdoff.WithOutcome(t.Context(), &out)))
		if got := time.Since(begun); got != 9*time.Second {
			t.Errorf("took %v, want 9s: a fourth wait would pass 10s", got)
		}
		if out.Ended != holdoff.EndWait || out.Waited != 9*time.Second || out.Attempts != 4 {
			t.Errorf("got outcome %+v, want wait too long, after 9s and 4 attempts", out)
		}
	})
}

// With a negative MaxWait nothing waits, but what need not wait is retried.
func TestNegativeMaxWaitNeverWaits(t *testing.T) {
	for _, tt := range []struct {
		name  string
		delay time.Duration
		step  any
		sends int
	}{
		{"backoff", time.Second, 503, 1},
		{"no backoff", 0, 503, 4},
		{"hint", 0, with(429, "Retry-After: 1"), 1},
		{"hold", 0, with(429, "Retry-After: 5"), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(tt.step)
				tr := &holdoff.Transport{Base: base, MaxWait: -1, Backoff: fixed(tt.delay)}
				begun := time.Now()
				if _, err := get(t, tr, "http://h/"); err != nil {
					t.Errorf("got %v, want the response", err)
				}
				if got := time.Since(begun); got != 0 {
					t.Errorf("took %v, want nothing", got)
				}
				if got := base.sends(); got != tt.sends {
					t.Errorf("got %d sends, want %d", got, tt.sends)
				}
			})
		})
	}
}

// A hint above MaxHold returns the response at once, and holds for MaxHold; one at it
// is obeyed.
func TestMaxHold(t *testing.T) {
	for _, tt := range []struct {
		hint      string
		sends     int
		took, end time.Duration
	}{
		{"20", 2, 20 * time.Second, 0},
		{"21", 1, 0, 20 * time.Second},
		{"99999999999999999999", 1, 0, 20 * time.Second},
	} {
		t.Run(tt.hint, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(with(429, "Retry-After: "+tt.hint), 200)
				tr := &holdoff.Transport{Base: base, MaxHold: 20 * time.Second}
				begun := time.Now()
				get(t, tr, "http://h/")
				if got := time.Since(begun); got != tt.took {
					t.Errorf("took %v, want %v", got, tt.took)
				}
				if got := base.sends(); got != tt.sends {
					t.Errorf("got %d sends, want %d", got, tt.sends)
				}
				if tt.end > 0 {
					sendsAt(t, tr, begun, "http://h/", tt.end)
				}
			})
		})
	}
}

// stalled is a body that comes slowly, as long as its request's context lives.
type stalled struct {
	ctx    context.Context
	left   int
	closed bool
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(time.Second):
		s.left--
		return copy(p, "x"), nil
	case <-s.ctx.Done():
		return 0, context.Cause(s.ctx)
	}
}

func (s *stalled) Close() error { s.closed = true; return nil }

// PerAttemptTimeout ends an attempt that gets no headers, which is retried, but never
// a body that is being read; its context is freed when the body is closed or read to
// its end. All timers are stopped (the bubble's clock shows those that are not).
func TestPerAttemptTimeout(t *testing.T) {
	for _, closing := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed early %v", closing), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var body *stalled
				base := script(func(req *http.Request) (*http.Response, error) {
					<-req.Context().Done()
					return nil, req.Context().Err()
				}, func(req *http.Request) (*http.Response, error) {
					resp := answer(200)
					body = &stalled{ctx: req.Context(), left: 30}
					resp.Body = body
					return resp, nil
				})
				tr := &holdoff.Transport{Base: base, PerAttemptTimeout: 2 * time.Second, Backoff: fixed(time.Second)}
				req := newRequest(t, "GET", "http://h/", "")
				begun := time.Now()
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(begun); got != 3*time.Second {
					t.Errorf("answered at %v, want 3s", got)
				}
				if resp.Request != req {
					t.Error("resp.Request is not the caller's")
				}
				if closing {
					io.CopyN(io.Discard, resp.Body, 5)
				} else if b, err := io.ReadAll(resp.Body); err != nil || len(b) != 30 {
					t.Errorf("read %d bytes, %v; want 30", len(b), err)
				}
				if got := body.ctx.Err() == nil; got != closing {
					t.Errorf("the attempt's context lives: %v, want %v", got, closing)
				}
				resp.Body.Close()
				if body.ctx.Err() == nil || !body.closed {
					t.Error("Close did not reach the body, or its context lives on")
				}
			})
		})
	}
}

// Without a retry the error of the attempt's timeout comes back. It is a timeout,
// as those of http.Client.Timeout and ResponseHeaderTimeout are.
func TestPerAttemptTimeoutError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := script(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		_, err := get(t, &holdoff.Transport{Base: base, MaxAttempts: 1, PerAttemptTimeout: time.Second}, "http://h/")
		if !isTimeout(err) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want a timeout of its own", err)
		}
	})
}

// WithIdempotent lets a POST be sent again; without it, only a refusal at the
// door does.
func TestWithIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, marked := range []bool{true, false} {
			base := script(500, 200)
			req := newRequest(t, "POST", "http://h/", "body")
			want := 1
			if marked {
				req = req.WithContext(holdoff.WithIdempotent(req.Context()))
				want = 2
			}
			statusOf(&holdoff.Transport{Base: base}, req)
			if got := base.sends(); got != want {
				t.Errorf("marked %v: got %d sends, want %d", marked, got, want)
			}
		}
	})
}

// A Transport above another multiplies, and WithoutRetry switches retries off: both by
// the caller, or the inner one in between.
func TestNestedTransports(t *testing.T) {
	for _, tt := range []struct {
		name         string
		outer, inner bool // without retry
		want         int
	}{
		{"three above three make nine", false, false, 9},
		{"inner without retry", false, true, 3},
		{"both without retry", true, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(500)
				inner := &holdoff.Transport{Base: base, MaxAttempts: 3}
				outer := &holdoff.Transport{MaxAttempts: 3, Base: baseFunc(func(req *http.Request) (*http.Response, error) {
					if tt.inner {
						req = req.WithContext(holdoff.WithoutRetry(req.Context()))
					}
					return inner.RoundTrip(req)
				})}
				ctx := t.Context()
				if tt.outer {
					ctx = holdoff.WithoutRetry(ctx)
				}
				statusOf(outer, newRequest(t, "GET", "http://h/", "").WithContext(ctx))
				if got := base.sends(); got != tt.want {
					t.Errorf("got %d sends, want %d", got, tt.want)
				}
			})
		})
	}
}

// The number of attempts is in the context and in the outcome, and nothing of it on
// the wire.
func TestAttemptNumbersStayOffTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var headers []http.Header
		var numbers []int
		base := baseFunc(func(req *http.Request) (*http.Response, error) {
			headers = append(headers, req.Header.Clone())
			numbers = append(numbers, holdoff.Attempt(req.Context()))
			return answer(503), nil
		})
		req := newRequest(t, "GET", "http://h/", "")
		req.Header.Set("Accept", "text/plain")
		statusOf(&holdoff.Transport{Base: base, MaxAttempts: 3}, req)
		if want := []int{0, 1, 2}; !slices.Equal(numbers, want) {
			t.Errorf("got attempts %v, want %v", numbers, want)
		}
		for i, h := range headers {
			if len(h) != 1 || h.Get("Accept") != "text/plain" {
				t.Errorf("attempt %d: got header %v, want the caller's", i, h)
			}
		}
		if got := holdoff.Attempt(t.Context()); got != 0 {
			t.Errorf("got attempt %d of a context of nobody's, want 0", got)
		}
	})
}

// The outcome tells how each request ended.
func TestOutcomeOfEveryEnding(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		ending holdoff.Ending
		tr     func() *holdoff.Transport
		before int // requests that come first
		req    func(*http.Request) *http.Request
		want   holdoff.Outcome
	}{
		{holdoff.EndDone, func() *holdoff.Transport { return &holdoff.Transport{Base: script(503, 200)} }, 0, nil, holdoff.Outcome{Attempts: 2, Waited: time.Second, Status: 200}},
		{holdoff.EndFinal, func() *holdoff.Transport { return &holdoff.Transport{Base: script(broken)} }, 0, nil, holdoff.Outcome{Attempts: 1, Err: broken}},
		{holdoff.EndFinal, func() *holdoff.Transport { return &holdoff.Transport{Base: script(404)} }, 0, nil, holdoff.Outcome{Attempts: 1, Status: 404}},
		{holdoff.EndAttempts, func() *holdoff.Transport { return &holdoff.Transport{Base: script(503)} }, 0, nil, holdoff.Outcome{Attempts: 4, Waited: 3 * time.Second, Status: 503}},
		{holdoff.EndBudget, func() *holdoff.Transport { return &holdoff.Transport{Base: script(503), Budget: 2} }, 0, nil, holdoff.Outcome{Attempts: 3, Waited: 2 * time.Second, Status: 503}},
		{holdoff.EndWait, func() *holdoff.Transport {
			return &holdoff.Transport{Base: script(503), MaxWait: 2500 * time.Millisecond}
		}, 0, nil, holdoff.Outcome{Attempts: 3, Waited: 2 * time.Second, Status: 503}},
		{holdoff.EndBody, func() *holdoff.Transport { return &holdoff.Transport{Base: script(503)} }, 0, func(req *http.Request) *http.Request {
			req.Method = "PUT"
			req.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", replay.Limit+1)))
			return req
		}, holdoff.Outcome{Attempts: 1, Status: 503}},
		{holdoff.EndNoRetry, func() *holdoff.Transport { return &holdoff.Transport{Base: script(503)} }, 0, func(req *http.Request) *http.Request {
			return req.WithContext(holdoff.WithoutRetry(req.Context()))
		}, holdoff.Outcome{Attempts: 1, Status: 503}},
		{holdoff.EndHeld, func() *holdoff.Transport {
			return &holdoff.Transport{Base: script(with(503, "Retry-After: 10")), MaxWait: -1}
		}, 1, nil, holdoff.Outcome{}},
		{holdoff.EndContext, func() *holdoff.Transport { return &holdoff.Transport{Base: script(503)} }, 0, func(req *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(req.Context())
			time.AfterFunc(1500*time.Millisecond, cancel)
			return req.WithContext(ctx)
		}, holdoff.Outcome{Attempts: 2, Waited: 1500 * time.Millisecond, Status: 503}},
	} {
		t.Run(string(tt.ending), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := tt.tr()
				tr.Backoff = fixed(time.Second)
				for range tt.before {
					get(t, tr, "http://h/")
				}
				out := holdoff.Outcome{Attempts: -1}
				req := newRequest(t, "GET", "http://h/", "")
				req = req.WithContext(holdoff.WithOutcome(req.Context(), &out))
				if tt.req != nil {
					req = tt.req(req)
				}
				statusOf(tr, req)
				tt.want.Ended = tt.ending
				if out != tt.want {
					t.Errorf("got %+v\nwant %+v", out, tt.want)
				}
			})
		})
	}
}

// A field that can't be meant is an error that names it and its bound, and the
// request's body is closed all the same.
func TestConfigErrorsNameFieldAndBound(t *testing.T) {
	for _, tt := range []struct {
		tr    *holdoff.Transport
		field string
		bound string
	}{
		{&holdoff.Transport{MaxAttempts: -1}, "Transport.MaxAttempts is -1", "not be negative"},
		{&holdoff.Transport{PerAttemptTimeout: -time.Second}, "Transport.PerAttemptTimeout is -1s", "not be negative"},
		{&holdoff.Transport{MaxHold: -time.Second}, "Transport.MaxHold is -1s", "not be negative"},
		{&holdoff.Transport{Backoff: holdoff.Exponential{Base: -1}}, "Exponential.Base is -1ns", "not be negative"},
		{&holdoff.Transport{Backoff: holdoff.Exponential{Cap: -1}}, "Exponential.Cap is -1ns", "not be negative"},
		{&holdoff.Transport{Backoff: holdoff.Exponential{Jitter: 4}}, "Exponential.Jitter is 4", "0 to 3"},
	} {
		t.Run(tt.field, func(t *testing.T) {
			base := script(200)
			tt.tr.Base = base
			body := &closeCounter{Reader: strings.NewReader("x")}
			req := newRequest(t, "PUT", "http://h/", "")
			req.Body = body
			_, err := statusOf(tt.tr, req)
			if err == nil || !strings.HasPrefix(err.Error(), "holdoff: "+tt.field) || !strings.Contains(err.Error(), tt.bound) {
				t.Errorf("got %v, want it to say %q and %q", err, tt.field, tt.bound)
			}
			if base.sends() != 0 || body.closed() != 1 {
				t.Errorf("got %d sends and %d closes, want 0 and 1", base.sends(), body.closed())
			}
		})
	}
}

// What becomes of a request in one process: what is sent, when, and
// what the key learns. Backoff is 100 ms exactly.
func TestDecisions(t *testing.T) {
	big := func() io.ReadCloser { return io.NopCloser(strings.NewReader(strings.Repeat("x", replay.Limit+1))) }
	for _, tt := range []struct {
		name     string
		method   string
		header   string
		body     func() io.ReadCloser // without GetBody
		steps    []any
		deadline time.Duration
		maxWait  time.Duration

		status   int // 0: an error
		sends    int
		min, max time.Duration // until the answer
		phase    holdoff.Phase // then
		attempts int           // on the books then
	}{
		{name: "GET 503 without hint backs off", steps: []any{503, 200}, status: 200, sends: 2, min: 100 * ms, max: 100 * ms},
		{name: "GET 429 with a short hint waits for itself", steps: []any{with(429, "Retry-After: 1"), 200}, status: 200, sends: 2, min: time.Second, max: 1500 * ms},
		{name: "GET 429 with a hint past the deadline returns it and holds", steps: []any{with(429, "Retry-After: 30")}, deadline: 5 * time.Second, status: 429, sends: 1, phase: holdoff.Held, attempts: 1},
		{name: "GET 429 with a hint past MaxWait returns it and holds", steps: []any{with(429, "Retry-After: 30")}, maxWait: 5 * time.Second, status: 429, sends: 1, phase: holdoff.Held, attempts: 1},
		{name: "POST 503 without key returns, and counts", method: "POST", steps: []any{503}, status: 503, sends: 1, attempts: 1},
		{name: "POST 429 with hint is sent again", method: "POST", steps: []any{with(429, "Retry-After: 5"), 200}, status: 200, sends: 2, min: 5 * time.Second, max: 5 * time.Second, phase: holdoff.Ramping, attempts: 1},
		{name: "POST 429 without hint returns, and counts", method: "POST", steps: []any{429}, status: 429, sends: 1, attempts: 1},
		{name: "POST 500 with hint returns", method: "POST", steps: []any{with(500, "Retry-After: 1")}, status: 500, sends: 1, attempts: 1},
		{name: "POST with key after a reset, then 409, is sent until done", method: "POST", header: "Idempotency-Key: k", steps: []any{error(syscall.ECONNRESET), 409, 200}, status: 200, sends: 3, min: 200 * ms, max: 200 * ms},
		{name: "POST without key after a reset returns", method: "POST", steps: []any{error(syscall.ECONNRESET)}, sends: 1, attempts: 1},
		{name: "PUT with a big body without GetBody is sent once, and counts", method: "PUT", body: big, steps: []any{503}, status: 503, sends: 1, attempts: 1},
		{name: "501 is not retried", steps: []any{501}, status: 501, sends: 1},
		{name: "403 without rate headers is not retried", steps: []any{403}, status: 403, sends: 1},
		{name: "403 that is a rate limit is", steps: []any{with(403, "X-RateLimit-Remaining: 0", "Retry-After: 1"), 200}, status: 200, sends: 2, min: time.Second, max: 1500 * ms},
		{name: "503 that says not to retry", steps: []any{with(503, "X-Should-Retry: false")}, status: 503, sends: 1, attempts: 1},
		{name: "302 goes up", steps: []any{with(302, "Location: /x")}, status: 302, sends: 1},
		{name: "a hint on a success is ignored", steps: []any{with(200, "Retry-After: 30")}, status: 200, sends: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := script(tt.steps...)
				tr := &holdoff.Transport{Base: base, Backoff: fixed(100 * ms), MaxWait: tt.maxWait}
				req := newRequest(t, tt.method, "http://h/", "")
				if name, value, ok := strings.Cut(tt.header, ": "); ok {
					req.Header.Set(name, value)
				}
				if tt.body != nil {
					req.Body = tt.body()
				}
				if tt.deadline > 0 {
					ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
					defer cancel()
					req = req.WithContext(ctx)
				}
				begun := time.Now()
				status, err := statusOf(tr, req)
				took := time.Since(begun)
				if status != tt.status || (err == nil) != (status != 0) {
					t.Errorf("got %d, %v; want %d", status, err, tt.status)
				}
				if got := base.sends(); got != tt.sends {
					t.Errorf("got %d sends, want %d", got, tt.sends)
				}
				if took < tt.min || took > tt.max {
					t.Errorf("took %v, want %v to %v", took, tt.min, tt.max)
				}
				if got := keyAt(tr, "http://h"); got.Phase != tt.phase || got.Attempts != tt.attempts {
					t.Errorf("the key is %v with %d failed attempts, want %v with %d", got.Phase, got.Attempts, tt.phase, tt.attempts)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// A probe that gets a 404 has found the host up.
func TestProbeThatGets404IsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &holdoff.Transport{Base: script(with(503, "Retry-After: 5"), 404, 200)}
		wants(t, tr, "http://h/", 404)
		if got := keyAt(tr, "http://h").Phase; got != holdoff.Ramping {
			t.Errorf("got %v, want ramping", got)
		}
		time.Sleep(time.Second)
	})
}

// A context that is cancelled in flight is no failure of the host, and a
// probe's lease is cut short.
func TestCancelInFlightIsNotTheHostsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(at time.Duration, req *http.Request) (*http.Response, error) {
			switch at {
			case 0:
				return answer(503, "Retry-After: 5"), nil
			case 5 * time.Second:
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, MaxAttempts: 1}
		wants(t, tr, "http://h/", 503)
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(300*ms, cancel)
		var out holdoff.Outcome
		_, err := statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(holdoff.WithOutcome(ctx, &out)))
		if !errors.Is(err, context.Canceled) || out.Ended != holdoff.EndContext {
			t.Errorf("got %v, ended %q; want context.Canceled, %q", err, out.Ended, holdoff.EndContext)
		}
		if got := keyAt(tr, "http://h"); got.Attempts != 1 || got.Phase != holdoff.Probing {
			t.Errorf("got %v with %d failed attempts, want probing with 1", got.Phase, got.Attempts)
		}
		sendsAt(t, tr, h.start, "http://h/", 5400*ms)
		time.Sleep(time.Second)
	})
}

// Where one URL gets 500, the budget bounds its retries, and the key is not held.
func TestOneBadPathHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(func(_ time.Duration, req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/bad" {
				return answer(500), nil
			}
			return answer(200), nil
		})
		tr := &holdoff.Transport{Base: h, Backoff: fixed(ms)}
		const n = 4000
		for i := range n {
			path := "/good"
			if i%20 == 0 {
				path = "/bad"
			}
			get(t, tr, "http://h"+path)
			if got := keyAt(tr, "http://h").Phase; got != holdoff.Healthy {
				t.Fatalf("request %d: got %v, want healthy", i, got)
			}
		}
		if got := float64(len(h.hits)) / n; got > 1.15 {
			t.Errorf("got %.2f sends per request, want at most 1.15", got)
		}
	})
}

// No request is sent before a hint that it has seen is over, and none at all in a
// hold. A hint of a key that serves requests meanwhile asks for less; any other one of
// two seconds or more holds the key to its end.
func TestNothingIsSentBeforeAHintIsOver(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			var mu sync.Mutex
			var silence time.Time      // the end of the hints that hold
			type who struct{}          // in the context: whose request it is
			own := map[any]time.Time{} // the end of the hints that one request has seen
			var tr *holdoff.Transport
			h := newHost(func(_ time.Duration, req *http.Request) (*http.Response, error) {
				mu.Lock()
				now := time.Now()
				if end := own[req.Context().Value(who{})]; now.Before(end) {
					t.Errorf("seed %d: a request was sent again %v before its hint was over", seed, end.Sub(now))
				}
				if now.Before(silence) {
					t.Errorf("seed %d: a request was sent %v before the hold was over", seed, silence.Sub(now))
				}
				latency, bad, hint := time.Duration(rng.IntN(300))*ms, rng.IntN(4) == 0, time.Duration(1+rng.IntN(4000))*ms
				mu.Unlock()
				time.Sleep(latency)
				if !bad {
					return answer(200), nil
				}
				end := time.Now().Add(hint)
				mu.Lock()
				own[req.Context().Value(who{})] = end
				mu.Unlock()
				if hint >= hold.MinHold {
					before := keyAt(tr, "http://h").Phase
					// Known as soon as the response is judged, which takes no time.
					time.AfterFunc(1, func() {
						mu.Lock()
						defer mu.Unlock()
						key := keyAt(tr, "http://h")
						if key.Phase == holdoff.Held && key.Until.After(silence) {
							silence = key.Until
						}
						less := before == holdoff.Ramping || before == holdoff.Counted || before == holdoff.Paced
						if !less && (key.Phase != holdoff.Held || key.Until.Before(end)) {
							t.Errorf("seed %d: the key was %v, and is %v after a hint of %v, want held to its end", seed, before, key.Phase, hint)
						}
					})
				}
				return answer(429, fmt.Sprintf("Retry-After-Ms: %d", hint/ms)), nil
			})
			tr = &holdoff.Transport{Base: h, Route: oneScope}
			var all sync.WaitGroup
			for i := range 200 {
				mu.Lock()
				start := time.Duration(rng.IntN(20_000)) * ms
				mu.Unlock()
				all.Go(func() {
					time.Sleep(start)
					statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(context.WithValue(t.Context(), who{}, i)))
				})
			}
			all.Wait()
			time.Sleep(5 * time.Second)
		})
	}
}

// Retries are at most what the bucket holds at first, and a tenth of the successes.
func TestBudgetBoundsRetries(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			sent, good, streak := 0, 0, 0
			base := baseFunc(func(*http.Request) (*http.Response, error) {
				sent++
				if rng.IntN(2) == 0 && streak < 20/2 { // no request is to be held: what waits for a hold is free
					streak++
					return answer(503), nil
				}
				streak = 0
				good++
				return answer(200), nil
			})
			tr := &holdoff.Transport{Base: base}
			for calls := 1; calls <= 2000; calls++ {
				get(t, tr, "http://h/")
				if retries := sent - calls; 10*retries > 10*retrybudget.Default+good {
					t.Fatalf("seed %d: %d retries after %d successes, want at most %v", seed, retries, good, retrybudget.Default+float64(good)/10)
				}
			}
			if retries := sent - 2000; 10*retries < good {
				t.Errorf("seed %d: %d retries after %d successes: the budget was not used", seed, retries, good)
			}
		})
	}
}

// No request waits past its context's deadline, and none waits when no attempt
// follows: a response comes back at the moment it was received.
func TestNoWaitPastTheDeadlineNorForNothing(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			var mu sync.Mutex
			type last struct{}
			base := baseFunc(func(req *http.Request) (*http.Response, error) {
				*req.Context().Value(last{}).(*time.Time) = time.Now()
				mu.Lock()
				defer mu.Unlock()
				switch rng.IntN(4) {
				case 0:
					return answer(200), nil
				case 1:
					return answer(503), nil
				case 2:
					return nil, syscall.ECONNRESET
				}
				return answer(429, fmt.Sprintf("Retry-After-Ms: %d", rng.IntN(4000))), nil
			})
			tr := &holdoff.Transport{Base: base, MaxWait: 8 * time.Second}
			var all sync.WaitGroup
			for range 300 {
				mu.Lock()
				start, limit := time.Duration(rng.IntN(30_000))*ms, time.Duration(1+rng.IntN(10_000))*ms
				mu.Unlock()
				all.Go(func() {
					time.Sleep(start)
					var sent time.Time
					begun := time.Now()
					ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), last{}, &sent), limit)
					defer cancel()
					_, err := statusOf(tr, newRequest(t, "GET", "http://h/", "").WithContext(ctx))
					if took := time.Since(begun); took > limit {
						t.Errorf("seed %d: took %v with a deadline of %v", seed, took, limit)
					}
					if (err == nil || errors.Is(err, syscall.ECONNRESET)) && !is[*holdoff.WaitError](err) && !sent.Equal(time.Now()) {
						t.Errorf("seed %d: waited %v after the last attempt", seed, time.Since(sent))
					}
					if wait, ok := errors.AsType[*holdoff.WaitError](err); ok && wait.Attempts > 0 && time.Since(begun) < limit {
						t.Errorf("seed %d: got %v before the deadline", seed, err)
					}
				})
			}
			all.Wait()
			time.Sleep(5 * time.Second)
		})
	}
}
