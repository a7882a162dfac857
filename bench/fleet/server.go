package fleet

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

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
	maps.Copy(w.Header(), s.Header)
	w.WriteHeader(s.Status)
}

// Between is a time of trouble from one time to another.
func Between(from, to time.Duration) func(time.Duration) bool {
	return func(t time.Duration) bool { return from <= t && t < to }
}

// EveryOther is trouble every other length of time, until a time at which all is
// well.
func EveryOther(length, until time.Duration) func(time.Duration) bool {
	return func(t time.Duration) bool { return t < until && int(t/length)%2 == 1 }
}

// Incidents has several times of trouble, of which each starts anew at its own
// zero; where they overlap, the first counts.
type Incidents struct {
	All   []Incident
	clock clock
}

// Incident is a time at which Server answers.
type Incident struct {
	From, To time.Duration
	Server   http.Handler
}

func (s *Incidents) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.clock.since()
	for _, i := range s.All {
		if i.From <= now && now < i.To {
			i.Server.ServeHTTP(w, r)
			return
		}
	}
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
	hint(w, s.Hint)
	w.WriteHeader(s.Status)
}

// Paths serves some paths with handlers of their own, and all others well.
type Paths map[string]http.Handler

func (s Paths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := s[r.URL.Path]; ok {
		h.ServeHTTP(w, r)
	}
}

// Slow answers so much later than Server does, what it refuses as well.
type Slow struct {
	Server http.Handler
	By     time.Duration
}

func (s Slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Server.ServeHTTP(w, r)
	time.Sleep(s.By)
}

func hint(w http.ResponseWriter, seconds int) {
	if seconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
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
