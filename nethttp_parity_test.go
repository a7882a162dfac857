package holdoff_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

// patient is how long a scenario waits whose end is a timeout: long enough for a TLS
// handshake and a request on a machine with much else to do.
const patient = 1500 * time.Millisecond

// story is what a client lived through, line by line.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (s *story) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// response notes all of resp that does not change from run to run.
func (s *story) response(resp *http.Response, err error) {
	if err != nil {
		s.failure(err)
	}
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	_, writable := resp.Body.(io.Writer)
	s.note("%s %s, length %d, coding %v, uncompressed %v, close %v, writable %v, no body %v", resp.Proto, resp.Status,
		resp.ContentLength, resp.TransferEncoding, resp.Uncompressed, resp.Close, writable, resp.Body == http.NoBody)
	s.note("request %s %s", resp.Request.Method, resp.Request.URL.Path)
	header := resp.Header.Clone()
	header.Del("Date")
	s.note("header %v", header)
	b, err := io.ReadAll(resp.Body)
	s.note("body %.200q of %d bytes", b, len(b))
	if err != nil {
		s.failure(err)
	}
	s.note("trailer %v", resp.Trailer)
}

// failure notes an error's type, text and properties. Of timeouts it leaves out
// the words: http.Client races a timer against the context for any transport
// but its own, and either may have the say.
func (s *story) failure(err error) {
	if isTimeout(err) {
		s.note("timeout, url.Error %v, deadline %v, canceled %v", is[*url.Error](err),
			errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled))
		return
	}
	text := err.Error()
	if u, ok := errors.AsType[*url.Error](err); ok {
		text = u.Op + ": " + u.Err.Error() // the URL has the server's port
	}
	s.note("error %T %s, canceled %v", err, text, errors.Is(err, context.Canceled))
}

// echo answers with what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %q %v cookies %v", r.Method, r.URL, b, err, r.Cookies())
}

// A scenario is a conversation in which nothing is retried.
type scenario struct {
	name    string
	handler http.HandlerFunc
	// run tells the story of a client whose transport is given only by client.
	run func(t *testing.T, s *story, client *http.Client, at string)
	// The story must hold these words: else both clients may have failed alike.
	must []string
	only string // "HTTP/1.1" or "HTTP/2" where the other has no such thing
	hits int64  // requests that reach the server
}

