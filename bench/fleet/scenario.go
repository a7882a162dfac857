package fleet

import (
	"net/http"
	"slices"
	"time"
)

// AttemptTimeout is how long every client waits for the headers of a response,
// whatever is around it.
const AttemptTimeout = 2 * time.Second

// Scenario is a server in trouble, and a fleet that wants something of it.
type Scenario struct {
	Name   string
	About  string
	Server func() http.Handler
	Work   Work

	// Capacity is how many requests per second could be served, in the long run, of
	// those that are offered.
	Capacity float64
	// Released is when the trouble is over. If zero, it never is.
	Released time.Duration
	// Unreachable is how many of the replicas have a network that is broken.
	Unreachable int
	// Limited tells which answers are of the part that is limited, where a limit is of
	// a part: all others are to be served as if there were none.
	Limited func(Answer) bool
	// Restarts is when the first replica is started anew, and after how long the
	// next: what a replica knows by itself is lost, what it has begun it ends. If
	// zero, none is.
	Restarts Restarts
}

// Restarts is when replicas are started anew, one after another.
type Restarts struct{ From, Every time.Duration }

// Scenarios are what the runs are made of, in the order of the tables.
var Scenarios = slices.Concat(limits, overloads)

var limits = []Scenario{
	{
		Name:   "throttle",
		About:  "429 with Retry-After: 2 for 8 s",
		Server: throttle, Work: usual(15*time.Second, 30*time.Second), Capacity: 400, Released: 10 * time.Second,
	},
	{
		Name:   "outage",
		About:  "503 with no hint for 8 s",
		Server: func() http.Handler { return &Phased{Bad: Between(2*time.Second, 10*time.Second), Status: 503} },
		Work:   usual(15*time.Second, 30*time.Second), Capacity: 400, Released: 10 * time.Second,
	},
	{
		Name:   "quota",
		About:  "a quota of 400 per 2 s, stated in every answer; 640 per second are offered",
		Server: func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second} },
		Work:   Work{Replicas: 16, Rate: 40, Sending: 8 * time.Second, Timeout: time.Minute, Paths: 20}, Capacity: 200,
	},
	{
		Name:   "quota, rounded down",
		About:  "the same, of a server that rounds the seconds down",
		Server: func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second, Floor: true} },
		Work:   Work{Replicas: 16, Rate: 40, Sending: 8 * time.Second, Timeout: time.Minute, Paths: 20}, Capacity: 200,
	},
	{
		Name:   "bucket",
		About:  "a bucket of 200 per second, hint 1 s; 400 are offered",
		Server: func() http.Handler { return &Bucket{Rate: 200, Burst: 20, Hint: 1} },
		Work:   usual(8*time.Second, time.Minute), Capacity: 200,
	},
	{
		Name:   "bucket, no hint",
		About:  "the same, without a hint",
		Server: func() http.Handler { return &Bucket{Rate: 200, Burst: 20} },
		Work:   usual(8*time.Second, time.Minute), Capacity: 200,
	},
	{
		Name:   "scarce bucket",
		About:  "5 per second, hint 1 s; 10 are offered",
		Server: func() http.Handler { return &Bucket{Rate: 5, Burst: 5, Hint: 1} },
		Work:   Work{Replicas: 10, Rate: 1, Sending: 20 * time.Second, Timeout: time.Minute, Paths: 20}, Capacity: 5,
	},
	{
		Name:   "rich bucket",
		About:  "2 000 per second, hint 1 s; 4 000 are offered",
		Server: func() http.Handler { return &Bucket{Rate: 2000, Burst: 200, Hint: 1} },
		Work:   Work{Replicas: 16, Rate: 250, Sending: 4 * time.Second, Timeout: time.Minute, Paths: 20}, Capacity: 2000,
	},
	{
		Name:   "slow bucket",
		About:  "200 per second, hint 1 s, of a host that takes 500 ms to answer; 400 are offered",
		Server: func() http.Handler { return Slow{&Bucket{Rate: 200, Burst: 20, Hint: 1}, 500 * time.Millisecond} },
		Work:   usual(8*time.Second, time.Minute), Capacity: 200,
	},
	{
		Name:  "lifted limit",
		About: "a bucket of 10 per second, hint 1 s, for 10 s, and none from then on; 64 are offered",
		Server: func() http.Handler {
			return &Incidents{All: []Incident{{0, 10 * time.Second, &Bucket{Rate: 10, Burst: 10, Hint: 1}}}}
		},
		Work: Work{Replicas: 16, Rate: 4, Sending: 30 * time.Second, Timeout: time.Minute, Paths: 20}, Capacity: 64, Released: 10 * time.Second,
	},
	{
		Name:  "bucket of a path",
		About: "two paths of 10 have buckets of 2 per second each, hint 1 s; 40 are offered to each",
		Server: func() http.Handler {
			return Paths{"/a": &Bucket{Rate: 2, Burst: 2, Hint: 1}, "/b": &Bucket{Rate: 2, Burst: 2, Hint: 1}}
		},
		Work: Work{Replicas: 16, Rate: 25, Sending: 20 * time.Second, Timeout: time.Minute, Paths: 10}, Capacity: 324,
	},
	{
		Name:   "slight overload",
		About:  "a bucket of 400 per second, hint 1 s; 416 are offered",
		Server: func() http.Handler { return &Bucket{Rate: 400, Burst: 40, Hint: 1} },
		Work:   Work{Replicas: 16, Rate: 26, Sending: 20 * time.Second, Timeout: time.Minute, Paths: 20}, Capacity: 400,
	},
	{
		Name:   "limited route",
		About:  "one path of 20 is always answered 429, Retry-After 30",
		Server: func() http.Handler { return Paths{"/a": always(30)} },
		Work:   part, Capacity: 380, Limited: func(a Answer) bool { return a.Path == 0 },
	},
	{
		Name:  "limited credential",
		About: "the same of one credential of 8",
		Server: func() http.Handler {
			return Of{func(r *http.Request) bool { return r.Header.Get("Authorization") == Token(0) }, always(30)}
		},
		Work: credentials(part, 8), Capacity: 350, Limited: func(a Answer) bool { return a.Credential == 0 },
	},
	{
		Name:   "several limited routes",
		About:  "three paths of 20 are always answered 429, Retry-After 30",
		Server: func() http.Handler { return Paths{"/a": always(30), "/b": always(30), "/c": always(30)} },
		Work:   part, Capacity: 340, Limited: func(a Answer) bool { return a.Path < 3 },
	},
	{
		Name:  "several limited credentials",
		About: "the same of three credentials of 8",
		Server: func() http.Handler {
			limited := []string{Token(0), Token(1), Token(2)}
			return Of{func(r *http.Request) bool { return slices.Contains(limited, r.Header.Get("Authorization")) }, always(30)}
		},
		Work: credentials(part, 8), Capacity: 250, Limited: func(a Answer) bool { return a.Credential < 3 },
	},
	{
		Name:   "bucket of a route",
		About:  "one path of 8 has a bucket of 5 per second, Retry-After 3",
		Server: func() http.Handler { return Paths{"/a": &Bucket{Rate: 5, Burst: 5, Hint: 3}} },
		Work:   paths(part, 8), Capacity: 355, Limited: func(a Answer) bool { return a.Path == 0 },
	},
	{
		Name:  "limited replica",
		About: "one replica of 16 is refused by its address, Retry-After 30",
		Server: func() http.Handler {
			return Of{func(r *http.Request) bool { return r.Header.Get(Address) == "0" }, always(30)}
		},
		Work: part, Capacity: 375, Limited: func(a Answer) bool { return a.Replica == 0 },
	},
	{
		Name:   "limited resource",
		About:  "as GitHub: what draws on `search`, one path of 20, is used up for 45 s, and says so; `core` has enough",
		Server: func() http.Handler { return &Resources{} },
		Work:   part, Capacity: 380, Limited: func(a Answer) bool { return a.Path == 0 },
	},
	{
		Name:   "throttle, 500 routes",
		About:  "throttle, over 500 paths and 8 credentials",
		Server: throttle, Work: credentials(paths(usual(15*time.Second, 30*time.Second), 500), 8), Capacity: 400, Released: 10 * time.Second,
	},
	{
		Name:   "throttle, ids in paths",
		About:  "throttle, over 500 paths that are one route",
		Server: throttle, Work: ids(paths(usual(15*time.Second, 30*time.Second), 500)), Capacity: 400, Released: 10 * time.Second,
	},
	{
		Name:   "outage, 500 routes",
		About:  "outage, over 500 paths and 8 credentials",
		Server: func() http.Handler { return &Phased{Bad: Between(2*time.Second, 10*time.Second), Status: 503} },
		Work:   credentials(paths(usual(15*time.Second, 30*time.Second), 500), 8), Capacity: 400, Released: 10 * time.Second,
	},
	{
		Name:   "noise",
		About:  "2 % of the requests are answered 429, at random",
		Server: func() http.Handler { return &Random{0.02, http.StatusTooManyRequests, 1} },
		Work:   usual(10*time.Second, time.Minute), Capacity: 400,
	},
	{
		Name:   "partial",
		About:  "one path of 20 is always answered 500",
		Server: func() http.Handler { return Paths{"/a": &Random{Share: 1, Status: http.StatusInternalServerError}} },
		Work:   usual(10*time.Second, time.Minute), Capacity: 380,
	},
	{
		Name:   "refused path",
		About:  "one path of 20 is always answered 429, hint 1 s",
		Server: func() http.Handler { return Paths{"/a": &Random{1, http.StatusTooManyRequests, 1}} },
		Work:   usual(20*time.Second, time.Minute), Capacity: 380,
	},
	{
		Name:  "refused paths",
		About: "the same, 8 paths of 20",
		Server: func() http.Handler {
			s := Paths{}
			for _, path := range []string{"/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"} {
				s[path] = &Random{1, http.StatusTooManyRequests, 1}
			}
			return s
		},
		Work: usual(20*time.Second, time.Minute), Capacity: 240,
	},
	{
		Name:   "poisoned replica",
		About:  "all is well but the network of one replica of 16",
		Server: func() http.Handler { return Paths{} },
		Work:   usual(10*time.Second, time.Minute), Capacity: 375, Unreachable: 1,
	},
	{
		Name:  "brown-out",
		About: "a queue of 1 000 whose workers are 4 times slower for 7 s, and still work on requests that callers gave up after 2 s",
		Server: func() http.Handler {
			return &Queue{Workers: 4, Room: 1000, Work: 10 * time.Millisecond, Slower: 4, Bad: Between(3*time.Second, 10*time.Second)}
		},
		Work: Work{Replicas: 16, Rate: 18, Sending: 30 * time.Second, Timeout: 30 * time.Second, Paths: 20}, Capacity: 288, Released: 10 * time.Second,
	},
	{
		Name:   "flapping",
		About:  "well for a second, 503 for a second, for 20 s",
		Server: func() http.Handler { return &Phased{Bad: EveryOther(time.Second, 20*time.Second), Status: 503} },
		Work:   usual(25*time.Second, 30*time.Second), Capacity: 400, Released: 20 * time.Second,
	},
	{
		Name:   "rolling restart",
		About:  "throttle, and all replicas are started anew, one after another, in the middle of it",
		Server: throttle, Work: usual(15*time.Second, 30*time.Second), Capacity: 400, Released: 10 * time.Second,
		Restarts: Restarts{3 * time.Second, 400 * time.Millisecond},
	},
	{
		Name:  "two limiters",
		About: "all is served, but answers tell of two quotas in turns",
		Server: func() http.Handler {
			return &TwoLimiters{One: Quota{Limit: 500, Window: time.Second}, Other: Quota{Limit: 20000, Window: time.Minute}}
		},
		Work: usual(20*time.Second, time.Minute), Capacity: 400,
	},
	{
		Name:   "always zero",
		About:  "all is served, but answers say that nothing remains of a quota",
		Server: func() http.Handler { return http.HandlerFunc(AlwaysZero) },
		Work:   usual(20*time.Second, time.Minute), Capacity: 400,
	},
	{
		Name:   "unenforced",
		About:  "all is served, but answers tell of a quota of 2 000 per 10 s",
		Server: func() http.Handler { return &Quota{Limit: 2000, Window: 10 * time.Second, Lax: true} },
		Work:   usual(20*time.Second, time.Minute), Capacity: 400,
	},
	{
		Name:   "long",
		About:  "an hour with five incidents: 429 with hints, 503, a slow minute, flapping, and a quota",
		Server: long, Work: Work{Replicas: 16, Rate: 0.5, Sending: time.Hour, Timeout: 30 * time.Second, Paths: 20}, Capacity: 8,
	},
}

