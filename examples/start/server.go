package main

import (
	"net/http"
	"sync/atomic"
)

// refuseEvery is which of its requests the server refuses: every 20th.
const refuseEvery = 20

// server serves all requests except every 20th. It refuses that one, asks for 10 s,
// and says that its limit is shared by all clients. It then serves the next request,
// however early it comes: a client that waits does so because of the answer alone.
type server struct{ requests atomic.Int64 }

func (s *server) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if s.requests.Add(1)%refuseEvery == 0 {
		w.Header().Set("Retry-After", "10")
		w.Header().Set("X-RateLimit-Scope", "shared")
		w.WriteHeader(http.StatusTooManyRequests)
	}
}
