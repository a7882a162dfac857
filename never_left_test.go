package holdoff_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

// closeNotice is a client's connection that reports when net/http closes it.
type closeNotice struct {
	net.Conn
	closed chan struct{}
	done   atomic.Bool
}

func (c *closeNotice) Close() error {
	if !c.done.Swap(true) {
		close(c.closed)
	}
	return c.Conn.Close()
}

// idleRace returns a Transport of net/http whose first reused connection is
// closed by its server at the moment at which net/http has taken it for a
// request, and the context that brings this about.
func idleRace(t *testing.T, ctx context.Context) (*http.Transport, context.Context, *atomic.Int32) {
	t.Helper()
	servers := make(chan net.Conn, 8)
	var dialer net.Dialer
	base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		servers <- c
		return &closeNotice{Conn: c, closed: make(chan struct{})}, nil
	}}
	t.Cleanup(base.CloseIdleConnections)
	var races atomic.Int32
	return base, httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused || races.Add(1) > 1 {
			return
		}
		// To the client this is what a FIN of the server is: the end of what it reads.
		(<-servers).(*net.TCPConn).CloseRead()
		<-info.Conn.(*closeNotice).closed
	}}), &races
}

func TestNeverLeft_IdleConnectionClosedByTheServerIsRetried(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, method string
		header       string
		body         io.Reader
	}{
		{"GET", "GET", "", nil},
		{"DELETE", "DELETE", "", nil},
		{"PUT with GetBody", "PUT", "", strings.NewReader("small")},
		{"PUT without GetBody", "PUT", "", io.MultiReader(strings.NewReader("small"))},
		{"POST", "POST", "", strings.NewReader("small")},
		{"POST without GetBody", "POST", "", io.MultiReader(strings.NewReader("small"))},
		{"POST without a body", "POST", "", nil},
		{"PATCH", "PATCH", "", strings.NewReader("small")},
		{"POST with Idempotency-Key", "POST", "Idempotency-Key", strings.NewReader("small")},
		{"POST with X-Idempotency-Key", "POST", "X-Idempotency-Key", strings.NewReader("small")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
			t.Cleanup(srv.Close)
			base, ctx, races := idleRace(t, t.Context())
			tr := &holdoff.Transport{Base: base, Backoff: impatient}
			warm, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
			resp, err := tr.RoundTrip(warm)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()

			req, err := http.NewRequestWithContext(ctx, test.method, srv.URL, test.body)
			if err != nil {
				t.Fatal(err)
			}
			if test.header != "" {
				req.Header.Set(test.header, "k")
			}
			resp, err = tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := map[bool]string{true: "small"}[test.body != nil]; string(got) != want {
				t.Errorf("the server got the body %q, want %q", got, want)
			}
			if races.Load() == 0 {
				t.Error("no connection was reused: the test has tested nothing")
			}
		})
	}
}

// post sends a POST that nothing marks as idempotent through base.
func post(t *testing.T, ctx context.Context, base http.RoundTripper, url string, options ...func(*holdoff.Transport)) (status int, out holdoff.Outcome, err error) {
	t.Helper()
	tr := &holdoff.Transport{Base: base, Backoff: impatient}
	for _, option := range options {
		option(tr)
	}
	req, err := http.NewRequestWithContext(holdoff.WithOutcome(ctx, &out), "POST", url, strings.NewReader("order"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, out, err
	}
	resp.Body.Close()
	return resp.StatusCode, out, nil
}

// tlsServer is a server of HTTPS whose first connection meets spoil in place of a
// handshake. It counts the requests that arrive.
func tlsServer(t *testing.T, spoil func(net.Conn)) (url string, base *http.Transport, arrived *atomic.Int32) {
	t.Helper()
	arrived = new(atomic.Int32)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		io.Copy(io.Discard, r.Body)
	}))
	t.Cleanup(srv.Close)
	base = srv.Client().Transport.(*http.Transport).Clone()
	t.Cleanup(base.CloseIdleConnections)
	var connections atomic.Int32
	address := startListener(t, func(c net.Conn) {
		if connections.Add(1) == 1 {
			spoil(c)
			return
		}
		pipe(c, srv.Listener.Addr().String())
	})
	return "https://" + address, base, arrived
}

