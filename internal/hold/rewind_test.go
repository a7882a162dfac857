package hold

import (
	"testing"
	"time"
)

// What a register's clock does to a record, and what a loss does to a decision.

var rewindStart = time.UnixMilli(1_800_000_000_000)

// decided returns a record that needs a decision, and the decision.
func decided(t *testing.T, rep Report, now time.Time) (Record, Decision) {
	t.Helper()
	var rec Record
	reply := rec.Add(rep, now, rewindLongest)
	if !reply.Decide {
		t.Fatalf("no decision is due: %+v", rec)
	}
	return rec, Advance(reply.Record, rep, now, rewindLongest, noJitter)
}

// rewindLongest bounds the holds of these tests.
const rewindLongest = 5 * time.Minute

func noJitter(time.Duration) time.Duration { return 0 }

func nearExhaustion(in time.Duration) Report {
	return Report{Replica: "a", Call: 1, Version: Version, Remaining: 30, ResetIn: in, NearExhaustion: true, Want: 1, Lease: time.Second}
}

func TestCommit_RejectsADecisionMadeBeforeTheClockWasSetBack(t *testing.T) {
	rec, d := decided(t, nearExhaustion(3*time.Second), rewindStart)
	reply := rec.Commit(d, rewindStart.Add(-20*time.Minute))
	if rec.Rev != 0 || !reply.Due {
		t.Errorf("it was committed: revision %d, %v for %v", rec.Rev, rec.Phase, rec.Until.Time().Sub(rewindStart.Add(-20*time.Minute)))
	}
}

func TestCommit_RejectedShowsNoHoldLongerThanItIs(t *testing.T) {
	var rec Record
	rec.Add(Report{Replica: "a", Hint: 3 * time.Second, Status: 429}, rewindStart, rewindLongest)
	back := rewindStart.Add(-20 * time.Minute)
	reply := rec.Commit(Decision{Rev: 7}, back)
	if left := reply.Snapshot.Until.Sub(back); left > 3*time.Second {
		t.Errorf("a hold of 3s lasts %v after the clock was set back", left)
	}
}

func TestCommit_RejectsADecisionOfARecordThatWasLost(t *testing.T) {
	lost, first := decided(t, nearExhaustion(3*time.Second), rewindStart)
	lost.Commit(first, rewindStart)
	later := rewindStart.Add(time.Second)
	rep := Report{Replica: "a", Call: 2, Version: Version, Generation: lost.Generation, Refused: 1, Want: 1, Lease: time.Second}
	reply := lost.Add(rep, later, rewindLongest)
	if !reply.Decide {
		t.Fatal("no decision is due")
	}
	late := Advance(reply.Record, rep, later, rewindLongest, noJitter)

	// The record is lost, and another replica has made a new one.
	now := later.Add(50 * time.Millisecond)
	rec, d := decided(t, nearExhaustion(2*time.Second), now)
	rec.Commit(d, now)
	if rec.Rev != late.Rev {
		t.Fatalf("revisions are %d and %d: the test needs equal ones", rec.Rev, late.Rev)
	}
	if rec.Commit(late, now.Add(time.Millisecond)); rec.Rev != d.Rev+1 {
		t.Error("a decision of the lost record was committed to the new one")
	}
}

func TestAdvance_QuotaFollowsAClockThatWasSetBack(t *testing.T) {
	rec, d := decided(t, nearExhaustion(3*time.Second), rewindStart)
	rec.Commit(d, rewindStart)
	if rec.Phase != Rationed {
		t.Fatalf("the key is %v, want rationed", rec.Phase)
	}
	back := rewindStart.Add(-20 * time.Minute)
	rep := Report{Replica: "a", Call: 2, Version: Version, Want: 1, Lease: time.Second}
	for now := back; now.Before(back.Add(10 * time.Second)); now = now.Add(100 * time.Millisecond) {
		if reply := rec.Add(rep, now, rewindLongest); reply.Decide {
			rec.Commit(Advance(reply.Record, rep, reply.Now, rewindLongest, noJitter), now)
		}
		if left := rec.Until.Time().Sub(now); left > 3500*time.Millisecond {
			t.Fatalf("%v for %v: the quota was refilled after 3s", rec.Phase, left)
		}
	}
	if rec.Phase == Rationed {
		t.Error("the quota is still spread 10s after the clock was set back, and was refilled after 3s")
	}
}

func TestAdvance_CooldownFollowsAClockThatWasSetBack(t *testing.T) {
	m := Memory{At: millis(rewindStart), CooldownUntil: millis(rewindStart.Add(time.Second)), RecoveredAt: 5}
	back := rewindStart.Add(-20 * time.Minute)
	got := m.rewound(millis(back))
	if want := millis(back.Add(time.Second)); got.CooldownUntil != want || got.At != millis(back) || got.RecoveredAt != 1 || got.ResetAt != 0 {
		t.Errorf("got %+v, want a cooldown until %d", got, want)
	}
	if m.rewound(m.At+1) != m {
		t.Error("a clock that goes on changes the memory")
	}
}

func TestAdvance_IgnoresAQuotaReportedBeforeTheClockWasSetBack(t *testing.T) {
	var rec Record
	rep := nearExhaustion(3 * time.Second)
	rep.Version = -1 // it reports, and does not decide
	rec.Add(rep, rewindStart, rewindLongest)
	back := rewindStart.Add(-20 * time.Minute)
	rep = Report{Replica: "b", Call: 1, Version: Version, Want: 1, Lease: time.Second}
	reply := rec.Add(rep, back, rewindLongest)
	if reply.Decide {
		rec.Commit(Advance(reply.Record, rep, back, rewindLongest, noJitter), back)
	}
	if rec.Totals.ResetAt != 0 || rec.Phase == Rationed || rec.Memory.ResetAt != 0 {
		t.Errorf("the key is %v, with a quota that is refilled in %v", rec.Phase, rec.Memory.ResetAt.Time().Sub(back))
	}
}