// usual is the work of most scenarios.
func usual(sending, timeout time.Duration) Work {
	return Work{Replicas: 16, Rate: 25, Sending: sending, Timeout: timeout, Paths: 20}
}

// part is the work of scenarios in which a part is limited.
var part = usual(20*time.Second, 10*time.Second)

func paths(w Work, n int) Work {
	w.Paths = n
	return w
}

func credentials(w Work, n int) Work {
	w.Credentials = n
	return w
}

func ids(w Work) Work {
	w.IDs = true
	return w
}

func always(hint int) http.Handler { return &Random{1, http.StatusTooManyRequests, hint} }

func throttle() http.Handler {
	return &Phased{Bad: Between(2*time.Second, 10*time.Second), Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"2"}}}
}

func long() http.Handler {
	always := func(time.Duration) bool { return true }
	return &Incidents{All: []Incident{
		{5 * time.Minute, 6 * time.Minute, &Phased{Bad: always, Status: 429, Header: http.Header{"Retry-After": {"20"}}}},
		{15 * time.Minute, 17 * time.Minute, &Phased{Bad: always, Status: 503}},
		{25 * time.Minute, 26 * time.Minute, &Queue{Workers: 1, Room: 100, Work: 200 * time.Millisecond, Slower: 1, Bad: always}},
		{35 * time.Minute, 36 * time.Minute, &Phased{Bad: EveryOther(time.Second, time.Hour), Status: 503}},
		{45 * time.Minute, 50 * time.Minute, &Quota{Limit: 200, Window: 30 * time.Second}},
	}}
}
