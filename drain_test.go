package holdoff_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/replay"
)

// tracked is a response's body that counts what is done to it.
type tracked struct {
	closeCounter
	reads, bytes int
	onClose      func()
}

func track(r io.Reader) *tracked {
	return &tracked{closeCounter: closeCounter{Reader: r}, onClose: func() {}}
}

func (b *tracked) Close() error {
	b.onClose()
	return b.closeCounter.Close()
}

func (b *tracked) Read(p []byte) (int, error) {
	n, err := b.closeCounter.Read(p)
	b.reads++
	b.bytes += n
	return n, err
}

// carrying is a step for script: a status with the given body.
func carrying(status int, length int64, body io.ReadCloser) func() *http.Response {
	return func() *http.Response {
		resp := answer(status)
		resp.Body, resp.ContentLength = body, length
		return resp
	}
}

// stalling is a body that gives some bytes, and then nothing until it is closed.
func stalling(head string) *tracked {
	over := make(chan struct{})
	b := track(io.MultiReader(strings.NewReader(head), stall{over}))
	b.onClose = sync.OnceFunc(func() { close(over) })
	return b
}

type stall struct{ over chan struct{} }

func (s stall) Read([]byte) (int, error) { <-s.over; return 0, errors.New("read on closed body") }

// A discarded body is read within a bound of bytes and of time, and closed once,
// before the next attempt.
func TestDiscardIsBounded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		body    func() *tracked
		length  int64
		read    int           // bytes
		elapsed time.Duration // at least
	}{
		{"small", func() *tracked { return track(strings.NewReader("small")) }, 5, 5, 0},
		{"small, of unknown length", func() *tracked { return track(strings.NewReader("small")) }, -1, 5, 0},
		{"as long as the bound", func() *tracked { return track(bytes.NewReader(make([]byte, replay.DrainLimit))) }, replay.DrainLimit, replay.DrainLimit, 0},
		{"known to be long", func() *tracked { return track(zeros{}) }, replay.DrainLimit + 1, 0, 0},
		{"endless", func() *tracked { return track(zeros{}) }, -1, replay.DrainLimit, 0},
		{"stalled", func() *tracked { return stalling("") }, -1, 0, replay.DrainTime},
		{"stalled in the middle", func() *tracked { return stalling("some") }, 1000, 4, replay.DrainTime},
		{"failing", func() *tracked { return track(failingReader{io.ErrUnexpectedEOF}) }, -1, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := test.body()
				const pause = 50 * time.Millisecond
				base := script(carrying(503, test.length, body), 200)
				tr := &holdoff.Transport{Base: base, Backoff: holdoff.Exponential{Base: pause, Jitter: holdoff.NoJitter}}
				start := time.Now()
				resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
				if err != nil || resp.StatusCode != 200 {
					t.Fatalf("got %v, %v; want 200", resp, err)
				}
				// The time that the discard takes counts towards the wait.
				if got, want := time.Since(start), max(pause, test.elapsed); got != want {
					t.Errorf("got 200 after %v, want %v", got, want)
				}
				synctest.Wait()
				if body.bytes != test.read {
					t.Errorf("%d bytes were read, want %d", body.bytes, test.read)
				}
				if got := body.closed(); got != 1 {
					t.Errorf("the body was closed %d times, want once", got)
				}
			})
		})
	}
}

// Over real connections, neither an endless nor a stalled body holds up the retry,
// whatever the server sends of it and however it is coded.
func TestDiscardIsBoundedOverRealConnections(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	io.WriteString(zw, "the head of something longer")
	zw.Flush()
	bodies := map[string]func(http.ResponseWriter, *http.Request){
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		},
		"stalled": func(w http.ResponseWriter, r *http.Request) {},
		"stalled in the middle": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "some")
		},
		"gzip, stalled in the middle": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(zipped.Bytes())
		},
		// net/http can't close a gzip body while it waits for the first byte.
		"gzip, stalled at once": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
		},
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachProtocol(t, func(t *testing.T, http2 bool) {
				var hits atomic.Int64
				quit := make(chan struct{})
				srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
					if hits.Add(1) > 1 {
						return
					}
					// The headers of body must be set before those are sent.
					w = &late{ResponseWriter: w, status: 503}
					body(w, r)
					w.(*late).WriteHeader(503)
					http.NewResponseController(w).Flush()
					select {
					case <-r.Context().Done():
					case <-quit:
					}
				})
				t.Cleanup(func() { close(quit) })
				tr := &holdoff.Transport{Base: base, Backoff: quick}
				done := make(chan error, 1)
				go func() {
					resp, err := tr.RoundTrip(newRequest(t, "GET", srv.URL, ""))
					if err == nil && resp.StatusCode != 200 {
						err = fmt.Errorf("got status %d, want 200", resp.StatusCode)
					}
					if resp != nil {
						resp.Body.Close()
					}
					done <- err
				}()
				select {
				case err := <-done:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(20 * replay.DrainTime):
					t.Error("the discard of a response holds up its retry")
				}
			})
		})
	}
}

