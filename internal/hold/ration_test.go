package hold

import (
	"fmt"
	"testing"
	"time"
)

// A quota that nears its end is spread over the rest of its time. One that does
// not is everybody's.
func TestRation_StartsNearExhaustion(t *testing.T) {
	tr := newTrace(t)
	tr.h.recordQuota(Quota{Remaining: 100, ResetAt: tr.start.Add(2 * time.Second)}, tr.start)
	tr.at(0, passes, "healthy")
	tr.at(0, says(100, 2*time.Second), "rationed 0 of 10 until 200ms")
	at := time.Duration(0)
	for range 8 {
		tr.at(at, answered(10, 0), fmt.Sprintf("rationed 10 of 10 until %v", at+200*ms))
		tr.at(at, denied, fmt.Sprintf("rationed 10 of 10 until %v", at+200*ms))
		at += 200 * ms
		tr.at(at, passes, fmt.Sprintf("rationed 0 of 10 until %v", at+200*ms))
	}
	// The slot that would end less than a slot before the refill is the last.
	tr.at(at, answered(10, 0), "rationed 10 of 10 until 1.8s")
	tr.at(1850*ms, passes, "rationed 0 of 10 until 2s")
	tr.at(1850*ms, answered(10, 0), "rationed 10 of 10 until 2s")
	tr.at(2*time.Second, asks("probe"), "probing 1 of 1 until 3s")
}

// What is used up holds the key until it is refilled: then one probe, and a ramp
// that looks ahead.
func TestRation_UsedUpQuotaHoldsUntilReset(t *testing.T) {
	tr := rationed10(t)
	generation := tr.h.generation
	tr.h.serverDirected = true // of a hold before
	tr.at(0, answered(10, 0), "rationed 10 of 10 until 200ms")
	tr.at(50*ms, says(0, 1950*ms), "rationed 10 of 10 until 200ms")
	tr.at(200*ms, denied, "held until 2s, level 0")
	if tr.h.generation != generation+1 || tr.h.serverDirected {
		t.Errorf("got generation %d, word %t; want %d: it is a hold, and not the server's word", tr.h.generation, tr.h.serverDirected, generation+1)
	}
	tr.at(2*time.Second, asks("probe"), "probing 1 of 1 until 3s")
	tr.at(2010*ms, good("probe"), "ramping 0 of 2 until 2.11s")
	tr.at(2010*ms, says(5, 2*time.Second), "ramping 0 of 2 until 2.11s")
	tr.at(2010*ms, answered(2, 0), "ramping 2 of 2 until 2.11s")
	tr.at(2110*ms, passes, "ramping 0 of 4 until 2.21s") // 4 of 5
	tr.at(2110*ms, answered(4, 0), "ramping 4 of 4 until 2.21s")
	tr.at(2120*ms, says(1, 1890*ms), "ramping 4 of 4 until 2.21s")
	tr.at(2210*ms, passes, "rationed 0 of 1 until 4.01s")
}

// A failure in flight from before the quota was used up says nothing of the time
// after its refill.
func TestRation_AnswersFromBeforeResetAreIgnored(t *testing.T) {
	tr := rationed10(t)
	tr.at(0, asks("a", "b"), "rationed 2 of 10 until 200ms")
	tr.at(0, answered(8, 0), "rationed 10 of 10 until 200ms")
	tr.at(0, says(0, 2*time.Second), "rationed 10 of 10 until 200ms")
	tr.at(2*time.Second, passes, "held until 2s, level 0")
	tr.at(2*time.Second, asks("probe"), "probing 1 of 1 until 3s")
	tr.at(2*time.Second, failed("a"), "probing 1 of 1 until 3s")
	tr.at(2*time.Second, good("b"), "probing 1 of 1 until 3s")
	tr.at(2*time.Second, ends("b", Refused, 3*time.Second), "held until 5s, level 0")
}

