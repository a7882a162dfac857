package hold

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// trace drives a hold by hand: what happens, when, and what the key is then.
// It uses no jitter unless told, and leases of one second.
type trace struct {
	t      *testing.T
	h      Machine
	start  time.Time
	passes map[string]Permit
	jitter func(time.Duration) time.Duration
}

const traceLease = time.Second

func newTrace(t *testing.T) *trace {
	return &trace{
		t: t, start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), passes: map[string]Permit{},
		jitter: func(time.Duration) time.Duration { return 0 },
	}
}

// at lets an event happen at d after the start, and compares the state.
func (tr *trace) at(d time.Duration, event func(*trace, time.Time) error, want string) {
	tr.t.Helper()
	err := event(tr, tr.start.Add(d))
	if err != nil {
		tr.t.Errorf("at %v: %v", d, err)
	}
	if got := tr.state(); got != want {
		tr.t.Fatalf("at %v: got %q, want %q", d, got, want)
	}
}

// state is the sentence: N sends until T.
func (tr *trace) state() string {
	switch h := &tr.h; h.phase {
	case Healthy:
		return "healthy"
	case Held:
		return fmt.Sprintf("held until %v, level %d", h.until.Sub(tr.start), h.level)
	default:
		return fmt.Sprintf("%v %d of %d until %v", h.phase, h.granted, h.permits, h.until.Sub(tr.start))
	}
}

// asks is a request, or several, each of which may send.
func asks(names ...string) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		for _, name := range names {
			p, ok := tr.h.grant(now, traceLease, uniform)
			if !ok {
				return fmt.Errorf("%s may not send, want leave", name)
			}
			tr.passes[name] = p
		}
		return nil
	}
}

// denied is a request that may not send.
func denied(tr *trace, now time.Time) error {
	if _, ok := tr.h.grant(now, traceLease, uniform); ok {
		return fmt.Errorf("got leave to send, want none")
	}
	return nil
}

// ends is what came of a request that asked before.
func ends(name string, lesson Lesson, hint time.Duration) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		p, ok := tr.passes[name]
		if !ok {
			return fmt.Errorf("%s never asked", name)
		}
		tr.h.Record(Result{Permit: p, Lesson: lesson, Hint: hint, Status: 503}, now, tr.jitter)
		return nil
	}
}

func good(name string) func(*trace, time.Time) error   { return ends(name, Good, 0) }
func failed(name string) func(*trace, time.Time) error { return ends(name, Failed, 0) }

// failures are n failures of requests that were let through.
func failures(n int) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		for range n {
			p, ok := tr.h.grant(now, traceLease, uniform)
			if !ok {
				return fmt.Errorf("may not send, want leave")
			}
			tr.h.Record(Result{Permit: p, Lesson: Failed, Status: 500}, now, tr.jitter)
		}
		return nil
	}
}

func passes(tr *trace, now time.Time) error {
	tr.h.Advance(now, tr.jitter)
	return nil
}

// held5 is a key that a hint holds from 0 to 5 s. "old" was sent before.
func held5(t *testing.T) *trace {
	t.Helper()
	tr := newTrace(t)
	tr.at(0, asks("old", "first"), "healthy")
	tr.at(0, ends("first", Refused, 5*time.Second), "held until 5s, level 0")
	return tr
}

