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
