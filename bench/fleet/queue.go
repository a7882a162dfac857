package fleet

import (
	"net/http"
	"sync"
	"time"
)

// Queue works on one request after another with Workers workers, and goes on
// working on what its client has given up. It answers 503 where Room requests
// wait already. Each takes Work, and Slower times that in a time of trouble.
type Queue struct {
	Workers, Room int
	Work          time.Duration
	Slower        time.Duration
	Bad           func(since time.Duration) bool
	clock         clock
	mu            sync.Mutex
	free          []time.Time // when each worker will be
	inside        int         // requests that wait or are worked on
}

func (s *Queue) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	work := s.Work
	if s.Bad(s.clock.since()) {
		work *= s.Slower
	}
	done, ok := s.enqueue(work)
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
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
	if s.inside >= s.Room+s.Workers {
		return time.Time{}, false
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
	s.inside++
	return s.free[first], true
}
