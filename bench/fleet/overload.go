package fleet

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// overloads are servers of finite capacity: what a client does when the trouble is over may
// be the next trouble. Their workers go on with what clients have given up.
var overloads = slices.Concat(
	outagesOf(1.5, 6), outagesOf(2, 8), outagesOf(3, 12),
	[]Scenario{
		{
			Name:   "outage 1.3x",
			About:  "503 for 8 s, of a server that has 1.3 times the capacity needed, and a queue of 100",
			Server: func() http.Handler { return outageOf(&Queue{Workers: 13, Room: 100, Work: 25 * time.Millisecond}) },
			Work:   forty, Capacity: 400, Released: 10 * time.Second,
		},
		{
			Name:  "outage 1.5x, costly",
			About: "503 for 8 s, of a server that has 1.5 times the capacity needed, a queue of 100, and half a request's work with each refusal",
			Server: func() http.Handler {
				return outageOf(&Queue{Workers: 6, Room: 100, Work: 10 * time.Millisecond, Costly: 0.5})
			},
			Work: forty, Capacity: 400, Released: 10 * time.Second,
		},
	},
	[]Scenario{
		brownOut(70, 17.5), brownOut(90, 22.5),
		{
			Name:   "short hints",
			About:  "nothing is served for 10 s, and 429 asks for 1 s each time, as GitHub's secondary limits may",
			Server: func() http.Handler { return phased(2*time.Second, 12*time.Second, http.StatusTooManyRequests, "1") },
			Work:   usual(20*time.Second, 30*time.Second), Capacity: 400, Released: 12 * time.Second,
		},
		{
			Name:   "gray, 503",
			About:  "a quarter of the requests is answered 503 at random, for 10 s",
			Server: func() http.Handler { return during(2*time.Second, 12*time.Second, &Random{Share: 0.25, Status: 503}) },
			Work:   usual(20*time.Second, 30*time.Second), Capacity: 400, Released: 12 * time.Second,
		},
		{
			Name:   "gray, no answer",
			About:  "a quarter of the requests is not answered within 2 s, at random, for 10 s",
			Server: func() http.Handler { return during(2*time.Second, 12*time.Second, Hang{0.25, 10 * time.Second}) },
			Work:   usual(20*time.Second, 30*time.Second), Capacity: 400, Released: 12 * time.Second,
		},
		{
			Name:   "slow database",
			About:  "answers take ever longer for 5 s, 1.5 s for 10 s, and 10 ms again: all is served",
			Server: slowDatabase, Work: usual(25*time.Second, 30*time.Second), Capacity: 400, Released: 17 * time.Second,
		},
		{
			Name:   "pauses",
			About:  "of every 5 s the server stands still for one: all is served",
			Server: pauses, Work: usual(30*time.Second, 30*time.Second), Capacity: 400, Released: 25 * time.Second,
		},
		{
			Name:   "concurrency",
			About:  "50 in flight for 100 ms each, else 503; 400 per second are offered, of 500 possible",
			Server: inFlight, Work: usual(20*time.Second, 30*time.Second), Capacity: 400,
		},
		{
			Name:   "concurrency, 28 % over",
			About:  "the same, and 640 are offered",
			Server: inFlight, Work: Work{Replicas: 16, Rate: 40, Sending: 20 * time.Second, Timeout: 30 * time.Second, Paths: 20}, Capacity: 500,
		},
		stepped("step 4x", 4, 200), stepped("step 5x", 5, 200), stepped("step 5x, deep", 5, 1200),
		dip("capacity dip", 100), dip("capacity dip, deep", 1800),
	},
	broken(1), broken(2), broken(4),
)

var forty = usual(40*time.Second, 30*time.Second)

// outagesOf are an outage of a server with so many times the capacity that is needed, with
// a short queue and one that is longer than an attempt waits.
func outagesOf(times float64, workers int) (all []Scenario) {
	of := func(name, queue string, room int) Scenario {
		return Scenario{
			Name:  name,
			About: fmt.Sprintf("503 for 8 s, of a server that has %v times the capacity needed, and a queue of %s", times, queue),
			Server: func() http.Handler {
				return outageOf(&Queue{Workers: workers, Room: room, Work: 10 * time.Millisecond})
			},
			Work: forty, Capacity: 400, Released: 10 * time.Second,
		}
	}
	name := fmt.Sprintf("outage %vx", times)
	return []Scenario{of(name, "100", 100), of(name+", deep", "3 s", workers*300)}
}

func outageOf(server http.Handler) http.Handler {
	return Chain{phased(2*time.Second, 10*time.Second, http.StatusServiceUnavailable, ""), server}
}

