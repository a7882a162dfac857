package holdoff_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

// connCounter counts the connections that a server has, and has had.
type connCounter struct {
	mu   sync.Mutex
	open map[net.Conn]bool
	all  int
}

func (c *connCounter) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open[conn] = true
		c.all++
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
}

func (c *connCounter) count() (open, all int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open), c.all
}

// reading counts the goroutines that read responses which are to be discarded.
func reading() int {
	buf := make([]byte, 1<<22)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "replay.Drain(")
}

// decoding is a Base that decodes bodies itself, and marks them as net/http does.
// Its bodies, like net/http's, can't be closed while they are being read.
type decoding struct{ base http.RoundTripper }

func (d decoding) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.base.RoundTrip(req)
	if err == nil && resp.Header.Get("Content-Encoding") != "" {
		resp.Body = &serialBody{ReadCloser: resp.Body}
		resp.ContentLength, resp.Uncompressed = -1, true
	}
	return resp, err
}

type serialBody struct {
	io.ReadCloser
	mu sync.Mutex
}

func (b *serialBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ReadCloser.Read(p)
}

func (b *serialBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ReadCloser.Close()
}

// Whatever a server sends of an encoded body that a retry discards, and whoever
// decodes it: no goroutine and no connection is left behind, though the server goes
// on for ever.
func TestDrain_EncodedBodyLeavesNothingBehind(t *testing.T) {
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	io.WriteString(zw, strings.Repeat("why it failed ", 100))
	zw.Close()
	whole := zipped.Len()
	for name, sent := range map[string]struct {
		n    int
		ends bool
	}{
		"nothing": {0, false}, "part of the header": {3, false}, "a part": {whole / 2, false}, "all": {whole, true},
	} {
		for _, kind := range []string{"net/http", "net/http, PerAttemptTimeout", "another decoder"} {
			for _, http2 := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, HTTP/2 %v", name, kind, http2), func(t *testing.T) {
					quit := make(chan struct{})
					var failed sync.Map // the requests that were answered once
					srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if _, again := failed.LoadOrStore(r.URL.Path, true); again {
							return
						}
						w.Header().Set("Content-Encoding", "gzip")
						w.WriteHeader(503)
						w.Write(zipped.Bytes()[:sent.n])
						if sent.ends {
							return
						}
						http.NewResponseController(w).Flush()
						select {
						case <-r.Context().Done():
						case <-quit:
						}
					}))
					conns := &connCounter{open: map[net.Conn]bool{}}
					srv.Config.ConnState = conns.note
					srv.Config.ErrorLog = log.New(io.Discard, "", 0)
					if srv.EnableHTTP2 = http2; http2 {
						srv.StartTLS()
					} else {
						srv.Start()
					}
					defer srv.Close()
					defer close(quit)
					base := srv.Client().Transport.(*http.Transport)
					defer base.CloseIdleConnections()
					tr := &holdoff.Transport{Base: base, Backoff: quick, Budget: -1}
					switch kind {
					case "net/http, PerAttemptTimeout":
						tr.PerAttemptTimeout = time.Minute
					case "another decoder":
						base.DisableCompression = true
						tr.Base = decoding{base}
					}
					requests := 30
					if http2 {
						requests = 10 // of one connection, mostly
					}
					var all sync.WaitGroup
					for i := range requests {
						all.Go(func() {
							resp, err := tr.RoundTrip(newRequest(t, "GET", fmt.Sprint(srv.URL, "/", i), ""))
							if err != nil || resp.StatusCode != 200 {
								t.Errorf("got %v, %v; want 200", resp, err)
								return
							}
							readAll(t, resp)
						})
					}
					all.Wait()
					eventually(t, "no connection is open", func() bool {
						base.CloseIdleConnections() // an unused connection may come late
						open, _ := conns.count()
						return open == 0
					})
					if got := reading(); got != 0 {
						t.Errorf("%d goroutines still read discarded responses, want none", got)
					}
				})
			}
		}
	}
}

// An attempt that has a context of its own can end the read of an encoded body, so
// that it may begin one: its connection is used again.
func TestDrain_EncodedBodyKeepsTheConnectionOfABoundedAttempt(t *testing.T) {
	hits := 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		if hits++; hits%2 == 1 {
			w.WriteHeader(503)
		}
		zw := gzip.NewWriter(w)
		io.WriteString(zw, "why")
		zw.Close()
	}))
	conns := &connCounter{open: map[net.Conn]bool{}}
	srv.Config.ConnState = conns.note
	srv.Start()
	defer srv.Close()
	base := srv.Client().Transport.(*http.Transport)
	defer base.CloseIdleConnections()
	tr := &holdoff.Transport{Base: base, Backoff: quick, Budget: -1, PerAttemptTimeout: time.Minute}
	for range 10 {
		resp, err := tr.RoundTrip(newRequest(t, "GET", srv.URL, ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "why" {
			t.Errorf("got %q, want %q", got, "why")
		}
	}
	if _, all := conns.count(); hits != 20 || all != 1 {
		t.Errorf("got %d requests over %d connections, want 20 over 1", hits, all)
	}
}

// A caller of a bounded attempt can close an encoded body that it has begun to read,
// also while the server sends nothing.
func TestCancelBody_CloseEndsAStalledRead(t *testing.T) {
	eachProtocol(t, func(t *testing.T, http2 bool) {
		quit := make(chan struct{})
		srv, base := startServer(t, http2, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			http.NewResponseController(w).Flush()
			<-quit
		})
		t.Cleanup(func() { close(quit) })
		resp, err := (&holdoff.Transport{Base: base, PerAttemptTimeout: time.Minute}).RoundTrip(newRequest(t, "GET", srv.URL, ""))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			io.Copy(io.Discard, resp.Body)
		}()
		time.Sleep(10 * time.Millisecond) // the read has most likely begun
		resp.Body.Close()
		<-ended
	})
}
