package storetest

import (
	"math"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"

	"github.com/go-holdoff/holdoff"
)

// What reports add up to.
var reportRules = []rule{
	{"a report that says nothing changes nothing", func(r *rig) {
		got := r.a.report(report{})
		r.want(got.Snapshot, holdoff.Healthy, 0, "a new key")
		if got.Snapshot.Attempts != 0 || got.Decide || got.Due || got.Snapshot.Permits != 0 {
			r.fatalf("a report that says nothing is answered by %+v", got)
		}
		if got.Now.IsZero() {
			r.fatalf("the reply does not say what time it is")
		}
	}},
	{"results of one generation add up over all replicas", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		r.a.report(report{Generation: 7, Good: 3, Status: 200})
		r.b.report(report{Generation: 7, Good: 4, Bad: 2, Refused: 5, Status: 503})
		r.a.report(report{Generation: 7, Refused: 1, Status: 429})
		totals := r.record(r.b, 7).Totals
		r.equal(totals, hold.Totals{Good: 7, Bad: 2, Refused: 6, Returned: 1}, "the totals")
	}},
	{"results of another generation are dropped", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		for _, late := range []uint64{0, 6, 8} {
			got := r.b.report(report{Generation: late, Good: 3, Bad: 3, Refused: 3, Returned: 1, Status: 503})
			if got.Decide || got.Due || got.Snapshot.Attempts != 0 {
				r.fatalf("results of generation %d count in generation 7: %+v", late, got)
			}
		}
		r.equal(r.record(r.a, 7).Totals, hold.Totals{Returned: 1}, "the totals")
	}},
	{"results of a key about which nothing was decided are dropped", func(r *rig) {
		r.a.report(report{Good: 3, Bad: 40, Refused: 40, Returned: 3, Status: 503})
		got := r.b.report(report{Refusals: 1})
		if !got.Decide {
			r.fatalf("a refusal makes a decision due: %+v", got)
		}
		r.equal(got.Record.Totals, hold.Totals{Refusals: 1}, "the totals")
	}},
	{"results that failed are counted for people, with their status and time", func(r *rig) {
		r.begin(5*time.Second, slot(7, 4))
		r.a.report(report{Generation: 7, Bad: 2, Status: 503})
		got := r.b.report(report{Generation: 7, Refused: 3, Status: 429}).Snapshot
		if got.Attempts != 5 || got.Status != 429 || time.Since(got.Last).Abs() > time.Second {
			r.fatalf("after two failures and three refusals: %+v", got)
		}
	}},
	{"of a quota the later window counts, and in one window the smaller remainder", func(r *rig) {
		r.begin(20*time.Second, alarmed(7))
		begun := time.Now()
		r.a.report(report{Remaining: 50, ResetIn: 30 * time.Second})
		r.b.report(report{Remaining: 90, ResetIn: 60 * time.Second, NearExhaustion: true})
		r.a.report(report{Remaining: 70, ResetIn: 60 * time.Second})
		r.b.report(report{Remaining: 80, ResetIn: 60 * time.Second})
		r.a.report(report{Remaining: 10, ResetIn: 30 * time.Second})
		got := r.a.report(report{Generation: 7, Returned: 1})
		t := got.Record.Totals
		left := t.ResetAt.Time().Sub(got.Now) + time.Since(begun)
		if !got.Decide || t.Remaining != 70 || !t.NearExhaustion || t.Inconsistent || (left-60*time.Second).Abs() > time.Second {
			r.fatalf("70 remain for 60 s: %+v", got)
		}
	}},
	{"a quota whose numbers contradict each other is noted, and its numbers are not", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		r.b.report(report{Remaining: 5, ResetIn: time.Second, Inconsistent: true})
		r.equal(r.record(r.a, 7).Totals, hold.Totals{Inconsistent: true, Returned: 1}, "the totals")
	}},
	{"numbers out of any range do no harm", func(r *rig) {
		for i, wild := range []report{
			{Good: -5, Bad: -5, Refused: -5, Failures: -5, Refusals: -5, Remaining: -5, ResetIn: time.Minute, Status: -5, Want: -5},
			{Bad: 1, Status: -5, Want: -5},
			{Good: math.MaxInt32, Bad: math.MaxInt32, Refused: math.MaxInt32, Status: math.MaxInt32, Want: math.MinInt32},
		} {
			generation := uint64(7 + i)
			r.begin(5*time.Second, alarmed(generation))
			wild.Generation = generation
			got := r.a.report(wild).Snapshot
			r.want(got, holdoff.Ramping, 0, "after wild numbers")
			r.permits(got, 0, "less than nothing wanted")
			t := r.record(r.b, generation).Totals
			for _, n := range []int{t.Good, t.Bad, t.Refused, t.Failures, t.Refusals, t.Remaining} {
				if n < 0 || n > 1<<30 {
					r.fatalf("a total is out of range: %+v", t)
				}
			}
		}
	}},
}
