package fleet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The servers of the runs: each an [http.Handler] that reads time.Now, so that
// it serves real sockets and virtual time alike.

// Phased answers Status, with Header, while the time since its first request is
// in Bad, and 200 else.
type Phased struct {
	Bad    func(since time.Duration) bool
	Status int
	Header http.Header
	clock  clock
}

func (s *Phased) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !s.Bad(s.clock.since()) {
		return
	}
	for name, values := range s.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(s.Status)
}

// Between is a time of trouble from one time to another.
func Between(from, to time.Duration) func(time.Duration) bool {
	return func(t time.Duration) bool { return from <= t && t < to }
}

// Bucket takes Rate requests per second, and Burst at once; the surplus is
// refused with a Retry-After of Hint seconds, if that is not zero.
type Bucket struct {
	Rate, Burst float64
	Hint        int
	mu          sync.Mutex
	tokens      float64
	last        time.Time
}

func (s *Bucket) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if s.take() {
		return
	}
	if s.Hint > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(s.Hint))
	}
	w.WriteHeader(http.StatusTooManyRequests)
}

func (s *Bucket) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.last.IsZero() {
		s.tokens = s.Burst
	} else {
		s.tokens = min(s.tokens+now.Sub(s.last).Seconds()*s.Rate, s.Burst)
	}
	s.last = now
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

// Quota takes Limit requests per Window and says on every answer what remains
// and when the window ends, as the RateLimit field does. The seconds are
// rounded up, or down where Floor is set.
type Quota struct {
	Limit  int
	Window time.Duration
	Floor  bool
	mu     sync.Mutex
	start  time.Time
	used   int
}

func (s *Quota) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	ok, left, reset := s.take()
	seconds := int(math.Ceil(reset.Seconds()))
	if s.Floor {
		seconds = int(reset.Seconds())
	}
	w.Header().Set("RateLimit", fmt.Sprintf(`"default";r=%d;t=%d`, left, seconds))
	if !ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func (s *Quota) take() (ok bool, left int, reset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.start.IsZero() {
		s.start = now
	}
	for now.Sub(s.start) >= s.Window {
		s.start, s.used = s.start.Add(s.Window), 0
	}
	ok = s.used < s.Limit
	if ok {
		s.used++
	}
	return ok, s.Limit - s.used, s.start.Add(s.Window).Sub(now)
}

// Random answers Status, with a Retry-After of Hint seconds if that is not
// zero, to a share of the requests.
type Random struct {
	Share  float64
	Status int
	Hint   int
}

func (s *Random) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if rand.Float64() >= s.Share {
		return
	}
	if s.Hint > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(s.Hint))
	}
	w.WriteHeader(s.Status)
}

// Paths serves some paths with handlers of their own, and all others well.
type Paths map[string]http.Handler

func (s Paths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := s[r.URL.Path]; ok {
		h.ServeHTTP(w, r)
	}
}

// BrokenPath answers 500 on one path, always.
type BrokenPath string

func (s BrokenPath) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == string(s) {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// Queue works on one request after another with Workers workers, and goes on
// working on what its client has given up. It answers 503 where Room requests
// wait already. Each takes Work, and ten times that in a time of trouble.
type Queue struct {
	Workers, Room int
	Work          time.Duration
	Bad           func(since time.Duration) bool
	Slower        time.Duration // factor of Work in a time of trouble
	clock         clock
	mu            sync.Mutex
	free          []time.Time // when each worker will be
	waiting       int
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
	s.waiting--
	s.mu.Unlock()
}

func (s *Queue) enqueue(work time.Duration) (done time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == nil {
		s.free = make([]time.Time, s.Workers)
	}
	if s.waiting >= s.Room+s.Workers {
		return time.Time{}, false
	}
	first := 0
	for i, t := range s.free {
		if t.Before(s.free[first]) {
			first = i
		}
	}
	now := time.Now()
	if s.free[first].Before(now) {
		s.free[first] = now
	}
	s.free[first] = s.free[first].Add(work)
	s.waiting++
	return s.free[first], true
}

// clock counts from when it is first asked.
type clock struct {
	once  sync.Once
	start time.Time
}

func (c *clock) since() time.Duration {
	c.once.Do(func() { c.start = time.Now() })
	return time.Since(c.start)
}
