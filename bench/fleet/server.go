package fleet

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
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

// Of serves some requests with a handler of its own, and all others well.
type Of struct {
	These  func(*http.Request) bool
	Server http.Handler
}

func (s Of) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.These(r) {
		s.Server.ServeHTTP(w, r)
	}
}

// Chain serves with each of its handlers in turn until one has refused.
type Chain []http.Handler

func (c Chain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	for _, h := range c {
		if h.ServeHTTP(status, r); status.status != http.StatusOK {
			return
		}
	}
}

// Hang lets a share of the requests wait for so long.
type Hang struct {
	Share float64
	For   time.Duration
}

func (s Hang) ServeHTTP(http.ResponseWriter, *http.Request) {
	if rand.Float64() < s.Share {
		time.Sleep(s.For)
	}
}

// Delay answers after a time that By says of each request.
type Delay struct{ By func() time.Duration }

func (s Delay) ServeHTTP(http.ResponseWriter, *http.Request) { time.Sleep(s.By()) }

// Address is the header field in which a network says which replica sends.
const Address = "Bench-Address"

// Resources counts as GitHub does: search, at /a, has nothing left for 45 s from the
// first request on, and core has enough.
type Resources struct {
	clock clock
	core  atomic.Int64
}

func (s *Resources) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const refilled = 45 * time.Second
	say := func(resource string, remaining int64, reset time.Duration) {
		w.Header().Set("X-RateLimit-Resource", resource)
		w.Header().Set("X-RateLimit-Remaining", strconv.FormatInt(remaining, 10))
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(reset).Unix()+1, 10))
	}
	since := s.clock.since()
	switch {
	case r.URL.Path != Path(0):
		say("core", 100_000-s.core.Add(1), time.Hour-since)
	case since < refilled:
		say("search", 0, refilled-since)
		w.WriteHeader(http.StatusForbidden)
	default:
		say("search", 29, time.Minute)
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

// Refusal is a status and a Retry-After in seconds, if that is not zero.
type Refusal struct{ Status, Hint int }

// write refuses with the status, or else with another.
func (r Refusal) write(w http.ResponseWriter, other int) {
	hint(w, r.Hint)
	w.WriteHeader(cmp.Or(r.Status, other))
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
