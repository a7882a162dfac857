package hold

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Where answers take long, what a host takes is known no sooner: all times are as
// long as that.
func TestPace_WaitsForSlowAnswers(t *testing.T) {
	tr := newTrace(t)
	tr.h.latency = 2 * time.Second
	tr.at(0, counts, "counted 0 of 0 until 2s")
	tr.at(0, answered(100, 10), "counted 0 of 0 until 2s")
	tr.at(2*time.Second, passes, "paced 0 of 100 until 4s")
	tr.at(2*time.Second, answered(90, 10), "paced 100 of 100 until 4s")
	tr.at(4*time.Second, passes, "paced 0 of 90 until 6s")
	tr.at(4*time.Second, answered(90, 0), "paced 90 of 90 until 6s")
	tr.at(6*time.Second, passes, "paced 0 of 90 until 8s")
	tr.at(6*time.Second, answered(90, 0), "paced 90 of 90 until 8s")
	tr.at(8*time.Second, passes, "paced 0 of 90 until 10s") // quiet until 9 s
	tr.at(8*time.Second, answered(90, 0), "paced 90 of 90 until 10s")
	tr.at(10*time.Second, passes, "paced 0 of 95 until 12s")
}

// A refusal cuts the rate to what was taken, or to the share that was where the
// slot was late; but not below three quarters of it, and it never raises it.
func TestPace_RefusalsLowerTheRate(t *testing.T) {
	for _, tt := range []struct {
		good, refused int
		look          time.Duration
		want          string
	}{
		{19, 1, 600 * ms, "paced 0 of 19 until 700ms"},
		{16, 4, 600 * ms, "paced 0 of 16 until 700ms"},
		{19, 1, 800 * ms, "paced 0 of 19 until 900ms"}, // 63/s, but 19 of 20
		{9, 1, 600 * ms, "paced 0 of 18 until 700ms"},  // 90/s, but 9 of 10
		{15, 5, 600 * ms, "paced 0 of 15 until 700ms"},
		{14, 6, 600 * ms, "paced 0 of 15 until 700ms"},
		{2, 2, 600 * ms, "paced 0 of 15 until 700ms"},
		{0, 2, 600 * ms, "paced 0 of 15 until 700ms"},
	} {
		tr := paced20(t)
		tr.at(500*ms, answered(tt.good, tt.refused), fmt.Sprintf("paced %d of 20 until 600ms", tt.good+tt.refused))
		tr.at(tt.look, passes, tt.want)
	}
	tr := paced20(t)
	tr.h.good, tr.h.bad = 40, 1 // late answers of the slot before
	tr.at(600*ms, passes, "paced 0 of 20 until 700ms")
}

// The rate grows by 5 % a slot while all of it is used up. After a refusal it stays
// as it is for a second.
func TestPace_RateGrowsWhileUsedUp(t *testing.T) {
	tr := paced20(t)
	tr.at(500*ms, answered(20, 0), "paced 20 of 20 until 600ms")
	tr.at(600*ms, passes, "paced 0 of 21 until 700ms") // counting was not a refusal
	tr.at(600*ms, answered(21, 0), "paced 21 of 21 until 700ms")
	tr.at(700*ms, passes, "paced 0 of 22 until 800ms")
	tr.at(700*ms, answered(19, 0), "paced 19 of 22 until 800ms")
	tr.at(800*ms, passes, "paced 0 of 22 until 900ms") // not all was used
	tr.at(800*ms, answered(21, 1), "paced 22 of 22 until 900ms")
	at := 900 * ms
	for range 10 {
		tr.at(at, passes, fmt.Sprintf("paced 0 of 21 until %v", at+Slot))
		tr.at(at, answered(21, 0), fmt.Sprintf("paced 21 of 21 until %v", at+Slot))
		at += Slot
	}
	tr.at(1900*ms, passes, "paced 0 of 22 until 2s")
}

