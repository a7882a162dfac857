package storetest

import (
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// What a commit does: once per revision, and with what came since.
var commitRules = []rule{
	{"a commit comes back as it was made", func(r *rig) {
		want := hold.Memory{
			Version: hold.Version, Level: 3, Good: 1, Bad: 2, Failures: 4, RecoveredAt: 1_700_000_000_001, ServerDirected: true, Length: 500,
			Rate: 1.0 / 3, Announced: 0.25, ProvenRate: 12345.678, CooldownUntil: 1_700_000_000_002, CooldownExp: 2, Before: hold.Part{From: 2.5, Good: 5, Bad: 6},
			Present: hold.Part{From: 1.25, Good: 7}, RetryAfter: 1_700_000_000_003, Remaining: 7, ResetAt: 1_700_000_000_004,
		}
		alarms := hold.Alarms{Good: 9, Bad: 8, Refused: 7, Returned: 1, Failures: 5, Witnesses: 4, Refusals: true, RefusalsFrom: 5, Near: true, Spent: true}
		r.begin(5*time.Second, alarmed(1<<50))
		d := r.dated(5*time.Second, decision{Rev: r.rev, Phase: holdoff.Paced, Generation: 1 << 50, Permits: 11, Gap: 123_456_789, Alarms: alarms, Memory: want, NewRound: true, Changed: true, Status: 503, Attempts: 5})
		s := r.a.commit(d).Snapshot
		if s.Level != 3 || s.Generation != 1<<50 || s.Attempts != 5 || s.Status != 503 || s.Rate < 0.333 || s.Rate > 0.334 {
			r.fatalf("the round that was begun: %+v", s)
		}
		got := r.record(r.b, 1<<50)
		r.equal(got.Memory, want, "the memory")
		r.equal(got.Alarms, alarms, "the alarms")
		if got.Rev != 2 || got.Phase != holdoff.Paced || got.Generation != 1<<50 || got.Until != d.Until || got.Permits != 11 || got.Gap != d.Gap || got.Keep != d.Keep ||
			got.Granted != 0 || got.Attempts != 5 || got.Status != 503 || got.Began < d.At || got.Began > d.Until {
			r.fatalf("the record of %+v: %+v", d, got)
		}
	}},
	{"a commit succeeds once per revision", func(r *rig) {
		r.begin(5*time.Second, slot(7, 4))
		if got := r.commit(r.b, 5*time.Second, decision{Phase: holdoff.Ramping, Generation: 8, Permits: 5}); got.Snapshot.Phase != holdoff.Ramping {
			r.fatalf("the first commit: %+v", got)
		}
		for _, rev := range []uint64{0, r.rev, r.rev + 2, r.rev + 100} {
			d := r.dated(8*time.Second, decision{Rev: rev, Phase: holdoff.Rationed, Generation: 9, Permits: 100, NewRound: true, Changed: true})
			got := r.a.commit(d)
			if got.Snapshot.Phase != holdoff.Ramping || got.Snapshot.Generation != 8 {
				r.fatalf("a commit of revision %d, and %d is the present one: %+v", rev, r.rev+1, got)
			}
		}
		r.permits(r.b.report(report{Want: 100}).Snapshot, 5, "after the commits that failed")
	}},
	{"of many commits of one revision one succeeds", func(r *rig) {
		r.begin(5*time.Second, slot(7, 4))
		d := r.dated(5*time.Second, decision{Rev: r.rev, Phase: holdoff.Ramping, Permits: 100, NewRound: true, Changed: true})
		var granted atomic.Int64
		r.together(10, func(i int) {
			mine := d
			mine.Generation, mine.Want = uint64(100+i), 30
			granted.Add(int64(r.pick(i).commit(mine).Snapshot.Permits))
		})
		r.rev++
		s := r.a.report(report{}).Snapshot
		if s.Phase != holdoff.Ramping || s.Generation < 100 || granted.Load() != 100 {
			r.fatalf("ten commits at once, which granted %d permits of 100: %+v", granted.Load(), s)
		}
		r.begin(5*time.Second, slot(8, 4)) // of the next revision
	}},
	{"a commit for a record that is too old fails, and changes nothing", func(r *rig) {
		r.begin(5*time.Second, slot(7, 4))
		d := r.dated(5*time.Second, decision{Rev: r.rev, Phase: holdoff.Paced, Generation: 8, Permits: 50, NewRound: true, Changed: true})
		d.At -= hold.Millis(time.Minute / time.Millisecond)
		got := r.a.commit(d)
		r.want(got.Snapshot, holdoff.Ramping, 0, "a commit that is a minute late")
		if !got.Due {
			r.fatalf("a decision is due still: %+v", got)
		}
		r.permits(r.b.report(report{Want: 50}).Snapshot, 4, "after it")
		r.begin(5*time.Second, slot(8, 4)) // of the same revision
	}},
	{"what came between a report and its commit is kept", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		r.a.report(report{Generation: 7, Good: 4, Bad: 1, Status: 503})
		seen := r.record(r.a, 7)
		r.b.report(report{Generation: 7, Good: 2, Refused: 3, Status: 429})
		d := r.dated(5*time.Second, alarmed(7))
		d.Rev, d.Seen, d.SeenAttempts, d.Attempts, d.NewRound = r.rev, seen.Totals, seen.Attempts, 1, true
		if got := r.a.commit(d).Snapshot; got.Attempts != 4 || got.Status != 429 {
			r.fatalf("one failure that the decision left, and three refusals since: %+v", got)
		}
		r.equal(r.record(r.b, 7).Totals, hold.Totals{Good: 2, Refused: 3, Returned: 1}, "what came between, and the alarm")
	}},
	{"results that came between are dropped where the commit begins a generation", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		r.record(r.a, 7)
		r.b.report(report{Generation: 7, Good: 2, Bad: 3, Refused: 3, Remaining: 5, ResetIn: time.Minute, Status: 429})
		r.begin(5*time.Second, alarmed(8))
		got := r.record(r.b, 8).Totals
		if got.Remaining != 5 || got.ResetAt == 0 {
			r.fatalf("a quota is of no generation: %+v", got)
		}
		got.Remaining, got.ResetAt = 0, 0
		r.equal(got, hold.Totals{Returned: 1}, "the totals of the new generation")
	}},
	{"a commit ends the claim", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		r.record(r.a, 7)
		r.begin(5*time.Second, alarmed(8))
		r.record(r.b, 8) // at once
	}},
	{"an unhealthy round forgets who witnessed failures", func(r *rig) {
		r.a.report(report{Failures: 15, Status: 503})
		s := r.begin(5*time.Second, slot(7, 4))
		if s.Witnesses != 0 {
			r.fatalf("%d witnesses in a ramp", s.Witnesses)
		}
		d := decision{Phase: holdoff.Healthy, Generation: 7}
		d.Alarms.Failures, d.Alarms.Witnesses = 20, 2
		r.begin(0, d)
		r.a.report(report{Failures: 10, Status: 503})
		if got := r.b.report(report{Failures: 9, Status: 503}); got.Decide || got.Due || got.Snapshot.Witnesses != 2 {
			r.fatalf("nineteen failures since: %+v", got)
		}
	}},
}
