package holdoff_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/replay"
)

// stream is a PUT whose body can be read once only.
func stream(t testing.TB, url string, r io.Reader) *http.Request {
	t.Helper()
	req := newRequest(t, "PUT", url, "")
	req.Body, req.ContentLength, req.GetBody = &closeCounter{Reader: r}, -1, nil
	return req
}

// A request without a body is retried, and so is one with http.NoBody, with and
// without GetBody.
func TestEmptyBodiesAreRetried(t *testing.T) {
	t.Parallel()
	empty := func() (io.ReadCloser, error) { return http.NoBody, nil }
	tests := []struct {
		name    string
		body    io.ReadCloser
		getBody func() (io.ReadCloser, error)
	}{
		{"nil", nil, nil},
		{"NoBody", http.NoBody, nil},
		{"NoBody and GetBody", http.NoBody, empty},
		{"nil and GetBody", nil, empty},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			base := script(503, errReset, 200)
			var bodies []io.ReadCloser
			tr := &holdoff.Transport{Backoff: quick, Base: baseFunc(func(r *http.Request) (*http.Response, error) {
				bodies = append(bodies, r.Body)
				return base.RoundTrip(r)
			})}
			req := newRequest(t, "PUT", "http://a.example/", "")
			req.Body, req.GetBody = test.body, test.getBody
			resp, err := tr.RoundTrip(req)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("got %v, %v; want 200", resp, err)
			}
			resp.Body.Close()
			if want := []io.ReadCloser{test.body, test.body, test.body}; !slices.Equal(bodies, want) {
				t.Errorf("got bodies %v, want %v", bodies, want)
			}
		})
	}
}

// The first attempt reads req.Body, each other a fresh reader of GetBody, which is
// asked once per retry; every reader is closed once.
func TestEachAttemptGetsAFreshReader(t *testing.T) {
	t.Parallel()
	for attempts := 1; attempts <= 4; attempts++ {
		t.Run(fmt.Sprintf("%d attempts", attempts), func(t *testing.T) {
			t.Parallel()
			base := script(503, errReset, 503, 503)
			readers := []*closeCounter{{Reader: strings.NewReader("req.Body")}}
			req := newRequest(t, "PUT", "http://a.example/", "")
			req.Body, req.ContentLength = readers[0], -1
			req.GetBody = func() (io.ReadCloser, error) {
				r := &closeCounter{Reader: strings.NewReader(fmt.Sprintf("GetBody %d", len(readers)))}
				readers = append(readers, r)
				return r, nil
			}
			resp, err := (&holdoff.Transport{Base: base, Backoff: quick, MaxAttempts: attempts}).RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			want := []string{"req.Body", "GetBody 1", "GetBody 2", "GetBody 3"}[:attempts]
			if !slices.Equal(base.bodies, want) {
				t.Errorf("got bodies %q, want %q", base.bodies, want)
			}
			if got := len(readers) - 1; got != attempts-1 {
				t.Errorf("GetBody was called %d times, want %d", got, attempts-1)
			}
			for i, r := range readers {
				if got := r.closed(); got != 1 {
					t.Errorf("reader %d was closed %d times, want once", i, got)
				}
			}
		})
	}
}

// An attempt that goes on reading its body after RoundTrip returned, as net/http may,
// takes nothing away from the next.
func TestAttemptsDoNotShareAReader(t *testing.T) {
	t.Parallel()
	for _, replayable := range []bool{true, false} {
		t.Run(fmt.Sprintf("GetBody %v", replayable), func(t *testing.T) {
			t.Parallel()
			const content = "0123456789"
			var first io.ReadCloser
			var second string
			tr := &holdoff.Transport{Backoff: quick, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
				if holdoff.Attempt(r.Context()) == 0 {
					first = r.Body
					io.ReadFull(first, make([]byte, 4))
					return answer(503), nil // the body is still open
				}
				var err error
				b := make([]byte, 6)
				io.ReadFull(r.Body, b)
				stolen := make([]byte, 100)
				if n, _ := io.ReadFull(first, stolen); !replayable && n != 0 {
					t.Errorf("the first attempt got %q after it was over", stolen[:n])
				}
				first.Close()
				rest, err := io.ReadAll(r.Body)
				second = string(b) + string(rest)
				r.Body.Close()
				return answer(200), err
			})}
			src := &closeCounter{Reader: strings.NewReader(content)}
			req := stream(t, "http://a.example/", nil)
			req.Body = src
			if replayable {
				req.GetBody = func() (io.ReadCloser, error) {
					return &closeCounter{Reader: strings.NewReader(content)}, nil
				}
			}
			resp, err := tr.RoundTrip(req)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("got %v, %v; want 200", resp, err)
			}
			if second != content {
				t.Errorf("the second attempt got %q, want %q", second, content)
			}
			if got := src.closed(); got != 1 {
				t.Errorf("req.Body was closed %d times, want once", got)
			}
		})
	}
}