// The longer nothing is refused, the bolder the rate grows, to twice of itself at
// most, as long as all of it is used up. One slot that is not has it begin anew.
func TestPace_GrowthAcceleratesWithoutRefusals(t *testing.T) {
	tr := paced20(t)
	use := func(sends int) (grown float64) {
		tr.h.rate, tr.h.permits, tr.h.granted, tr.h.good = 200, 20, sends, sends
		tr.h.Advance(tr.h.until, tr.jitter)
		return tr.h.rate/200 - 1
	}
	for _, want := range []float64{0.05, 0.1, 0.2, 0.4, 0.8, 1} {
		for i := range accelerateAfterSlots {
			if want == 0.05 && i == 0 {
				continue // the first slot is over when the second begins
			}
			if got := use(20); got < want-0.001 || got > want+0.001 {
				t.Fatalf("the rate grew by %.3f, want %v", got, want)
			}
		}
	}
	if got := use(18); got < 1.999-1 {
		t.Errorf("the rate grew by %.3f, want as before: a permit may come too late for its slot", got)
	}
	if got := use(17); got != 0 {
		t.Errorf("the rate grew by %.3f though it was not used up", got)
	}
	if got := use(20); got < 0.049 || got > 0.051 {
		t.Errorf("the rate grew by %.3f, want a twentieth: it begins anew", got)
	}
}

// Time in which nobody looked is no time in which nothing was refused.
func TestPace_PauseRestartsAcceleration(t *testing.T) {
	tr := paced20(t)
	tr.h.granted, tr.h.good = 20, 20
	tr.h.Advance(tr.h.until.Add(30*time.Second), tr.jitter)
	if got := tr.h.rate; got != 200 {
		t.Errorf("the rate is %v after half a minute in which nobody sent, want 200 as before", got)
	}
	tr.h.granted, tr.h.good = 20, 20
	tr.h.Advance(tr.h.until, tr.jitter)
	if got := tr.h.rate; got < 209 || got > 211 {
		t.Errorf("the rate is %v a slot later, want 210", got)
	}
}

// What is proven grows by no more than a twentieth a slot, however bold the rate is: a
// bucket that was full takes for a while what it will not for long.
func TestPace_AcceleratedRateIsNotProven(t *testing.T) {
	tr := paced20(t)
	for i := range 20 {
		before := tr.h.provenRate
		tr.h.granted, tr.h.good = tr.h.permits, tr.h.permits
		tr.h.Advance(tr.h.until, tr.jitter)
		if grown := tr.h.provenRate / before; grown > 1+increaseFactor+0.001 {
			t.Fatalf("Slot %d: proven is %v after %v, at a rate of %v", i, tr.h.provenRate, before, tr.h.rate)
		}
	}
	if tr.h.rate < 4*tr.h.provenRate {
		t.Fatalf("a rate of %v is not bold: %v is proven", tr.h.rate, tr.h.provenRate)
	}
	for range 40 {
		if tr.h.permits <= 21 {
			break
		}
		tr.h.granted, tr.h.good, tr.h.bad = tr.h.permits, 20, tr.h.permits-20
		tr.h.Advance(tr.h.until, tr.jitter)
	}
	if tr.h.phase != Paced {
		t.Errorf("the key is %v on the way back to the rate that was proven, want paced", tr.h.phase)
	}
}

// Who was too bold goes back to what was proven, where no more was taken.
func TestPace_RefusalAfterAcceleratedStep(t *testing.T) {
	for _, tt := range []struct{ good, bad, want int }{
		{10, 10, 200}, // a half
		{30, 10, 300}, // three quarters
		{0, 4, 200},
	} {
		tr := paced20(t)
		tr.h.rate, tr.h.provenRate = 400, 200
		tr.h.granted, tr.h.good, tr.h.bad = 40, tt.good, tt.bad
		tr.h.Advance(tr.h.until, tr.jitter)
		if got := int(tr.h.rate + 0.5); got != tt.want {
			t.Errorf("%d taken and %d refused at 400/s, and 200 were proven: the rate is %d, want %d", tt.good, tt.bad, got, tt.want)
		}
	}
}

