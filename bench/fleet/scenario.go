package fleet

import (
	"net/http"
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
	// Restarts is when the first replica is started anew, and after how long the
	// next: what a replica knows by itself is lost, what it has begun it ends. If
	// zero, none is.
	Restarts Restarts
}

// Restarts is when replicas are started anew, one after another.
type Restarts struct{ From, Every time.Duration }

// Scenarios are what the runs are made of, in the order of the tables.
var Scenarios = []Scenario{
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
		About:  "a quota of 400 per 2 s, which answers tell of; 640 per second are offered",
		Server: func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second} },
		Work:   Work{16, 40, 8 * time.Second, time.Minute, 20}, Capacity: 200,
	},
	{
		Name:   "quota, rounded down",
		About:  "the same, of a server that rounds the seconds down",
		Server: func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second, Floor: true} },
		Work:   Work{16, 40, 8 * time.Second, time.Minute, 20}, Capacity: 200,
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
		Work:   Work{10, 1, 20 * time.Second, time.Minute, 20}, Capacity: 5,
	},
	{
		Name:   "rich bucket",
		About:  "2 000 per second, hint 1 s; 4 000 are offered",
		Server: func() http.Handler { return &Bucket{Rate: 2000, Burst: 200, Hint: 1} },
		Work:   Work{16, 250, 4 * time.Second, time.Minute, 20}, Capacity: 2000,
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
		Work: Work{16, 4, 30 * time.Second, time.Minute, 20}, Capacity: 64, Released: 10 * time.Second,
	},
	{
		Name:  "bucket of a path",
		About: "two paths of 10 have buckets of 2 per second each, hint 1 s; 40 are offered to each",
		Server: func() http.Handler {
			return Paths{"/0": &Bucket{Rate: 2, Burst: 2, Hint: 1}, "/1": &Bucket{Rate: 2, Burst: 2, Hint: 1}}
		},
		Work: Work{16, 25, 20 * time.Second, time.Minute, 10}, Capacity: 324,
	},
	{
		Name:   "slight overload",
		About:  "a bucket of 400 per second, hint 1 s; 416 are offered",
		Server: func() http.Handler { return &Bucket{Rate: 400, Burst: 40, Hint: 1} },
		Work:   Work{16, 26, 20 * time.Second, time.Minute, 20}, Capacity: 400,
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
		Server: func() http.Handler { return Paths{"/0": &Random{Share: 1, Status: http.StatusInternalServerError}} },
		Work:   usual(10*time.Second, time.Minute), Capacity: 380,
	},
	{
		Name:   "refused path",
		About:  "one path of 20 is always answered 429, hint 1 s",
		Server: func() http.Handler { return Paths{"/0": &Random{1, http.StatusTooManyRequests, 1}} },
		Work:   usual(20*time.Second, time.Minute), Capacity: 380,
	},
	{
		Name:  "refused paths",
		About: "the same, 8 paths of 20",
		Server: func() http.Handler {
			s := Paths{}
			for _, path := range []string{"/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"} {
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
		About: "a queue of 1 000 whose workers are 4 times slower for 7 s, and go on with what is given up after 2 s",
		Server: func() http.Handler {
			return &Queue{Workers: 4, Room: 1000, Work: 10 * time.Millisecond, Slower: 4, Bad: Between(3*time.Second, 10*time.Second)}
		},
		Work: Work{16, 18, 30 * time.Second, 30 * time.Second, 20}, Capacity: 288, Released: 10 * time.Second,
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
		Server: long, Work: Work{16, 0.5, time.Hour, 30 * time.Second, 20}, Capacity: 8,
	},
}

// usual is the work of most scenarios.
func usual(sending, timeout time.Duration) Work { return Work{16, 25, sending, timeout, 20} }

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