// pipe connects c with address until one of the two leaves.
func pipe(c net.Conn, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(c, server)
		c.Close()
	}()
	io.Copy(server, c)
	server.Close()
	<-done
}

func TestNeverLeft_POSTIsRetriedAfterAFailedTLSHandshake(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		spoil   func(net.Conn)
		options func(*http.Transport, *holdoff.Transport)
	}{
		{"EOF", func(c net.Conn) { io.ReadFull(c, make([]byte, 64)) }, nil},
		{"reset", func(c net.Conn) {
			io.ReadFull(c, make([]byte, 64))
			c.(*net.TCPConn).SetLinger(0)
		}, nil},
		{"timeout of the handshake", func(c net.Conn) { io.Copy(io.Discard, c) }, func(base *http.Transport, _ *holdoff.Transport) {
			base.TLSHandshakeTimeout = 50 * time.Millisecond
		}},
		{"PerAttemptTimeout in the handshake", func(c net.Conn) { io.Copy(io.Discard, c) }, func(_ *http.Transport, tr *holdoff.Transport) {
			tr.PerAttemptTimeout = time.Second
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url, base, arrived := tlsServer(t, test.spoil)
			status, out, err := post(t, t.Context(), base, url, func(tr *holdoff.Transport) {
				if test.options != nil {
					test.options(base, tr)
				}
			})
			if err != nil || status != 200 || out.Attempts < 2 || arrived.Load() != 1 {
				t.Errorf("got status %d, error %v after %d attempts, of which %d arrived; want 200 after a retry, of which 1 arrived", status, err, out.Attempts, arrived.Load())
			}
		})
	}
}

// What was written may have been processed.
func TestNeverLeft_POSTThatWasWrittenIsNotRetried(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(net.Conn){
		"EOF":     func(net.Conn) {},
		"reset":   func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) },
		"timeout": func(c net.Conn) { io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := startListener(t, func(c net.Conn) {
				if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.Copy(io.Discard, req.Body)
				}
				end(c)
			})
			base := &http.Transport{ResponseHeaderTimeout: 100 * time.Millisecond}
			t.Cleanup(base.CloseIdleConnections)
			_, out, err := post(t, t.Context(), base, "http://"+address)
			if err == nil || out.Attempts != 1 {
				t.Errorf("got error %v after %d attempts, want one after 1", err, out.Attempts)
			}
		})
	}
}

// Over HTTP/2 net/http returns at the end of an attempt's context while it may
// still be writing: a connection is enough to have sent something.
func TestNeverLeft_POSTWithAConnectionIsNotRetriedAfterATimeout(t *testing.T) {
	t.Parallel()
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
		trace := httptrace.ContextClientTrace(req.Context())
		trace.GetConn("h:443")
		trace.GotConn(httptrace.GotConnInfo{})
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	_, out, err := post(t, t.Context(), base, "https://h/", func(tr *holdoff.Transport) { tr.PerAttemptTimeout = time.Millisecond })
	if err == nil || out.Attempts != 1 {
		t.Errorf("got error %v after %d attempts, want one after 1", err, out.Attempts)
	}
}