// However long a rate grows, it stays one that a slot can hold.
func TestPace_RateIsBounded(t *testing.T) {
	tr := newTrace(t)
	tr.h.startPacing(maxRate/1.1, tr.start)
	for range 100 {
		tr.h.granted, tr.h.good = tr.h.permits, tr.h.permits
		tr.h.Advance(tr.h.until, tr.jitter)
	}
	if h := &tr.h; h.phase != Paced || h.rate != maxRate || h.permits != MaxPermits {
		t.Errorf("%v at %v per second, %d permits; want %v and %d", h.phase, h.rate, h.permits, maxRate, MaxPermits)
	}
}

// Slots come at the rate, though who looks is late: a slot that begins late ends
// as if it were not. One that is missed altogether is not made up for.
func TestPace_SlotsKeepTheRate(t *testing.T) {
	tr := paced20(t)
	tr.at(500*ms, answered(20, 0), "paced 20 of 20 until 600ms")
	tr.at(630*ms, answered(21, 0), "paced 21 of 21 until 700ms")
	tr.at(799*ms, answered(22, 0), "paced 22 of 22 until 800ms")
	tr.at(950*ms, passes, "paced 0 of 22 until 1.05s") // nobody saw the end: no time to grow
}

// A slot is so long that ten sends fit, from 100 ms to 2 s; below one in 2 s it
// is longer, so that one fits.
func TestPace_SlotFitsTenSends(t *testing.T) {
	for _, tt := range []struct {
		rate    float64
		length  time.Duration
		permits int
	}{
		{0, 10 * time.Second, 1},
		{0.1, 10 * time.Second, 1},
		{0.25, 4 * time.Second, 1},
		{0.5, 2 * time.Second, 1},
		{1, 2 * time.Second, 2},
		{5, 2 * time.Second, 10},
		{10, time.Second, 10},
		{50, 200 * ms, 10},
		{100, Slot, 10},
		{200, Slot, 20},
		{2000, Slot, 200},
		{1e300, Slot, MaxPermits},
	} {
		tr := newTrace(t)
		now := tr.start
		tr.h.startPacing(tt.rate, now)
		if got := tr.h.until.Sub(now); got != tt.length || tr.h.permits != tt.permits {
			t.Errorf("at %v per second: got %d sends in %v, want %d in %v", tt.rate, tr.h.permits, got, tt.permits, tt.length)
		}
	}
}

// Where as much is refused at a quarter of the rate, it is not the rate. Everybody
// sends, and the key is not counted again for four seconds, then for eight, and so
// on.
func TestPace_StopsFarBelowProvenRate(t *testing.T) {
	tr := newTrace(t)
	at := time.Duration(0)
	for i, again := range []time.Duration{4, 8, 16, 32, 64, 128, 128} {
		tr.at(at, counts, fmt.Sprintf("counted 0 of 0 until %v", at+measureWindow))
		tr.at(at, answered(100, 10), fmt.Sprintf("counted 0 of 0 until %v", at+measureWindow))
		at += measureWindow
		tr.at(at, passes, fmt.Sprintf("paced 0 of 20 until %v", at+Slot))
		slots := 0
		for ; tr.h.phase == Paced && slots < 100; slots++ {
			n := max(tr.h.permits/5, 1) // a path of five is refused, whatever the rate
			if err := answered(tr.h.permits-n, n)(tr, tr.start.Add(at)); err != nil {
				t.Fatal(err)
			}
			at = tr.h.until.Sub(tr.start)
			tr.h.Advance(tr.start.Add(at), tr.jitter)
		}
		if slots < 3 || slots > 8 || tr.h.phase != Ramping || tr.h.rate >= 50 {
			t.Fatalf("time %d: %v after %d slots at %v per second, want a ramp after a few", i, tr.h.phase, slots, tr.h.rate)
		}
		if want := int(2 * tr.h.rate * Slot.Seconds()); tr.h.permits != want {
			t.Errorf("time %d: a ramp from %d, want %d: twice the rate", i, tr.h.permits, want)
		}
		begun := at
		at += Slot
		tr.at(at, passes, "healthy")
		tr.at(begun+again*time.Second-1, counts, "healthy")
		at = begun + again*time.Second
	}
}

