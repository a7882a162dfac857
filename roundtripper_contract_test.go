package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/replay"
)

// quick is a Backoff for tests on real sockets.
var quick = holdoff.Exponential{Base: time.Millisecond}

// startServer starts a server of either protocol, and returns a transport that
// reaches it.
func startServer(t *testing.T, http2 bool, h http.HandlerFunc) (*httptest.Server, *http.Transport) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // aborted handlers are the tests' own doing
	if http2 {
		srv.EnableHTTP2 = true
		srv.StartTLS()
	} else {
		srv.Start()
	}
	base := srv.Client().Transport.(*http.Transport)
	t.Cleanup(func() {
		base.CloseIdleConnections()
		srv.Close()
	})
	return srv, base
}

// eachProtocol runs f for HTTP/1.1 and for HTTP/2.
func eachProtocol(t *testing.T, f func(t *testing.T, http2 bool)) {
	t.Helper()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			f(t, http2)
		})
	}
}

// readAll reads and closes the response's body.
func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("reading the response: %v", err)
	}
	resp.Body.Close()
	return string(b)
}

// wantSends checks how often Base was asked.
func (s *scripted) wantSends(t *testing.T, want int) {
	t.Helper()
	if got := s.sends(); got != want {
		t.Errorf("got %d sends, want %d", got, want)
	}
}

var errReset = fmt.Errorf("read tcp: %w", syscall.ECONNRESET)

// The caller's request is never written, whatever the outcome.
func TestRequestIsNeverWritten(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		base  *scripted
		sends int
		limit time.Duration
	}{
		{name: "success", base: script(200), sends: 1},
		{name: "retried", base: script(503, errReset, 200), sends: 3},
		{name: "retried with a timeout per attempt", base: script(503, 200), sends: 2, limit: time.Minute},
		{name: "gave up on a status", base: script(503), sends: 4},
		{name: "gave up on an error", base: script(errReset), sends: 4},
		{name: "not retried", base: script(404), sends: 1},
		{name: "hint too long", base: script(with(429, "Retry-After: 3600")), sends: 1},
	}
	for _, test := range tests {
		for _, replayable := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, GetBody %v", test.name, replayable), func(t *testing.T) {
				t.Parallel()
				base := &scripted{steps: test.base.steps}
				tr := &holdoff.Transport{Base: base, Backoff: quick, PerAttemptTimeout: test.limit}
				req := newRequest(t, "PUT", "https://user:secret@api.example.com/p?q=1#f", "payload")
				if !replayable {
					req.GetBody = nil
				}
				req.Header.Set("X-A", "b")
				req.Trailer = http.Header{"X-T": {"v"}}
				before, location, header, trailer := *req, *req.URL, req.Header.Clone(), req.Trailer.Clone()

				var stop atomic.Bool
				var wg sync.WaitGroup
				wg.Go(func() { // the race detector's witness
					for !stop.Load() {
						read := *req
						_, _, _ = read.Header.Get("X-A"), read.URL.String(), read.Trailer.Get("X-T")
					}
				})
				resp, err := tr.RoundTrip(req)
				stop.Store(true)
				wg.Wait()
				if resp != nil {
					resp.Body.Close()
				} else if err == nil {
					t.Error("got neither a response nor an error")
				}
				base.wantSends(t, test.sends)

				if got, want := reflect.ValueOf(req.GetBody).Pointer(), reflect.ValueOf(before.GetBody).Pointer(); got != want {
					t.Error("GetBody was replaced")
				}
				if req.Context() != before.Context() {
					t.Error("the context was replaced")
				}
				if req.Body != before.Body {
					t.Errorf("got Body %T, want the caller's own %T", req.Body, before.Body)
				}
				after := *req
				after.GetBody, before.GetBody = nil, nil // func values are never deeply equal
				if !reflect.DeepEqual(after, before) {
					t.Errorf("got request %+v, want %+v", after, before)
				}
				if !reflect.DeepEqual(*req.URL, location) || !reflect.DeepEqual(req.Header, header) || !reflect.DeepEqual(req.Trailer, trailer) {
					t.Errorf("got %v %v %v, want %v %v %v", req.URL, req.Header, req.Trailer, &location, header, trailer)
				}
			})
		}
	}
}

