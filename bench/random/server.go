package random

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// Asks returns the requests that the fleet is asked for.
func (d Draw) Asks() []fleet.Ask {
	asks := d.Work.Asks(d.Seed)
	random := rand.New(rand.NewPCG(d.Seed, 1))
	lived := asks[:0]
	for _, a := range asks {
		a.Patience = d.Impatient + time.Duration(random.Float64()*float64(d.Work.Timeout-d.Impatient))
		if i := d.Work.Replicas - 1 - a.Replica; i < len(d.Lives) && (a.At < d.Lives[i].From || a.At >= d.Lives[i].To) {
			continue
		}
		lived = append(lived, a)
	}
	return lived
}

// Scenario returns the draw as the scenario that it is.
func (d Draw) Scenario() fleet.Scenario {
	return fleet.Scenario{Server: d.server, Work: d.Work, Unreachable: d.Unreachable, Restarts: d.Restarts}
}

// noAnswer is longer than any attempt waits.
const noAnswer = 5 * fleet.AttemptTimeout

// server returns the server at the time at which the first request may be made.
func (d Draw) server() http.Handler {
	begun := time.Now()
	since := func() time.Duration { return time.Since(begun) }
	latency := fleet.Delay{By: d.Latency.sampler(d.Seed)}
	var chain fleet.Chain
	if d.Latency.Refusals {
		chain = append(chain, latency)
	}
	if d.Lossy > 0 {
		lossy := func(r *http.Request) bool {
			i := replicaOf(r)
			return d.Unreachable <= i && i < d.Unreachable+d.Lossy
		}
		chain = append(chain, fleet.Of{These: lossy, Server: fleet.Hang{Share: 0.5, For: noAnswer}})
	}
	slow, factor := func(time.Duration) bool { return false }, 1.
	for _, t := range d.Troubles {
		if t.Kind == Slow {
			slow, factor = func(time.Duration) bool { return t.at(since()) }, t.Factor
			continue
		}
		these := func(r *http.Request) bool {
			return t.at(since()) && t.Part.has(pathOf(r), credentialOf(r), replicaOf(r))
		}
		chain = append(chain, fleet.Of{These: these, Server: t.server(begun)})
	}
	if h := d.Host; h.Workers > 0 {
		chain = append(chain, &fleet.Queue{
			Workers: h.Workers, Room: h.Room, Work: h.Work, Slower: factor, Bad: slow, Refusal: h.Refusal, Costly: h.Costly,
		})
	}
	if !d.Latency.Refusals {
		chain = append(chain, latency)
	}
	return chain
}

// at reports whether a trouble is there at a time.
func (t Trouble) at(since time.Duration) bool {
	return t.From <= since && since < t.To && (t.Every == 0 || (since-t.From)/t.Every%2 == 0)
}

// server returns what those meet who meet the trouble.
func (t Trouble) server(begun time.Time) http.Handler {
	switch t.Kind {
	case Failing:
		return &fleet.Random{Share: t.Share, Status: t.Refusal.Status, Hint: t.Refusal.Hint}
	case Hanging:
		return fleet.Hang{Share: t.Share, For: noAnswer}
	case Bucket:
		return &fleet.Bucket{Rate: t.Rate, Burst: t.Burst, Hint: t.Refusal.Hint, Status: t.Refusal.Status}
	case Quota:
		return &fleet.Quota{Limit: t.Limit, Window: t.Window, Lax: t.Lax, Start: begun.Add(t.From)}
	case Concurrency:
		return &fleet.Queue{Workers: t.InFlight, Work: t.Work, Refusal: t.Refusal}
	}
	return t.outage(begun)
}

// outage refuses everything. It asks for no more time than is left of it: whoever obeys
// a longer hint would be worse off than whoever does not.
func (t Trouble) outage(begun time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		since := time.Since(begun)
		left := int(math.Ceil((t.until(since) - since).Seconds()))
		always := fleet.Random{Share: 1, Status: t.Refusal.Status, Hint: min(t.Refusal.Hint, left)}
		always.ServeHTTP(w, r)
	})
}

// sampler returns a function that draws latencies, the same for each run of a draw.
func (l Latency) sampler(seed uint64) func() time.Duration {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 2))
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		switch l.Shape {
		case Exponential:
			return time.Duration(min(random.ExpFloat64(), 10) * float64(l.Mean))
		case Bimodal:
			if random.IntN(20) == 0 {
				return 10 * l.fast()
			}
			return l.fast()
		}
		return l.Mean
	}
}

// fast is what most answers take where latencies are bimodal, so that the mean is the mean.
func (l Latency) fast() time.Duration { return l.Mean * 20 / 29 }

// least is the shortest latency.
func (l Latency) least() time.Duration {
	return map[Shape]time.Duration{Constant: l.Mean, Bimodal: l.fast()}[l.Shape]
}

// pathOf, credentialOf and replicaOf are the inverse of what fleet says of a request; -1
// where it says nothing.
func pathOf(r *http.Request) int { return indexOf(r.URL.Path, fleet.Path) }

func credentialOf(r *http.Request) int { return indexOf(r.Header.Get("Authorization"), fleet.Token) }

func replicaOf(r *http.Request) int {
	i, err := strconv.Atoi(r.Header.Get(fleet.Address))
	if err != nil {
		return -1
	}
	return i
}

func indexOf(text string, of func(int) string) int {
	for i := range 32 { // more than any draw has
		if of(i) == text {
			return i
		}
	}
	return -1
}
