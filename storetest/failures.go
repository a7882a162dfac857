package storetest

import (
	"fmt"
	"time"

	"github.com/go-holdoff/holdoff"
)

// What is met while a key is healthy.
var failureRules = []rule{
	{"twenty failures that two replicas saw make a decision due, nineteen do not", func(r *rig) {
		r.a.report(report{Failures: 10, Status: 503})
		got := r.b.report(report{Failures: 9, Status: 502})
		if got.Decide || got.Due || got.Snapshot.Attempts != 19 || got.Snapshot.Witnesses != 2 || got.Snapshot.Status != 502 {
			r.fatalf("after nineteen failures: %+v", got)
		}
		if got = r.a.report(report{Failures: 1, Status: 503}); !got.Decide || got.Record.Totals.Failures != 20 || len(got.Record.Witnesses) != 2 {
			r.fatalf("after twenty failures: %+v", got)
		}
	}},
	{"failures that one replica saw make no decision due", func(r *rig) {
		for range 5 {
			if got := r.a.report(report{Failures: 20, Status: 503}); got.Decide || got.Due || got.Snapshot.Witnesses != 1 {
				r.fatalf("one replica failed: %+v", got)
			}
		}
		if got := r.b.report(report{Failures: 1, Status: 503}); !got.Decide {
			r.fatalf("two replicas failed: %+v", got)
		}
	}},
	{"a report that arrives twice counts once", func(r *rig) {
		again := report{Replica: "a", Call: 5, Failures: 12, Status: 503}
		r.a.report(again)
		got := r.a.report(again)
		if got.Snapshot.Attempts != 12 || got.Snapshot.Witnesses != 1 {
			r.fatalf("twelve failures, of which the store heard twice: %+v", got)
		}
		again.Call--
		if got = r.a.report(again); got.Snapshot.Attempts != 12 {
			r.fatalf("an earlier call that arrives late: %+v", got)
		}
		if got = r.b.report(report{Call: 1, Failures: 7, Status: 503}); got.Decide || got.Snapshot.Attempts != 19 {
			r.fatalf("calls are counted per replica: %+v", got)
		}
	}},
	{"a success clears the failures of a healthy key", func(r *rig) {
		r.a.report(report{Failures: 10, Status: 503})
		r.b.report(report{Failures: 9, Status: 503})
		got := r.b.report(report{Well: true})
		if s := got.Snapshot; s.Attempts != 0 || s.Witnesses != 0 {
			r.fatalf("after a success: %+v", got)
		}
		r.a.report(report{Failures: 19, Status: 503})
		if got = r.b.report(report{Failures: 0, Well: false}); got.Decide || got.Snapshot.Witnesses != 1 {
			r.fatalf("nineteen failures after the success: %+v", got)
		}
		if got = r.b.report(report{Failures: 1, Status: 503}); !got.Decide || got.Record.Totals.Failures != 20 {
			r.fatalf("the twentieth failure after the success: %+v", got)
		}
	}},
	{"failures of a healthy key that is held meanwhile are dropped", func(r *rig) {
		r.a.hint(time.Minute)
		r.a.report(report{Failures: 30, Refusals: 30, Status: 503})
		got := r.b.report(report{Failures: 30, Refusals: 30, Status: 503})
		if got.Decide || got.Due || got.Snapshot.Witnesses != 0 || got.Snapshot.Attempts != 1 {
			r.fatalf("failures in a hold: %+v", got)
		}
	}},
	{"failures that a decision left in place count on", func(r *rig) {
		r.a.report(report{Failures: 15, Status: 503})
		d := decision{Phase: holdoff.Healthy, Generation: 7, Failures: 15, Attempts: 15}
		d.Alarms.Failures, d.Alarms.Witnesses = 20, 2
		d = r.dated(0, d)
		d.Seen.Failures, d.SeenAttempts, d.Replica = 15, 15, "a"
		r.a.commit(d)
		got := r.b.report(report{Failures: 5, Status: 503})
		if !got.Decide || got.Record.Totals.Failures != 20 || len(got.Record.Witnesses) != 2 {
			r.fatalf("fifteen failures and five: %+v", got)
		}
	}},
	{"refusals of a healthy key make a decision due from the time that its round says", func(r *rig) {
		d := r.dated(0, decision{Phase: holdoff.Healthy, Generation: 7})
		d.Alarms.Refusals, d.Alarms.RefusalsFrom = true, d.At+400
		quiet := time.Now().Add(400 * ms)
		r.a.commit(d)
		got := r.a.report(report{Refusals: 1})
		r.before(quiet)
		if got.Decide || got.Due {
			r.fatalf("before that time: %+v", got)
		}
		sleepPast(quiet)
		if got = r.b.report(report{}); got.Decide || got.Due {
			r.fatalf("a refusal from before that time: %+v", got)
		}
		if got = r.b.report(report{Refusals: 2}); !got.Decide || got.Record.Totals.Refusals != 2 {
			r.fatalf("after that time: %+v", got)
		}
	}},
	{"witnesses are bounded", func(r *rig) {
		for i := range 50 {
			got := r.pick(i).report(report{Replica: fmt.Sprintf("replica-%d", i), Call: 1, Failures: 1, Well: i == 0, Status: 503})
			if n := got.Snapshot.Witnesses; n > 16 || n < min(i+1, 2) {
				r.fatalf("%d replicas failed, and %d are remembered", i+1, n)
			}
		}
	}},
}