// late is a ResponseWriter whose status is not 200 by default.
type late struct {
	http.ResponseWriter
	status int
	sent   bool
}

func (l *late) WriteHeader(status int) {
	if !l.sent {
		l.sent = true
		l.ResponseWriter.WriteHeader(status)
	}
}

func (l *late) Write(p []byte) (int, error) {
	l.WriteHeader(l.status)
	return l.ResponseWriter.Write(p)
}

func (l *late) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// Thirty attempts that meet small bodies use one connection.
func TestSmallBodiesKeepTheConnection(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"no body": "", "small": "small", "a page": strings.Repeat("x", replay.DrainLimit-1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachProtocol(t, func(t *testing.T, http2 bool) {
				var hits, conns atomic.Int64
				srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
					if hits.Add(1) < 30 {
						w.WriteHeader(503)
					}
					io.WriteString(w, body)
				})
				dialer := &net.Dialer{}
				base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conns.Add(1)
					return dialer.DialContext(ctx, network, addr)
				}
				tr := &holdoff.Transport{
					Base: base, MaxAttempts: 30, Budget: -1,
					Backoff: holdoff.Exponential{Base: time.Millisecond, Cap: time.Millisecond},
					// Twenty failures in a row would hold the host.
					Classify: func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
						v := holdoff.DefaultClassify(req, resp, err)
						v.Lesson = holdoff.Nothing
						return v
					},
				}
				resp, err := tr.RoundTrip(newRequest(t, "GET", srv.URL, ""))
				if err != nil {
					t.Fatal(err)
				}
				if got := readAll(t, resp); resp.StatusCode != 200 || got != body {
					t.Errorf("got %d and %d bytes, want 200 and %d", resp.StatusCode, len(got), len(body))
				}
				if hits.Load() != 30 || conns.Load() != 1 {
					t.Errorf("got %d requests over %d connections, want 30 over 1", hits.Load(), conns.Load())
				}
			})
		})
	}
}

// A server that answers early and goes on reading the upload ends its response when
// the upload ends, which no goroutine sends any more. The retry comes all the same.
func TestDiscardWhileTheServerReadsTheUpload(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, http2 bool) {
		var hits atomic.Int64
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
			first := hits.Add(1) == 1
			if first {
				http.NewResponseController(w).EnableFullDuplex() // HTTP/1.1 only
				w.WriteHeader(503)
				io.WriteString(w, "refused, ")
				w.(http.Flusher).Flush()
			}
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
		})
		// The upload's producer stops as soon as its attempt has been answered.
		pr, pw := io.Pipe()
		t.Cleanup(func() { pw.Close() })
		go pw.Write(make([]byte, 1000))
		req := stream(t, srv.URL, pr)
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("payload")), nil }
		done := make(chan struct{})
		go func() {
			defer close(done)
			resp, err := (&holdoff.Transport{Base: base, Backoff: quick}).RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			if got := readAll(t, resp); resp.StatusCode != 200 || got != "7" {
				t.Errorf("got %d %q, want 200 %q", resp.StatusCode, got, "7")
			}
		}()
		select {
		case <-done:
		case <-time.After(20 * replay.DrainTime):
			t.Error("the discard waits for an upload that has ended")
		}
	})
}

