package holdoff

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// counts is a surplus of refusals that a process made known.
func counts(tr *trace, now time.Time) error {
	tr.h.count(now)
	return nil
}

// answered is as many requests, each let through and answered at once.
func answered(good, refused int) func(*trace, time.Time) error {
	return answeredWith(good, refused, Refused, 0)
}

func answeredWith(good, bad int, lesson Lesson, hint time.Duration) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		for i := range good + bad {
			p, ok := tr.h.grant(now, traceLease)
			if !ok {
				return fmt.Errorf("request %d may not send, want leave", i)
			}
			o := outcome{pass: p, lesson: Good, status: 200}
			if i >= good {
				o.lesson, o.hint, o.status = lesson, hint, 429
			}
			tr.h.learn(o, now, tr.jitter)
		}
		return nil
	}
}

// paced20 is a key whose server was seen to take 100 requests in half a second,
// and to refuse some: from 0.5 s on it is paced at 200/s, in slots of 20.
func paced20(t *testing.T) *trace {
	t.Helper()
	tr := newTrace(t)
	tr.at(0, counts, "counted 0 of 0 until 500ms")
	tr.at(0, answered(100, 10), "counted 0 of 0 until 500ms")
	tr.at(500*ms, passes, "paced 0 of 20 until 600ms")
	return tr
}