// The request's body is closed exactly once on every path, and so are the readers of
// GetBody.
func TestRequestBodyIsClosedOnce(t *testing.T) {
	t.Parallel()
	boom := func() { panic("boom") }
	on := func(kind holdoff.EventKind) func(context.Context, holdoff.Event) {
		return func(_ context.Context, e holdoff.Event) {
			if e.Kind == kind {
				boom()
			}
		}
	}
	held := func(t *testing.T, tr *holdoff.Transport) {
		resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	hold := with(429, "Retry-After: 30")
	tests := []struct {
		name    string
		base    *scripted
		change  func(*holdoff.Transport)
		before  func(*testing.T, *holdoff.Transport)
		request func(*http.Request) *http.Request
		body    io.Reader
		getBody error // what GetBody returns
		sends   int
		panics  bool
	}{
		{name: "success", base: script(200), sends: 1},
		{name: "retried", base: script(503, 200), sends: 2},
		{name: "give-up by attempts", base: script(503), sends: 4},
		{name: "give-up by attempts, with an error", base: script(errReset), sends: 4},
		{name: "give-up by budget", base: script(503), change: func(tr *holdoff.Transport) { tr.Budget = 1 }, sends: 2},
		{name: "give-up by hint", base: script(with(503, "Retry-After: 9999")), sends: 1},
		{name: "one attempt only", base: script(503), change: func(tr *holdoff.Transport) { tr.MaxAttempts = 1 }, sends: 1},
		{name: "context canceled before", base: script(200), sends: 0, request: func(r *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			return r.WithContext(ctx)
		}},
		{name: "context ends in the wait", base: script(with(503, "Retry-After: 1")), sends: 1, request: func(r *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(r.Context())
			time.AfterFunc(500*time.Millisecond, cancel)
			return r.WithContext(ctx)
		}},
		{name: "held", base: script(hold, 200), change: func(tr *holdoff.Transport) { tr.MaxWait = -1 }, before: held, sends: 1},
		{name: "context ends in a hold", base: script(hold, 200), change: func(tr *holdoff.Transport) { tr.MaxWait = time.Hour }, before: func(t *testing.T, tr *holdoff.Transport) {
			patient := tr.MaxWait
			tr.MaxWait = time.Second // the first returns its 429
			held(t, tr)
			tr.MaxWait = patient
		}, sends: 1, request: func(r *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(r.Context())
			time.AfterFunc(time.Second, cancel)
			return r.WithContext(ctx)
		}},
		{name: "invalid transport", base: script(200), change: func(tr *holdoff.Transport) { tr.MaxAttempts = -1 }, sends: 0},
		{name: "error of reading the body", base: script(200), body: io.MultiReader(strings.NewReader("x"), failingReader{io.ErrUnexpectedEOF}), sends: 1},
		{name: "error of GetBody", base: script(503), getBody: errors.New("no"), sends: 1},
		{name: "nil header", base: script(200), sends: 1, request: func(r *http.Request) *http.Request { r.Header = nil; return r }},
		{name: "CONNECT", base: script(503), sends: 1, request: func(r *http.Request) *http.Request { r.Method = "CONNECT"; return r }},
		{name: "panic in Key", base: script(200), change: func(tr *holdoff.Transport) { tr.Key = func(*http.Request) string { boom(); return "" } }, panics: true},
		{name: "panic in Classify", base: script(200), change: func(tr *holdoff.Transport) {
			tr.Classify = func(*http.Request, *http.Response, error) holdoff.Verdict { boom(); return holdoff.Verdict{} }
		}, sends: 1, panics: true},
		{name: "panic in Backoff", base: script(503), change: func(tr *holdoff.Transport) {
			tr.Backoff = backoffFunc(func(holdoff.Retry) time.Duration { boom(); return 0 })
		}, sends: 1, panics: true},
		{name: "panic at an attempt", base: script(200), change: func(tr *holdoff.Transport) { tr.Observe = on(holdoff.Attempted) }, sends: 1, panics: true},
		{name: "panic at a wait", base: script(503), change: func(tr *holdoff.Transport) { tr.Observe = on(holdoff.Waiting) }, sends: 1, panics: true},
		{name: "panic at a give-up", base: script(503), change: func(tr *holdoff.Transport) { tr.Observe = on(holdoff.GaveUp) }, sends: 4, panics: true},
		{name: "panic at a hold", base: script(hold), change: func(tr *holdoff.Transport) { tr.Observe = on(holdoff.HoldStarted) }, sends: 1, panics: true},
	}
	for i := range tests {
		test := &tests[i]
		for _, replayable := range []bool{true, false} {
			if !replayable && test.getBody != nil {
				continue
			}
			t.Run(fmt.Sprintf("%s, GetBody %v", test.name, replayable), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base := &scripted{steps: test.base.steps}
					tr := &holdoff.Transport{Base: base, Backoff: holdoff.Exponential{Base: time.Second, Jitter: holdoff.NoJitter}}
					if test.change != nil {
						test.change(tr)
					}
					if test.before != nil {
						test.before(t, tr)
					}
					content := test.body
					if content == nil || replayable {
						content = strings.NewReader("payload")
					}
					if replayable && test.body != nil {
						content = io.MultiReader(strings.NewReader("x"), failingReader{io.ErrUnexpectedEOF})
					}
					first := &closeCounter{Reader: content}
					readers := []*closeCounter{first}
					req := newRequest(t, "PUT", "http://a.example/", "")
					req.Body, req.ContentLength = first, -1
					if replayable {
						req.GetBody = func() (io.ReadCloser, error) {
							if test.getBody != nil {
								return nil, test.getBody
							}
							rc := &closeCounter{Reader: strings.NewReader("payload")}
							readers = append(readers, rc)
							return rc, nil
						}
					}
					if test.request != nil {
						req = test.request(req)
					}
					func() {
						defer func() {
							if got := recover() != nil; got != test.panics {
								t.Errorf("got panic %v, want %v", got, test.panics)
							}
						}()
						if resp, _ := tr.RoundTrip(req); resp != nil {
							resp.Body.Close()
						}
					}()
					for i, r := range readers {
						if got := r.closed(); got != 1 {
							t.Errorf("reader %d was closed %d times, want once", i, got)
						}
					}
					base.wantSends(t, test.sends)
				})
			})
		}
	}
}

