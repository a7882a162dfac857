package overhead

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
)

// maxGoroutines is how many can send to a target at once.
const maxGoroutines = 16

// target is what answers: without a socket as a RoundTripper, and behind one as
// the Handler of a server. The path of a request is the number of its lane, one
// for each goroutine: where first attempts are to fail, every other request of a
// lane is answered 503.
type target struct {
	failFirst bool
	lanes     [maxGoroutines]lane
}

type lane struct {
	sends   atomic.Uint64
	answers [2]http.Response
	_       [64]byte // lanes share no cache line
}

// reset makes the target ready for a measurement.
func (t *target) reset(failFirst bool) {
	t.failFirst = failFirst
	for i := range t.lanes {
		t.lanes[i].sends.Store(0)
	}
}

// answer counts a request, and returns its lane and the status to answer with.
func (t *target) answer(req *http.Request) (*lane, int) {
	i, _ := strconv.Atoi(req.URL.Path[1:])
	l := &t.lanes[i]
	if l.sends.Add(1)%2 == 1 && t.failFirst {
		return l, http.StatusServiceUnavailable
	}
	return l, http.StatusOK
}

// readBuffers are what request bodies are read into: of 32 KiB, as net/http's own
// writer uses.
var readBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// noHeader is shared by all answers: nobody writes to it.
var noHeader = http.Header{}

// RoundTrip reads the body to its end, as sending it would, and answers without
// allocating: what is measured is the peer. A response belongs to its lane, since
// peers write to what they are given.
func (t *target) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		buf := readBuffers.Get().(*[32 << 10]byte)
		for {
			if _, err := req.Body.Read(buf[:]); err != nil {
				break
			}
		}
		readBuffers.Put(buf)
		req.Body.Close()
	}
	l, status := t.answer(req)
	resp := &l.answers[0]
	if status != http.StatusOK {
		resp = &l.answers[1]
	}
	*resp = http.Response{StatusCode: status, Header: noHeader, Body: http.NoBody, Request: req}
	return resp, nil
}

// ServeHTTP reads the body before it answers, and says in a few words why it
// refuses, as servers do.
func (t *target) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	io.Copy(io.Discard, req.Body)
	if _, status := t.answer(req); status != http.StatusOK {
		http.Error(w, `{"error":"overloaded"}`, status)
	}
}

// site is where requests go: a base to send them through, and the start of their
// URLs.
type site struct {
	base  http.RoundTripper
	url   string
	close func()
}

func (t *target) stub() site {
	return site{base: t, url: "http://api.example.com/", close: func() {}}
}

// loopback is a server of its own for each caller, with its own connections.
func (t *target) loopback() site {
	srv := httptest.NewServer(t)
	base := &http.Transport{MaxIdleConnsPerHost: maxGoroutines}
	return site{base, srv.URL + "/", func() {
		base.CloseIdleConnections()
		srv.Close()
	}}
}
