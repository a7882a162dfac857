package hold

import (
	"fmt"
	"testing"
	"time"
)

// Counting holds nobody. It ends well where little was refused, and is not
// repeated for four seconds, then for eight, and so on.
func TestMeasure_FewRefusalsEndHealthy(t *testing.T) {
	for _, tt := range []struct{ good, refused int }{{0, 0}, {200, 0}, {20, 1}, {200, 10}} {
		tr := newTrace(t)
		at := time.Duration(0)
		for _, again := range []time.Duration{4, 8, 16, 32, 64, 128, 128} {
			end := fmt.Sprintf("counted 0 of 0 until %v", at+measureWindow)
			tr.at(at, counts, end)
			tr.at(at, answered(tt.good, tt.refused), end)
			tr.at(at+measureWindow-1, passes, end)
			at += measureWindow
			tr.at(at, passes, "healthy")
			at += again * time.Second
			tr.at(at-1, counts, "healthy")
		}
		if tr.h.attempts != 0 {
			t.Errorf("%d attempts are held against a healthy key", tr.h.attempts)
		}
	}
}

// More than one for twenty is much. The rate is what was taken, in the time that
// it took to look.
func TestMeasure_StartsPacingAtAcceptedRate(t *testing.T) {
	for _, tt := range []struct {
		good, refused int
		look          time.Duration
		want          string
	}{
		{19, 1, 500 * ms, "paced 0 of 10 until 763.15789ms"},
		{199, 10, 500 * ms, "paced 0 of 40 until 600ms"},
		{100, 10, 500 * ms, "paced 0 of 20 until 600ms"},
		{100, 10, time.Second, "paced 0 of 10 until 1.1s"},
		{1000, 1000, 500 * ms, "paced 0 of 200 until 600ms"},
		{1, 4, 500 * ms, "paced 0 of 4 until 2.5s"},
	} {
		tr := newTrace(t)
		tr.at(0, counts, "counted 0 of 0 until 500ms")
		tr.at(0, answered(tt.good, tt.refused), "counted 0 of 0 until 500ms")
		tr.at(tt.look, passes, tt.want)
	}
}

// A server that takes nothing at all has a quota that is used up. It is asked
// again when it said, not at a tenth of a request per second.
func TestMeasure_AllRefusedStartsHold(t *testing.T) {
	tr := newTrace(t)
	tr.at(0, counts, "counted 0 of 0 until 500ms")
	tr.at(400*ms, answeredWith(0, 6, Refused, time.Second), "counted 0 of 0 until 500ms")
	tr.at(500*ms, passes, "held until 1.4s, level 0")
	tr.at(1400*ms, asks("probe"), "probing 1 of 1 until 2.4s")
	tr.at(1400*ms, good("probe"), "ramping 0 of 2 until 1.5s")

	tr = newTrace(t)
	tr.at(0, counts, "counted 0 of 0 until 500ms")
	tr.at(400*ms, answeredWith(0, 1, Refused, time.Second), "counted 0 of 0 until 500ms")
	tr.at(500*ms, passes, "held until 1.4s, level 0") // one of one

	tr = newTrace(t)
	tr.h.startPacing(1, tr.start)
	tr.at(0, answeredWith(0, 2, Refused, 0), "paced 2 of 2 until 2s") // fewer than five, and all
	tr.at(2*time.Second, passes, "held until 2.5s, level 0")

	tr = paced20(t)
	tr.at(550*ms, answeredWith(0, allRefusedThreshold, Refused, 1500*ms), "paced 5 of 20 until 600ms")
	tr.at(600*ms, passes, "held until 2.05s, level 0")

	tr = paced20(t)
	tr.at(550*ms, answeredWith(0, allRefusedThreshold, Refused, 0), "paced 5 of 20 until 600ms")
	tr.at(600*ms, passes, "held until 1.1s, level 0")
}

// What was sent while everybody might was not sent at the rate that it showed.
func TestMeasure_CountedSendsDoNotLowerTheRate(t *testing.T) {
	tr := newTrace(t)
	tr.at(0, counts, "counted 0 of 0 until 500ms")
	tr.at(0, asks("a", "b"), "counted 0 of 0 until 500ms")
	tr.at(0, answered(100, 10), "counted 0 of 0 until 500ms")
	tr.at(500*ms, passes, "paced 0 of 20 until 600ms")
	tr.at(510*ms, ends("a", Refused, 0), "paced 0 of 20 until 600ms")
	tr.at(510*ms, answered(20, 0), "paced 20 of 20 until 600ms")
	tr.at(600*ms, passes, "paced 0 of 21 until 700ms") // grown, not cut
	tr.at(600*ms, ends("b", Refused, 2*time.Second), "held until 2.6s, level 0")
}

// A key that is counted was well before, however that ends: a hold thereafter is
// its first, and one of long ago is forgotten.
func TestMeasure_DoesNotRaiseHoldLevel(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	none := func(time.Duration) time.Duration { return 0 }
	var h Machine
	h.Measure(start)
	h.Advance(start.Add(measureWindow), none)
	if h.phase != Healthy || !h.recoveredAt.IsZero() {
		t.Errorf("%v, well since %v; want a healthy key that was never unwell", h.phase, h.recoveredAt)
	}

	for name, leave := range map[string]func(h *Machine, now time.Time){
		"counted": func(h *Machine, now time.Time) {
			h.Measure(now)
			h.Record(Result{Permit: Permit{Generation: h.generation, Limited: true}, Lesson: Refused, Status: 429}, now, none)
		},
		"rationed": func(h *Machine, now time.Time) {
			h.recordQuota(Quota{Remaining: 1, ResetAt: now.Add(20 * time.Second), NearExhaustion: true}, now)
		},
	} {
		for _, tt := range []struct {
			since time.Duration
			level int
		}{{Grace - 1, 3}, {Grace, 0}} {
			h := Machine{level: 3, generation: 4, recoveredAt: start}
			leave(&h, start.Add(tt.since))
			if h.Advance(start.Add(tt.since+measureWindow), none); h.phase == Healthy || h.level != tt.level {
				t.Errorf("%s %v after a hold: %v, level %d; want level %d", name, tt.since, h.phase, h.level, tt.level)
			}
		}
	}
}

// A rate is what was taken while there was somebody to send, also where the end of
// a count is found late.
func TestMeasure_LateEndKeepsTheRate(t *testing.T) {
	for _, late := range []time.Duration{0, measureWindow, time.Minute - 1, time.Hour} {
		tr := newTrace(t)
		tr.at(0, counts, "counted 0 of 0 until 500ms")
		tr.at(0, answered(100, 10), "counted 0 of 0 until 500ms")
		tr.h.Advance(tr.start.Add(measureWindow+late), tr.jitter)
		if tr.h.phase != Paced || tr.h.rate < 100 || tr.h.rate > 200 {
			t.Errorf("%v late: %v at %v/s, want it paced at 100/s or more", late, tr.h.phase, tr.h.rate)
		}
	}
}
