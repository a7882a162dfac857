package storetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// claim is how long one replica has the right to decide.
const claim = 50 * ms

// When a decision is due, and which replica makes it.
var decisionRules = []rule{
	{"a decision is due at the result that its alarm names, and not before", func(r *rig) {
		for i, tt := range []struct {
			alarm hold.Alarms
			one   report
		}{
			{hold.Alarms{Good: 3}, report{Good: 1}},
			{hold.Alarms{Bad: 3}, report{Bad: 1, Status: 503}},
			{hold.Alarms{Refused: 3}, report{Refused: 1, Status: 429}},
			{hold.Alarms{Returned: 3}, report{Returned: 1}},
		} {
			generation := uint64(7 + i)
			d := slot(generation, 4)
			d.Alarms = tt.alarm
			r.begin(5*time.Second, d)
			tt.one.Generation = generation
			for n := range 3 {
				got := r.pick(n).report(tt.one)
				if due := got.Decide || got.Due; due != (n == 2) {
					r.fatalf("%+v: due %v after %d results: %+v", tt.alarm, due, n+1, got)
				}
			}
		}
	}},
	{"a decision is due at the news of a quota that its alarm names, and not before", func(r *rig) {
		for i, tt := range []struct {
			alarm  hold.Alarms
			silent report
			loud   report
		}{
			{hold.Alarms{Near: true}, report{Remaining: 9, ResetIn: time.Minute}, report{Remaining: 8, ResetIn: time.Minute, NearExhaustion: true}},
			{hold.Alarms{Spent: true}, report{Remaining: 9, ResetIn: time.Minute, NearExhaustion: true}, report{Remaining: 0, ResetIn: time.Minute}},
			{hold.Alarms{Spent: true}, report{Remaining: 9, ResetIn: time.Minute}, report{Inconsistent: true}},
		} {
			d := slot(uint64(7+i), 4)
			d.Alarms, d.Seen = tt.alarm, hold.Totals{}
			r.key += "x"
			r.rev = 0
			r.begin(5*time.Second, d)
			if got := r.a.report(tt.silent); got.Decide || got.Due {
				r.fatalf("%+v: due after %+v", tt.alarm, tt.silent)
			}
			if got := r.b.report(tt.loud); !got.Decide {
				r.fatalf("%+v: not due after %+v: %+v", tt.alarm, tt.loud, got)
			}
		}
	}},
	{"a decision is due when the round is over, and not before", func(r *rig) {
		for i, phase := range []holdoff.Phase{holdoff.Ramping, holdoff.Counted, holdoff.Paced, holdoff.Rationed} {
			s := r.begin(200*ms, decision{Phase: phase, Generation: uint64(7 + i), Permits: 3})
			got := r.a.report(report{Want: 1})
			r.before(s.Until)
			if got.Decide || got.Due {
				r.fatalf("%v: due %v before the end: %+v", phase, time.Until(s.Until), got)
			}
			sleepPast(s.Until)
			if got = r.b.report(report{}); !got.Decide {
				r.fatalf("%v: not due at the end: %+v", phase, got)
			}
		}
	}},
	{"a hold or a probe that is over needs a decision once a replica wants to send", func(r *rig) {
		for i, phase := range []holdoff.Phase{holdoff.Held, holdoff.Probing} {
			s := r.begin(100*ms, decision{Phase: phase, Generation: uint64(7 + i)})
			sleepPast(s.Until)
			if got := r.a.report(report{}); got.Decide || got.Due {
				r.fatalf("%v: no replica wants to send: %+v", phase, got)
			}
			if got := r.b.report(report{Want: 1}); !got.Decide {
				r.fatalf("%v: a replica wants to send: %+v", phase, got)
			}
		}
	}},
	{"one replica decides at a time", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		begun := time.Now()
		r.record(r.a, 7)
		for range 3 {
			got := r.b.report(report{Generation: 7, Want: 1})
			r.before(begun.Add(claim))
			if got.Decide || !got.Due {
				r.fatalf("a has the claim, and b is answered by %+v", got)
			}
		}
		if got := r.a.report(report{}); !got.Decide {
			r.fatalf("a has the claim, and asks again: %+v", got)
		}
	}},
	{"of many replicas that ask at the end of a hold one decides", func(r *rig) {
		held := r.a.hint(rampAfter).Snapshot
		sleepPast(held.Until)
		begun := time.Now()
		var deciders, waiters atomic.Int64
		r.together(40, func(i int) {
			got := r.pick(i).report(report{Replica: fmt.Sprintf("replica-%d", i), Call: 1, Want: 1})
			if got.Decide {
				deciders.Add(1)
			}
			if got.Due {
				waiters.Add(1)
			}
		})
		// A store that takes longer than a claim lets the next one decide, as it should.
		claims := 1 + int64(time.Since(begun)/claim)
		if n := deciders.Load(); n < 1 || n > claims || waiters.Load() != 40-n {
			r.fatalf("%d replicas decide and %d are to ask again, want 1 to %d, and the others", n, waiters.Load(), claims)
		}
	}},
	{"another replica decides 50 ms after the decider died", func(r *rig) {
		r.begin(5*time.Second, alarmed(7))
		begun := time.Now()
		r.record(r.a, 7)
		got := r.b.report(report{})
		r.before(begun.Add(claim))
		if got.Decide {
			r.fatalf("b decides while a may: %+v", got)
		}
		time.Sleep(claim + 5*ms)
		if got = r.b.report(report{}); !got.Decide {
			r.fatalf("a has said nothing for 50 ms, and b is not to decide: %+v", got)
		}
		if got = r.a.report(report{}); got.Decide && time.Since(begun) < 2*claim {
			r.fatalf("b has the claim, and a is to decide: %+v", got)
		}
	}},
	{"a replica that cannot read the memory follows the rounds, and does not decide", func(r *rig) {
		d := alarmed(7)
		d.Memory.Version = hold.Version + 1
		r.begin(5*time.Second, d)
		got := r.a.report(report{Generation: 7, Returned: 1, Want: 3})
		r.permits(got.Snapshot, 3, "of a replica of the version before")
		if got.Decide || !got.Due {
			r.fatalf("a state of version %d, and one who reads %d: %+v", hold.Version+1, hold.Version, got)
		}
		got = r.b.report(report{Version: hold.Version + 1})
		if !got.Decide || got.Record.Memory.Version != hold.Version+1 {
			r.fatalf("a state of version %d, and one who reads it: %+v", hold.Version+1, got)
		}
	}},
}