// roundTripper is a Base that is left to close the request's body itself.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Where GetBody fails, the caller gets the outcome of the attempt before, whole.
func TestFailingGetBodyLeavesTheLastOutcome(t *testing.T) {
	t.Parallel()
	t.Run("response", func(t *testing.T) {
		t.Parallel()
		body := &closeCounter{Reader: strings.NewReader("why it failed")}
		base := script(func() *http.Response {
			resp := answer(503, "X-A: b")
			resp.Body = body
			return resp
		})
		resp, out, err := sendWithFailingGetBody(t, base)
		if err != nil {
			t.Fatal(err)
		}
		if got := body.closed(); got != 0 {
			t.Errorf("the response was closed %d times, want it open", got)
		}
		if got := readAll(t, resp); resp.StatusCode != 503 || resp.Header.Get("X-A") != "b" || got != "why it failed" {
			t.Errorf("got %d %v %q, want the 503 as it came", resp.StatusCode, resp.Header, got)
		}
		if out.Ended != holdoff.EndBody || out.Attempts != 1 {
			t.Errorf("got outcome %+v, want 1 attempt, ended by the body", out)
		}
	})
	t.Run("error", func(t *testing.T) {
		t.Parallel()
		resp, out, err := sendWithFailingGetBody(t, script(errReset))
		if resp != nil || !errors.Is(err, errReset) || out.Ended != holdoff.EndBody || !errors.Is(out.Err, errReset) {
			t.Errorf("got %v, %v, outcome %+v; want the error of the attempt", resp, err, out)
		}
	})
}

func sendWithFailingGetBody(t *testing.T, base *scripted) (*http.Response, holdoff.Outcome, error) {
	t.Helper()
	var out holdoff.Outcome
	body := &closeCounter{Reader: strings.NewReader("payload")}
	req := newRequest(t, "PUT", "http://a.example/", "")
	req = req.WithContext(holdoff.WithOutcome(req.Context(), &out))
	req.Body, req.ContentLength = body, 7
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("no second reader") }
	resp, err := (&holdoff.Transport{Base: base, Backoff: quick}).RoundTrip(req)
	base.wantSends(t, 1)
	if got := body.closed(); got != 1 {
		t.Errorf("req.Body was closed %d times, want once", got)
	}
	return resp, out, err
}

// A body without GetBody streams: its first byte is there before its producer has
// ended, and no byte is read without need.
func TestBodiesStream(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, http2 bool) {
		got := make(chan string)
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
			b := make([]byte, 5)
			if _, err := io.ReadFull(r.Body, b); err != nil {
				t.Error(err)
			}
			got <- string(b)
			rest, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %v", rest, err)
		})
		pr, pw := io.Pipe()
		go func() {
			io.WriteString(pw, "first")
			if b := <-got; b != "first" { // only then does the producer go on
				t.Errorf("got %q, want %q", b, "first")
			}
			io.WriteString(pw, "second")
			pw.Close()
		}()
		resp, err := (&holdoff.Transport{Base: base}).RoundTrip(stream(t, srv.URL, pr))
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "second <nil>" {
			t.Errorf("got %q, want %q", got, "second <nil>")
		}
	})
}

