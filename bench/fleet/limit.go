package fleet

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Bucket takes Rate requests per second, and Burst at once; the surplus is
// refused with a Retry-After of Hint seconds, if that is not zero, and with Status: if
// zero, 429.
type Bucket struct {
	Rate, Burst float64
	Hint        int
	Status      int
	mu          sync.Mutex
	tokens      float64
	last        time.Time
}

func (s *Bucket) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if s.take() {
		return
	}
	Refusal{s.Status, s.Hint}.write(w, http.StatusTooManyRequests)
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
// rounded up, or down where Floor is set. Where Lax is set, it only says so, and
// takes everything.
type Quota struct {
	Limit      int
	Window     time.Duration
	Floor, Lax bool
	Start      time.Time // of the first window; if zero, the time of the first request
	mu         sync.Mutex
	used       int
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
	if s.Start.IsZero() {
		s.Start = now
	}
	for now.Sub(s.Start) >= s.Window {
		s.Start, s.used = s.Start.Add(s.Window), 0
	}
	ok = s.used < s.Limit
	if ok {
		s.used++
	}
	return ok || s.Lax, s.Limit - s.used, s.Start.Add(s.Window).Sub(now)
}

func rateLimit(w http.ResponseWriter, left, seconds int) {
	w.Header().Set("RateLimit", fmt.Sprintf(`"default";r=%d;t=%d`, left, seconds))
}

// TwoLimiters are two quotas that count the same requests and speak in turns.
type TwoLimiters struct {
	One, Other Quota
	n          atomic.Int64
}

func (s *TwoLimiters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	speaks, listens := &s.One, &s.Other
	if s.n.Add(1)%2 == 0 {
		speaks, listens = listens, speaks
	}
	listens.take()
	speaks.ServeHTTP(w, r)
}

// AlwaysZero takes everything, and says that nothing remains.
func AlwaysZero(w http.ResponseWriter, _ *http.Request) { rateLimit(w, 0, 60) }