var scenarios = []scenario{
	// Cookies are set and sent by the client, over a redirect.
	{
		name: "cookies", hits: 2, must: []string{"c=1"},
		handler: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.SetCookie(w, &http.Cookie{Name: "c", Value: "1"})
				http.Redirect(w, r, "/next", http.StatusFound)
				return
			}
			echo(w, r)
		},
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			client.Jar, _ = cookiejar.New(nil)
			s.response(client.Do(newRequest(t, "GET", at, "")))
		},
	},
	// A 307 repeats the body by GetBody.
	{
		name: "307 with GetBody", hits: 2, must: []string{`PUT /next \"payload\"`}, handler: redirect307,
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			s.response(client.Do(newRequest(t, "PUT", at, "payload")))
		},
	},
	// A 307 to a body that can't be repeated is the caller's.
	{
		name: "307 without GetBody", hits: 1, must: []string{"307 Temporary Redirect"}, handler: redirect307,
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			s.response(client.Do(stream(t, at, strings.NewReader("payload"))))
		},
	},
	// CheckRedirect stops with the response, or with an error as well.
	{
		name: "CheckRedirect", hits: 2, must: []string{"check 1", "307 Temporary Redirect", "stopped here"}, handler: redirect307,
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			for _, err := range []error{http.ErrUseLastResponse, errors.New("stopped here")} {
				client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
					s.note("check %d %s", len(via), req.URL.Path)
					return err
				}
				s.response(client.Do(newRequest(t, "GET", at, "")))
			}
		},
	},
	// An upgrade is a two-way stream from there on.
	{
		name: "upgrade", only: "HTTP/1.1", hits: 1, must: []string{"101 Switching Protocols", "writable true", "echo hello"},
		handler: func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			rw.Flush()
			line, _ := rw.ReadString('\n')
			rw.WriteString("echo " + line)
			rw.Flush()
		},
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			req := newRequest(t, "GET", at, "")
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "x")
			resp, err := client.Do(req)
			if err != nil {
				s.failure(err)
				return
			}
			defer resp.Body.Close()
			rwc, ok := resp.Body.(io.ReadWriteCloser)
			s.note("%s, writable %v", resp.Status, ok)
			if ok {
				io.WriteString(rwc, "hello\n")
				line, err := bufio.NewReader(rwc).ReadString('\n')
				s.note("%s %v", strings.TrimSpace(line), err)
			}
		},
	},
	// Expect: 100-continue waits for the server's word, and 1xx responses reach the
	// trace.
	{
		name: "100-continue", only: "HTTP/1.1", hits: 1, must: []string{"got 100", `\"payload\"`}, handler: echo,
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			s.response(client.Do(expecting(t, s, at)))
		},
	},
	// Where the server does not want the body, it is not sent.
	{
		name: "100-continue refused", only: "HTTP/1.1", hits: 1, must: []string{"417 Expectation Failed", "0 bytes"},
		handler: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusExpectationFailed) },
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			req := expecting(t, s, at)
			body := track(strings.NewReader("payload"))
			req.Body, req.GetBody = body, nil
			s.response(client.Do(req))
			s.note("%d bytes of the upload were read", body.bytes)
		},
	},
	// Early hints reach the trace, with their headers.
	{
		name: "early hints", hits: 1, must: []string{"1xx 103 map[Link:[</a.css>]]"},
		handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			echo(w, r)
		},
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			s.response(client.Do(traced(s, newRequest(t, "GET", at, ""))))
		},
	},
	// Large bodies stream both ways at once: each chunk is sent only after the one
	// before has come back.
	{
		name: "two-way stream", hits: 1, must: []string{"64 chunks came back", "end EOF"},
		handler: func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			rc.EnableFullDuplex() // HTTP/2 always is
			rc.Flush()
			b := make([]byte, 4<<10)
			for {
				n, err := r.Body.Read(b)
				w.Write(b[:n])
				rc.Flush()
				if err != nil {
					return
				}
			}
		},
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			pr, pw := io.Pipe()
			defer pw.Close()
			resp, err := client.Do(stream(t, at, pr))
			if err != nil {
				s.failure(err)
				return
			}
			defer resp.Body.Close()
			chunk, back := pattern(16<<10), make([]byte, 16<<10)
			for i := range 64 {
				pw.Write(chunk)
				if _, err := io.ReadFull(resp.Body, back); err != nil || !slices.Equal(chunk, back) {
					s.note("chunk %d came back wrong: %v", i, err)
					return
				}
			}
			pw.Close()
			_, err = resp.Body.Read(back)
			s.note("64 chunks came back, end %v", err)
		},
	},
	// A large upload that can't be sent again, and is refused when all of it has come,
	// ends with the refusal.
	{
		name: "large upload refused", hits: 1, must: []string{"503 Service Unavailable", "4194304"},
		handler: func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			w.WriteHeader(503)
			fmt.Fprint(w, n)
		},
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			s.response(client.Do(stream(t, at, io.LimitReader(zeros{}, 4<<20))))
		},
	},
	// Trailers go both ways.
	{
		name: "trailers", hits: 1, must: []string{"trailer map[X-Down:[payload late]]"},
		handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Down")
			b, _ := io.ReadAll(r.Body)
			w.WriteHeader(200)
			w.Header().Set("X-Down", string(b)+" "+r.Trailer.Get("X-Up"))
		},
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			req := stream(t, at, nil)
			req.Trailer = http.Header{"X-Up": nil}
			req.Body = io.NopCloser(io.MultiReader(strings.NewReader("payload"), atEOF(func() { req.Trailer.Set("X-Up", "late") })))
			s.response(client.Do(req))
		},
	},
	// Gzip is undone on the way.
	{
		name: "gzip", hits: 1, must: []string{"uncompressed true", `"clear text"`},
		handler: func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			zw := gzip.NewWriter(w)
			defer zw.Close()
			io.WriteString(zw, "clear text")
		},
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			s.response(client.Do(newRequest(t, "GET", at, "")))
		},
	},
	// The answer to HEAD has a length and no body.
	{
		name: "HEAD", hits: 1, must: []string{"length 1234", `body "" of 0`},
		handler: func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "1234") },
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			s.response(client.Do(newRequest(t, "HEAD", at, "")))
		},
	},
	// Http.Client.Timeout ends the wait for headers.
	{
		name: "Client.Timeout before headers", hits: 1, must: []string{"timeout, url.Error true, deadline true"},
		handler: func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			client.Timeout = patient
			s.response(client.Do(newRequest(t, "GET", at, "")))
		},
	},
	// Http.Client.Timeout ends the reading of the body.
	{
		name: "Client.Timeout in the body", hits: 1, must: []string{`body "some" of 4`, "timeout, url.Error false"},
		handler: stallBody,
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			client.Timeout = patient
			s.response(client.Do(newRequest(t, "GET", at, "")))
		},
	},
	// A caller that leaves gets its context's error, before headers and in the body.
	{
		name: "canceled", hits: 2, must: []string{"canceled true", `body "some" of 4`},
		handler: stallBody,
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			for _, path := range []string{"/", "/headers"} {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(patient, cancel)
				s.response(client.Do(newRequest(t, "GET", at+path, "").WithContext(ctx)))
				cancel()
			}
		},
	},
	// A response that breaks off in the middle.
	{
		name: "broken response", hits: 1, must: []string{`body "some" of 4`, "error"},
		handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "some")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		run: func(t *testing.T, s *story, client *http.Client, at string) {
			s.response(client.Do(newRequest(t, "GET", at, "")))
		},
	},
}

