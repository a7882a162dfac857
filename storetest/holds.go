package storetest

import (
	"math"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// What a hint does. It is a maximum, so that it needs no decision, and may arrive
// any number of times.
var holdRules = []rule{
	{"a hint holds the key for every replica until it ends, without a decision", func(r *rig) {
		asked := time.Now()
		got := r.a.hint(400 * ms)
		if got.Decide || got.Due {
			r.fatalf("a hint is answered by %+v", got)
		}
		for i := range 4 {
			got = r.pick(i).report(report{Want: 5})
			r.before(asked.Add(400 * ms))
			r.want(got.Snapshot, holdoff.Held, 0, "in the hold")
			r.permits(got.Snapshot, 0, "in the hold")
			if s := got.Snapshot; got.Decide || got.Due || !s.ServerDirected || s.Attempts != 1 || s.Status != 429 || time.Since(s.Last).Abs() > time.Second {
				r.fatalf("the server itself asked for the hold, after one 429: %+v", got)
			}
		}
		if early := asked.Add(400 * ms).Sub(got.Snapshot.Until); early > 2*ms {
			r.fatalf("the hold ends %v before the hint", early)
		}
		r.ends(got.Snapshot, asked.Add(400*ms), "the hold")
	}},
	{"a hint that arrives again changes nothing", func(r *rig) {
		first := r.a.hint(5 * time.Second).Snapshot
		for i := range 4 {
			got := r.pick(i).hint(time.Until(first.Until))
			if got.Snapshot.Until.Sub(first.Until).Abs() > slack {
				r.fatalf("the same hint again: %+v after %+v", got, first)
			}
		}
	}},
	{"a longer hint extends a hold, and a shorter one does not shorten it", func(r *rig) {
		begun := time.Now()
		r.a.hint(time.Second)
		longer := r.b.hint(4 * time.Second)
		r.ends(longer.Snapshot, begun.Add(4*time.Second), "a hint of 4 s after one of 1 s")
		shorter := r.a.hint(500 * ms).Snapshot
		r.ends(shorter, longer.Snapshot.Until, "a hint of 500 ms after one of 4 s")
		r.want(shorter, holdoff.Held, 0, "three hints")
		if shorter.Attempts != 3 {
			r.fatalf("three hints are three attempts: %+v", shorter)
		}
	}},
	{"a hint ends the round, and voids its permits", func(r *rig) {
		r.begin(5*time.Second, slot(7, 10))
		r.permits(r.b.report(report{Want: 3}).Snapshot, 3, "the round")
		hinted := time.Now()
		r.a.hint(3 * time.Second)
		got := r.b.report(report{Want: 3}).Snapshot
		r.want(got, holdoff.Held, 0, "after the hint")
		r.permits(got, 0, "after the hint")
		r.ends(got, hinted.Add(3*time.Second), "the hold")
	}},
	{"a hint outlives a decision that has not seen it", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		r.record(r.a, 7)
		hinted := time.Now()
		r.b.hint(3 * time.Second)
		got := r.commit(r.a, 5*time.Second, slot(8, 10)).Snapshot
		r.want(got, holdoff.Held, 0, "a commit that has not seen the hint")
		r.ends(got, hinted.Add(3*time.Second), "the hold")
		r.permits(r.b.report(report{Want: 3}).Snapshot, 0, "in the hold")
	}},
	{"a decision ends the hint that it has seen", func(r *rig) {
		held := r.a.hint(rampAfter).Snapshot
		sleepPast(held.Until)
		got := r.a.report(report{Want: 1})
		if !got.Decide || got.Record.HintUntil == 0 || got.Record.HintUntil < got.Record.HintAt || got.Record.HintUntil.Time().After(got.Now) {
			r.fatalf("the record to decide on, at the end of a hint: %+v", got)
		}
		d := r.dated(5*time.Second, slot(7, 10))
		d.SeenHint, d.NewRound = got.Record.HintUntil, true
		r.want(r.a.commit(d).Snapshot, holdoff.Ramping, 0, "after the decision")
		r.permits(r.b.report(report{Want: 3}).Snapshot, 3, "after the decision")
	}},
	{"the end of a hint needs a decision once a replica wants to send", func(r *rig) {
		held := r.a.hint(rampAfter).Snapshot
		sleepPast(held.Until)
		if got := r.b.report(report{}); got.Decide || got.Due || got.Snapshot.Phase != holdoff.Held {
			r.fatalf("no replica wants to send: %+v", got)
		}
		if got := r.b.report(report{Want: 1}); !got.Decide || got.Snapshot.Permits != 0 {
			r.fatalf("a replica wants to send: %+v", got)
		}
	}},
	{"a success counts as the probe of a hold that is over", func(r *rig) {
		held := r.a.hint(rampAfter).Snapshot
		got := r.b.report(report{Well: true})
		r.before(held.Until)
		if got.Decide || got.Due || got.Snapshot.Phase != holdoff.Held {
			r.fatalf("a success during the hold: %+v", got)
		}
		sleepPast(held.Until)
		r.want(r.b.exchange(report{Well: true}), holdoff.Ramping, 0, "a success after the hold")
	}},
	{"a success contradicts a hold of a moment", func(r *rig) {
		held := r.a.hint(hold.Moment - 100*ms).Snapshot
		got := r.b.exchange(report{Well: true})
		r.before(held.Until)
		r.want(got, holdoff.Healthy, 0, "a success during a hold that the server did not ask for")
	}},
	{"a hint holds no request if the server did not direct it", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		r.b.report(report{Generation: 7, Refused: 1, Hint: 3 * time.Second, Status: 429})
		got := r.a.report(report{Generation: 7, Refused: 1, Hint: 500 * ms, Status: 429})
		r.want(got.Snapshot, holdoff.Ramping, 0, "hints of requests that are refused while others are served")
		got = r.a.report(report{Generation: 7, Returned: 1})
		left := got.Record.Totals.RetryAt.Time().Sub(got.Now)
		if !got.Decide || got.Record.HintUntil != 0 || left > 3*time.Second+slack || left < 2*time.Second {
			r.fatalf("the longer of two such hints is what is to be known of them: %+v", got)
		}
		r.want(r.b.report(report{Generation: 7, Refused: 1, Hint: 2 * time.Second, ServerDirected: true, Status: 429}).Snapshot, holdoff.Held, 0, "a hint that is directed")
	}},
	{"a hint without bounds is bounded, and less than none is none", func(r *rig) {
		r.want(r.a.hint(-time.Hour).Snapshot, holdoff.Healthy, 0, "a negative hint")
		got := r.a.hint(math.MaxInt64).Snapshot
		r.want(got, holdoff.Held, 0, "a hint of 292 years")
		if left := time.Until(got.Until); left < 10*time.Second || left > 2*366*24*time.Hour {
			r.fatalf("a hint of 292 years is held for %v", left)
		}
	}},
}
