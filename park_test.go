package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/replay"
)

const (
	parkTimeout   = time.Second                                // the longest that a request waits for its lot
	notReplayable = "not parked: the body can't be sent again" // the text of an error without a type
)

// noteLot is a Lot that notes what it is given, with the bytes of the body.
type noteLot struct {
	err  error
	hook func(context.Context, holdoff.Parked)

	mu     sync.Mutex
	parked []holdoff.Parked
	bodies []string
}

func (l *noteLot) Park(ctx context.Context, p holdoff.Parked) (string, error) {
	if l.hook != nil {
		l.hook(ctx, p)
	}
	if l.err != nil {
		return "", l.err
	}
	body := "(none)"
	if p.Request.GetBody != nil {
		rc, err := p.Request.GetBody()
		if err != nil {
			return "", err
		}
		defer rc.Close()
		b, err := io.ReadAll(rc)
		if err != nil {
			return "", err
		}
		body = string(b)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parked, l.bodies = append(l.parked, p), append(l.bodies, body)
	return fmt.Sprintf("id-%d", len(l.parked)), nil
}

// gaveUps is a hook that keeps the GaveUp events.
type gaveUps struct {
	mu     sync.Mutex
	events []holdoff.Event
}

func (g *gaveUps) observe(_ context.Context, e holdoff.Event) {
	if e.Kind != holdoff.GaveUp {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, e)
}

func (g *gaveUps) last() holdoff.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.events) == 0 {
		return holdoff.Event{}
	}
	return g.events[len(g.events)-1]
}

// allBytes is a body that no text encoding keeps as it is.
var allBytes = func() string {
	var b strings.Builder
	for i := range 256 {
		b.WriteByte(byte(i))
	}
	return b.String()
}()

// streamed makes a request whose body has no GetBody.
func streamed(t testing.TB, method, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://api.example.com/v1/things",
		struct{ io.Reader }{strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func sendParked(rt *holdoff.Transport, req *http.Request) (holdoff.Outcome, *http.Response, error) {
	var out holdoff.Outcome
	resp, err := rt.RoundTrip(req.WithContext(holdoff.WithOutcome(req.Context(), &out)))
	return out, resp, err
}

func TestEndingsThatParkAndEndingsThatDoNot(t *testing.T) {
	const url = "https://api.example.com/v1/things"
	for _, tt := range []struct {
		ending holdoff.Ending
		parks  bool
		base   *scripted
		change func(*holdoff.Transport)
		method string
		body   int // bytes of a streamed body
		ctx    func(context.Context) (context.Context, context.CancelFunc)
		before bool // another request goes before, and holds the key
		sent   int
		status int
	}{
		{ending: holdoff.EndAttempts, parks: true, base: script(503), sent: 4, status: 503},
		{ending: holdoff.EndAttempts, parks: true, base: script(syscall.ECONNREFUSED), sent: 4},
		{ending: holdoff.EndBudget, parks: true, base: script(503), change: func(rt *holdoff.Transport) { rt.Budget = 1 }, sent: 2, status: 503},
		{ending: holdoff.EndWait, parks: true, base: script(with(429, "Retry-After: 120")), sent: 1, status: 429},
		{ending: holdoff.EndWait, parks: true, base: script(with(429, "Retry-After: 3600")), sent: 1, status: 429},
		{ending: holdoff.EndHeld, parks: true, base: script(with(429, "Retry-After: 120")), before: true},
		{ending: holdoff.EndDone, base: script(200), sent: 1, status: 200},
		{ending: holdoff.EndDone, base: script(503, 204), sent: 2, status: 204},
		{ending: holdoff.EndFinal, base: script(404), sent: 1, status: 404},
		{ending: holdoff.EndFinal, base: script(500), method: http.MethodPost, sent: 1, status: 500},
		{ending: holdoff.EndBody, base: script(503), method: http.MethodPut, body: replay.Limit + 1, sent: 1, status: 503},
		{ending: holdoff.EndNoRetry, base: script(503), sent: 1, status: 503, ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return holdoff.WithoutRetry(ctx), func() {}
		}},
		{ending: holdoff.EndHeld, base: script(with(429, "Retry-After: 120")), before: true, ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return holdoff.WithoutRetry(ctx), func() {}
		}},
		{ending: holdoff.EndContext, base: script(with(429, "Retry-After: 20")), sent: 1, status: 429, ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(5*time.Second, cancel)
			return ctx, cancel
		}},
	} {
		t.Run(fmt.Sprintf("%s, parked %t", tt.ending, tt.parks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lot, seen := &noteLot{}, &gaveUps{}
				rt := &holdoff.Transport{Base: tt.base, Park: lot, Observe: seen.observe}
				if tt.change != nil {
					tt.change(rt)
				}
				if tt.before {
					if resp, err := rt.RoundTrip(newRequest(t, http.MethodGet, url, "")); err != nil || resp.StatusCode != 429 {
						t.Fatalf("got %v, %v, want the 429 that holds the key", resp, err)
					}
					lot.parked = nil
				}
				method := tt.method
				if method == "" {
					method = http.MethodGet
				}
				req := newRequest(t, method, url, "")
				if tt.body > 0 {
					req = streamed(t, method, strings.Repeat("x", tt.body))
				}
				if tt.ctx != nil {
					ctx, cancel := tt.ctx(req.Context())
					defer cancel()
					req = req.WithContext(ctx)
				}
				out, _, _ := sendParked(rt, req)
				if out.Ended != tt.ending || out.Attempts != tt.sent {
					t.Fatalf("got ending %q after %d attempts, want %q after %d", out.Ended, out.Attempts, tt.ending, tt.sent)
				}
				if out.ParkErr != nil {
					t.Errorf("got ParkErr %v, want none", out.ParkErr)
				}
				if !tt.parks {
					if out.Parked != "" || len(lot.parked) != 0 || seen.last().Parked != "" {
						t.Errorf("got id %q, %d parked, id %q in the event; want nothing parked", out.Parked, len(lot.parked), seen.last().Parked)
					}
					return
				}
				if len(lot.parked) != 1 || out.Parked != "id-1" {
					t.Fatalf("got %d parked, and id %q; want one, id-1", len(lot.parked), out.Parked)
				}
				if e := seen.last(); e.Parked != "id-1" || e.Reason != string(tt.ending) {
					t.Errorf("got the event %+v, want the id and %q in it", e, tt.ending)
				}
				p := lot.parked[0]
				if p.Ended != tt.ending || p.Attempts != tt.sent || p.Status != tt.status || p.Key != "https://api.example.com" {
					t.Errorf("got %+v, want ending %q, %d attempts, status %d and the key", p, tt.ending, tt.sent, tt.status)
				}
				if lost := p.Err != nil; lost != (tt.sent > 0 && tt.status == 0) {
					t.Errorf("got the error %v; want one where there was no response", p.Err)
				}
			})
		})
	}
}

