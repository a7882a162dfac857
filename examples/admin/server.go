package main

import (
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// trouble is what a service does during a part of each of its rounds.
type trouble struct {
	round    time.Duration // how often it comes
	from, to time.Duration // when, within a round
	status   int
	after    time.Duration // how long it asks to be left alone; 0: it doesn't say
	spares   int64         // it serves one request of so many all the same; 0: none
}

var troubles = map[string]trouble{
	"billing.example": {round: 25 * time.Second, from: 2 * time.Second, to: 12 * time.Second, status: http.StatusTooManyRequests, after: 8 * time.Second},
	"search.example":  {round: 40 * time.Second, from: 4 * time.Second, to: 25 * time.Second, status: http.StatusInternalServerError},
	"mail.example":    {round: 2 * time.Minute, from: 3 * time.Second, to: 50 * time.Second, status: http.StatusServiceUnavailable, after: time.Minute},
	"rates.example":   {round: time.Minute, from: 3 * time.Second, to: 20 * time.Second, status: http.StatusTooManyRequests, after: 25 * time.Second},
	"files.example":   {round: 15 * time.Second, from: 0, to: 15 * time.Second, status: http.StatusBadGateway, spares: 3},
}

// services is a server for all names: which service it is goes by the Host.
type services struct {
	start  time.Time
	served atomic.Int64 // how many requests there were
}

func (s *services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(30 * time.Millisecond) // as if it were some way off
	n := s.served.Add(1)
	t, ok := troubles[r.Host]
	if ok {
		at := time.Since(s.start) % t.round
		ok = t.from <= at && at < t.to && (t.spares == 0 || n%t.spares != 0)
	}
	if !ok {
		fmt.Fprintln(w, "Hello.")
		return
	}
	if t.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(t.after.Seconds())))
	}
	http.Error(w, "Not now.", t.status)
}