type backoffFunc func(holdoff.Retry) time.Duration

func (f backoffFunc) Delay(r holdoff.Retry) time.Duration { return f(r) }

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// Every status is a response and no error, retried or not.
func TestEveryStatusIsAResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for status := 100; status < 600; status++ {
			tr := &holdoff.Transport{Base: script(status), MaxAttempts: 2}
			resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
			if err != nil || resp == nil {
				t.Fatalf("status %d: got %v, %v; want a response and no error", status, resp, err)
			}
			if resp.StatusCode != status {
				t.Errorf("got status %d, want %d", resp.StatusCode, status)
			}
			resp.Body.Close()
		}
	})
}

// There is a response or an error, never both nor neither, also where Base does not
// keep to that.
func TestResponseOrError(t *testing.T) {
	t.Parallel()
	both := &closeCounter{Reader: strings.NewReader("x")}
	tests := []struct {
		name    string
		base    *scripted
		want    error
		text    string // of the error, where that has no type
		timeout time.Duration
	}{
		{name: "a response", base: script(200)},
		{name: "an error", base: script(errReset), want: errReset},
		{name: "neither", base: script(func() *http.Response { return nil }), text: "neither a response nor an error"},
		{name: "neither, with a timeout", base: script(func() *http.Response { return nil }), text: "neither a response nor an error", timeout: time.Minute},
		{name: "both", want: errReset, base: script(func(*http.Request) (*http.Response, error) {
			resp := answer(200)
			resp.Body = both
			return resp, errReset
		})},
		{name: "both, with a timeout", want: errReset, timeout: time.Minute, base: script(func(*http.Request) (*http.Response, error) {
			return answer(200), errReset
		})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tr := &holdoff.Transport{Base: test.base, MaxAttempts: 1, PerAttemptTimeout: test.timeout}
			resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
			if (resp == nil) == (err == nil) {
				t.Errorf("got response %v and error %v, want one of the two", resp, err)
			}
			if test.text != "" && (err == nil || !strings.Contains(err.Error(), test.text)) {
				t.Errorf("got error %v, want one that says %q", err, test.text)
			} else if test.text == "" && !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
		})
	}
	t.Cleanup(func() {
		if got := both.closed(); got != 1 {
			t.Errorf("the response that came with an error was closed %d times, want once", got)
		}
	})
}

