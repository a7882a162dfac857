package hold

import (
	"testing"
	"time"
)

var registerTime = time.UnixMilli(1_700_000_000_000)

// A replica that asks as a slot ends is not denied: the next slot is not decided yet.
// Else a ramp would never end while anybody sends.
func TestRecord_RoundThatIsOverDeniesNobody(t *testing.T) {
	end := registerTime.Add(Slot)
	r := Record{Rev: 1, Phase: Ramping, Permits: 10, Began: millis(registerTime), Until: millis(end)}
	if got := r.Add(Report{Want: 3}, end, time.Hour); got.Snapshot.Permits != 0 || r.DeniedAt != 0 {
		t.Errorf("at the end: %d permits, denied at %d; want none, and nobody denied", got.Snapshot.Permits, r.DeniedAt)
	}
	last := end.Add(-ms)
	if got := r.Add(Report{Want: 12}, last, time.Hour); got.Snapshot.Permits != 10 || r.DeniedAt != millis(last) {
		t.Errorf("before the end: %d permits, denied at %d; want 10, and 2 denied", got.Snapshot.Permits, r.DeniedAt)
	}
}

// A refusal while a key is left alone says nothing of the time thereafter.
func TestRecord_RefusalsDuringACooldownExpire(t *testing.T) {
	from := registerTime.Add(4 * time.Second)
	r := Record{Rev: 1, Alarms: Alarms{Refusals: true, RefusalsFrom: millis(from)}}
	r.Add(Report{Refusals: 9}, registerTime, time.Hour)
	if got := r.Add(Report{}, from, time.Hour); got.Decide || r.Totals.Refusals != 0 {
		t.Errorf("after the cooldown: decide %v, %d refusals; want no decision by earlier ones", got.Decide, r.Totals.Refusals)
	}
	if got := r.Add(Report{Refusals: 1}, from, time.Hour); !got.Decide {
		t.Error("a refusal after the cooldown: want a decision")
	}
}

// A replica that did not reach the store has probed by itself: its success is as good as
// that of a permit. During a hold that the server asked for it says nothing.
func TestRecord_SuccessAfterAHoldIsItsProbe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		hint   time.Duration
		begins Phase // before the hint
		after  time.Duration
		want   Phase
	}{
		{"in a hold", 2 * time.Second, Healthy, time.Second, Held},
		{"in the last moment of a hold", 2 * time.Second, Healthy, 1900 * ms, Held},
		{"after a hold", 2 * time.Second, Healthy, 2 * time.Second, Ramping},
		{"in a hold of a moment", 2 * Slot, Healthy, ms, Healthy},
		{"after a hold of a moment", 2 * Slot, Healthy, 2 * Slot, Healthy},
		{"in a hold of a moment after a refused probe", 2 * Slot, Probing, ms, Held},
	} {
		began := registerTime
		r := Record{Rev: 1, Phase: tt.begins, Generation: 7, Began: millis(began), Until: millis(began.Add(time.Second))}
		r.Add(Report{Replica: "a", Hint: tt.hint, ServerDirected: true, Status: 429}, began, time.Hour)
		now := began.Add(tt.after)
		rep := Report{Replica: "b", Version: Version, Well: true, Lease: time.Second}
		reply := r.Add(rep, now, time.Hour)
		if reply.Decide {
			reply = r.Commit(Advance(reply.Record, rep, now, time.Hour, noJitter), now)
		}
		if got := reply.Snapshot.Phase; got != tt.want {
			t.Errorf("a success %s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Where a probe was lost with the replica that sent it, the success of another counts.
func TestRecord_SuccessAfterTheLeaseIsTheProbe(t *testing.T) {
	end := registerTime.Add(time.Second)
	r := Record{Rev: 1, Phase: Probing, Permits: 1, Granted: 1, Began: millis(registerTime), Until: millis(end)}
	rep := Report{Replica: "b", Version: Version, Well: true, Lease: time.Second}
	if got := r.Add(rep, end.Add(-ms), time.Hour); got.Decide {
		t.Error("a success was taken for the probe, whose lease is not over")
	}
	got := r.Add(rep, end, time.Hour)
	if d := Advance(got.Record, rep, end, time.Hour, noJitter); !got.Decide || d.Phase != Ramping {
		t.Errorf("a success after the lease: decide %t, %v; want a ramp", got.Decide, d.Phase)
	}
}