// ramp5 is the same key after a good probe: it ramps from 5 s on.
func ramp5(t *testing.T) *trace {
	t.Helper()
	tr := held5(t)
	tr.at(5*time.Second, asks("probe"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, good("probe"), "ramping 0 of 2 until 5.1s")
	return tr
}

// A hint of 2 s or more holds, whoever got it and whatever the status was.
func TestHintOfTwoSecondsHolds(t *testing.T) {
	for _, lesson := range []Lesson{Refused, Failed} {
		tr := newTrace(t)
		tr.at(0, asks("a"), "healthy")
		tr.at(time.Second, ends("a", lesson, 2*time.Second), "held until 3s, level 0")
		tr.at(time.Second, denied, "held until 3s, level 0")
		tr.at(3*time.Second-1, denied, "held until 3s, level 0")
	}
}

// A hint below 2 s holds nobody, however often it is given.
func TestShortHintHoldsNobody(t *testing.T) {
	tr := newTrace(t)
	for range 3 * tripAfter {
		tr.at(0, asks("a"), "healthy")
		tr.at(0, ends("a", Refused, 2*time.Second-1), "healthy")
	}
}

// 20 failures hold a key, 19 don't, and a success between starts the count again.
func TestTwentyFailuresInARowHold(t *testing.T) {
	tr := newTrace(t)
	tr.at(0, asks("a"), "healthy")
	tr.at(0, failures(19), "healthy")
	tr.at(0, good("a"), "healthy")
	tr.at(0, failures(19), "healthy")
	tr.at(0, failures(1), "held until 500ms, level 0")
}

// A refusal without a hint is backpressure, not damage: it never trips a hold.
func TestRefusalsWithoutHintDoNotTrip(t *testing.T) {
	tr := newTrace(t)
	for range 3 * tripAfter {
		tr.at(0, asks("a"), "healthy")
		tr.at(0, ends("a", Refused, 0), "healthy")
	}
	tr.at(0, failures(19), "healthy")
	tr.at(0, failures(1), "held until 500ms, level 0")
}

// An outcome that teaches nothing neither counts as a failure nor as a success.
func TestNothingTeachesNothing(t *testing.T) {
	tr := newTrace(t)
	tr.at(0, asks("a"), "healthy")
	tr.at(0, failures(19), "healthy")
	for range tripAfter {
		tr.at(0, ends("a", Nothing, 0), "healthy")
	}
	tr.at(0, failures(1), "held until 500ms, level 0")
}

// Store case 5: holds that the server did not ask for double with each bad
// probe, up to 2 s.
func TestUnhintedHoldsDoubleUpToTheirCap(t *testing.T) {
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
func TestHoldJitterKeepsHalf(t *testing.T) {
	tr := newTrace(t)
	tr.jitter = func(d time.Duration) time.Duration { return d }
	tr.at(0, failures(20), "held until 250ms, level 0")
	tr.at(250*ms, asks("a"), "probing 1 of 1 until 1.25s")
	tr.at(250*ms, failed("a"), "held until 750ms, level 1")
	tr.at(750*ms, asks("b"), "probing 1 of 1 until 1.75s")
	tr.at(750*ms, ends("b", Failed, 7*time.Second), "held until 7.75s, level 2")
}

// Store case 8: a longer hint extends a hold, a shorter one never shortens it.
func TestLongerHintExtendsShorterNeverShortens(t *testing.T) {
	tr := held5(t)
	tr.at(1*time.Second, ends("old", Refused, 3*time.Second), "held until 5s, level 0")
	tr.at(1*time.Second, ends("old", Refused, 0), "held until 5s, level 0")
	tr.at(2*time.Second, ends("old", Refused, 8*time.Second), "held until 10s, level 0")
	tr.at(3*time.Second, ends("old", Refused, 7*time.Second), "held until 10s, level 0")
}

// Store case 7: of many failures in flight one escalates.
func TestFailuresInFlightEscalateOnce(t *testing.T) {
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

// Invariant ii: a hold ends with one probe per lease.
func TestOneProbePerLease(t *testing.T) {
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
func TestLateProbeIsHeard(t *testing.T) {
	tr := held5(t)
	tr.at(5*time.Second, asks("a"), "probing 1 of 1 until 6s")
	tr.at(6*time.Second, asks("b"), "probing 1 of 1 until 7s")
	tr.at(6500*ms, good("a"), "ramping 0 of 2 until 6.6s")
}

// A bad probe means the next hold: of the next level, or as long as the server says.
func TestBadProbeHoldsAgain(t *testing.T) {
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
func TestProbeHandedBackCutsItsLease(t *testing.T) {
	tr := held5(t)
	tr.at(5*time.Second, asks("a"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, ends("a", Nothing, 0), "probing 1 of 1 until 5.1s")
	tr.at(5*time.Second, denied, "probing 1 of 1 until 5.1s")
	tr.at(5100*ms, asks("b"), "probing 1 of 1 until 6.1s")
	tr.at(6050*ms, ends("b", Nothing, 0), "probing 1 of 1 until 6.1s")
}

// Invariant ii: a probe whose lease has run out has no lease to hand back. The
// one that runs now keeps its own.
func TestLapsedProbeHandsNothingBack(t *testing.T) {
	tr := held5(t)
	tr.at(5*time.Second, asks("a"), "probing 1 of 1 until 6s")
	tr.at(6*time.Second, asks("b"), "probing 1 of 1 until 7s")
	tr.at(6200*ms, ends("a", Nothing, 0), "probing 1 of 1 until 7s")
	tr.at(6500*ms, denied, "probing 1 of 1 until 7s")
}

// The ramp doubles while its permits are used and answered, and is over with
// the first slot of which less than half was used.
func TestRampDoublesAndEndsByDemand(t *testing.T) {
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
func TestRampGoesOnWhenHalfIsUsed(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a"), "ramping 1 of 2 until 5.1s")
	tr.at(5*time.Second, good("a"), "ramping 1 of 2 until 5.1s")
	tr.at(5100*ms, passes, "ramping 0 of 4 until 5.2s")
	tr.at(5200*ms, passes, "healthy")
}

// Where the answers are slower than the slots, increaseFactor waits for them.
func TestRampWaitsForAnswers(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5100*ms, asks("c", "d"), "ramping 2 of 2 until 5.2s")
	tr.at(5200*ms, asks("e", "f"), "ramping 2 of 2 until 5.3s")
	tr.at(5250*ms, good("a"), "ramping 2 of 2 until 5.3s")
	tr.at(5300*ms, passes, "ramping 0 of 4 until 5.4s")
}

// The doubling ends before it can overflow.
func TestRampIsBounded(t *testing.T) {
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
func TestRampPermitHandedBack(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5010*ms, ends("a", Nothing, 0), "ramping 1 of 2 until 5.1s")
	tr.at(5010*ms, asks("c"), "ramping 2 of 2 until 5.1s")
	tr.at(5010*ms, denied, "ramping 2 of 2 until 5.1s")
}

// A permit of a slot that is over can't be handed back in the next: that would
// let one more through than the slot allows.
func TestPermitOfAnEarlierSlotIsNotHandedBack(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5100*ms, asks("c", "d"), "ramping 2 of 2 until 5.2s")
	tr.at(5150*ms, ends("a", Nothing, 0), "ramping 2 of 2 until 5.2s")
	tr.at(5150*ms, denied, "ramping 2 of 2 until 5.2s")
}

// A refusal in the ramp paces the key at what it took a slot ago.
func TestRefusalEndsTheRamp(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a", "b"), "ramping 2 of 2 until 5.1s")
	tr.at(5010*ms, ends("a", Refused, 0), "paced 0 of 10 until 6.01s")
}

// A hint in the ramp holds for what it says.
func TestHintEndsTheRamp(t *testing.T) {
	tr := ramp5(t)
	tr.at(5*time.Second, asks("a"), "ramping 1 of 2 until 5.1s")
	tr.at(5*time.Second, ends("a", Failed, 4*time.Second), "held until 9s, level 1")
}

// A failure in the ramp may be one path's own. Four of them, and more than twice
// the successes, are the host's.
func TestFailuresEndTheRampByMajority(t *testing.T) {
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

// Case 51: what was sent before a hold says nothing of the time since, in any
// phase. A success does not clear the hold.
// Store case 10: neither does it make a probe or a ramp go on.
func TestStaleSuccessTeachesNothing(t *testing.T) {
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

// Store case 11: a late failure from before the hold teaches nothing, unless
// the server's word is in it.
func TestStaleFailureCountsOnlyWithHint(t *testing.T) {
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

// Store case 9: a relapse within a minute goes on with the next level; after
// that the levels start again.
func TestRelapseWithinGraceGoesOn(t *testing.T) {
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
func TestHoldThatNobodyAsksAboutIsForgotten(t *testing.T) {
	tr := held5(t)
	tr.at(65*time.Second-1, asks("probe"), fmt.Sprintf("probing 1 of 1 until %v", 66*time.Second-1))
	tr = held5(t)
	tr.at(65*time.Second, asks("a"), "healthy")
	if !tr.h.IsHealthy() {
		t.Errorf("got %d failed attempts after the hold was forgotten, want 0", tr.h.attempts)
	}
}

// Invariant vii: until is monotone while a key is held. Invariant ii: at most
// one probe per lease. Both, and what holds in every phase, under random events.
func TestHoldInvariantsUnderRandomEvents(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		jitter := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d) + 1)) }
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var h Machine
		var out []Permit
		var nextProbe time.Time     // no probe of this hold before that
		var silence time.Time       // no send before that: the hints that were heard
		round, sent := uint64(0), 0 // permits that are out in this slot
		for step := range 2000 {
			now = now.Add(time.Duration(rng.Int64N(int64([]time.Duration{1, ms, 60 * ms, time.Second}[rng.IntN(4)]))))
			if rng.IntN(400) == 0 {
				now = now.Add(2 * Grace)
			}
			before := h
			what := "ask"
			if rng.IntN(2) == 0 || len(out) == 0 {
				lease := time.Duration(1+rng.IntN(3)) * time.Second
				p, ok := h.grant(now, lease, uniform)
				if ok {
					out = append(out, p)
					if now.Before(silence) {
						t.Fatalf("seed %d, step %d: a send %v before the hint is over", seed, step, silence.Sub(now))
					}
				}
				switch {
				case ok && h.phase == Probing:
					if before.generation == h.generation && before.phase == Probing && now.Before(nextProbe) {
						t.Fatalf("seed %d, step %d: a second probe %v before the lease is over", seed, step, nextProbe.Sub(now))
					}
					nextProbe = now.Add(lease)
				case ok && h.phase == Ramping:
					if p.Round != round {
						round, sent = p.Round, 0
					}
					if sent++; sent > h.permits {
						t.Fatalf("seed %d, step %d: %d sends in a slot of %d permits", seed, step, sent, h.permits)
					}
				}
			} else {
				i := rng.IntN(len(out))
				o := Result{Permit: out[i], Lesson: []Lesson{Nothing, Good, Good, Good, Refused, Failed, Failed, Unreachable}[rng.IntN(8)], Status: 500}
				out = append(out[:i], out[i+1:]...)
				if o.Lesson >= Refused && rng.IntN(4) == 0 {
					o.Hint = time.Duration(rng.Int64N(int64(8 * time.Second)))
				}
				what = fmt.Sprintf("%v, hint %v", o.Lesson, o.Hint)
				h.Record(o, now, jitter)
				if o.Hint >= MinHold {
					if end := now.Add(o.Hint); end.After(silence) {
						silence = end
					}
				}
				if o.Lesson == Nothing && o.Limited && o.Round == h.round {
					switch soon := now.Add(Slot); {
					case h.phase == Ramping:
						sent--
					case h.phase == Probing && soon.Before(nextProbe):
						nextProbe = soon
					}
				}
			}
			rolled := before
			rolled.Advance(now, uniform)
			switch {
			case before.phase == Held && h.phase == Held && rolled.phase == Held && h.until.Before(rolled.until):
				t.Fatalf("seed %d, step %d (%s): until went back by %v", seed, step, what, rolled.until.Sub(h.until))
			case h.phase == Held && h.until.Before(silence):
				t.Fatalf("seed %d, step %d (%s): held until %v before the hint ends", seed, step, what, silence.Sub(h.until))
			case h.granted > h.permits || h.granted < 0:
				t.Fatalf("seed %d, step %d (%s): %d of %d permits granted", seed, step, what, h.granted, h.permits)
			case h.generation < before.generation:
				t.Fatalf("seed %d, step %d (%s): generation went back", seed, step, what)
			case h.generation > before.generation+1:
				t.Fatalf("seed %d, step %d (%s): %d holds from one outcome", seed, step, what, h.generation-before.generation)
			case h.phase == Probing && h.permits != 1:
				t.Fatalf("seed %d, step %d (%s): %d probes at once", seed, step, what, h.permits)
			}
		}
	}
}

// What has failed before may fail by itself: it ends no ramp, and lets none
// grow.
func TestRetriesThatFailDoNotMoveTheRamp(t *testing.T) {
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