// Every response that is followed by another is closed once; the last one is the
// caller's, open and unread.
func TestResponsesAreClosedOnce(t *testing.T) {
	t.Parallel()
	boom := func(kind holdoff.EventKind, after int) func(context.Context, holdoff.Event) {
		return func(_ context.Context, e holdoff.Event) {
			if e.Kind == kind && e.Attempt >= after {
				panic("boom")
			}
		}
	}
	tests := []struct {
		name   string
		change func(*holdoff.Transport)
		cancel time.Duration // after which the caller goes
		sends  int
		last   bool // the last response is the caller's
		panics bool
	}{
		{name: "give-up by attempts", change: func(*holdoff.Transport) {}, sends: 4, last: true},
		{name: "give-up by budget", change: func(tr *holdoff.Transport) { tr.Budget = 2 }, sends: 3, last: true},
		{name: "give-up by wait", change: func(tr *holdoff.Transport) { tr.MaxWait = 2 * time.Second }, sends: 2, last: true},
		{name: "with a timeout per attempt", change: func(tr *holdoff.Transport) { tr.PerAttemptTimeout = time.Minute }, sends: 4, last: true},
		{name: "canceled in a wait", change: func(*holdoff.Transport) {}, cancel: 1500 * time.Millisecond, sends: 2},
		{name: "panic at an attempt", change: func(tr *holdoff.Transport) { tr.Observe = boom(holdoff.Attempted, 1) }, sends: 2, panics: true},
		{name: "panic at a wait", change: func(tr *holdoff.Transport) { tr.Observe = boom(holdoff.Waiting, 1) }, sends: 1, panics: true},
		{name: "panic at the give-up", change: func(tr *holdoff.Transport) { tr.Observe = boom(holdoff.GaveUp, 0) }, sends: 4, panics: true},
		{name: "panic in Classify", change: func(tr *holdoff.Transport) {
			tr.Classify = func(*http.Request, *http.Response, error) holdoff.Verdict { panic("boom") }
		}, sends: 1, panics: true},
		{name: "panic in Classify, with a timeout per attempt", change: func(tr *holdoff.Transport) {
			tr.PerAttemptTimeout = time.Minute
			tr.Classify = func(*http.Request, *http.Response, error) holdoff.Verdict { panic("boom") }
		}, sends: 1, panics: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bodies []*tracked
				base := script(func() *http.Response {
					b := track(strings.NewReader("why"))
					bodies = append(bodies, b)
					return carrying(503, 3, b)()
				})
				tr := &holdoff.Transport{Base: base, Backoff: holdoff.Exponential{Base: time.Second, Jitter: holdoff.NoJitter}}
				test.change(tr)
				req := newRequest(t, "GET", "http://a.example/", "")
				if test.cancel > 0 {
					ctx, cancel := context.WithCancel(req.Context())
					time.AfterFunc(test.cancel, cancel)
					req = req.WithContext(ctx)
				}
				var resp *http.Response
				var err error
				func() {
					defer func() {
						if got := recover() != nil; got != test.panics {
							t.Errorf("got panic %v, want %v", got, test.panics)
						}
					}()
					resp, err = tr.RoundTrip(req)
				}()
				base.wantSends(t, test.sends)
				discarded := bodies
				if test.last {
					discarded = bodies[:len(bodies)-1]
					last := bodies[len(bodies)-1]
					if err != nil || last.reads != 0 || last.closed() != 0 {
						t.Errorf("the last response has %d reads, %d closes, error %v; want none", last.reads, last.closed(), err)
					} else if got := readAll(t, resp); got != "why" {
						t.Errorf("got last body %q, want %q", got, "why")
					}
				} else if resp != nil {
					t.Errorf("got response %v, want none", resp)
				}
				for i, b := range discarded {
					if got := b.closed(); got != 1 {
						t.Errorf("response %d was closed %d times, want once", i, got)
					}
				}
			})
		})
	}
}

// Nothing is left behind on real connections after a give-up, a cancel and a panic.
// (goleak looks when all tests are over.)
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, http2 bool) {
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
		resp, err := (&holdoff.Transport{Base: base, Backoff: quick}).RoundTrip(newRequest(t, "GET", srv.URL, ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "no\n" {
			t.Errorf("got body %q, want %q", got, "no\n")
		}

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tr := &holdoff.Transport{Base: base, Backoff: holdoff.Exponential{Base: time.Hour, Cap: time.Hour, Jitter: holdoff.NoJitter}, MaxWait: 2 * time.Hour}
		tr.Observe = func(_ context.Context, e holdoff.Event) {
			if e.Kind == holdoff.Waiting {
				cancel()
			}
		}
		if _, err = tr.RoundTrip(newRequest(t, "GET", srv.URL, "").WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want %v", err, context.Canceled)
		}

		func() {
			defer func() {
				if recover() == nil {
					t.Error("got no panic")
				}
			}()
			tr := &holdoff.Transport{Base: base, Observe: func(context.Context, holdoff.Event) { panic("boom") }}
			tr.RoundTrip(newRequest(t, "GET", srv.URL, ""))
		}()
	})
}