// Where half the rate is refused as often, the rate is not the cause, and the key is left
// alone. A limit is met less often by half the rate.
func TestPace_StopsWhereLowerRatesAreRefusedAsOften(t *testing.T) {
	for name, tt := range map[string]struct {
		refused func(slot, sent int, length time.Duration) int // of those that were sent in a slot
		want    Phase
	}{
		"three in ten, at random": {func(_, sent int, _ time.Duration) int { return sent * 3 / 10 }, Ramping},
		"two in three, at random": {func(_, sent int, _ time.Duration) int { return sent * 2 / 3 }, Ramping},
		"all but 40 per second":   {func(_, sent int, length time.Duration) int { return max(sent-int(40*length.Seconds()), 0) }, Paced},
		"all but 100 per second":  {func(_, sent int, length time.Duration) int { return max(sent-int(100*length.Seconds()), 0) }, Paced},
		"a full bucket, then 40 per second": {func(slot, sent int, length time.Duration) int {
			return max(sent-int(40*length.Seconds()), 0) * min(slot, 1)
		}, Paced},
		"nothing": {func(int, int, time.Duration) int { return 0 }, Paced},
	} {
		tr := paced20(t)
		now := tr.start.Add(500 * ms)
		for slot := 0; slot < 40 && tr.h.phase == Paced; slot++ {
			sent := tr.h.permits
			refused := tt.refused(slot, sent, tr.h.length)
			for i := range sent {
				p, ok := tr.h.grant(now, traceLease, uniform)
				if !ok {
					t.Fatalf("%s: request %d of slot %d may not be sent", name, i, slot)
				}
				o := Result{Permit: p, Lesson: Good, Status: 200}
				if i < refused {
					o.Lesson, o.Status = Refused, 429
				}
				tr.h.Record(o, now, tr.jitter)
			}
			now = tr.h.until
			tr.h.Advance(now, tr.jitter)
		}
		if tr.h.phase != tt.want {
			t.Errorf("%s: the key is %v, want %v", name, tr.h.phase, tt.want)
		}
	}
}

// Who is refused in the ramp that follows learns nothing of a rate. The ramp goes
// on, unless nothing is taken: then the key is held until what was asked.
func TestPace_RampDuringCooldownDoesNotPace(t *testing.T) {
	tr := ramp5(t)
	tr.h.cooldownUntil = tr.start.Add(time.Minute)
	tr.h.permits = 100
	tr.at(5*time.Second, answered(1, 19), "ramping 20 of 100 until 5.1s")
	tr.at(5*time.Second, answered(0, 60), "ramping 80 of 100 until 5.1s")
	tr.at(5100*ms, passes, "ramping 0 of 200 until 5.2s")
	tr.at(5100*ms, answeredWith(0, allRefusedThreshold-1, Refused, 1500*ms), "ramping 4 of 200 until 5.2s")
	tr.at(5100*ms, answeredWith(0, 1, Refused, 0), "ramping 5 of 200 until 5.2s")
	tr.at(5200*ms, passes, "held until 6.6s, level 0")

	tr = ramp5(t)
	tr.h.cooldownUntil = tr.start.Add(5050 * ms)
	tr.h.permits = 100
	tr.at(5049*ms, answered(1, 1), "ramping 2 of 100 until 5.1s")
	tr.at(5050*ms, answered(0, 1), "paced 0 of 50 until 5.15s") // left alone no longer
}