// A zero Transport serves a hundred goroutines.
func TestZeroTransportIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	srv, _ := startServer(t, false, func(w http.ResponseWriter, r *http.Request) {
		if hits.Add(1)%16 == 0 {
			w.WriteHeader(503)
			return
		}
		io.Copy(w, r.Body)
	})
	tr := &holdoff.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			<-start
			for j := range 3 {
				want := fmt.Sprintf("body of %d/%d", i, j)
				req := newRequest(t, "PUT", srv.URL, want)
				if j == 1 {
					req.GetBody, req.Body = nil, &closeCounter{Reader: strings.NewReader(want)}
				}
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				if got := readAll(t, resp); resp.StatusCode != 200 || got != want {
					t.Errorf("got %d %q, want 200 %q", resp.StatusCode, got, want)
				}
			}
		})
	}
	close(start)
	wg.Wait()
}

// The response's Request is the request that the caller passed.
func TestResponseNamesTheCallersRequest(t *testing.T) {
	t.Parallel()
	echo := func(status int) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) {
			resp := answer(status)
			resp.Request = r // as net/http does
			return resp, nil
		}
	}
	tests := []struct {
		name string
		t    *holdoff.Transport
		body string
	}{
		{"first attempt", &holdoff.Transport{Base: script(echo(200))}, ""},
		{"retried", &holdoff.Transport{Base: script(echo(503), echo(200)), Backoff: quick}, ""},
		{"given up", &holdoff.Transport{Base: script(echo(503)), Backoff: quick}, ""},
		{"timeout per attempt", &holdoff.Transport{Base: script(echo(200)), PerAttemptTimeout: time.Minute}, ""},
		{"stream", &holdoff.Transport{Base: script(echo(200))}, "stream"},
		{"stream that is retried", &holdoff.Transport{Base: script(echo(503), echo(200)), Backoff: quick}, "stream"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			req := newRequest(t, "PUT", "http://a.example/", test.body)
			req.GetBody = nil
			resp, err := test.t.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.Request != req {
				t.Errorf("got resp.Request %p, want the caller's %p", resp.Request, req)
			}
		})
	}
}

// Redirects, cookies and credentials are http.Client's; a hop that is retried is still
// one hop.
func TestRedirectsGoUp(t *testing.T) {
	t.Parallel()
	base := script(with(302, "Location: http://a.example/next", "Set-Cookie: c=1"), 503, 200)
	var auth, cookies []string
	spy := baseFunc(func(r *http.Request) (*http.Response, error) {
		auth = append(auth, r.Header.Get("Authorization"))
		cookies = append(cookies, r.Header.Get("Cookie"))
		return base.RoundTrip(r)
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	checks := 0
	client := &http.Client{
		Transport: &holdoff.Transport{Base: spy, Backoff: quick}, Jar: jar,
		CheckRedirect: func(_ *http.Request, via []*http.Request) error { checks++; return nil },
	}
	req := newRequest(t, "GET", "http://a.example/", "")
	req.SetBasicAuth("user", "secret")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Request.URL.Path != "/next" {
		t.Errorf("got %d from %v, want 200 from /next", resp.StatusCode, resp.Request.URL)
	}
	if checks != 1 {
		t.Errorf("CheckRedirect was called %d times, want once", checks)
	}
	base.wantSends(t, 3)
	if want := []string{"", "c=1", "c=1"}; !reflect.DeepEqual(cookies, want) {
		t.Errorf("got cookies %q, want %q", cookies, want)
	}
	if auth[0] == "" || auth[1] != auth[0] || auth[2] != auth[0] {
		t.Errorf("got credentials %q, want the same on each send", auth)
	}
}

// A 302 is answered at once, with its body unread.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	body := &closeCounter{Reader: strings.NewReader("moved")}
	base := script(func() *http.Response {
		resp := answer(302, "Location: /next", "Retry-After: 1")
		resp.Body = body
		return resp
	})
	resp, err := (&holdoff.Transport{Base: base}).RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 302 || resp.Header.Get("Location") != "/next" || body.closed() != 0 {
		t.Errorf("got %d to %q, closed %d times; want an open 302 to /next", resp.StatusCode, resp.Header.Get("Location"), body.closed())
	}
	if got := readAll(t, resp); got != "moved" {
		t.Errorf("got body %q, want %q", got, "moved")
	}
	base.wantSends(t, 1)
}

// What net/http refuses, it refuses in its own words, after one attempt and with the
// body closed.
func TestMalformedRequestsAreBases(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*http.Request)
	}{
		{"nil header", func(r *http.Request) { r.Header = nil }},
		{"nil URL", func(r *http.Request) { r.URL = nil }},
		{"empty host", func(r *http.Request) { r.URL = &url.URL{Scheme: "http", Path: "/"} }},
		{"nil header and nil URL", func(r *http.Request) { r.Header, r.URL = nil, nil }},
		{"empty URL", func(r *http.Request) { r.URL = &url.URL{} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			bare := &http.Transport{}
			send := func(rt http.RoundTripper) error {
				body := &closeCounter{Reader: strings.NewReader("x")}
				req := newRequest(t, "PUT", "http://a.example/", "")
				req.Body = body
				test.change(req)
				resp, err := rt.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
					t.Fatal("got a response, want an error")
				}
				if got := body.closed(); got != 1 {
					t.Errorf("%T closed the body %d times, want once", rt, got)
				}
				return err
			}
			sends := 0
			counted := baseCounting{bare, &sends}
			got, want := send(&holdoff.Transport{Base: counted}), send(bare)
			if got.Error() != want.Error() || reflect.TypeOf(got) != reflect.TypeOf(want) {
				t.Errorf("got error %T %v, want %T %v", got, got, want, want)
			}
			if sends != 1 {
				t.Errorf("got %d sends, want 1", sends)
			}
		})
	}
}

