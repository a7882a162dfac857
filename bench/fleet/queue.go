package fleet

import (
	"net/http"
	"sync"
	"time"
)

// Queue works on one request after another with Workers workers, and goes on
// working on what its client has given up. It refuses a request where Room others
// wait already. Each takes Work, and Slower times that in a time of trouble. Without
// Room it is a bound on the requests in flight.
type Queue struct {
	Workers, Room int
	Work          time.Duration
	Slower        float64
	Bad           func(since time.Duration) bool // if nil, there is no such time
	Refusal       Refusal                        // if zero, 503
	// Costly is the share of Work that a refusal takes from a worker.
	Costly float64
	clock  clock
	mu     sync.Mutex
	free   []time.Time // when each worker will be
	inside int         // requests that wait or are worked on
}

func (s *Queue) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	work := s.Work
	if s.Bad != nil && s.Bad(s.clock.since()) {
		work = time.Duration(float64(work) * s.Slower)
	}
	done, ok := s.enqueue(work)
	if !ok {
		s.Refusal.write(w, http.StatusServiceUnavailable)
		return
	}
	time.Sleep(time.Until(done))
	s.mu.Lock()
	s.inside--
	s.mu.Unlock()
}

func (s *Queue) enqueue(work time.Duration) (done time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == nil {
		s.free = make([]time.Time, s.Workers)
	}
	refused := s.inside >= s.Room+s.Workers
	if refused {
		work = time.Duration(float64(work) * s.Costly)
	}
	first := 0
	for i, t := range s.free {
		if t.Before(s.free[first]) {
			first = i
		}
	}
	if now := time.Now(); s.free[first].Before(now) {
		s.free[first] = now
	}
	s.free[first] = s.free[first].Add(work)
	if refused {
		return time.Time{}, false
	}
	s.inside++
	return s.free[first], true
}
