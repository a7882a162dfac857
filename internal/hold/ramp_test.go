package hold

import (
	"testing"
	"time"
)

// The ramp doubles while its permits are used and answered, and is over with
// the first slot of which less than half was used.
func TestRamp_DoublesAndEndsWhenDemandIsMet(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5050*ms, denied, "ramping 2 of 2 until 5.1s")
	tr.at(5050*ms, good("a"), "ramping 2 of 2 until 5.1s")
	tr.at(5100*ms, passes, "ramping 0 of 4 until 5.2s")
	tr.at(5100*ms, asks("c", "d", "e", "f"), "ramping 4 of 4 until 5.2s")
	tr.at(5100*ms, denied, "ramping 4 of 4 until 5.2s")
	tr.at(5150*ms, good("c"), "ramping 4 of 4 until 5.2s")
	tr.at(5150*ms, good("d"), "ramping 4 of 4 until 5.2s")
	tr.at(5200*ms, asks("g", "h", "i"), "ramping 3 of 8 until 5.3s")
	tr.at(5300*ms-1, passes, "ramping 3 of 8 until 5.3s")
	tr.at(5300*ms, passes, "healthy")
}

// Half used is not demand met.
func TestRamp_ContinuesWhenHalfIsUsed(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a"), "ramping 1 of 2 until 5.1s")
	tr.at(5*time.Second, good("a"), "ramping 1 of 2 until 5.1s")
	tr.at(5100*ms, passes, "ramping 0 of 4 until 5.2s")
	tr.at(5200*ms, passes, "healthy")
}

// Where the answers are slower than the slots, increaseFactor waits for them.
func TestRamp_GrowthWaitsForAnswers(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5100*ms, asks("c", "d"), "ramping 2 of 2 until 5.2s")
	tr.at(5200*ms, asks("e", "f"), "ramping 2 of 2 until 5.3s")
	tr.at(5250*ms, good("a"), "ramping 2 of 2 until 5.3s")
	tr.at(5300*ms, passes, "ramping 0 of 4 until 5.4s")
}

// The doubling ends before it can overflow.
func TestRamp_PermitsAreBounded(t *testing.T) {
	tr := ramp5(t)
	for range 200 {
		tr.h.granted, tr.h.good = tr.h.permits, tr.h.permits
		tr.h.Advance(tr.h.until, uniform)
		if tr.h.phase != Ramping || tr.h.permits < 2 || tr.h.permits > MaxPermits {
			t.Fatalf("got %v with %d permits, want a ramp of 2 to %d", tr.h.phase, tr.h.permits, MaxPermits)
		}
	}
	if tr.h.permits != MaxPermits {
		t.Errorf("got %d permits, want %d", tr.h.permits, MaxPermits)
	}
}

// A permit that is handed back in its slot may be given to somebody else.
func TestRamp_ReleasedPermitIsGrantedAgain(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5010*ms, ends("a", Nothing, 0), "ramping 1 of 2 until 5.1s")
	tr.at(5010*ms, asks("c"), "ramping 2 of 2 until 5.1s")
	tr.at(5010*ms, denied, "ramping 2 of 2 until 5.1s")
}

// A permit of a slot that is over can't be handed back in the next: that would
// let one more through than the slot allows.
func TestRamp_PermitOfEarlierSlotIsNotReleased(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5100*ms, asks("c", "d"), "ramping 2 of 2 until 5.2s")
	tr.at(5150*ms, ends("a", Nothing, 0), "ramping 2 of 2 until 5.2s")
	tr.at(5150*ms, denied, "ramping 2 of 2 until 5.2s")
}

// A refusal in the ramp paces the key at what it took a slot ago.
func TestRamp_RefusalStartsPacing(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5010*ms, ends("a", Refused, 0), "paced 0 of 10 until 6.01s")
}

// A hint in the ramp holds for what it says.
func TestRamp_HintStartsHold(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a"), "ramping 1 of 2 until 5.1s")
	tr.at(5*time.Second, ends("a", Failed, 4*time.Second), "held until 9s, level 1")
}

// A failure in the ramp may be one path's own. Four of them, and more than twice
// the successes, are the host's.
func TestRamp_MajorityOfFailuresStartsHold(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5*time.Second, failed("a"), "ramping 2 of 2 until 5.1s")
	tr.at(5*time.Second, good("b"), "ramping 2 of 2 until 5.1s")
	tr.at(5100*ms, asks("c", "d", "e", "f"), "ramping 4 of 4 until 5.2s")
	tr.at(5100*ms, good("c"), "ramping 4 of 4 until 5.2s")
	tr.at(5100*ms, failed("d"), "ramping 4 of 4 until 5.2s")
	tr.at(5100*ms, good("e"), "ramping 4 of 4 until 5.2s")
	tr.at(5100*ms, failed("f"), "ramping 4 of 4 until 5.2s")
	tr.at(5200*ms, asks("g", "h", "i", "j"), "ramping 4 of 8 until 5.3s")
	for _, name := range []string{"g", "h", "i"} {
		tr.at(5200*ms, failed(name), "ramping 4 of 8 until 5.3s")
	}
	tr.at(5200*ms, failed("j"), "held until 6.2s, level 1")
}

// What has failed before may fail by itself: it ends no ramp, and lets none
// grow.
func TestRamp_FailedRetriesDoNotCount(t *testing.T) {
	tr := ramp5(t)
	for range 5 {
		for range 2 {
			p, ok := tr.h.grant(tr.h.until.Add(-Slot), traceLease, uniform)
			if !ok {
				t.Fatalf("got no leave, want 2 permits")
			}
			p.Retry = true
			tr.h.Record(Result{Permit: p, Lesson: Failed, Status: 500}, tr.h.until.Add(-Slot), tr.jitter)
		}
		tr.h.Advance(tr.h.until, uniform)
		if tr.h.phase != Ramping || tr.h.permits != 2 {
			t.Fatalf("got %v with %d permits, want a ramp with 2", tr.h.phase, tr.h.permits)
		}
	}
}