// What was streamed is sent again byte for byte up to a bound, and not at all above
// it: then the response comes back as it came.
func TestStreamsAreReplayedWithinABound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ size, sends int }{
		{1, 2}, {replay.Limit - 1, 2}, {replay.Limit, 2}, {replay.Limit + 1, 1}, {16 * replay.Limit, 1},
	} {
		t.Run(fmt.Sprintf("%d bytes", test.size), func(t *testing.T) {
			t.Parallel()
			content := pattern(test.size)
			refusal := &closeCounter{Reader: strings.NewReader("why")}
			base := script(func() *http.Response {
				resp := answer(503, "X-A: b")
				resp.Body = refusal
				return resp
			}, 200)
			// Short reads, and an EOF that comes with the last bytes.
			src := iotest.DataErrReader(&shortReader{bytes.NewReader(content), 1000})
			resp, err := (&holdoff.Transport{Base: base, Backoff: quick}).RoundTrip(stream(t, "http://a.example/", src))
			if err != nil {
				t.Fatal(err)
			}
			base.wantSends(t, test.sends)
			for i, got := range base.bodies {
				if got != string(content) {
					t.Errorf("attempt %d got another body: %d bytes, want %d", i, len(got), len(content))
				}
			}
			if test.sends == 1 {
				if refusal.closed() != 0 || resp.Header.Get("X-A") != "b" || readAll(t, resp) != "why" {
					t.Error("the response is not as it came")
				}
			}
		})
	}
}

// shortReader returns at most n bytes per read.
type shortReader struct {
	r io.Reader
	n int
}

func (s *shortReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.n)]) }

// pattern is n bytes of which no stretch repeats.
func pattern(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.Bytes()[:n]
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A body in the middle of a read can't be sent again: the read might take anything.
// The reader is closed once its attempt is done with it.
func TestStreamInTheMiddleOfAReadIsNotReplayed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		src := &closeCounter{Reader: pr}
		sends := 0
		tr := &holdoff.Transport{Backoff: quick, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
			sends++
			go func() {
				defer r.Body.Close()
				io.Copy(io.Discard, r.Body)
			}()
			synctest.Wait() // the read is blocked
			return answer(503), nil
		})}
		req := stream(t, "http://a.example/", nil)
		req.Body = src
		resp, err := tr.RoundTrip(req)
		if err != nil || resp.StatusCode != 503 {
			t.Fatalf("got %v, %v; want the 503", resp, err)
		}
		if sends != 1 || src.closed() != 0 {
			t.Errorf("got %d sends and %d closes, want one and none", sends, src.closed())
		}
		pw.Close()
		synctest.Wait()
		if got := src.closed(); got != 1 {
			t.Errorf("the body was closed %d times, want once", got)
		}
	})
}

// Where a server refuses while a large body is in flight, the retry brings the whole
// body.
func TestEarlyRefusalOfALargeBody(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat(pattern(1<<20), 4)
	want := fmt.Sprintf("%d %x", len(content), sha256.Sum256(content))
	eachProtocol(t, func(t *testing.T, http2 bool) {
		var hits atomic.Int64
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
			if hits.Add(1)%2 == 1 {
				io.ReadFull(r.Body, make([]byte, 1000))
				w.WriteHeader(503)
				return
			}
			sum := sha256.New()
			n, err := io.Copy(sum, r.Body)
			if err != nil {
				t.Errorf("the server's read: %v", err)
			}
			fmt.Fprintf(w, "%d %x", n, sum.Sum(nil))
		})
		tr := &holdoff.Transport{Base: base, Backoff: quick, Budget: -1}
		for _, foreign := range []bool{false, true} {
			for range 3 {
				req, err := http.NewRequestWithContext(t.Context(), "PUT", srv.URL, bytes.NewReader(content))
				if err != nil {
					t.Fatal(err)
				}
				if foreign {
					req.Body = &closeCounter{Reader: bytes.NewReader(content)}
					req.GetBody = func() (io.ReadCloser, error) {
						return &closeCounter{Reader: bytes.NewReader(content)}, nil
					}
				}
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if got := readAll(t, resp); resp.StatusCode != 200 || got != want {
					t.Errorf("got %d %q, want 200 %q", resp.StatusCode, got, want)
				}
			}
		}
		if got := hits.Load(); got != 12 {
			t.Errorf("got %d requests, want 12: each of 6 was refused once", got)
		}
	})
}

