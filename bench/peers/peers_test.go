package peers

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// server answers as it is told, in order, the last answer again and again, and
// keeps what it was sent.
type server struct {
	answers []answer
	bodies  []string
	at      []time.Time
}

type answer struct {
	status     int
	retryAfter string
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		req.Body.Close()
	}
	s.bodies, s.at = append(s.bodies, string(body)), append(s.at, time.Now())
	a := s.answers[min(len(s.bodies), len(s.answers))-1]
	resp := &http.Response{
		StatusCode: a.status, Header: http.Header{}, Request: req,
		Body: io.NopCloser(strings.NewReader(http.StatusText(a.status))),
	}
	if a.retryAfter != "" {
		resp.Header.Set("Retry-After", a.retryAfter)
	}
	return resp, nil
}

// body counts how often it is closed, and hides what else its reader can do.
type body struct {
	r      io.Reader
	closed int
}

func (b *body) Read(p []byte) (int, error) { return b.r.Read(p) }
func (b *body) Close() error               { b.closed++; return nil }

func forAll(t *testing.T, test func(*testing.T, Peer)) {
	for _, p := range All {
		t.Run(p.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, p) })
		})
	}
}

func get(ctx context.Context, t *testing.T) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// send returns the status and the body of the answer. It holds rt to the rule that
// there is a response or an error.
func send(t *testing.T, rt http.RoundTripper, req *http.Request) (status int, text string) {
	t.Helper()
	resp, err := rt.RoundTrip(req)
	if (resp == nil) == (err == nil) {
		t.Fatalf("got response %v and error %v, want one of them", resp, err)
	}
	if err != nil {
		return 0, err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the response: %v", err)
	}
	resp.Body.Close()
	return resp.StatusCode, string(b)
}

func TestRetriesOnce(t *testing.T) {
	forAll(t, func(t *testing.T, p Peer) {
		for name, build := range map[string]func(http.RoundTripper) http.RoundTripper{"New": p.New, "Eager": p.Eager} {
			srv := &server{answers: []answer{{status: 503}, {status: 200}}}
			begun := time.Now()
			status, _ := send(t, build(srv), get(t.Context(), t))
			want, sends := 503, 1
			if p.Can.Retry {
				want, sends = 200, 2
			}
			if status != want || len(srv.at) != sends {
				t.Errorf("%s: got %d after %d sends, want %d after %d", name, status, len(srv.at), want, sends)
			}
			if took := time.Since(begun); name == "Eager" && took > time.Microsecond {
				t.Errorf("Eager: waited %v", took)
			}
		}
	})
}

func TestGivesUpWithTheLastResponse(t *testing.T) {
	forAll(t, func(t *testing.T, p Peer) {
		srv := &server{answers: []answer{{status: 503}}}
		status, text := send(t, p.New(srv), get(t.Context(), t))
		want := 1
		if p.Can.Retry {
			want = attempts
		}
		if status != 503 || len(srv.at) != want {
			t.Errorf("got %d after %d sends, want 503 after %d", status, len(srv.at), want)
		}
		if text != "Service Unavailable" {
			t.Errorf("got the body %q, want it unread", text)
		}
	})
}

func TestResendsBodies(t *testing.T) {
	payload := strings.Repeat("x", 1<<20)
	forAll(t, func(t *testing.T, p Peer) {
		for _, c := range []struct {
			name    string
			getBody bool
			can     bool
		}{{"GetBody", true, p.Can.Replay}, {"stream", false, p.Can.Buffer}} {
			srv := &server{answers: []answer{{status: 503}, {status: 200}}}
			req := get(t.Context(), t)
			req.Method, req.ContentLength = http.MethodPut, int64(len(payload))
			req.Body = &body{r: strings.NewReader(payload)}
			if c.getBody {
				req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(payload))), nil }
			}
			status, _ := send(t, p.New(srv), req)
			if srv.bodies[0] != payload {
				t.Errorf("%s: the first attempt had %d bytes, want %d", c.name, len(srv.bodies[0]), len(payload))
			}
			can := status == 200 && len(srv.bodies) == 2 && srv.bodies[1] == payload
			if can != c.can {
				t.Errorf("%s: resends the body: %v, want %v (got %d after %d sends)", c.name, can, c.can, status, len(srv.bodies))
			}
		}
	})
}