func TestParkedBodyIsTheExactBytes(t *testing.T) {
	long := strings.Repeat(allBytes, replay.Limit/256)
	for _, tt := range []struct {
		name string
		req  func(t *testing.T) *http.Request
		want string
	}{
		{"no body", func(t *testing.T) *http.Request { return newRequest(t, "GET", "https://api.example.com/", "") }, "(none)"},
		{"NoBody", func(t *testing.T) *http.Request {
			req := newRequest(t, "PUT", "https://api.example.com/", "")
			req.Body, req.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
			return req
		}, "(none)"},
		{"GetBody", func(t *testing.T) *http.Request {
			return newRequest(t, "PUT", "https://api.example.com/", allBytes)
		}, allBytes},
		{"GetBody, longer than what is remembered of a stream", func(t *testing.T) *http.Request {
			return newRequest(t, "PUT", "https://api.example.com/", long+allBytes)
		}, long + allBytes},
		{"stream", func(t *testing.T) *http.Request { return streamed(t, "PUT", allBytes) }, allBytes},
		{"stream, as long as is remembered", func(t *testing.T) *http.Request { return streamed(t, "PUT", long) }, long},
		{"stream that turns out empty", func(t *testing.T) *http.Request { return streamed(t, "PUT", "") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lot := &noteLot{}
				rt := &holdoff.Transport{Base: script(503), Park: lot, MaxAttempts: 2}
				out, _, _ := sendParked(rt, tt.req(t))
				if out.Parked == "" || len(lot.bodies) != 1 {
					t.Fatalf("got id %q and ParkErr %v, want it parked", out.Parked, out.ParkErr)
				}
				if lot.bodies[0] != tt.want {
					t.Errorf("got a body of %d bytes, want these %d", len(lot.bodies[0]), len(tt.want))
				}
				if lot.parked[0].Request.Body != nil {
					t.Error("got a Body; want GetBody alone, which can be called again")
				}
			})
		})
	}
}

