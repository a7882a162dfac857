package virtual

import (
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"syscall"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// OneWay is how long a request travels at least, and its answer; at most half as
// long again.
const OneWay = 4 * time.Millisecond

// network carries requests to a server in this process.
type network struct {
	server  http.Handler
	replica int
}

// RoundTrip gives up as an [http.Transport] with a ResponseHeaderTimeout does: the
// server goes on.
func (n network) RoundTrip(req *http.Request) (*http.Response, error) {
	addressed := req.WithContext(req.Context())
	addressed.Header = req.Header.Clone()
	addressed.Header.Set(fleet.Address, strconv.Itoa(n.replica))
	answered := make(chan *http.Response, 1)
	go func() {
		travel()
		w := httptest.NewRecorder()
		n.server.ServeHTTP(w, addressed)
		travel()
		answered <- w.Result()
	}()
	patience := time.NewTimer(fleet.AttemptTimeout)
	defer patience.Stop()
	select {
	case resp := <-answered:
		resp.Request = req
		return resp, nil
	case <-patience.C:
		return nil, timeout{}
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func travel() { time.Sleep(OneWay + rand.N(OneWay/2)) }

// timeout is what net/http calls a timeout that awaits response headers.
type timeout struct{}

func (timeout) Error() string   { return "timeout awaiting response headers" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// noRoute is the network of a replica that reaches nobody.
type noRoute struct{}

func (noRoute) RoundTrip(*http.Request) (*http.Response, error) {
	travel()
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}
}
