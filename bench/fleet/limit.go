package fleet

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

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
	hint(w, s.Hint)
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
	rateLimit(w, left, seconds)
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

func rateLimit(w http.ResponseWriter, left, seconds int) {
	w.Header().Set("RateLimit", fmt.Sprintf(`"default";r=%d;t=%d`, left, seconds))
}

// Liar takes every request, and says on each answer what Say makes of the number
// of those before it: what remains of a quota that is not enforced, and for how
// many seconds.
type Liar struct {
	Say   func(n int, since time.Duration) (left, seconds int)
	clock clock
	mu    sync.Mutex
	n     int
}

func (s *Liar) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	since := s.clock.since()
	s.mu.Lock()
	n := s.n
	s.n++
	s.mu.Unlock()
	left, seconds := s.Say(n, since)
	rateLimit(w, left, seconds)
}

// TwoLimiters says the numbers of one limiter and of another in turns.
func TwoLimiters(n int, since time.Duration) (left, seconds int) {
	if n%2 == 0 {
		return max(2000-n/2, 0), 60 - int(since.Seconds())%60
	}
	return 500 - n%400, 1
}

// AlwaysZero says that nothing remains.
func AlwaysZero(int, time.Duration) (left, seconds int) { return 0, 60 }

// Unenforced says the numbers of a counter that falls to nothing in the first half
// of each ten seconds, at 400 requests per second.
func Unenforced(n int, since time.Duration) (left, seconds int) {
	const window = 10
	return max(2000-n%(window*400), 0), window - int(since.Seconds())%window
}