// A retry has the length, the transfer coding and the trailers of the first attempt;
// an unknown length stays unknown.
func TestRetryKeepsTheFraming(t *testing.T) {
	t.Parallel()
	type framing struct {
		Length   int64
		Encoding []string
		Trailer  http.Header
		Body     string
	}
	content := "payload"
	tests := []struct {
		name   string
		change func(*http.Request)
		want   framing // as the server sees it over HTTP/1.1
	}{
		{"known length", func(*http.Request) {}, framing{7, nil, nil, content}},
		{"known length, no GetBody", func(r *http.Request) { r.GetBody = nil }, framing{7, nil, nil, content}},
		{"unknown length", func(r *http.Request) { r.ContentLength = -1 }, framing{-1, []string{"chunked"}, nil, content}},
		{"unknown length, no GetBody", func(r *http.Request) { r.ContentLength, r.GetBody = 0, nil }, framing{-1, []string{"chunked"}, nil, content}},
		{"transfer coding", func(r *http.Request) { r.TransferEncoding = []string{"chunked"} }, framing{-1, []string{"chunked"}, nil, content}},
		{"trailers", func(r *http.Request) { r.ContentLength, r.Trailer = -1, http.Header{"X-T": {"v"}} }, framing{-1, []string{"chunked"}, http.Header{"X-T": {"v"}}, content}},
		{"trailers, no GetBody", func(r *http.Request) {
			r.ContentLength, r.GetBody, r.Trailer = -1, nil, http.Header{"X-T": {"v"}}
		}, framing{-1, []string{"chunked"}, http.Header{"X-T": {"v"}}, content}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var seen []framing
			srv, base := startServer(t, false, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, framing{r.ContentLength, r.TransferEncoding, r.Trailer, string(b)})
				if len(seen) < 3 {
					w.WriteHeader(503)
				}
			})
			req := newRequest(t, "PUT", srv.URL, content)
			test.change(req)
			resp, err := (&holdoff.Transport{Base: base, Backoff: quick}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if want := []framing{test.want, test.want, test.want}; !reflect.DeepEqual(seen, want) {
				t.Errorf("got %+v, want three times %+v", seen, test.want)
			}
		})
	}
}

// A failure to read the request's body is not a failure of the network, though it may
// look like one; it is what the caller gets.
func TestFailureToReadTheBodyIsNotRetried(t *testing.T) {
	t.Parallel()
	broken := fmt.Errorf("disk: %w", syscall.ECONNRESET)
	readers := []struct {
		name string
		make func() io.Reader
		want error
	}{
		{"timeout", func() io.Reader { return iotest.TimeoutReader(&shortReader{strings.NewReader("payload"), 2}) }, iotest.ErrTimeout},
		{"unexpected EOF", func() io.Reader {
			return io.MultiReader(strings.NewReader("pay"), failingReader{io.ErrUnexpectedEOF})
		}, io.ErrUnexpectedEOF},
		{"at once", func() io.Reader { return failingReader{io.ErrUnexpectedEOF} }, io.ErrUnexpectedEOF},
		{"reset", func() io.Reader { return io.MultiReader(strings.NewReader("pay"), failingReader{broken}) }, broken},
	}
	eachProtocol(t, func(t *testing.T, http2 bool) {
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(503)
		})
		for _, test := range readers {
			for _, length := range []int64{-1, 7} {
				check := func(name string, req *http.Request, want int) {
					t.Helper()
					sends := 0
					tr := &holdoff.Transport{Base: baseCounting{base, &sends}, Backoff: quick}
					resp, err := tr.RoundTrip(req)
					if err == nil {
						resp.Body.Close()
					}
					if !errors.Is(err, test.want) {
						t.Errorf("%s, length %d, %s: got error %v, want %v", test.name, length, name, err, test.want)
					}
					if sends != want {
						t.Errorf("%s, length %d, %s: got %d sends, want %d", test.name, length, name, sends, want)
					}
				}
				req := stream(t, srv.URL, test.make())
				req.ContentLength = length
				check("stream", req, 1)

				req = stream(t, srv.URL, test.make())
				req.ContentLength = length
				req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("payload")), nil }
				check("first reader", req, 1)

				req = newRequest(t, "PUT", srv.URL, "payload")
				req.ContentLength = length
				req.GetBody = func() (io.ReadCloser, error) { return &closeCounter{Reader: test.make()}, nil }
				check("reader of GetBody", req, 2)
			}
		}
	})
}