type baseCounting struct {
	http.RoundTripper
	n *int
}

func (b baseCounting) RoundTrip(r *http.Request) (*http.Response, error) {
	*b.n++
	return b.RoundTripper.RoundTrip(r)
}

// A Base that leaves Body nil is borne with.
func TestNilResponseBody(t *testing.T) {
	t.Parallel()
	bare := func(status int) func() *http.Response {
		return func() *http.Response {
			resp := answer(status)
			resp.Body = nil
			return resp
		}
	}
	for _, timeout := range []time.Duration{0, time.Minute} {
		base := script(bare(503), bare(429), bare(200))
		tr := &holdoff.Transport{Base: base, PerAttemptTimeout: timeout, Backoff: quick}
		resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
		if err != nil || resp.StatusCode != 200 || resp.Body != nil {
			t.Errorf("timeout %v: got %v, %v; want 200 with no body", timeout, resp, err)
		}
		base.wantSends(t, 3)
		last := script(bare(503))
		tr = &holdoff.Transport{Base: last, PerAttemptTimeout: timeout, Backoff: quick, MaxAttempts: 2}
		if resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", "")); err != nil || resp.StatusCode != 503 {
			t.Errorf("timeout %v: got %v, %v; want 503", timeout, resp, err)
		}
	}
}

// idleCounter is a Base that counts the calls of CloseIdleConnections.
type idleCounter struct {
	*scripted
	n int
}

func (i *idleCounter) CloseIdleConnections() { i.n++ }

// CloseIdleConnections reaches Base if it has it, and nothing else calls it.
func TestCloseIdleConnections(t *testing.T) {
	t.Parallel()
	base := &idleCounter{scripted: script(503, 503, errReset)}
	client := &http.Client{Transport: &holdoff.Transport{Base: base, Backoff: quick, MaxAttempts: 2}}
	for range 2 { // a status and an error at give-up
		if resp, err := client.Do(newRequest(t, "GET", "http://a.example/", "")); err == nil {
			resp.Body.Close()
		}
	}
	base.wantSends(t, 4)
	if base.n != 0 {
		t.Errorf("giving up closed the pool %d times, want never", base.n)
	}
	client.CloseIdleConnections()
	if base.n != 1 {
		t.Errorf("got %d calls of Base.CloseIdleConnections, want 1", base.n)
	}
	(&holdoff.Transport{Base: script(200)}).CloseIdleConnections() // has none: no panic
}