// A server that rounds down says that a window is over before it is. Until an answer
// tells of more, a ramp takes what was left for what is left.
func TestRation_ResetWithoutConfirmation(t *testing.T) {
	for _, tt := range []struct {
		left, next int
		want       string // of the next slot
		now, known int    // what the next answer says, and what is taken for left then
	}{
		{90, 1000, "rationed 0 of 10 until 222.22222ms", 399, 399},
		{90, 1000, "rationed 0 of 10 until 222.22222ms", 122, 80}, // late, perhaps
		{90, 1000, "rationed 0 of 10 until 222.22222ms", 70, 70},
		{90, 2300, "rationed 0 of 10 until 222.22222ms", 100, 100}, // another window
		{60, 1000, "rationed 0 of 10 until 283.33333ms", 60, 50},   // more than that may be on the way
		{0, 1000, "ramping 0 of 128 until 200ms", 399, 399},
		{129, 1000, "ramping 0 of 128 until 200ms", 60, 60},
	} {
		tr := newTrace(t)
		tr.h.enter(Ramping, 64, tr.start.Add(Slot))
		tr.at(0, says(tt.left, 50*ms), "ramping 0 of 64 until 100ms")
		tr.at(0, answered(64, 0), "ramping 64 of 64 until 100ms")
		tr.at(Slot, passes, tt.want)
		tr.at(150*ms, says(tt.now, time.Duration(tt.next)*ms), tt.want)
		if tr.h.remaining != tt.known {
			t.Errorf("%d were left, then %d were said to be: %d are left, want %d", tt.left, tt.now, tr.h.remaining, tt.known)
		}
	}
	tr := newTrace(t)
	tr.h.enter(Ramping, 64, tr.start.Add(QuotaSlack+51*ms))
	tr.at(0, says(90, 50*ms), "ramping 0 of 64 until 1.151s")
	tr.at(0, answered(64, 0), "ramping 64 of 64 until 1.151s")
	tr.at(QuotaSlack+51*ms, passes, "ramping 0 of 128 until 1.251s") // it must have come
}

// Permits that were not used are what is left for the next slots.
func TestRation_UnusedShareIsKept(t *testing.T) {
	tr := rationed10(t)
	tr.at(0, answered(5, 0), "rationed 5 of 10 until 200ms")
	tr.at(200*ms, passes, "rationed 0 of 10 until 389.47368ms") // 95 for 1.8 s
	tr.at(200*ms, answered(4, 0), "rationed 4 of 10 until 389.47368ms")
	tr.at(400*ms, passes, "ramping 0 of 10 until 500ms")
	if tr.h.remaining != 91 {
		t.Errorf("%d are left, want 91", tr.h.remaining)
	}
	tr.at(500*ms, passes, "healthy")
}

// A refusal while something should remain: somebody else has had it.
func TestRation_RefusalEndsIt(t *testing.T) {
	tr := rationed10(t)
	tr.at(0, answered(3, 1), "rationed 4 of 4 until 200ms")
	tr.at(0, denied, "rationed 4 of 4 until 200ms")
	tr.at(200*ms, passes, "held until 2s, level 0")
}

// Numbers that contradict each other are forgotten, in whatever phase.
func TestRation_InconsistentNumbersAreForgotten(t *testing.T) {
	tr := rationed10(t)
	tr.at(0, answered(10, 0), "rationed 10 of 10 until 200ms")
	tr.at(10*ms, lies, "ramping 0 of 10 until 110ms")
	tr.at(10*ms, answered(10, 0), "ramping 10 of 10 until 110ms")
	tr.at(110*ms, passes, "ramping 0 of 20 until 210ms") // scarce no more

	tr = paced20(t)
	tr.at(500*ms, lies, "paced 0 of 20 until 600ms")
	tr = newTrace(t)
	tr.at(0, lies, "healthy")
	tr = held5(t)
	tr.at(0, lies, "held until 5s, level 0")
}

// The numbers of a window: the least that remains, and the earliest end that fits
// all. Those of a later window replace them, those of an earlier one are late.
func TestRation_TakesNumbersOfOneWindow(t *testing.T) {
	tr := rationed10(t)
	want := func(left int, refill time.Duration) {
		t.Helper()
		if got := tr.h.resetAt.Sub(tr.start); tr.h.remaining != left || got != refill {
			t.Errorf("got %d left until %v, want %d until %v", tr.h.remaining, got, left, refill)
		}
	}
	want(90, 2*time.Second) // ten are out
	tr.at(0, says(95, 2*time.Second), "rationed 0 of 10 until 200ms")
	want(90, 2*time.Second)
	tr.at(0, says(80, 2900*ms), "rationed 0 of 10 until 200ms")
	want(80, 2*time.Second)
	tr.at(0, says(70, 1500*ms), "rationed 0 of 10 until 200ms")
	want(70, 1500*ms)
	tr.at(0, says(1, 100*ms), "rationed 0 of 10 until 200ms") // of the window before
	want(70, 1500*ms)
	tr.at(100*ms, says(200, 3*time.Second), "rationed 0 of 10 until 200ms")
	want(200, 3100*ms)
}
