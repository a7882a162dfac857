package main

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	paths = 20 // that there are: /0 to /19
	// slot is the time over which the server counts peaks.
	slot = 100 * time.Millisecond
	// latency is how long each answer takes.
	latency = 5 * time.Millisecond
)

// fault is what is wrong with a server, and when.
type fault struct {
	story      string
	status     int    // of all answers from begins to ends
	retryAfter string // that they come with
	brokenPath string // always answers 500
	begins     time.Duration
	ends       time.Duration
	sending    time.Duration // how long requests are made: to well after the end
}

var faults = map[string]fault{
	"throttle": {
		story:  "is well for 2 s, answers 429 with \"Retry-After: 2\" for 8 s, and is well again",
		status: http.StatusTooManyRequests, retryAfter: "2",
		begins: 2 * time.Second, ends: 10 * time.Second, sending: 15 * time.Second,
	},
	"outage": {
		story:  "is well for 2 s, answers 503 without a hint for 8 s, and is well again",
		status: http.StatusServiceUnavailable,
		begins: 2 * time.Second, ends: 10 * time.Second, sending: 15 * time.Second,
	},
	"broken": {
		story:      fmt.Sprintf("works, except for one path in %d that always answers 500", paths),
		brokenPath: "/0", sending: 10 * time.Second,
	},
	"none": {story: "is well", sending: 10 * time.Second},
}

// recovers reports whether the fault ends, so that there is something to say
// about the time thereafter.
func (f fault) recovers() bool { return f.status != 0 }

// server has a fault, and counts what it gets.
type server struct {
	url   string
	fault fault
	http  *http.Server

	mu    sync.Mutex // guards what follows
	start time.Time
	slots []tally // of each slot since the start
}

// tally is what a server got in a while.
type tally struct{ sends, refused int }

// serve starts a server on a free port of the loopback interface.
func serve(f fault) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{url: "http://" + listener.Addr().String(), fault: f}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go s.http.Serve(listener)
	return s, nil
}

// begin sets when the fault's clock starts.
func (s *server) begin(start time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = start
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := s.next(r.URL.Path)
	time.Sleep(latency)
	if status == s.fault.status && s.fault.retryAfter != "" {
		w.Header().Set("Retry-After", s.fault.retryAfter)
	}
	w.WriteHeader(status)
	fmt.Fprintln(w, http.StatusText(status))
}

// next counts a request, and says what it gets.
func (s *server) next(path string) (status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := max(time.Since(s.start), 0)
	switch {
	case path == s.fault.brokenPath:
		status = http.StatusInternalServerError
	case now >= s.fault.begins && now < s.fault.ends:
		status = s.fault.status
	default:
		status = http.StatusOK
	}
	n := int(now / slot)
	for len(s.slots) <= n {
		s.slots = append(s.slots, tally{})
	}
	s.slots[n].sends++
	if status != http.StatusOK {
		s.slots[n].refused++
	}
	return status
}

// got returns what the server got from one time to another, and the most that
// came in one slot of that time.
func (s *server) got(from, to time.Duration) (sum tally, peak int) {
	for _, t := range s.between(from, to) {
		sum.sends += t.sends
		sum.refused += t.refused
		peak = max(peak, t.sends)
	}
	return sum, peak
}

// between returns the tallies of the slots from one time to another.
func (s *server) between(from, to time.Duration) []tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.slots)
	return append([]tally(nil), s.slots[min(int(from/slot), n):min(int(to/slot), n)]...)
}