func phased(from, to time.Duration, status int, hint string) http.Handler {
	s := &Phased{Bad: Between(from, to), Status: status}
	if hint != "" {
		s.Header = http.Header{"Retry-After": {hint}}
	}
	return s
}

// during is a server that has a time of trouble.
func during(from, to time.Duration, trouble http.Handler) http.Handler {
	return &Incidents{All: []Incident{{from, to, trouble}}}
}

// brownOut is the brown-out of a server that is used to so many of a hundred.
func brownOut(load int, rate float64) Scenario {
	return Scenario{
		Name:  fmt.Sprintf("brown-out %d", load),
		About: fmt.Sprintf("brown-out, where %d %% of the capacity are offered", load),
		Server: func() http.Handler {
			return &Queue{Workers: 4, Room: 1000, Work: 10 * time.Millisecond, Slower: 4, Bad: Between(3*time.Second, 10*time.Second)}
		},
		Work:     Work{Replicas: 16, Rate: rate, Sending: time.Minute, Timeout: 30 * time.Second, Paths: 20},
		Capacity: 16 * rate, Released: 10 * time.Second,
	}
}

func slowDatabase() http.Handler {
	begun := time.Now()
	return Delay{By: func() time.Duration {
		const fast, slow = 10 * time.Millisecond, 1500 * time.Millisecond
		switch at := time.Since(begun); {
		case at < 2*time.Second || at >= 17*time.Second:
			return fast
		case at < 7*time.Second:
			return fast + time.Duration(float64(slow-fast)*(at-2*time.Second).Seconds()/5)
		}
		return slow
	}}
}

func pauses() http.Handler {
	begun := time.Now()
	pause := Delay{By: func() time.Duration {
		const every, length = 5 * time.Second, time.Second
		if at := time.Since(begun); at < 25*time.Second && at%every >= every-length {
			return every - at%every
		}
		return 0
	}}
	return Chain{pause, &Queue{Workers: 8, Room: 1000, Work: 10 * time.Millisecond}}
}

func inFlight() http.Handler { return &Queue{Workers: 50, Work: 100 * time.Millisecond} }

// stepped is a server that has twice the capacity needed, until more is asked for.
func stepped(name string, times float64, room int) Scenario {
	w := Work{Replicas: 16, Rate: 12.5, Sending: 40 * time.Second, Timeout: 30 * time.Second, Paths: 20}
	w.Step = Step{5 * time.Second, 10 * time.Second, times}
	asked := w.Offered() * (w.Sending + time.Duration(times-1)*(w.Step.To-w.Step.From)).Seconds() / w.Sending.Seconds()
	return Scenario{
		Name:   name,
		About:  fmt.Sprintf("%v times the demand for 5 s, of a server that can serve twice of it, with a queue of %d", times, room),
		Server: func() http.Handler { return &Queue{Workers: 4, Room: room, Work: 10 * time.Millisecond} },
		Work:   w, Capacity: asked, Released: 10 * time.Second,
	}
}

func dip(name string, room int) Scenario {
	return Scenario{
		Name:  name,
		About: fmt.Sprintf("a server of 1.5 times the capacity needed has 0.45 times for 25 s, and a queue of %d", room),
		Server: func() http.Handler {
			return &Queue{Workers: 6, Room: room, Work: 10 * time.Millisecond, Slower: 1 / 0.3, Bad: Between(5*time.Second, 30*time.Second)}
		},
		Work: usual(50*time.Second, 30*time.Second), Capacity: (25*400 + 25*180) / 50., Released: 30 * time.Second,
	}
}

// broken are a bucket and an outage, met by a fleet of which some replicas have broken
// networks.
func broken(n int) []Scenario {
	reachable := 400 * float64(16-n) / 16
	return []Scenario{
		{
			Name:   fmt.Sprintf("bucket, %d broken", n),
			About:  fmt.Sprintf("bucket, where %d replicas of 16 have broken networks", n),
			Server: func() http.Handler { return &Bucket{Rate: 200, Burst: 20, Hint: 1} },
			Work:   usual(8*time.Second, time.Minute), Capacity: 200, Unreachable: n,
		},
		{
			Name:   fmt.Sprintf("outage 1.5x, %d broken", n),
			About:  fmt.Sprintf("outage 1.5x, where %d replicas of 16 have broken networks", n),
			Server: func() http.Handler { return outageOf(&Queue{Workers: 6, Room: 100, Work: 10 * time.Millisecond}) },
			Work:   forty, Capacity: reachable, Released: 10 * time.Second, Unreachable: n,
		},
	}
}