func TestObeysRetryAfter(t *testing.T) {
	forAll(t, func(t *testing.T, p Peer) {
		for status, want := range map[int]bool{429: p.Can.Hint != Never, 503: p.Can.Hint == On429And503} {
			srv := &server{answers: []answer{{status, "20"}, {status: 200}}}
			send(t, p.New(srv), get(t.Context(), t))
			// Jitter may shorten what one of them waits; none waits half as long
			// of its own accord.
			obeyed := len(srv.at) == 2 && srv.at[1].Sub(srv.at[0]) >= 15*time.Second
			if obeyed != want {
				t.Errorf("%d: obeys Retry-After: %v, want %v", status, obeyed, want)
			}
		}
	})
}

func TestEndsWithItsContext(t *testing.T) {
	forAll(t, func(t *testing.T, p Peer) {
		srv := &server{answers: []answer{{503, "20"}, {status: 200}}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		begun := time.Now()
		send(t, p.New(srv), get(ctx, t))
		atOnce := time.Since(begun) <= time.Millisecond
		if atOnce != (p.Can.Cancel || !p.Can.Retry) {
			t.Errorf("ends at once: %v, want %v", atOnce, !atOnce)
		}
	})
}

func TestSpreadsItsBackoff(t *testing.T) {
	forAll(t, func(t *testing.T, p Peer) {
		waits := make(map[time.Duration]bool)
		for range 8 {
			srv := &server{answers: []answer{{status: 503}, {status: 200}}}
			send(t, p.New(srv), get(t.Context(), t))
			waits[srv.at[len(srv.at)-1].Sub(srv.at[0])] = true
		}
		if spread := len(waits) > 1; spread != p.Can.Jitter {
			t.Errorf("has jitter: %v, want %v", spread, p.Can.Jitter)
		}
	})
}

// What the RoundTripper contract says of the caller's request, and who breaks it.
func TestLeavesTheRequestAlone(t *testing.T) {
	leavesOpen := map[string]bool{"hashicorp/go-retryablehttp": true, "failsafe-go/failsafehttp": true}
	replaces := map[string]bool{"hashicorp/go-retryablehttp": true, "PuerkitoBio/rehttp": true, "failsafe-go/failsafehttp": true}
	forAll(t, func(t *testing.T, p Peer) {
		b := &body{r: strings.NewReader("things")}
		req := get(t.Context(), t)
		req.Method, req.Body = http.MethodPut, b
		send(t, p.New(&server{answers: []answer{{status: 200}}}), req)
		if open := b.closed == 0; open != leavesOpen[p.Name] {
			t.Errorf("leaves the request's body open: %v, want %v", open, !open)
		}
		if replaced := req.Body != b; replaced != replaces[p.Name] {
			t.Errorf("replaces the request's body: %v, want %v", replaced, !replaced)
		}
	})
}

func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range All {
		if p.Name == "" || seen[p.Name] {
			t.Errorf("%q is the name of two peers, or of none", p.Name)
		}
		seen[p.Name] = true
	}
}

// The limiter queues what is beyond its limit, and the throttler rejects most of what is
// sent to a server that fails.
func TestAdaptive(t *testing.T) {
	for _, p := range Adaptive {
		synctest.Test(t, func(t *testing.T) {
			srv := &server{answers: []answer{{status: 503}, {status: 200}}}
			rt := p.New(srv)
			if status, _ := send(t, rt, get(t.Context(), t)); status != 200 || len(srv.at) != 2 {
				t.Errorf("%s: got %d after %d sends, want 200 after 2", p.Name, status, len(srv.at))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		srv := &server{answers: []answer{{status: 503}}}
		rt := failsafeThrottlerPeer.New(srv)
		for range 100 {
			send(t, rt, get(t.Context(), t))
		}
		if sent := len(srv.at); sent > attempts*100/2 {
			t.Errorf("sent %d times to a server that fails", sent)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var inFlight, most atomic.Int64
		rt := failsafeLimiterPeer.New(roundTrip(func(*http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), inFlight.Add(1)))
			defer inFlight.Add(-1)
			time.Sleep(time.Second)
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { send(t, rt, get(t.Context(), t)) })
		}
		if all.Wait(); most.Load() != 20 {
			t.Errorf("%d in flight, want 20 at first", most.Load())
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
