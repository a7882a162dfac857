package virtual

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"

	"github.com/go-holdoff/holdoff/bench/bubble"
	"github.com/go-holdoff/holdoff/bench/fleet"
)

var (
	seeds = flag.Int("seeds", 5, "how often TestReport runs everything")
	quick = flag.Bool("quick", false, "let TestReport run a little of everything")
)

// rowOf runs a scenario as often as there are seeds.
func rowOf(t *testing.T, j job, seeds int) Row {
	var runs []fleet.Result
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			runs = append(runs, run(t.Context(), j.scenario, j.contender, seed))
		})
	}
	r := row(j.scenario, j.contender.Name, runs)
	if slices.Contains(Plotted, r.Scenario) && !slices.Contains(Sizes, r.Replicas) {
		r.Slots, r.Callers = runs[0].Slots, callers(runs[0].Answers)
	}
	return r
}

// TestReport is what Report runs.
func TestReport(t *testing.T) {
	bubble.Report(t, func() any {
		jobs := plan(*quick)
		rows := make([]Row, len(jobs))
		t.Run("runs", func(t *testing.T) {
			for i, j := range jobs {
				t.Run(fmt.Sprintf("%s/%d/%s", j.scenario.Name, j.scenario.Work.Replicas, j.contender.Name), func(t *testing.T) {
					t.Parallel()
					rows[i] = rowOf(t, j, *seeds)
				})
			}
		})
		return rows
	})
}

// A bucket that has filled up takes for seconds what it will not for long. Who is fed
// by it then is fed at its rate when the burst is spent.
func TestBurst(t *testing.T) {
	const rate = 20.
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			tally := &fleet.Tally{Server: &fleet.Bucket{Rate: rate, Burst: 5 * rate, Hint: 1}}
			client := &http.Client{Transport: &holdoff.Transport{Base: network{server: tally}}}
			failed := 0
			for i, offered := range []struct {
				rate float64
				time time.Duration
			}{{2 * rate, 10 * time.Second}, {0.8 * rate, 30 * time.Second}, {10 * rate, 5 * time.Second}} {
				work := fleet.Work{Replicas: 1, Rate: offered.rate, Sending: offered.time, Timeout: time.Minute, Paths: 20}
				for _, a := range work.Run(t.Context(), "http://api.example", func(int) *http.Client { return client }, work.Asks(seed+uint64(i))) {
					if !a.Served {
						failed++
					}
				}
			}
			time.Sleep(rest)
			if failed > 20 {
				t.Errorf("seed %d: %d callers of 1,880 failed", seed, failed)
			}
		})
	}
}

// A path that is always refused is not to harm the callers of others, where
// replicas share nothing either.
func TestRefusedPathAlone(t *testing.T) {
	i := slices.IndexFunc(fleet.Scenarios, func(s fleet.Scenario) bool { return s.Name == "refused path" })
	j := slices.IndexFunc(Contenders, func(c Contender) bool { return c.Name == Alone })
	r := rowOf(t, job{fleet.Scenarios[i], Contenders[j]}, 2)
	if r.Failed.Max > 500 || r.Use.Min < 0.9 {
		t.Errorf("%v callers failed, and %v of the capacity was used; want at most those of the path, 1 in 20, and most of it", r.Failed, r.Use)
	}
}

// What a fleet that shares its holds is held to, whatever the seed.
func TestShared(t *testing.T) {
	for _, c := range []struct {
		scenario string
		refused  float64 // at most, per request: of sends
		failed   float64 // at most: of callers
		used     float64 // at least: of the capacity
		recovery float64 // at most: seconds
	}{
		{scenario: "throttle", refused: 30. / 6000, used: 0.95, recovery: 2.5},
		{scenario: "outage", refused: 100. / 6000, failed: 5, used: 0.95, recovery: 3},
		{scenario: "quota", refused: 0.05, used: 0.9},
		{scenario: "quota, rounded down", refused: 0.08, used: 0.65},
		{scenario: "bucket", refused: 0.15, used: 0.9},
		{scenario: "bucket, no hint", refused: 0.2, failed: 2, used: 0.9}, // one in 200 is refused thrice by chance
		{scenario: "lifted limit", refused: 0.12, used: 0.9, recovery: 15},
		{scenario: "noise", refused: 0.04, used: 0.98},
		{scenario: "partial", refused: 0.2, failed: 300, used: 0.95},
		{scenario: "refused path", refused: 0.25, failed: 600, used: 0.9},
		{scenario: "poisoned replica", failed: 250, used: 0.98},
		{scenario: "rolling restart", refused: 30. / 6000, used: 0.95, recovery: 2.5},
		{scenario: "two limiters", used: 0.98},
		{scenario: "always zero", used: 0.98},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(fleet.Scenarios, func(s fleet.Scenario) bool { return s.Name == c.scenario })
			r := rowOf(t, job{fleet.Scenarios[i], Contenders[0]}, 2)
			if got := r.Refused.Max / r.Requests.Min; got > c.refused {
				t.Errorf("refused %v of %v requests, want at most %v of them", r.Refused, r.Requests, c.refused)
			}
			if r.Failed.Max > c.failed {
				t.Errorf("%v callers failed, want at most %v", r.Failed, c.failed)
			}
			if r.Use.Median < c.used {
				t.Errorf("used %v of the capacity, want at least %v", r.Use, c.used)
			}
			if c.recovery > 0 && (r.Recovered < r.Seeds || r.Recovery.Max > c.recovery) {
				t.Errorf("%d of %d runs recovered, after %v s, want at most %v", r.Recovered, r.Seeds, r.Recovery, c.recovery)
			}
		})
	}
}

// A limit of a part holds nobody else: not a route, not a credential, not a replica,
// however many replicas there are, and whether they share anything or not.
func TestLimitOfAPartHoldsNobodyElse(t *testing.T) {
	const roundTrips = 3 * 3 * OneWay // of which one takes at most 3 times one way
	for _, s := range fleet.Scenarios {
		if s.Limited == nil {
			continue
		}
		for _, replicas := range []int{2, 16, 128} {
			for _, c := range Contenders[:2] {
				t.Run(fmt.Sprintf("%s/%d/%s", s.Name, replicas, c.Name), func(t *testing.T) {
					of := s
					of.Work = s.Work.Among(replicas)
					r := rowOf(t, job{of, c}, 1)
					bound := roundTrips
					if strings.HasPrefix(s.Name, "several") {
						bound = s.Work.Timeout // for a moment they are taken for one
					}
					if r.Others.Min < 0.999 || r.OthersP99.Max > bound.Seconds() {
						t.Errorf("%v of the others were served, 99 of 100 within %v s; want 0.999, and %v", r.Others.Min, r.OthersP99.Max, bound)
					}
				})
			}
		}
	}
}