// Whoever judges a response finds it unread, and may put another body in place of one
// that it has read. (The doc of Classify forbids to read without that.)
func TestClassifyComesBeforeTheDiscard(t *testing.T) {
	t.Parallel()
	for _, last := range []int{200, 503} {
		var bodies []*tracked
		make := func(status int) func() *http.Response {
			return func() *http.Response {
				b := track(strings.NewReader(fmt.Sprint("body of ", status)))
				bodies = append(bodies, b)
				return carrying(status, -1, b)()
			}
		}
		current := func() *tracked { return bodies[len(bodies)-1] }
		unread := func(who string) {
			if b := current(); b.reads != 0 || b.closed() != 0 {
				t.Errorf("%s finds the body read %d times and closed %d times, want never", who, b.reads, b.closed())
			}
		}
		var judged []string
		tr := &holdoff.Transport{
			Base: script(make(503), make(last)), MaxAttempts: 2,
			Classify: func(req *http.Request, resp *http.Response, err error) holdoff.Verdict {
				unread("Classify")
				b, _ := io.ReadAll(resp.Body)
				judged = append(judged, string(b))
				resp.Body = struct {
					io.Reader
					io.Closer
				}{bytes.NewReader(b), resp.Body}
				return holdoff.DefaultClassify(req, resp, err)
			},
			Backoff: backoffFunc(func(holdoff.Retry) time.Duration {
				if got := current().closed(); got != 0 {
					t.Errorf("Backoff finds the body closed %d times, want never", got)
				}
				return 0
			}),
		}
		resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint("body of ", last)
		if got := readAll(t, resp); got != want {
			t.Errorf("got body %q after Classify has read it, want %q", got, want)
		}
		if len(judged) != 2 || judged[0] != "body of 503" || judged[1] != want {
			t.Errorf("Classify read %q, want both bodies whole", judged)
		}
		for i, b := range bodies {
			if got := b.closed(); got != 1 {
				t.Errorf("body %d was closed %d times, want once", i, got)
			}
		}
	}
}

// Whoever observes an attempt or a give-up finds the response unread.
func TestObserveComesBeforeTheDiscard(t *testing.T) {
	t.Parallel()
	var body *tracked
	seen := map[holdoff.EventKind]int{}
	tr := &holdoff.Transport{
		MaxAttempts: 2, Backoff: quick,
		Base: script(func() *http.Response {
			body = track(strings.NewReader("x"))
			return carrying(503, -1, body)()
		}),
		Observe: func(_ context.Context, e holdoff.Event) {
			seen[e.Kind]++
			if e.Kind != holdoff.Waiting && (body.reads != 0 || body.closed() != 0) {
				t.Errorf("at %q the body was read %d times and closed %d times, want never", e.Kind, body.reads, body.closed())
			}
		},
	}
	resp, err := tr.RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if seen[holdoff.Attempted] != 2 || seen[holdoff.GaveUp] != 1 {
		t.Errorf("got events %v, want two attempts and a give-up", seen)
	}
}

// A first attempt that succeeds allocates nothing, and starts nothing. It must run
// alone: it is not parallel.
func TestHealthyPathDoesNotAllocate(t *testing.T) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	tr := &holdoff.Transport{Base: roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })}
	get := newRequest(t, "GET", "https://api.example.com/p?q=1", "")
	put := newRequest(t, "PUT", "https://api.example.com/p?q=1", "payload")
	if put.GetBody == nil {
		t.Fatal("the request has no GetBody: the test tests something else")
	}
	for _, req := range []*http.Request{get, put} {
		got := testing.AllocsPerRun(1000, func() {
			if r, err := tr.RoundTrip(req); r != resp || err != nil {
				t.Fatalf("got %v, %v; want Base's response", r, err)
			}
		})
		if got != 0 {
			t.Errorf("%s: got %v allocations per request, want 0", req.Method, got)
		}
	}
}