// net/http may fill its buffer, and say so, though the connection is closed. It
// proves nothing where the request had another connection before.
func TestNeverLeft_POSTIsRetriedOnAnIdleConnectionThatWasItsOnlyOne(t *testing.T) {
	t.Parallel()
	for connections, sends := range map[int]int{1: 4, 2: 1} {
		base := roundTripFunc(func(req *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(req.Context())
			for range connections {
				trace.GetConn("h:443")
				trace.GotConn(httptrace.GotConnInfo{})
				trace.WroteHeaders()
			}
			return nil, errors.New("http: server closed idle connection")
		})
		_, out, err := post(t, t.Context(), base, "https://h/")
		if err == nil || out.Attempts != sends {
			t.Errorf("%d connections: got error %v after %d attempts, want one after %d", connections, err, out.Attempts, sends)
		}
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A Base that reports nothing has proven nothing.
func TestNeverLeft_POSTThroughABaseThatReportsNothingIsNotRetried(t *testing.T) {
	t.Parallel()
	base := roundTripFunc(func(req *http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	_, out, err := post(t, t.Context(), base, "https://h/")
	if !errors.Is(err, io.ErrUnexpectedEOF) || out.Attempts != 1 {
		t.Errorf("got error %v after %d attempts, want one after 1", err, out.Attempts)
	}
}

// An error that no repetition mends is final, also where nothing was sent.
func TestNeverLeft_FinalErrorStaysFinal(t *testing.T) {
	t.Parallel()
	untrusted := httptest.NewUnstartedServer(nil)
	untrusted.Config.ErrorLog = discardLog
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	for name, test := range map[string]struct {
		base *http.Transport
		url  string
	}{
		"certificate":         {&http.Transport{}, untrusted.URL},
		"dialer that forbids": {&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("forbidden") }}, "http://10.0.0.1"},
		"port that is none":   {&http.Transport{}, "http://127.0.0.1:99999"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, out, err := post(t, t.Context(), test.base, test.url)
			if err == nil || out.Attempts != 1 {
				t.Errorf("got error %v after %d attempts, want one after 1", err, out.Attempts)
			}
		})
	}
}

// The caller's own trace is called as without a Transport.
func TestNeverLeft_CallersTraceIsCalled(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	var seen atomic.Int32
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn:      func(string) { seen.Add(1) },
		GotConn:      func(httptrace.GotConnInfo) { seen.Add(1) },
		WroteHeaders: func() { seen.Add(1) },
	})
	if status, _, err := post(t, ctx, base, srv.URL); err != nil || status != 200 || seen.Load() != 3 {
		t.Errorf("got status %d, error %v, %d hooks called; want 200 and 3", status, err, seen.Load())
	}
}

// A proxy that can't make a tunnel now may make it later; one that forbids it, or
// wants a password, will not.
func TestNeverLeft_ProxysAnswerToCONNECT(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answer string
		sends  int
	}{
		{"502 Bad Gateway", 2},
		{"502 Proxy Error", 2},
		{"503 Service Unavailable", 2},
		{"503 Service Temporarily Unavailable", 2},
		{"504 Gateway Timeout", 2},
		{"504 Gateway Time-out", 2},
		{"429 Too Many Requests", 2},
		{"407 Proxy Authentication Required", 1},
		{"403 Forbidden", 1},
		{"405 Method Not Allowed", 1},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+" "+test.answer, func(t *testing.T) {
				t.Parallel()
				target := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
				t.Cleanup(target.Close)
				var tunnels atomic.Int32
				proxy := startListener(t, func(c net.Conn) {
					req, err := http.ReadRequest(bufio.NewReader(c))
					if err != nil {
						return
					}
					if tunnels.Add(1) == 1 {
						io.WriteString(c, "HTTP/1.1 "+test.answer+"\r\nContent-Length: 0\r\n\r\n")
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
					pipe(c, req.Host)
				})
				base := target.Client().Transport.(*http.Transport).Clone()
				base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
				t.Cleanup(base.CloseIdleConnections)
				var out holdoff.Outcome
				req, err := http.NewRequestWithContext(holdoff.WithOutcome(t.Context(), &out), method, target.URL, strings.NewReader("order"))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := (&holdoff.Transport{Base: base, Backoff: impatient}).RoundTrip(req)
				if err == nil {
					resp.Body.Close()
				}
				if (err == nil) != (test.sends == 2) || out.Attempts != test.sends {
					t.Errorf("got error %v after %d attempts, want %d attempts", err, out.Attempts, test.sends)
				}
			})
		}
	}
}

// A proxy that breaks off in CONNECT had no request either.
func TestNeverLeft_POSTIsRetriedWhereTheProxyBreaksOff(t *testing.T) {
	t.Parallel()
	target := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	t.Cleanup(target.Close)
	var tunnels atomic.Int32
	proxy := startListener(t, func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil || tunnels.Add(1) == 1 {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		pipe(c, req.Host)
	})
	base := target.Client().Transport.(*http.Transport).Clone()
	base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	t.Cleanup(base.CloseIdleConnections)
	if status, out, err := post(t, t.Context(), base, target.URL); err != nil || status != 200 || out.Attempts != 2 {
		t.Errorf("got status %d, error %v after %d attempts, want 200 after 2", status, err, out.Attempts)
	}
}
