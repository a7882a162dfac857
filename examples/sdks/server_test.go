package sdks_test

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// server answers for every host. It is reached through pipes, so that a test
// has its own clock (testing/synctest) and waits for nothing, though the bytes
// are those that a network would have carried.
type server struct {
	answer func(n int, req *http.Request) answer // n counts requests from 0

	conns chan net.Conn
	gone  chan struct{}
	once  sync.Once

	mu       sync.Mutex
	requests []request
}

// answer is a status, headers and a body.
type answer struct {
	status int
	header http.Header
	body   string
}

// request is one that the server has seen.
type request struct {
	at     time.Time
	method string
	header http.Header
	body   []byte
}

// first answers the first request with a, and all others with 200.
func first(a answer, s sdk) func(int, *http.Request) answer {
	return func(n int, _ *http.Request) answer {
		header := http.Header{"Content-Type": {"application/json"}}
		maps.Copy(header, s.header)
		if n > 0 {
			return answer{http.StatusOK, header, s.ok}
		}
		maps.Copy(header, a.header)
		return answer{a.status, header, a.body}
	}
}

// thinking is how long an answer takes: time for the client to notice that it
// has sent all of its body. A server that answers at once, as no real one does,
// makes it a matter of luck which of the two comes first.
const thinking = time.Millisecond

// serve starts a server. It ends with the test.
func serve(t *testing.T, respond func(n int, req *http.Request) answer) *server {
	// A test's clock begins at a time whose epochs have a digit less than today's.
	time.Sleep(time.Until(time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)))
	s := &server{answer: respond, conns: make(chan net.Conn), gone: make(chan struct{})}
	done := make(chan struct{})
	httpServer := &http.Server{Handler: s}
	go func() {
		defer close(done)
		httpServer.Serve(s)
	}()
	t.Cleanup(func() {
		httpServer.Close()
		<-done
		time.Sleep(time.Hour) // SDKs that don't close a body leave its timeout behind
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, request{time.Now(), req.Method, req.Header.Clone(), body})
	s.mu.Unlock()
	a := s.answer(n, req)
	time.Sleep(thinking)
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// sends is how many requests were seen.
func (s *server) sends() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// seen returns them all.
func (s *server) seen() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// dial makes a connection to the server, whatever the address.
func (s *server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case s.conns <- far:
		return near, nil
	case <-s.gone:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reach lets base send to the server, without TLS for https as well.
func (s *server) reach(t *testing.T, base *http.Transport) *http.Transport {
	base.DialContext, base.DialTLSContext, base.Proxy = s.dial, s.dial, nil
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// The listener of httpServer.

func (s *server) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.gone:
		return nil, net.ErrClosed
	}
}

func (s *server) Close() error {
	s.once.Do(func() { close(s.gone) })
	return nil
}

func (s *server) Addr() net.Addr { return &net.TCPAddr{} }
