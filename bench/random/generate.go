package random

import (
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// New draws the server and the fleet of a seed.
func New(seed uint64) Draw {
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	d := Draw{Seed: seed, Work: g.work()}
	d.Impatient = d.Work.Timeout
	if g.chance(0.4) {
		d.Impatient = g.duration(time.Second, d.Work.Timeout)
	}
	offered := d.Work.Offered()
	d.Host = g.host(offered)
	d.Latency = Latency{g.duration(time.Millisecond, 250*time.Millisecond), pick(g, Constant, Exponential, Bimodal), g.chance(0.25)}
	for first := true; first || len(d.Troubles) < 3 && g.chance(0.3); first = false {
		switch kind := pick(g, kinds...); kind {
		case demandStep:
			from := g.between(time.Second, 5*time.Second)
			d.Work.Step = fleet.Step{From: from, To: from + g.between(2*time.Second, 6*time.Second), Factor: g.uniform(2, 5)}
		case Slow:
			if d.Host.Workers > 0 && !slices.ContainsFunc(d.Troubles, func(t Trouble) bool { return t.Kind == Slow }) {
				d.Troubles = append(d.Troubles, g.trouble(d, kind))
			}
		default:
			d.Troubles = append(d.Troubles, g.trouble(d, kind))
		}
	}
	slices.SortStableFunc(d.Troubles, func(a, b Trouble) int { return int(a.Kind - b.Kind) })
	if g.chance(0.15) {
		d.Unreachable = 1 + g.IntN(max(d.Work.Replicas/8, 1))
	}
	if g.chance(0.1) {
		d.Lossy = 1
	}
	if g.chance(0.15) {
		d.Restarts = fleet.Restarts{From: g.between(0, 8*time.Second), Every: 8 * time.Second / time.Duration(d.Work.Replicas)}
	}
	if g.chance(0.2) {
		for range d.Work.Replicas / 3 {
			half := d.Work.Sending / 2
			life := pick(g, Life{g.between(0, half), d.Work.Sending}, Life{0, half + g.between(0, half)})
			d.Lives = append(d.Lives, life)
		}
	}
	return d
}

// demandStep is a trouble that is no trouble of the server.
const demandStep = Kind(-1)

// kinds are those that are drawn from, as often as they are here.
var kinds = []Kind{
	Outage, Outage, Outage, Outage, Bucket, Bucket, Bucket, Bucket,
	Slow, Slow, Quota, Quota, Concurrency, Concurrency, Failing, Failing, Hanging, demandStep, demandStep,
}

type generator struct{ *rand.Rand }

func (g generator) chance(p float64) bool { return g.Float64() < p }

func (g generator) uniform(from, to float64) float64 { return from + g.Float64()*(to-from) }

// scale draws from a range of magnitudes: as often between 1 and 10 as between 10 and 100.
func (g generator) scale(from, to float64) float64 { return from * math.Pow(to/from, g.Float64()) }

func (g generator) count(from, to float64) int { return int(math.Round(g.scale(from, to))) }

// between is uniform, and duration of all magnitudes.
func (g generator) between(from, to time.Duration) time.Duration {
	return time.Duration(g.uniform(float64(from), float64(to))).Round(time.Millisecond)
}

func (g generator) duration(from, to time.Duration) time.Duration {
	return time.Duration(g.scale(float64(from), float64(to))).Round(time.Millisecond)
}

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

// work has so few requests that a draw takes a second of a core with all contenders.
func (g generator) work() fleet.Work {
	sending := g.between(12*time.Second, 35*time.Second)
	requests := g.scale(800, 2500)
	replicas := g.count(5, 128)
	return fleet.Work{
		Replicas: replicas, Rate: requests / sending.Seconds() / float64(replicas), Sending: sending,
		Timeout: g.duration(5*time.Second, 30*time.Second), Paths: g.count(1, 20), Credentials: pick(g, 0, 0, 0, 2, 8),
	}
}

// longestWork is what a request takes of a worker at most: much less than attempts wait.
const longestWork = 500 * time.Millisecond

func (g generator) host(offered float64) Host {
	if g.chance(0.25) {
		return Host{}
	}
	rate := offered * g.uniform(1.1, 3)
	h := Host{Refusal: fleet.Refusal{Status: pick(g, 503, 503, 503, 429), Hint: pick(g, 0, 0, 0, 1, 2, 5)}}
	if g.chance(0.6) {
		h.Workers, h.Room = g.count(1, 40), max(int(rate*g.scale(0.1, 3)), 1)
	} else {
		// With fewer in flight most of what is refused would be chance.
		h.Workers = g.count(8, 60)
	}
	h.Workers = min(h.Workers, max(int(rate*longestWork.Seconds()), 1))
	h.Work = time.Duration(float64(h.Workers) / rate * float64(time.Second))
	if g.chance(0.2) {
		h.Costly = 0.5
	}
	return h
}

func (g generator) trouble(d Draw, kind Kind) Trouble {
	t := Trouble{Kind: kind, From: g.between(0, 5*time.Second)}
	t.To = min(t.From+g.duration(2*time.Second, 15*time.Second), d.Work.Sending-4*time.Second)
	if kind != Outage && kind != Slow && g.chance(0.3) {
		t.To = d.Work.Sending + d.Work.Timeout
	}
	t.Refusal = fleet.Refusal{Status: pick(g, 429, 429, 429, 503, 503), Hint: pick(g, 0, 0, 0, 1, 1, 2, 2, 5, 20)}
	share := 1.
	if kind != Slow {
		t.Part, share = g.part(d.Work)
	}
	offered := d.Work.Offered() * share
	switch kind {
	case Outage:
		if g.chance(0.25) {
			t.Every = g.duration(500*time.Millisecond, 3*time.Second)
		}
	case Failing:
		// Whoever obeys a longer hint has few callers that wait for it.
		t.Share, t.Refusal = g.uniform(0.02, 0.3), fleet.Refusal{Status: pick(g, 429, 500, 503), Hint: pick(g, 0, 0, 0, 1, 2, 5)}
	case Hanging:
		t.Share = g.uniform(0.02, 0.3)
	case Bucket:
		t.Rate = offered * g.uniform(0.3, 1.3)
		t.Burst = max(t.Rate*g.scale(0.05, 2), 1)
	case Quota:
		t.Window = g.duration(time.Second, 10*time.Second)
		t.Limit = max(int(offered*g.uniform(0.3, 1.3)*t.Window.Seconds()), 1)
		t.Lax = g.chance(0.4)
		t.Refusal.Status = http.StatusTooManyRequests
	case Concurrency:
		rate := offered * g.uniform(0.3, 1.3)
		t.InFlight = max(int(rate*g.scale(0.1, 0.6)), 1)
		t.Work = min(time.Duration(float64(t.InFlight)/rate*float64(time.Second)), time.Second)
	case Slow:
		t.Factor = max(d.Host.Rate()/offered/g.uniform(0.3, 1.1), 1)
	}
	return t
}

// part draws a part, and returns its share of the requests.
func (g generator) part(w fleet.Work) (Part, float64) {
	switch at := g.Float64(); {
	case at < 0.25 && w.Paths > 1:
		return Part{Paths, g.IntN(w.Paths)}, 1 / float64(w.Paths)
	case at < 0.33 && w.Credentials > 1:
		return Part{Credentials, g.IntN(w.Credentials)}, 1 / float64(w.Credentials)
	case at < 0.4:
		return Part{Replicas, w.Replicas / 2}, 1 / float64(w.Replicas)
	}
	return Part{}, 1
}
