package hold

import (
	"fmt"
	"testing"
	"time"
)

// A hint of 2 s or more holds, whoever got it and whatever the status was.
func TestHold_StartsAtHintOfTwoSeconds(t *testing.T) {
	for _, lesson := range []Lesson{Refused, Failed} {
		tr := newTrace(t)
		tr.at(0, asks("a"), "healthy")
		tr.at(time.Second, ends("a", lesson, 2*time.Second), "held until 3s, level 0")
		tr.at(time.Second, denied, "held until 3s, level 0")
		tr.at(3*time.Second-1, denied, "held until 3s, level 0")
	}
}

// A hint below 2 s holds nobody, however often it is given.
func TestHold_IgnoresShortHint(t *testing.T) {
	tr := newTrace(t)
	for range 3 * tripAfter {
		tr.at(0, asks("a"), "healthy")
		tr.at(0, ends("a", Refused, 2*time.Second-1), "healthy")
	}
}

// 20 failures hold a key, 19 don't, and a success between starts the count again.
func TestHold_StartsAfterTwentyFailuresInARow(t *testing.T) {
	tr := newTrace(t)
	tr.at(0, asks("a"), "healthy")
	tr.at(0, failures(19), "healthy")
	tr.at(0, good("a"), "healthy")
	tr.at(0, failures(19), "healthy")
	tr.at(0, failures(1), "held until 500ms, level 0")
}

// A refusal without a hint is backpressure, not damage: it never trips a hold.
func TestHold_RefusalsWithoutHintDoNotStartIt(t *testing.T) {
	tr := newTrace(t)
	for range 3 * tripAfter {
		tr.at(0, asks("a"), "healthy")
		tr.at(0, ends("a", Refused, 0), "healthy")
	}
	tr.at(0, failures(19), "healthy")
	tr.at(0, failures(1), "held until 500ms, level 0")
}

// An outcome that teaches nothing neither counts as a failure nor as a success.
func TestHold_NothingChangesNothing(t *testing.T) {
	tr := newTrace(t)
	tr.at(0, asks("a"), "healthy")
	tr.at(0, failures(19), "healthy")
	for range tripAfter {
		tr.at(0, ends("a", Nothing, 0), "healthy")
	}
	tr.at(0, failures(1), "held until 500ms, level 0")
}

// holds that the server did not ask for double with each bad
// probe, up to 2 s.
func TestHold_DoublesUpToCapWithoutHint(t *testing.T) {
	tr := newTrace(t)
	tr.at(0, failures(20), "held until 500ms, level 0")
	tr.at(500*ms, asks("a"), "probing 1 of 1 until 1.5s")
	tr.at(600*ms, failed("a"), "held until 1.6s, level 1")
	tr.at(1600*ms, asks("b"), "probing 1 of 1 until 2.6s")
	tr.at(1600*ms, failed("b"), "held until 3.6s, level 2")
	tr.at(3600*ms, asks("c"), "probing 1 of 1 until 4.6s")
	tr.at(3600*ms, failed("c"), "held until 5.6s, level 3")
	at := 5600 * ms
	for level := 4; level < 200; level++ {
		tr.at(at, asks("d"), fmt.Sprintf("probing 1 of 1 until %v", at+time.Second))
		tr.at(at, failed("d"), fmt.Sprintf("held until %v, level %d", at+2*time.Second, level))
		at += 2 * time.Second
	}
}

// The jitter of an unhinted hold takes at most half of it away, and nothing of
// a hint.
func TestHold_JitterKeepsHalf(t *testing.T) {
	tr := newTrace(t)
	tr.jitter = func(d time.Duration) time.Duration { return d }
	tr.at(0, failures(20), "held until 250ms, level 0")
	tr.at(250*ms, asks("a"), "probing 1 of 1 until 1.25s")
	tr.at(250*ms, failed("a"), "held until 750ms, level 1")
	tr.at(750*ms, asks("b"), "probing 1 of 1 until 1.75s")
	tr.at(750*ms, ends("b", Failed, 7*time.Second), "held until 7.75s, level 2")
}