func redirect307(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/next" {
		io.Copy(io.Discard, r.Body)
		http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
		return
	}
	echo(w, r)
}

func stallBody(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/headers" {
		io.WriteString(w, "some")
		http.NewResponseController(w).Flush()
	}
	<-r.Context().Done()
}

// atEOF is an empty reader that does something when it is read.
type atEOF func()

func (f atEOF) Read([]byte) (int, error) { f(); return 0, io.EOF }

// traced notes what httptrace has to say of 1xx responses.
func traced(s *story, req *http.Request) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { s.note("got 100") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			s.note("1xx %d %v", code, h)
			return nil
		},
	}))
}

func expecting(t *testing.T, s *story, at string) *http.Request {
	req := traced(s, newRequest(t, "PUT", at, "payload"))
	req.Header.Set("Expect", "100-continue")
	return req
}

// Where nothing is retried, a client can't tell whether there is a holdoff.Transport
// above net/http's. Each scenario names its case.
func TestParityWithNetHTTP(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, http2 bool) {
		for _, sc := range scenarios {
			if sc.only != "" && (sc.only == "HTTP/2") != http2 {
				continue
			}
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				tell := func(wrap func(http.RoundTripper) http.RoundTripper) []string {
					var hits atomic.Int64
					srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
						hits.Add(1)
						sc.handler(w, r)
					})
					base.ExpectContinueTimeout = time.Minute
					s := &story{}
					sc.run(t, s, &http.Client{Transport: wrap(base)}, srv.URL)
					if got := hits.Load(); got != sc.hits {
						t.Errorf("the server got %d requests, want %d", got, sc.hits)
					}
					s.mu.Lock()
					defer s.mu.Unlock()
					return s.lines
				}
				want := tell(func(base http.RoundTripper) http.RoundTripper { return base })
				for _, word := range sc.must {
					if !strings.Contains(strings.Join(want, "\n"), word) {
						t.Errorf("net/http's story lacks %q: it tests nothing\n%s", word, strings.Join(want, "\n"))
					}
				}
				for name, tr := range map[string]*holdoff.Transport{
					"zero value":               {},
					"with one attempt":         {MaxAttempts: 1},
					"with an observer and key": {Observe: func(context.Context, holdoff.Event) {}, Key: func(*http.Request) string { return "key" }},
				} {
					got := tell(func(base http.RoundTripper) http.RoundTripper { tr.Base = base; return tr })
					if !slices.Equal(got, want) {
						t.Errorf("%s: got\n\t%s\nwant\n\t%s", name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
					}
				}
			})
		}
	})
}

// The two transports fail alike where no server answers in time, also with a timeout of
// each attempt that is not reached.
func TestParityOfDeadlines(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, http2 bool) {
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		tell := func(rt http.RoundTripper) []string {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			s := &story{}
			s.response((&http.Client{Transport: rt}).Do(newRequest(t, "GET", srv.URL, "").WithContext(ctx)))
			return s.lines
		}
		want := tell(base)
		for _, tr := range []*holdoff.Transport{{Base: base}, {Base: base, PerAttemptTimeout: time.Hour}} {
			if got := tell(tr); !slices.Equal(got, want) {
				t.Errorf("timeout per attempt %v: got %q, want %q", tr.PerAttemptTimeout, got, want)
			}
		}
		if len(want) != 1 || !strings.Contains(want[0], "deadline true") {
			t.Errorf("net/http's story is %q, want a deadline: it tests nothing", want)
		}
	})
}