// What sends the attempts can be found, also where it is the shared one.
func TestWrappedRoundTripper(t *testing.T) {
	t.Parallel()
	base := script(200)
	if got := (&holdoff.Transport{Base: base}).WrappedRoundTripper(); got != base {
		t.Errorf("got %v, want Base", got)
	}
	one, two := (&holdoff.Transport{}).WrappedRoundTripper(), (&holdoff.Transport{}).WrappedRoundTripper()
	if _, ok := one.(*http.Transport); !ok || one != two {
		t.Errorf("got %v and %v, want one *http.Transport for all", one, two)
	}
}

// duplex is the body of a 101.
type duplex struct {
	closeCounter
	io.Writer
	reads int
}

func (d *duplex) Read(p []byte) (int, error) { d.reads++; return d.closeCounter.Read(p) }

// The body of a 101 is Base's own, untouched, whatever Classify says and however long
// it took; and it is the end of retries.
func TestSwitchingProtocolsIsPassedThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		body := &duplex{closeCounter: closeCounter{Reader: strings.NewReader("hi")}, Writer: io.Discard}
		var sent *http.Request
		base := script(func(r *http.Request) (*http.Response, error) {
			sent = r
			select {
			case <-time.After(time.Minute):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			resp := answer(101)
			resp.Body = body
			return resp, nil
		})
		tr := &holdoff.Transport{
			Base: base, PerAttemptTimeout: time.Second,
			Classify: func(*http.Request, *http.Response, error) holdoff.Verdict {
				return holdoff.Verdict{Retry: true, Lesson: holdoff.Failed}
			},
		}
		req := newRequest(t, "GET", "http://a.example/", "")
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := resp.Body.(io.ReadWriteCloser); !ok || got != io.ReadWriteCloser(body) {
			t.Errorf("got body %T, want Base's own", resp.Body)
		}
		if sent.Context() != req.Context() {
			t.Error("the upgrade was given another context than the caller's")
		}
		time.Sleep(time.Hour) // nothing ends it meanwhile
		if body.reads != 0 || body.closed() != 0 {
			t.Errorf("got %d reads and %d closes, want none", body.reads, body.closed())
		}
		base.wantSends(t, 1)
	})
}

// Without a timeout per attempt, the response's body is Base's own.
func TestResponseBodyIsNotWrapped(t *testing.T) {
	t.Parallel()
	for _, steps := range [][]any{{}, {503}} {
		body := &closeCounter{Reader: strings.NewReader("x")}
		steps = append(steps, func() *http.Response {
			resp := answer(200)
			resp.Body = body
			return resp
		})
		tr := &holdoff.Transport{Base: script(steps...), Backoff: quick}
		resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body != io.ReadCloser(body) {
			t.Errorf("after %d retries: got body %T, want Base's own", len(steps)-1, resp.Body)
		}
	}
}

// With a timeout per attempt, the wrapper forwards what is done to it and frees its
// context on Close, on EOF and on an error.
func TestTimeoutsBodyFreesItsContext(t *testing.T) {
	t.Parallel()
	failure := errors.New("broken")
	tests := []struct {
		name string
		body io.Reader
		use  func(io.ReadCloser) error
		want error
	}{
		{"Close", strings.NewReader("long enough"), func(b io.ReadCloser) error { return b.Close() }, nil},
		{"EOF", strings.NewReader("x"), func(b io.ReadCloser) error { _, err := io.ReadAll(b); return err }, nil},
		{"error", failingReader{failure}, func(b io.ReadCloser) error { _, err := io.ReadAll(b); return err }, failure},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ctx context.Context
				body := &closeCounter{Reader: test.body}
				tr := &holdoff.Transport{PerAttemptTimeout: time.Second, Base: baseFunc(func(r *http.Request) (*http.Response, error) {
					ctx = r.Context()
					resp := answer(200)
					resp.Body = body
					return resp, nil
				})}
				resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				if ctx.Err() != nil {
					t.Fatalf("the context ended (%v) while the body is the caller's to read", context.Cause(ctx))
				}
				if err := test.use(resp.Body); !errors.Is(err, test.want) {
					t.Errorf("got error %v, want %v", err, test.want)
				}
				if ctx.Err() == nil {
					t.Error("the attempt's context is still alive")
				}
				if test.name != "Close" {
					resp.Body.Close()
				}
				if got := body.closed(); got != 1 {
					t.Errorf("Base's body was closed %d times, want once", got)
				}
			})
		})
	}
}

