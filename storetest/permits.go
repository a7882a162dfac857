package storetest

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
)

// How the permits of a round are handed out.
var permitRules = []rule{
	{"a round grants no more than its permits, over all replicas", func(r *rig) {
		r.begin(5*time.Second, slot(7, 10))
		for i, tt := range []struct{ want, granted int }{{4, 4}, {1, 1}, {0, 0}, {3, 3}, {7, 2}, {1, 0}, {1, 0}} {
			r.permits(r.pick(i).report(report{Generation: 7, Want: tt.want}).Snapshot, tt.granted, "of ten, one after the other")
		}
	}},
	{"a round grants no more than its permits to many that ask at once", func(r *rig) {
		r.begin(5*time.Second, slot(7, 25))
		var granted atomic.Int64
		r.together(20, func(i int) { granted.Add(int64(r.pick(i).report(report{Want: 3}).Snapshot.Permits)) })
		if n := granted.Load(); n != 25 {
			r.fatalf("%d permits were granted, want 25", n)
		}
	}},
	{"a round grants nothing once it is over", func(r *rig) {
		s := r.begin(200*ms, slot(7, 10))
		r.permits(r.b.report(report{Want: 2}).Snapshot, 2, "in the round")
		r.before(s.Until)
		sleepPast(s.Until)
		r.permits(r.b.report(report{Want: 2}).Snapshot, 0, "after the round")
	}},
	{"a key where every request may be sent grants nothing", func(r *rig) {
		r.permits(r.a.report(report{Want: 5}).Snapshot, 0, "a healthy key")
		r.begin(5*time.Second, decision{Phase: holdoff.Counted, Generation: 7, Permits: 10})
		got := r.b.report(report{Want: 5})
		r.permits(got.Snapshot, 0, "while the results of all are counted")
		if got.Decide || got.Due {
			r.fatalf("nothing is to be decided: %+v", got)
		}
	}},
	{"a new round grants new permits, to the replica that decided first", func(r *rig) {
		r.begin(5*time.Second, slot(7, 10))
		r.permits(r.b.report(report{Want: 20}).Snapshot, 10, "the first round")
		got := r.commit(r.a, 5*time.Second, decision{Phase: holdoff.Ramping, Generation: 7, Permits: 6, Want: 2})
		r.permits(got.Snapshot, 2, "the decider's own")
		r.permits(r.b.report(report{Want: 20}).Snapshot, 4, "the second round")
	}},
	{"a decision that does not begin a round grants no permit again", func(r *rig) {
		r.begin(5*time.Second, slot(7, 10))
		r.permits(r.b.report(report{Want: 6}).Snapshot, 6, "before it")
		d := r.dated(5*time.Second, slot(7, 10))
		d.Rev, d.Want = r.rev, 1
		r.permits(r.a.commit(d).Snapshot, 1, "the decider's own")
		r.permits(r.b.report(report{Want: 6}).Snapshot, 3, "after it")
	}},
	{"a decision that failed grants permits of the round that another began", func(r *rig) {
		r.begin(5*time.Second, slot(7, 10))
		d := r.dated(5*time.Second, slot(9, 50))
		d.Rev, d.Want, d.NewRound = r.rev-1, 12, true
		got := r.b.commit(d)
		r.permits(got.Snapshot, 10, "a decision on an older revision")
		r.permits(r.a.report(report{Want: 6}).Snapshot, 0, "after it")
	}},
	{"impossible numbers of permits are not granted", func(r *rig) {
		r.begin(5*time.Second, slot(7, 10))
		r.permits(r.a.report(report{Want: -3}).Snapshot, 0, "less than none")
		r.permits(r.b.report(report{Want: math.MaxInt32}).Snapshot, 10, "two billion")
	}},
	{"when permits were last wanting is known", func(r *rig) {
		s := r.begin(300*ms, slot(7, 10))
		r.permits(r.a.report(report{Want: 10}).Snapshot, 10, "all of them")
		denied := r.b.report(report{Want: 1})
		r.before(s.Until)
		sleepPast(s.Until)
		got := r.a.report(report{Want: 1})
		if !got.Decide || (got.Record.DeniedAt.Time().Sub(denied.Now)).Abs() > slack/2 {
			r.fatalf("b was denied at %v, and a replica that asks after the round was not: %+v", denied.Now, got.Record)
		}
	}},
	{"a replica that asks as a round ends is not counted as denied", func(r *rig) {
		s := r.begin(200*ms, slot(7, 10))
		r.permits(r.a.report(report{Want: 2}).Snapshot, 2, "a few of them")
		r.before(s.Until)
		sleepPast(s.Until)
		if got := r.a.report(report{Want: 5}); !got.Decide || got.Record.DeniedAt != 0 {
			r.fatalf("no replica was denied: %+v", got.Record)
		}
	}},
}