func TestBodyThatCannotBeReplayedIsNotParkedAndTheOutcomeSaysSo(t *testing.T) {
	unread := baseFunc(func(req *http.Request) (*http.Response, error) {
		io.CopyN(io.Discard, req.Body, 3) // and answers before the upload has ended
		return answer(503), nil
	})
	held := script(with(429, "Retry-After: 120"))
	for _, tt := range []struct {
		name   string
		base   http.RoundTripper
		ending holdoff.Ending
		size   int
	}{
		{"not read to its end", unread, holdoff.EndAttempts, 10},
		{"never sent", held, holdoff.EndHeld, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lot, seen := &noteLot{}, &gaveUps{}
				rt := &holdoff.Transport{Base: tt.base, Park: lot, MaxAttempts: 2, Observe: seen.observe, Route: oneScope}
				if tt.ending == holdoff.EndHeld {
					sendParked(rt, newRequest(t, "GET", "https://api.example.com/", ""))
					lot.parked = nil
				}
				out, _, _ := sendParked(rt, streamed(t, "PUT", strings.Repeat("x", tt.size)))
				if out.Ended != tt.ending {
					t.Fatalf("got ending %q, want %q", out.Ended, tt.ending)
				}
				if len(lot.parked) != 0 || out.Parked != "" || seen.last().Parked != "" {
					t.Errorf("got id %q and %d parked, want nothing parked", out.Parked, len(lot.parked))
				}
				if out.ParkErr == nil || !strings.Contains(out.ParkErr.Error(), notReplayable) {
					t.Errorf("got ParkErr %v, want one that says %q", out.ParkErr, notReplayable)
				}
			})
		})
	}
}

func TestFailingLotDoesNotFailTheRequest(t *testing.T) {
	full := errors.New("the lot is full")
	synctest.Test(t, func(t *testing.T) {
		seen := &gaveUps{}
		rt := &holdoff.Transport{Base: script(with(503, "X-From: server")), Park: &noteLot{err: full}, MaxAttempts: 2, Observe: seen.observe}
		out, resp, err := sendParked(rt, newRequest(t, "GET", "https://api.example.com/", ""))
		if err != nil || resp.StatusCode != 503 || resp.Header.Get("X-From") != "server" {
			t.Fatalf("got %v, %v, want the server's last response", resp, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "body" || err != nil {
			t.Errorf("got the body %q, %v, want it unread until now", b, err)
		}
		if !errors.Is(out.ParkErr, full) || out.Parked != "" || out.Ended != holdoff.EndAttempts {
			t.Errorf("got %+v, want the lot's error in ParkErr and no id", out)
		}
		if len(seen.events) != 1 || seen.last().Parked != "" {
			t.Errorf("got %+v, want one give-up without an id", seen.events)
		}
	})
}

func TestParkedRequestIsWhatItWasAndTheCallersIsUntouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lot := &noteLot{}
		rt := &holdoff.Transport{Base: script(503), Park: lot, MaxAttempts: 2}
		req := newRequest(t, "PATCH", "https://user:word@api.example.com:8443/a%2Fb//c?q=1&q=2", allBytes)
		req.Host = "virtual.example.com"
		req.Header = http.Header{
			"X-Two": {"one", "two"}, "x-not-canonical": {"as it is"}, "Authorization": {"Bearer t"}, "Idempotency-Key": {"k"}, "X-None": nil,
		}
		header, url, body := req.Header.Clone(), *req.URL, req.Body
		out, _, _ := sendParked(rt, req)
		if out.Parked == "" {
			t.Fatalf("got %+v, want it parked", out)
		}
		p := lot.parked[0].Request
		if p.Method != "PATCH" || p.URL.String() != url.String() || p.Host != "virtual.example.com" || p.ContentLength != 256 {
			t.Errorf("got %s %v, Host %s, Content-Length %d; want the caller's", p.Method, p.URL, p.Host, p.ContentLength)
		}
		if !reflect.DeepEqual(p.Header, header) {
			t.Errorf("got the header %v, want %v", p.Header, header)
		}
		if p.Context().Done() != nil {
			t.Error("got a context that ends, want none of the caller's: the request outlives it")
		}
		p.Header.Set("X-Two", "changed")
		p.Header["Authorization"][0] = "changed"
		p.URL.Path = "/changed"
		if !reflect.DeepEqual(req.Header, header) || *req.URL != url || req.Body != body || req.Host != "virtual.example.com" {
			t.Errorf("got %v %v: the caller's request has changed with the parked one", req.URL, req.Header)
		}
	})
}

func TestLotHasABoundedContextThoughTheCallersIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		defer cancel()
		called := false
		lot := &noteLot{hook: func(ctx context.Context, _ holdoff.Parked) {
			called = true
			end, ok := ctx.Deadline()
			if left := time.Until(end); !ok || left <= 0 || left > parkTimeout {
				t.Errorf("got a deadline in %v (%t), want one within %v", left, ok, parkTimeout)
			}
			if ctx.Err() != nil {
				t.Errorf("got a context that is done (%v), want one that the caller did not end", ctx.Err())
			}
			if ctx.Value(key{}) != "value" {
				t.Error("the caller's values are missing, which hold its trace")
			}
		}}
		rt := &holdoff.Transport{Park: lot, MaxAttempts: 1, Base: baseFunc(func(*http.Request) (*http.Response, error) {
			cancel()
			return answer(503), nil
		})}
		out, resp, err := sendParked(rt, newRequest(t, "GET", "https://api.example.com/", "").WithContext(ctx))
		if err != nil || resp.StatusCode != 503 {
			t.Fatalf("got %v, %v, want the 503", resp, err)
		}
		if !called || out.Parked != "id-1" {
			t.Errorf("got called %t and id %q, want it parked", called, out.Parked)
		}
	})
}

func TestSlowLotHoldsTheCallerNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lot := &noteLot{err: context.DeadlineExceeded, hook: func(ctx context.Context, _ holdoff.Parked) { <-ctx.Done() }}
		rt := &holdoff.Transport{Base: script(503), Park: lot, MaxAttempts: 1}
		begun := time.Now()
		out, _, _ := sendParked(rt, newRequest(t, "GET", "https://api.example.com/", ""))
		if took := time.Since(begun); took != parkTimeout {
			t.Errorf("got %v, want %v", took, parkTimeout)
		}
		if !errors.Is(out.ParkErr, context.DeadlineExceeded) {
			t.Errorf("got ParkErr %v, want the deadline", out.ParkErr)
		}
	})
}

func TestParkedErrorHidesWhatURLsHide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lot := &noteLot{}
		rt := &holdoff.Transport{Base: script(fmt.Errorf(`Get "https://user:sesame@api.example.com/p?token=sesame": %w`, syscall.ECONNREFUSED)), Park: lot, MaxAttempts: 1}
		sendParked(rt, newRequest(t, "GET", "https://api.example.com/", ""))
		if len(lot.parked) != 1 || lot.parked[0].Err == nil || strings.Contains(lot.parked[0].Err.Error(), "sesame") {
			t.Errorf("got %+v, want one parked, and its error without the secret", lot.parked)
		}
	})
}

func TestOutcomeOfTheNextRequestDoesNotKeepTheID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &holdoff.Transport{Base: script(503, 200), Park: &noteLot{}, MaxAttempts: 1}
		var out holdoff.Outcome
		ctx := holdoff.WithOutcome(t.Context(), &out)
		for _, want := range []string{"id-1", ""} {
			rt.RoundTrip(newRequest(t, "GET", "https://api.example.com/", "").WithContext(ctx))
			if out.Parked != want {
				t.Errorf("got id %q, want %q", out.Parked, want)
			}
		}
	})
}

// It must run alone: it is not parallel.
func TestHealthyPathDoesNotAllocateWithPark(t *testing.T) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	lot := &noteLot{}
	rt := &holdoff.Transport{Base: roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil }), Park: lot}
	for _, req := range []*http.Request{
		newRequest(t, "GET", "https://api.example.com/p?q=1", ""),
		newRequest(t, "PUT", "https://api.example.com/p?q=1", "payload"),
	} {
		got := testing.AllocsPerRun(1000, func() {
			if r, err := rt.RoundTrip(req); r != resp || err != nil {
				t.Fatalf("got %v, %v; want Base's response", r, err)
			}
		})
		if got != 0 {
			t.Errorf("%s: got %v allocations per request, want 0", req.Method, got)
		}
	}
	if len(lot.parked) != 0 {
		t.Errorf("got %d parked, want none", len(lot.parked))
	}
}

func TestOneStreamedAttemptIsParkedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lot := &noteLot{}
		rt := &holdoff.Transport{Base: script(503), Park: lot, MaxAttempts: 1}
		out, _, _ := sendParked(rt, streamed(t, "PUT", allBytes))
		if out.Parked == "" || len(lot.bodies) != 1 || lot.bodies[0] != allBytes {
			t.Errorf("got id %q, ParkErr %v; want it parked: its body was read to its end, and is short", out.Parked, out.ParkErr)
		}
	})
}