// A pace of which less than half is used ends in a ramp, and that where demand
// is met.
func TestPace_EndsWhenDemandIsMet(t *testing.T) {
	tr := paced20(t)
	tr.h.cooldownExp = 3
	tr.at(500*ms, answered(9, 0), "paced 9 of 20 until 600ms")
	tr.at(600*ms, passes, "ramping 0 of 40 until 700ms")
	tr.at(600*ms, answered(19, 0), "ramping 19 of 40 until 700ms")
	tr.at(700*ms, passes, "healthy")
	if tr.h.cooldownExp != 0 {
		t.Errorf("vain is %d after pacing that helped, want 0", tr.h.cooldownExp)
	}

	tr = paced20(t)
	tr.at(500*ms, answered(10, 0), "paced 10 of 20 until 600ms")
	tr.at(600*ms, passes, "paced 0 of 20 until 700ms") // half used is not demand met
	tr.at(10*time.Minute, passes, "ramping 0 of 40 until 10m0.1s")
	tr.at(20*time.Minute, passes, "healthy")
}

// Who was denied sits out some slots, and is not gone: demand is met when nobody
// was for a second.
func TestPace_DeniedRequestMeansDemand(t *testing.T) {
	for _, spaced := range []func(*testing.T) *trace{paced20, rationed10} {
		tr := spaced(t)
		if err := answered(tr.h.permits, 0)(tr, tr.h.until.Add(-50*ms)); err != nil {
			t.Fatal(err)
		}
		last := tr.h.until.Add(-50 * ms)
		if err := denied(tr, last); err != nil {
			t.Fatal(err)
		}
		phase := tr.h.phase
		for tr.h.until.Sub(last) < idleAfter {
			if tr.h.Advance(tr.h.until, tr.jitter); tr.h.phase != phase {
				t.Fatalf("%v %v after somebody was denied, want it %v", tr.h.phase, tr.h.until.Sub(last), phase)
			}
		}
		if tr.h.Advance(tr.h.until, tr.jitter); tr.h.phase != Ramping {
			t.Errorf("%v after a second, want a ramp", tr.h.phase)
		}
	}
}

// The permits of a slot are spread over it.
func TestPace_SpreadsPermitsOverSlot(t *testing.T) {
	tr := paced20(t)
	for i := range 20 {
		if got, want := tr.h.NextSendAt().Sub(tr.start), 500*ms+time.Duration(i)*5*ms; got != want {
			t.Errorf("permit %d is due at %v, want %v", i, got, want)
		}
		tr.at(500*ms+time.Duration(i)*5*ms, asks("a"), fmt.Sprintf("paced %d of 20 until 600ms", i+1))
	}
	if got := tr.h.NextSendAt().Sub(tr.start); got != 600*ms {
		t.Errorf("after the last permit %v is due, want the next slot", got)
	}
	tr.at(550*ms, denied, "paced 20 of 20 until 600ms")
	// Slots that a store may tell of, of any length and with any number of permits.
	h := Machine{phase: Paced, permits: MaxPermits, granted: MaxPermits - 1, until: tr.start.Add(30 * 24 * time.Hour)}
	h.slotStart = tr.start
	if due := h.NextSendAt(); due.Before(h.slotStart) || due.After(h.until) {
		t.Errorf("due is %v after the slot's begin, want it within the slot", due.Sub(h.slotStart))
	}
}

// Twenty failures with no success between hold a paced key as any other.
func TestPace_FailuresStartHold(t *testing.T) {
	for _, phase := range []Phase{Counted, Paced, Rationed} {
		tr := newTrace(t)
		tr.h.enter(phase, 100, tr.start.Add(time.Second))
		if err := answeredWith(0, 19, Failed, 0)(tr, tr.start); err != nil || tr.h.phase != phase {
			t.Errorf("%v: %v after 19 failures (%v)", phase, tr.h.phase, err)
		}
		if err := answered(1, 0)(tr, tr.start); err != nil {
			t.Error(err)
		}
		if err := answeredWith(0, 19, Failed, 0)(tr, tr.start); err != nil || tr.h.phase != phase {
			t.Errorf("%v: %v after a success and 19 failures (%v)", phase, tr.h.phase, err)
		}
		if err := answeredWith(0, 1, Failed, 0)(tr, tr.start); err != nil || tr.h.phase != Held {
			t.Errorf("%v: %v after 20 failures (%v)", phase, tr.h.phase, err)
		}
	}
}