// A dial error is retried with a body that was not read, and with one of which no more
// was read than is remembered.
func TestDialErrorsAndStreams(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	content := string(pattern(2 * replay.Limit))
	tests := []struct {
		name   string
		method string
		err    error
		read   int // by the first attempt
		sends  int
	}{
		{"POST, nothing read", "POST", dial, 0, 2},
		{"PUT, nothing read", "PUT", dial, 0, 2},
		{"PUT, a byte read", "PUT", dial, 1, 2},
		{"PUT, as much read as is remembered", "PUT", dial, replay.Limit, 2},
		{"PUT, more read than is remembered", "PUT", dial, replay.Limit + 1, 1},
		{"POST, more read than is remembered", "POST", dial, replay.Limit + 1, 1},
		{"POST, a byte read, then reset", "POST", errReset, 1, 1},
		{"POST, nothing read, then reset", "POST", errReset, 0, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sends := 0
			got := ""
			tr := &holdoff.Transport{Backoff: quick, Base: baseFunc(func(r *http.Request) (*http.Response, error) {
				sends++
				if sends == 1 {
					io.ReadFull(r.Body, make([]byte, test.read))
					return nil, test.err
				}
				b, err := io.ReadAll(r.Body)
				got = string(b)
				return answer(200), err
			})}
			req := stream(t, "http://a.example/", strings.NewReader(content))
			req.Method = test.method
			resp, err := tr.RoundTrip(req)
			if sends != test.sends {
				t.Errorf("got %d sends, want %d", sends, test.sends)
			}
			if test.sends == 1 {
				if resp != nil || err != test.err {
					t.Errorf("got %v, %v; want %v", resp, err, test.err)
				}
				return
			}
			if err != nil || got != content {
				t.Errorf("got %d bytes and error %v, want all %d", len(got), err, len(content))
			}
		})
	}
}

// A dial to a port where no server listens leaves the body unread.
func TestRealDialErrorLeavesTheBody(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	srv, base := startServer(t, false, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	tr := &holdoff.Transport{Backoff: quick, Base: roundTripper(func(r *http.Request) (*http.Response, error) {
		if holdoff.Attempt(r.Context()) < 2 {
			r = r.Clone(r.Context())
			r.URL.Host = addr
		}
		return base.RoundTrip(r)
	})}
	req := stream(t, srv.URL, strings.NewReader("payload"))
	req.Method = "POST"
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); got != "payload" {
		t.Errorf("got %q, want %q", got, "payload")
	}
}

// The answer may be there while net/http still looks for the end of the body.
func TestReadThatIsAboutToEndIsWaitedFor(t *testing.T) {
	for _, test := range []struct {
		name  string
		stuck time.Duration
		sends int
	}{{"a moment", time.Millisecond, 2}, {"stuck", time.Minute, 1}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sends := 0
				base := baseFunc(func(req *http.Request) (*http.Response, error) {
					sends++
					started := make(chan struct{})
					go func() {
						close(started)
						io.Copy(io.Discard, req.Body)
						req.Body.Close()
					}()
					<-started
					synctest.Wait()
					status := http.StatusServiceUnavailable
					if sends == 2 {
						status = http.StatusOK
					}
					return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
				})
				body := io.MultiReader(strings.NewReader("all"), slowEnd(test.stuck))
				req, err := http.NewRequest(http.MethodPut, "http://api.example", body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := (&holdoff.Transport{Base: base}).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if sends != test.sends {
					t.Errorf("sent %d times, want %d", sends, test.sends)
				}
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

// slowEnd is a reader that takes its time to say that there is nothing.
type slowEnd time.Duration

func (d slowEnd) Read([]byte) (int, error) {
	time.Sleep(time.Duration(d))
	return 0, io.EOF
}