// Responses without a body do well under a timeout per attempt.
func TestTimeoutOfBodilessResponses(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, http2 bool) {
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			if r.URL.Path == "/204" {
				w.WriteHeader(204)
				return
			}
			w.Header().Set("Content-Length", "1234")
		})
		tr := &holdoff.Transport{Base: base, PerAttemptTimeout: time.Minute}
		for _, test := range []struct {
			method, path string
			status       int
			length       int64
		}{{"HEAD", "/", 200, 1234}, {"GET", "/204", 204, 0}} {
			resp, err := tr.RoundTrip(newRequest(t, test.method, srv.URL+test.path, ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp); got != "" || resp.StatusCode != test.status || resp.ContentLength != test.length {
				t.Errorf("%s: got %d, length %d, body %q; want %d, length %d and none",
					test.method, resp.StatusCode, resp.ContentLength, got, test.status, test.length)
			}
		}
	})
}

// CONNECT is Base's, and its status is never a reason to send again.
func TestConnectIsPassedThrough(t *testing.T) {
	t.Parallel()
	for _, step := range []any{503, with(429, "Retry-After: 1"), errReset} {
		var sent *http.Request
		inner := script(step)
		tr := &holdoff.Transport{Backoff: quick, PerAttemptTimeout: time.Minute, Base: baseFunc(func(r *http.Request) (*http.Response, error) {
			sent = r
			return inner.RoundTrip(r)
		})}
		req := newRequest(t, "CONNECT", "http://a.example:443", "")
		if resp, err := tr.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
		inner.wantSends(t, 1)
		if sent != req {
			t.Error("got another request than the caller's")
		}
	}
}

// A response that fails while the caller reads it is the caller's affair.
func TestFailureOfAReadBodyIsNotRetried(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, http2 bool) {
		var hits atomic.Int64
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
			hits.Add(1)
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "ten bytes.")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		for _, timeout := range []time.Duration{0, time.Minute} {
			hits.Store(0)
			tr := &holdoff.Transport{Base: base, Backoff: quick, PerAttemptTimeout: timeout}
			resp, err := tr.RoundTrip(newRequest(t, "GET", srv.URL, ""))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil || string(got) != "ten bytes." {
				t.Errorf("got %q and error %v, want ten bytes and an error", got, err)
			}
			if hits.Load() != 1 {
				t.Errorf("got %d requests, want 1", hits.Load())
			}
		}
	})
}

// The Transport works below a ReverseProxy, whose requests are those that a server
// received.
func TestWorksUnderReverseProxy(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 100, replay.Limit + 1} {
		t.Run(fmt.Sprintf("body of %d bytes", size), func(t *testing.T) {
			t.Parallel()
			var hits atomic.Int64
			backend, base := startServer(t, false, func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if hits.Add(1) == 1 {
					w.WriteHeader(503)
				}
				fmt.Fprintf(w, "%s %s %d %v", r.Method, r.URL, len(b), err)
			})
			target, err := url.Parse(backend.URL)
			if err != nil {
				t.Fatal(err)
			}
			var uri string
			proxy := &httputil.ReverseProxy{
				Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); uri = r.Out.RequestURI },
				Transport: &holdoff.Transport{Base: base, Backoff: quick},
			}
			front, client := startServer(t, false, proxy.ServeHTTP)
			req := newRequest(t, "PUT", front.URL+"/p?q=1", strings.Repeat("x", size))
			resp, err := client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			status, sends := 200, int64(2)
			if size > replay.Limit {
				status, sends = 503, 1 // streamed, and too long to be sent again
			}
			want := fmt.Sprintf("PUT /p?q=1 %d <nil>", size)
			if got := readAll(t, resp); resp.StatusCode != status || got != want {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, status, want)
			}
			if hits.Load() != sends {
				t.Errorf("got %d requests, want %d", hits.Load(), sends)
			}
			if uri == "" {
				t.Error("RequestURI was empty: the test tests nothing")
			}
		})
	}
}
