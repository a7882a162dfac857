package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// flakyServer is a server with the troubles of real APIs, one after the other. What
// it does next goes by how many requests it has served, so that it plays the
// same piece on any machine.
type flakyServer struct {
	mu        sync.Mutex
	served    int
	throttled time.Time // until when it refuses all requests
	failures  int       // 503s sent
	drops     int       // connections dropped
}

// serve starts a flakyServer server on a free port of the loopback interface. Its
// address is in Addr.
func serve() (*http.Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Addr: listener.Addr().String(), Handler: &flakyServer{}, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener)
	return server, nil
}

const dropped = 0 // in place of a status

func (m *flakyServer) next(now time.Time) (status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.served == 4 && m.throttled.IsZero() {
		m.throttled = now.Add(3 * time.Second)
	}
	switch {
	case now.Before(m.throttled):
		return http.StatusTooManyRequests
	case m.served == 8 && m.failures < 3:
		m.failures++
		return http.StatusServiceUnavailable
	case m.served == 12 && m.drops < 1:
		m.drops++
		return dropped
	}
	m.served++
	return http.StatusOK
}

func (m *flakyServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	time.Sleep(50 * time.Millisecond) // as if it were some way off
	switch status := m.next(time.Now()); status {
	case http.StatusOK:
		fmt.Fprintln(w, "Hello.")
	case dropped:
		drop(w)
	case http.StatusTooManyRequests:
		// It is too optimistic by a second, as servers are.
		w.Header().Set("Retry-After", "2")
		http.Error(w, "Slow down.", status)
	default:
		http.Error(w, "Not now.", status)
	}
}

// drop breaks the connection in the middle of the response's headers. Were it
// before their first byte, net/http might send the request again by itself.
func drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
	conn.Close()
}