// A hint of 2 s or more holds a key in whatever phase it is.
func TestPace_HintStartsHold(t *testing.T) {
	for _, phase := range []Phase{Counted, Paced, Rationed} {
		tr := newTrace(t)
		tr.h.enter(phase, 100, tr.start.Add(time.Second))
		tr.at(0, answeredWith(0, 1, Refused, 3*time.Second), "held until 3s, level 1")
	}
}

// Whatever is heard, of whatever phase: what is granted stays within what was
// said, a ration's hold ends with its quota, and all numbers stay numbers.
func TestPace_KeepsInvariantsUnderRandomEvents(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var h Machine
		var out []Permit
		for step := range 3000 {
			now = now.Add(time.Duration(rng.Int64N(int64([]time.Duration{1, ms, 60 * ms, time.Second}[rng.IntN(4)]))))
			if rng.IntN(500) == 0 {
				now = now.Add(2 * Grace)
			}
			before := h
			h.latency = []time.Duration{0, 0, time.Second, MaxLease / 4}[rng.IntN(4)]
			switch rng.IntN(8) {
			case 0, 1, 2:
				if p, ok := h.grant(now, time.Second, uniform); ok {
					out = append(out, p)
				}
			case 3:
				h.Measure(now)
			case 4:
				left := []int{0, 1, 10, 1000, 1e9}[rng.IntN(5)]
				refill := now.Add(time.Duration(rng.Int64N(int64(5 * time.Minute))))
				h.recordQuota(Quota{Remaining: left, ResetAt: refill, NearExhaustion: rng.IntN(2) == 0, Inconsistent: rng.IntN(10) == 0}, now)
			default:
				for range min(len(out), 1+rng.IntN(20)) {
					o := Result{Permit: out[0], Lesson: []Lesson{Nothing, Good, Good, Good, Refused, Failed}[rng.IntN(6)], Status: 429}
					if o.Lesson == Refused {
						o.Hint = time.Duration(rng.Int64N(int64(MinHold)))
					}
					out = out[1:]
					h.Record(o, now, uniform)
				}
			}
			h.Advance(now, uniform)
			longest := now.Add(5*time.Minute + 2*time.Second)
			switch {
			case h.remaining < 0, h.permits < 0, h.granted < 0, h.phase != Counted && h.granted > max(h.permits, before.permits):
				t.Fatalf("seed %d, step %d: %d left, %d of %d granted", seed, step, h.remaining, h.granted, h.permits)
			case !(h.rate >= 0 && h.rate < 1e12) || !(h.provenRate >= 0 && h.provenRate < 1e12):
				t.Fatalf("seed %d, step %d: rate %v, proof %v", seed, step, h.rate, h.provenRate)
			case h.until.After(longest) || h.resetAt.After(longest):
				t.Fatalf("seed %d, step %d: %v until %v, refill in %v", seed, step, h.phase, h.until.Sub(now), h.resetAt.Sub(now))
			case h.IsPaced() && (h.NextSendAt().Before(h.slotStart) || h.NextSendAt().After(h.until)):
				t.Fatalf("seed %d, step %d: due %v after the slot's begin, of %v", seed, step, h.NextSendAt().Sub(h.slotStart), h.until.Sub(h.slotStart))
			case h.generation < before.generation:
				t.Fatalf("seed %d, step %d: the generation went back", seed, step)
			}
		}
	}
}