// Counting holds nobody. It ends well where little was refused, and is not
// repeated for four seconds, then for eight, and so on.
func TestCountingEndsWellWhereLittleIsRefused(t *testing.T) {
	for _, tt := range []struct{ good, refused int }{{0, 0}, {200, 0}, {20, 1}, {200, 10}} {
		tr := newTrace(t)
		at := time.Duration(0)
		for _, again := range []time.Duration{4, 8, 16, 32, 64, 128, 128} {
			end := fmt.Sprintf("counted 0 of 0 until %v", at+countFor)
			tr.at(at, counts, end)
			tr.at(at, answered(tt.good, tt.refused), end)
			tr.at(at+countFor-1, passes, end)
			at += countFor
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
func TestCountingPacesAtWhatWasTaken(t *testing.T) {
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

// Where answers take long, what a host takes is known no sooner: all times are as
// long as that.
func TestPacingWaitsForSlowAnswers(t *testing.T) {
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

// All that a gate hears while its key is counted is counted, whenever it was sent;
// after that, what was sent before is history.
func TestAllThatComesInWhileCountedIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &Transport{Base: script(200)}
		wants(t, tr, fleetKey+"/", 200)
		g := gateAt(t, tr, fleetKey+"/")
		p, _ := g.open()
		before := g.lock()
		g.hold.count(time.Now())
		g.unlock(before)
		for range 10 {
			g.learn(outcome{pass: p, lesson: Good})
			g.learn(outcome{pass: p, lesson: Refused})
		}
		if h := g.now(); h.phase != Counted || h.good != 10 || h.bad != 10 {
			t.Errorf("%v, %d good and %d bad; want 10 of each counted", h.phase, h.good, h.bad)
		}
		time.Sleep(countFor + ms)
		g.learn(outcome{pass: p, lesson: Refused})
		if h := g.now(); h.phase != Paced || h.good != 0 || h.bad != 0 {
			t.Errorf("%v, %d good and %d bad; want a pace, and nothing bad", h.phase, h.good, h.bad)
		}
		time.Sleep(time.Minute)
	})
}

// What was sent while everybody might was not sent at the rate that it showed.
func TestCountedSendsDoNotCountAgainstTheRate(t *testing.T) {
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

// A server that takes nothing at all has a quota that is used up. It is asked
// again when it said, not at a tenth of a request per second.
func TestServerThatTakesNothingIsHeld(t *testing.T) {
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
	tr.h.paceAt(1, tr.start)
	tr.at(0, answeredWith(0, 2, Refused, 0), "paced 2 of 2 until 2s") // fewer than five, and all
	tr.at(2*time.Second, passes, "held until 2.5s, level 0")

	tr = paced20(t)
	tr.at(550*ms, answeredWith(0, closed, Refused, 1500*ms), "paced 5 of 20 until 600ms")
	tr.at(600*ms, passes, "held until 2.05s, level 0")

	tr = paced20(t)
	tr.at(550*ms, answeredWith(0, closed, Refused, 0), "paced 5 of 20 until 600ms")
	tr.at(600*ms, passes, "held until 1.1s, level 0")
}

// A refusal cuts the rate to what was taken, or to the share that was where the
// slot was late; but not below three quarters of it, and it never raises it.
func TestRefusalsCutTheRate(t *testing.T) {
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
func TestRateGrowsWhileUsedUp(t *testing.T) {
	tr := paced20(t)
	tr.at(500*ms, answered(20, 0), "paced 20 of 20 until 600ms")
	tr.at(600*ms, passes, "paced 0 of 21 until 700ms") // counting was not a refusal
	tr.at(600*ms, answered(21, 0), "paced 21 of 21 until 700ms")
	tr.at(700*ms, passes, "paced 0 of 22 until 800ms")
	tr.at(700*ms, answered(20, 0), "paced 20 of 22 until 800ms")
	tr.at(800*ms, passes, "paced 0 of 22 until 900ms") // not all was used
	tr.at(800*ms, answered(21, 1), "paced 22 of 22 until 900ms")
	at := 900 * ms
	for range 10 {
		tr.at(at, passes, fmt.Sprintf("paced 0 of 21 until %v", at+slot))
		tr.at(at, answered(21, 0), fmt.Sprintf("paced 21 of 21 until %v", at+slot))
		at += slot
	}
	tr.at(1900*ms, passes, "paced 0 of 22 until 2s")
}

// The longer nothing is refused, the bolder the rate grows, to twice of itself at
// most, as long as all of it is used up. One slot that is not has it begin anew.
func TestRateGrowsBolder(t *testing.T) {
	tr := paced20(t)
	use := func(sends int) (grown float64) {
		tr.h.rate, tr.h.permits, tr.h.granted, tr.h.good = 200, 20, sends, sends
		tr.h.roll(tr.h.until, tr.jitter)
		return tr.h.rate/200 - 1
	}
	for _, want := range []float64{0.05, 0.1, 0.2, 0.4, 0.8, 1} {
		for i := range bolderAfter {
			if want == 0.05 && i == 0 {
				continue // the first slot is over when the second begins
			}
			if got := use(20); got < want-0.001 || got > want+0.001 {
				t.Fatalf("the rate grew by %.3f, want %v", got, want)
			}
		}
	}
	if got := use(19); got < 1.999-1 {
		t.Errorf("the rate grew by %.3f, want as before: a permit may come too late for its slot", got)
	}
	if got := use(18); got != 0 {
		t.Errorf("the rate grew by %.3f though it was not used up", got)
	}
	if got := use(20); got < 0.049 || got > 0.051 {
		t.Errorf("the rate grew by %.3f, want a twentieth: it begins anew", got)
	}
}

// Time in which nobody looked is no time in which nothing was refused.
func TestRateGrowsAnewAfterAPause(t *testing.T) {
	tr := paced20(t)
	tr.h.granted, tr.h.good = 20, 20
	tr.h.roll(tr.h.until.Add(30*time.Second), tr.jitter)
	if got := tr.h.rate; got != 200 {
		t.Errorf("the rate is %v after half a minute in which nobody sent, want 200 as before", got)
	}
	tr.h.granted, tr.h.good = 20, 20
	tr.h.roll(tr.h.until, tr.jitter)
	if got := tr.h.rate; got < 209 || got > 211 {
		t.Errorf("the rate is %v a slot later, want 210", got)
	}
}

// What is proven grows by no more than a twentieth a slot, however bold the rate is: a
// bucket that was full takes for a while what it will not for long.
func TestBoldRateIsNoProof(t *testing.T) {
	tr := paced20(t)
	for i := range 20 {
		before := tr.h.proof
		tr.h.granted, tr.h.good = tr.h.permits, tr.h.permits
		tr.h.roll(tr.h.until, tr.jitter)
		if grown := tr.h.proof / before; grown > 1+growth+0.001 {
			t.Fatalf("slot %d: proven is %v after %v, at a rate of %v", i, tr.h.proof, before, tr.h.rate)
		}
	}
	if tr.h.rate < 4*tr.h.proof {
		t.Fatalf("a rate of %v is not bold: %v is proven", tr.h.rate, tr.h.proof)
	}
	for range 40 {
		if tr.h.permits <= 21 {
			break
		}
		tr.h.granted, tr.h.good, tr.h.bad = tr.h.permits, 20, tr.h.permits-20
		tr.h.roll(tr.h.until, tr.jitter)
	}
	if tr.h.phase != Paced {
		t.Errorf("the key is %v on the way back to the rate that was proven, want paced", tr.h.phase)
	}
}

// Who was too bold goes back to what was proven, where no more was taken.
func TestRefusalAfterABoldStep(t *testing.T) {
	for _, tt := range []struct{ good, bad, want int }{
		{10, 10, 200}, // a half
		{30, 10, 300}, // three quarters
		{0, 4, 200},
	} {
		tr := paced20(t)
		tr.h.rate, tr.h.proof = 400, 200
		tr.h.granted, tr.h.good, tr.h.bad = 40, tt.good, tt.bad
		tr.h.roll(tr.h.until, tr.jitter)
		if got := int(tr.h.rate + 0.5); got != tt.want {
			t.Errorf("%d taken and %d refused at 400/s, and 200 were proven: the rate is %d, want %d", tt.good, tt.bad, got, tt.want)
		}
	}
}

// However long a rate grows, it stays one that a slot can hold.
func TestRateIsBounded(t *testing.T) {
	tr := newTrace(t)
	tr.h.paceAt(maxRate/1.1, tr.start)
	for range 100 {
		tr.h.granted, tr.h.good = tr.h.permits, tr.h.permits
		tr.h.roll(tr.h.until, tr.jitter)
	}
	if h := &tr.h; h.phase != Paced || h.rate != maxRate || h.permits != maxPermits {
		t.Errorf("%v at %v per second, %d permits; want %v and %d", h.phase, h.rate, h.permits, maxRate, maxPermits)
	}
}

// Slots come at the rate, though who looks is late: a slot that begins late ends
// as if it were not. One that is missed altogether is not made up for.
func TestSlotsComeOnAGrid(t *testing.T) {
	tr := paced20(t)
	tr.at(500*ms, answered(20, 0), "paced 20 of 20 until 600ms")
	tr.at(630*ms, answered(21, 0), "paced 21 of 21 until 700ms")
	tr.at(799*ms, answered(22, 0), "paced 22 of 22 until 800ms")
	tr.at(950*ms, passes, "paced 0 of 22 until 1.05s") // nobody saw the end: no time to grow
}

// A slot is so long that ten sends fit, from 100 ms to 2 s; below one in 2 s it
// is longer, so that one fits.
func TestSlotsAreSoLongThatTenSendsFit(t *testing.T) {
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
		{100, slot, 10},
		{200, slot, 20},
		{2000, slot, 200},
		{1e300, slot, maxPermits},
	} {
		tr := newTrace(t)
		now := tr.start
		tr.h.paceAt(tt.rate, now)
		if got := tr.h.until.Sub(now); got != tt.length || tr.h.permits != tt.permits {
			t.Errorf("at %v per second: got %d sends in %v, want %d in %v", tt.rate, tr.h.permits, got, tt.permits, tt.length)
		}
	}
}

// Where as much is refused at a quarter of the rate, it is not the rate. Everybody
// sends, and the key is not counted again for four seconds, then for eight, and so
// on.
func TestPacingInVainIsGivenUp(t *testing.T) {
	tr := newTrace(t)
	at := time.Duration(0)
	for i, again := range []time.Duration{4, 8, 16, 32, 64, 128, 128} {
		tr.at(at, counts, fmt.Sprintf("counted 0 of 0 until %v", at+countFor))
		tr.at(at, answered(100, 10), fmt.Sprintf("counted 0 of 0 until %v", at+countFor))
		at += countFor
		tr.at(at, passes, fmt.Sprintf("paced 0 of 20 until %v", at+slot))
		slots := 0
		for ; tr.h.phase == Paced && slots < 100; slots++ {
			n := max(tr.h.permits/5, 1) // a path of five is refused, whatever the rate
			if err := answered(tr.h.permits-n, n)(tr, tr.start.Add(at)); err != nil {
				t.Fatal(err)
			}
			at = tr.h.until.Sub(tr.start)
			tr.h.roll(tr.start.Add(at), tr.jitter)
		}
		if slots < 3 || slots > 8 || tr.h.phase != Ramping || tr.h.rate >= 50 {
			t.Fatalf("time %d: %v after %d slots at %v per second, want a ramp after a few", i, tr.h.phase, slots, tr.h.rate)
		}
		if want := int(2 * tr.h.rate * slot.Seconds()); tr.h.permits != want {
			t.Errorf("time %d: a ramp from %d, want %d: twice the rate", i, tr.h.permits, want)
		}
		begun := at
		at += slot
		tr.at(at, passes, "healthy")
		tr.at(begun+again*time.Second-1, counts, "healthy")
		at = begun + again*time.Second
	}
}

// Those that are refused again and again are refused whatever the rate, where
// others that had failed before are taken no oftener than one in four.
func TestThoseThatAreRefusedAgainEndThePace(t *testing.T) {
	for _, tt := range []struct {
		slots []string // what becomes of each request: good, refused; capital: had failed before
		want  Phase
	}{
		{[]string{"gggggggggggggggRRRRR"}, Ramping},
		{[]string{"gggggggggggggggrrrrr"}, Paced},
		{[]string{"ggggggggggggggggRRRR"}, Paced},
		{[]string{"gggggggggggggggggRRR", "gggggggggggggggRR"}, Ramping},
		{[]string{"gggggggggggggggggRRR", "gggggggggggggggGR"}, Paced},
		{[]string{"gggGggggggggRRRRRRRR"}, Ramping},
		{[]string{"gggggggGggggRRRRRRRg"}, Paced},
		{[]string{"GGGGGGGGGGGGGGGGGGGG", "gggggggggggggggRRRRR"}, Ramping}, // that was another slot
	} {
		tr := paced20(t)
		now := tr.start.Add(500 * ms)
		for _, slot := range tt.slots {
			for _, fate := range slot {
				p, ok := tr.h.grant(now, traceLease)
				if !ok {
					t.Fatalf("%v: %c may not send", tt.slots, fate)
				}
				p.retry = fate < 'a'
				o := outcome{pass: p, lesson: Good, status: 200}
				if fate == 'r' || fate == 'R' {
					o.lesson, o.status = Refused, 429
				}
				tr.h.learn(o, now, tr.jitter)
			}
			now = tr.h.until
			tr.h.roll(now, tr.jitter)
		}
		if tr.h.phase != tt.want {
			t.Errorf("%v: the key is %v, want %v", tt.slots, tr.h.phase, tt.want)
		}
	}
}

// Who is refused in the ramp that follows learns nothing of a rate. The ramp goes
// on, unless nothing is taken: then the key is held until what was asked.
func TestRefusalsInTheRampAfterPacingInVain(t *testing.T) {
	tr := ramp5(t)
	tr.h.quiet = tr.start.Add(time.Minute)
	tr.h.permits = 100
	tr.at(5*time.Second, answered(1, 19), "ramping 20 of 100 until 5.1s")
	tr.at(5*time.Second, answered(0, 60), "ramping 80 of 100 until 5.1s")
	tr.at(5100*ms, passes, "ramping 0 of 200 until 5.2s")
	tr.at(5100*ms, answeredWith(0, closed-1, Refused, 1500*ms), "ramping 4 of 200 until 5.2s")
	tr.at(5100*ms, answeredWith(0, 1, Refused, 0), "ramping 5 of 200 until 5.2s")
	tr.at(5200*ms, passes, "held until 6.6s, level 0")

	tr = ramp5(t)
	tr.h.quiet = tr.start.Add(5050 * ms)
	tr.h.permits = 100
	tr.at(5049*ms, answered(1, 1), "ramping 2 of 100 until 5.1s")
	tr.at(5050*ms, answered(0, 1), "paced 0 of 50 until 5.15s") // left alone no longer
}

// A pace of which less than half is used ends in a ramp, and that where demand
// is met.
func TestPacingEndsByDemand(t *testing.T) {
	tr := paced20(t)
	tr.h.vain = 3
	tr.at(500*ms, answered(9, 0), "paced 9 of 20 until 600ms")
	tr.at(600*ms, passes, "ramping 0 of 40 until 700ms")
	tr.at(600*ms, answered(19, 0), "ramping 19 of 40 until 700ms")
	tr.at(700*ms, passes, "healthy")
	if tr.h.vain != 0 {
		t.Errorf("vain is %d after pacing that helped, want 0", tr.h.vain)
	}

	tr = paced20(t)
	tr.at(500*ms, answered(10, 0), "paced 10 of 20 until 600ms")
	tr.at(600*ms, passes, "paced 0 of 20 until 700ms") // half used is not demand met
	tr.at(10*time.Minute, passes, "ramping 0 of 40 until 10m0.1s")
	tr.at(20*time.Minute, passes, "healthy")
}

// Who was denied sits out some slots, and is not gone: demand is met when nobody
// was for a second.
func TestDemandIsNotMetWhereSomebodyWasDenied(t *testing.T) {
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
		for tr.h.until.Sub(last) < metAfter {
			if tr.h.roll(tr.h.until, tr.jitter); tr.h.phase != phase {
				t.Fatalf("%v %v after somebody was denied, want it %v", tr.h.phase, tr.h.until.Sub(last), phase)
			}
		}
		if tr.h.roll(tr.h.until, tr.jitter); tr.h.phase != Ramping {
			t.Errorf("%v after a second, want a ramp", tr.h.phase)
		}
	}
}

// The permits of a slot are spread over it.
func TestPermitsOfASlotAreSpread(t *testing.T) {
	tr := paced20(t)
	for i := range 20 {
		if got, want := tr.h.due().Sub(tr.start), 500*ms+time.Duration(i)*5*ms; got != want {
			t.Errorf("permit %d is due at %v, want %v", i, got, want)
		}
		tr.at(500*ms+time.Duration(i)*5*ms, asks("a"), fmt.Sprintf("paced %d of 20 until 600ms", i+1))
	}
	if got := tr.h.due().Sub(tr.start); got != 600*ms {
		t.Errorf("after the last permit %v is due, want the next slot", got)
	}
	tr.at(550*ms, denied, "paced 20 of 20 until 600ms")
	// Slots that a store may tell of, of any length and with any number of permits.
	h := hold{phase: Paced, permits: maxPermits, granted: maxPermits - 1, until: tr.start.Add(30 * 24 * time.Hour)}
	h.from = tr.start
	if due := h.due(); due.Before(h.from) || due.After(h.until) {
		t.Errorf("due is %v after the slot's begin, want it within the slot", due.Sub(h.from))
	}
}

// Twenty failures with no success between hold a paced key as any other.
func TestFailuresHoldAPacedKey(t *testing.T) {
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
func TestHintHoldsAPacedKey(t *testing.T) {
	for _, phase := range []Phase{Counted, Paced, Rationed} {
		tr := newTrace(t)
		tr.h.enter(phase, 100, tr.start.Add(time.Second))
		tr.at(0, answeredWith(0, 1, Refused, 3*time.Second), "held until 3s, level 1")
	}
}

// Without the fleet, what a server takes of this process is found anew, from
// little.
func TestPartingFromTheFleet(t *testing.T) {
	for phase, want := range map[Phase]string{
		Held: "held until 1s, level 0", Probing: "probing 1 of 1 until 1s", Ramping: "probing 1 of 1 until 1s",
		Counted: "counted 0 of 0 until 1s", Paced: "ramping 0 of 2 until 100ms", Rationed: "ramping 0 of 2 until 100ms",
	} {
		tr := newTrace(t)
		tr.h.enter(phase, 0, tr.start.Add(time.Second))
		tr.h.shared = true
		tr.h.part(tr.start)
		if got := tr.state(); got != want || tr.h.shared {
			t.Errorf("%v: got %q, shared %t; want %q, alone", phase, got, tr.h.shared, want)
		}
	}
}

// says is what an answer says of a quota: so many left, for so long.
func says(left int, refill time.Duration) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		tr.h.ration(ration{left: left, refill: now.Add(refill), near: true}, now)
		return nil
	}
}

func lies(tr *trace, now time.Time) error {
	tr.h.ration(ration{lies: true}, now)
	return nil
}

// rationed10 is a key with 100 left for 2 s: 50/s, in slots of ten.
func rationed10(t *testing.T) *trace {
	t.Helper()
	tr := newTrace(t)
	tr.at(0, asks("old"), "healthy")
	tr.at(0, says(100, 2*time.Second), "rationed 0 of 10 until 200ms")
	return tr
}

// A quota that nears its end is spread over the rest of its time. One that does
// not is everybody's.
func TestQuotaNearItsEndIsRationed(t *testing.T) {
	tr := newTrace(t)
	tr.h.ration(ration{left: 100, refill: tr.start.Add(2 * time.Second)}, tr.start)
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
func TestQuotaUsedUpIsAwaited(t *testing.T) {
	tr := rationed10(t)
	generation := tr.h.generation
	tr.h.word = true // of a hold before
	tr.at(0, answered(10, 0), "rationed 10 of 10 until 200ms")
	tr.at(50*ms, says(0, 1950*ms), "rationed 10 of 10 until 200ms")
	tr.at(200*ms, denied, "held until 2s, level 0")
	if tr.h.generation != generation+1 || tr.h.word {
		t.Errorf("got generation %d, word %t; want %d: it is a hold, and not the server's word", tr.h.generation, tr.h.word, generation+1)
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
func TestAnswersFromBeforeTheRefillAreHistory(t *testing.T) {
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
func TestRefillThatNobodyHasSeen(t *testing.T) {
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
		tr.h.enter(Ramping, 64, tr.start.Add(slot))
		tr.at(0, says(tt.left, 50*ms), "ramping 0 of 64 until 100ms")
		tr.at(0, answered(64, 0), "ramping 64 of 64 until 100ms")
		tr.at(slot, passes, tt.want)
		tr.at(150*ms, says(tt.now, time.Duration(tt.next)*ms), tt.want)
		if tr.h.left != tt.known {
			t.Errorf("%d were left, then %d were said to be: %d are left, want %d", tt.left, tt.now, tr.h.left, tt.known)
		}
	}
	tr := newTrace(t)
	tr.h.enter(Ramping, 64, tr.start.Add(quotaSlack+51*ms))
	tr.at(0, says(90, 50*ms), "ramping 0 of 64 until 1.151s")
	tr.at(0, answered(64, 0), "ramping 64 of 64 until 1.151s")
	tr.at(quotaSlack+51*ms, passes, "ramping 0 of 128 until 1.251s") // it must have come
}

// Permits that were not used are what is left for the next slots.
func TestUnusedShareIsNotLost(t *testing.T) {
	tr := rationed10(t)
	tr.at(0, answered(5, 0), "rationed 5 of 10 until 200ms")
	tr.at(200*ms, passes, "rationed 0 of 10 until 389.47368ms") // 95 for 1.8 s
	tr.at(200*ms, answered(4, 0), "rationed 4 of 10 until 389.47368ms")
	tr.at(400*ms, passes, "ramping 0 of 10 until 500ms")
	if tr.h.left != 91 {
		t.Errorf("%d are left, want 91", tr.h.left)
	}
	tr.at(500*ms, passes, "healthy")
}

// A refusal while something should remain: somebody else has had it.
func TestRefusalEndsTheRation(t *testing.T) {
	tr := rationed10(t)
	tr.at(0, answered(3, 1), "rationed 4 of 4 until 200ms")
	tr.at(0, denied, "rationed 4 of 4 until 200ms")
	tr.at(200*ms, passes, "held until 2s, level 0")
}

// Numbers that contradict each other are forgotten, in whatever phase.
func TestNumbersThatLieAreForgotten(t *testing.T) {
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
func TestNumbersOfOneWindow(t *testing.T) {
	tr := rationed10(t)
	want := func(left int, refill time.Duration) {
		t.Helper()
		if got := tr.h.refill.Sub(tr.start); tr.h.left != left || got != refill {
			t.Errorf("got %d left until %v, want %d until %v", tr.h.left, got, left, refill)
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

// Whatever is heard, of whatever phase: what is granted stays within what was
// said, a ration's hold ends with its quota, and all numbers stay numbers.
func TestPaceInvariantsUnderRandomEvents(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var h hold
		var out []pass
		for step := range 3000 {
			now = now.Add(time.Duration(rng.Int64N(int64([]time.Duration{1, ms, 60 * ms, time.Second}[rng.IntN(4)]))))
			if rng.IntN(500) == 0 {
				now = now.Add(2 * grace)
			}
			before := h
			h.latency = []time.Duration{0, 0, time.Second, maxLease / 4}[rng.IntN(4)]
			switch rng.IntN(8) {
			case 0, 1, 2:
				if p, ok := h.grant(now, time.Second); ok {
					out = append(out, p)
				}
			case 3:
				h.count(now)
			case 4:
				left := []int{0, 1, 10, 1000, 1e9}[rng.IntN(5)]
				refill := now.Add(time.Duration(rng.Int64N(int64(5 * time.Minute))))
				h.ration(ration{left: left, refill: refill, near: rng.IntN(2) == 0, lies: rng.IntN(10) == 0}, now)
			default:
				for range min(len(out), 1+rng.IntN(20)) {
					o := outcome{pass: out[0], lesson: []Lesson{Nothing, Good, Good, Good, Refused, Failed}[rng.IntN(6)], status: 429}
					if o.lesson == Refused {
						o.hint = time.Duration(rng.Int64N(int64(minHold)))
					}
					out = out[1:]
					h.learn(o, now, uniform)
				}
			}
			h.roll(now, uniform)
			longest := now.Add(5*time.Minute + 2*time.Second)
			switch {
			case h.left < 0, h.permits < 0, h.granted < 0, h.phase != Counted && h.granted > max(h.permits, before.permits):
				t.Fatalf("seed %d, step %d: %d left, %d of %d granted", seed, step, h.left, h.granted, h.permits)
			case !(h.rate >= 0 && h.rate < 1e12) || !(h.proof >= 0 && h.proof < 1e12):
				t.Fatalf("seed %d, step %d: rate %v, proof %v", seed, step, h.rate, h.proof)
			case h.until.After(longest) || h.refill.After(longest):
				t.Fatalf("seed %d, step %d: %v until %v, refill in %v", seed, step, h.phase, h.until.Sub(now), h.refill.Sub(now))
			case h.spaced() && (h.due().Before(h.from) || h.due().After(h.until)):
				t.Fatalf("seed %d, step %d: due %v after the slot's begin, of %v", seed, step, h.due().Sub(h.from), h.until.Sub(h.from))
			case h.generation < before.generation:
				t.Fatalf("seed %d, step %d: the generation went back", seed, step)
			}
		}
	}
}

// A key that is counted was well before, however that ends: a hold thereafter is
// its first, and one of long ago is forgotten.
func TestCountingIsNoHold(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	none := func(time.Duration) time.Duration { return 0 }
	var h hold
	h.count(start)
	h.roll(start.Add(countFor), none)
	if h.phase != Healthy || !h.calm.IsZero() {
		t.Errorf("%v, well since %v; want a healthy key that was never unwell", h.phase, h.calm)
	}

	for name, leave := range map[string]func(h *hold, now time.Time){
		"counted": func(h *hold, now time.Time) {
			h.count(now)
			h.learn(outcome{pass: pass{generation: h.generation, permit: true}, lesson: Refused, status: 429}, now, none)
		},
		"rationed": func(h *hold, now time.Time) {
			h.ration(ration{left: 1, refill: now.Add(20 * time.Second), near: true}, now)
		},
	} {
		for _, tt := range []struct {
			since time.Duration
			level int
		}{{grace - 1, 3}, {grace, 0}} {
			h := hold{level: 3, generation: 4, calm: start}
			leave(&h, start.Add(tt.since))
			if h.roll(start.Add(tt.since+countFor), none); h.phase == Healthy || h.level != tt.level {
				t.Errorf("%s %v after a hold: %v, level %d; want level %d", name, tt.since, h.phase, h.level, tt.level)
			}
		}
	}
}

// A rate is what was taken while there was somebody to send, also where the end of
// a count is found late.
func TestCountThatEndsLate(t *testing.T) {
	for _, late := range []time.Duration{0, countFor, time.Minute - 1, time.Hour} {
		tr := newTrace(t)
		tr.at(0, counts, "counted 0 of 0 until 500ms")
		tr.at(0, answered(100, 10), "counted 0 of 0 until 500ms")
		tr.h.roll(tr.start.Add(countFor+late), tr.jitter)
		if tr.h.phase != Paced || tr.h.rate < 100 || tr.h.rate > 200 {
			t.Errorf("%v late: %v at %v/s, want it paced at 100/s or more", late, tr.h.phase, tr.h.rate)
		}
	}
}