// a longer hint extends a hold, a shorter one never shortens it.
func TestHold_LongerHintExtendsShorterDoesNotShorten(t *testing.T) {
	tr := held5(t)
	tr.at(1*time.Second, ends("old", Refused, 3*time.Second), "held until 5s, level 0")
	tr.at(1*time.Second, ends("old", Refused, 0), "held until 5s, level 0")
	tr.at(2*time.Second, ends("old", Refused, 8*time.Second), "held until 10s, level 0")
	tr.at(3*time.Second, ends("old", Refused, 7*time.Second), "held until 10s, level 0")
}

// of many failures in flight one escalates.
func TestHold_FailuresInFlightEscalateOnce(t *testing.T) {
	tr := newTrace(t)
	for i := range 800 {
		tr.at(0, asks(fmt.Sprint(i)), "healthy")
	}
	for i := range 800 {
		tr.at(time.Second, ends(fmt.Sprint(i), Refused, 5*time.Second), "held until 6s, level 0")
	}
	if tr.h.generation != 1 {
		t.Errorf("got %d holds, want 1", tr.h.generation)
	}
}

// what was sent before a hold says nothing of the time since, in any
// phase. A success does not clear the hold.
// neither does it make a probe or a ramp go on.
func TestHold_LateSuccessIsIgnored(t *testing.T) {
	tr := held5(t)
	tr.at(1*time.Second, good("old"), "held until 5s, level 0")
	tr.at(5*time.Second, asks("probe"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, good("old"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, good("probe"), "ramping 0 of 2 until 5.1s")
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5*time.Second, good("old"), "ramping 2 of 2 until 5.1s")
	tr.at(5100*ms, passes, "ramping 0 of 2 until 5.2s") // its answers are still awaited
	tr.at(5200*ms, passes, "healthy")
	tr.at(5200*ms, failures(19), "healthy")
	tr.at(5200*ms, good("old"), "healthy")
	tr.at(5200*ms, failures(1), "held until 6.2s, level 1")
}

// a late failure from before the hold teaches nothing, unless
// the server's word is in it.
func TestHold_LateFailureCountsOnlyWithHint(t *testing.T) {
	tr := held5(t)
	tr.at(1*time.Second, failed("old"), "held until 5s, level 0")
	tr.at(5*time.Second, asks("probe"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, failed("old"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, ends("old", Refused, 2*time.Second-1), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, good("probe"), "ramping 0 of 2 until 5.1s")
	tr.at(5*time.Second, failed("old"), "ramping 0 of 2 until 5.1s")
	tr.at(5*time.Second, ends("old", Refused, 0), "ramping 0 of 2 until 5.1s")
	tr.at(5100*ms, passes, "healthy")
	for range 3 * tripAfter {
		tr.at(5100*ms, failed("old"), "healthy")
	}
	// The server's word counts whenever it was said, and is not an escalation.
	tr.at(5200*ms, ends("old", Refused, 3*time.Second), "held until 8.2s, level 0")
	tr.at(8200*ms, asks("probe"), "probing 1 of 1 until 9.2s")
	tr.at(8200*ms, ends("old", Refused, 3*time.Second), "held until 11.2s, level 0")
}

// a relapse within a minute goes on with the next level; after
// that the levels start again.
func TestHold_RelapseWithinGraceContinuesLevel(t *testing.T) {
	well := func() *trace {
		tr := ramp5(t)
		tr.at(5100*ms, passes, "healthy")
		return tr
	}
	tr := well()
	tr.at(65100*ms-1, failures(20), fmt.Sprintf("held until %v, level 1", 66100*ms-1))
	tr = well()
	tr.at(65100*ms, failures(20), "held until 1m5.6s, level 0")
}

// A hold after which nobody asks for a minute is history.
func TestHold_WithoutDemandIsForgottenAfterGrace(t *testing.T) {
	tr := held5(t)
	tr.at(65*time.Second-1, asks("probe"), fmt.Sprintf("probing 1 of 1 until %v", 66*time.Second-1))
	tr = held5(t)
	tr.at(65*time.Second, asks("a"), "healthy")
	if !tr.h.IsHealthy() {
		t.Errorf("got %d failed attempts after the hold was forgotten, want 0", tr.h.attempts)
	}
}
