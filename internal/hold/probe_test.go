package hold

import (
	"testing"
	"time"
)

// a hold ends with one probe per lease.
func TestProbe_OnePerLease(t *testing.T) {
	tr := held5(t)
	tr.at(5*time.Second-1, denied, "held until 5s, level 0")
	tr.at(5*time.Second, asks("a"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, denied, "probing 1 of 1 until 6s")
	tr.at(6*time.Second-1, denied, "probing 1 of 1 until 6s")
	tr.at(6*time.Second, asks("b"), "probing 1 of 1 until 7s")
	tr.at(6*time.Second, denied, "probing 1 of 1 until 7s")
	tr.at(7500*ms, asks("c"), "probing 1 of 1 until 8.5s")
}

// A prober that is slower than its lease still tells the truth.
func TestProbe_LateResultCounts(t *testing.T) {
	tr := held5(t)
	tr.at(5*time.Second, asks("a"), "probing 1 of 1 until 6s")
	tr.at(6*time.Second, asks("b"), "probing 1 of 1 until 7s")
	tr.at(6500*ms, good("a"), "ramping 0 of 2 until 6.6s")
}

// A bad probe means the next hold: of the next level, or as long as the server says.
func TestProbe_FailureHoldsAgain(t *testing.T) {
	tr := held5(t)
	tr.at(5*time.Second, asks("a"), "probing 1 of 1 until 6s")
	tr.at(5500*ms, failed("a"), "held until 6.5s, level 1")
	tr.at(6500*ms, asks("b"), "probing 1 of 1 until 7.5s")
	tr.at(6500*ms, ends("b", Refused, 30*time.Second), "held until 36.5s, level 2")
	tr.at(36500*ms, asks("c"), "probing 1 of 1 until 37.5s")
	tr.at(36500*ms, ends("c", Refused, 0), "held until 38.5s, level 3")
	tr.at(38500*ms, asks("d"), "probing 1 of 1 until 39.5s")
	tr.at(38500*ms, ends("d", Unreachable, 0), "held until 40.5s, level 4")
}

// A probe that was not sent, or whose caller left, cuts its lease short, but
// the next does not follow on its heels.
func TestProbe_ReleasedPermitCutsLease(t *testing.T) {
	tr := held5(t)
	tr.at(5*time.Second, asks("a"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, ends("a", Nothing, 0), "probing 1 of 1 until 5.1s")
	tr.at(5*time.Second, denied, "probing 1 of 1 until 5.1s")
	tr.at(5100*ms, asks("b"), "probing 1 of 1 until 6.1s")
	tr.at(6050*ms, ends("b", Nothing, 0), "probing 1 of 1 until 6.1s")
}

// a probe whose lease has run out has no lease to hand back. The
// one that runs now keeps its own.
func TestProbe_LapsedPermitIsNotReleased(t *testing.T) {
	tr := held5(t)
	tr.at(5*time.Second, asks("a"), "probing 1 of 1 until 6s")
	tr.at(6*time.Second, asks("b"), "probing 1 of 1 until 7s")
	tr.at(6200*ms, ends("a", Nothing, 0), "probing 1 of 1 until 7s")
	tr.at(6500*ms, denied, "probing 1 of 1 until 7s")
}

// A hold of a moment is one that was supposed: a good probe ends it without a ramp, since
// no more waits than a few slots take. A longer one, or one that was extended, is ramped.
func TestProbe_OfAMomentNeedsNoRamp(t *testing.T) {
	for _, tt := range []struct {
		first, then time.Duration
		want        Phase
	}{{2 * Slot, 0, Healthy}, {3 * Slot, 0, Ramping}, {2 * Slot, 5 * time.Second, Ramping}} {
		var m Machine
		now := time.Unix(1000, 0)
		for _, d := range []time.Duration{tt.first, tt.then} {
			if d > 0 {
				m.Record(Result{Permit: Permit{Generation: m.Generation()}, Lesson: Refused, Hint: d, ServerDirected: true}, now, noJitter)
			}
		}
		p, ok := m.Grant(m.Until(), time.Second, noJitter)
		if !ok {
			t.Fatalf("%v: no probe", tt.first)
		}
		m.Record(Result{Permit: p, Lesson: Good}, m.Until(), noJitter)
		if m.Phase() != tt.want {
			t.Errorf("%v, then %v: %v, want %v", tt.first, tt.then, m.Phase(), tt.want)
		}
	}
}
