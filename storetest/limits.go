package storetest

import (
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// paced brings the key to the first slot of a pace, of which nothing is used: of two
// hundred requests in half a second half were accepted.
func (r *rig) paced() state {
	counted := r.a.exchange(report{Refusals: 1, Status: 429})
	r.want(counted, holdoff.Counted, 0, "refusals")
	r.a.exchange(report{Generation: counted.Generation, Good: 50, Refused: 60, Status: 429})
	r.b.exchange(report{Generation: counted.Generation, Good: 50, Refused: 40, Status: 429})
	r.before(counted.Until)
	sleepPast(counted.Until)
	s := r.b.exchange(report{})
	r.want(s, holdoff.Paced, 0, "after counting")
	if s.Generation != counted.Generation+1 || s.Rate < 100 || s.Rate > 200 {
		r.fatalf("a hundred were accepted in half a second or a little more: %+v", s)
	}
	return s
}

// Whole stories of limits: the machine over the store.
var limitStoryRules = []rule{
	{"refusals have all results counted, and few of them end well", func(r *rig) {
		begun := time.Now()
		s := r.a.exchange(report{Refusals: 1, Status: 429})
		r.before(begun.Add(slack))
		r.want(s, holdoff.Counted, 0, "refusals")
		r.ends(s, time.Now().Add(500*ms), "the measurement")
		end := s.Until
		r.a.exchange(report{Generation: s.Generation, Good: 60})
		r.b.exchange(report{Generation: s.Generation, Good: 40, Refused: 5, Status: 429})
		r.before(end)
		r.want(r.b.exchange(report{Refusals: 1}), holdoff.Counted, 0, "more refusals")
		sleepPast(end)
		r.want(r.a.exchange(report{}), holdoff.Healthy, 0, "five of a hundred refused")
		r.want(r.a.exchange(report{Refusals: 1, Status: 429}), holdoff.Healthy, 0, "refusals again")
	}},
	{"a server that refuses its surplus is paced at the rate that it accepts", func(r *rig) {
		s := r.paced()
		end := s.Until
		a, b := r.a.exchange(report{Want: 4, Patience: time.Second}), r.b.exchange(report{Want: 256, Patience: time.Second})
		r.before(end)
		if n := float64(a.Permits + b.Permits); n < s.Rate*0.95 || n > s.Rate*1.1+1 || a.Permits != 4 {
			r.fatalf("%d and %d turns of a second, at %v a second: %+v", a.Permits, b.Permits, s.Rate, b)
		}
		r.a.exchange(report{Generation: s.Generation, Good: 9, Refused: 3, Status: 429})
		r.before(end)
		sleepPast(end)
		next := r.b.exchange(report{Want: 256})
		r.want(next, holdoff.Paced, 0, "after refusals")
		if next.Rate >= s.Rate || next.Rate < 0.74*s.Rate {
			r.fatalf("%v per second after refusals, want less than %v", next.Rate, s.Rate)
		}
	}},
	{"a pace that is used up grows, and an unused one ends", func(r *rig) {
		s := r.paced()
		used := r.a.exchange(report{Want: 256})
		r.a.exchange(report{Generation: s.Generation, Good: used.Permits})
		r.before(s.Until)
		sleepPast(s.Until)
		grown := r.b.exchange(report{})
		if grown.Phase != holdoff.Paced || !near(grown.Rate, 1.05*s.Rate) {
			r.fatalf("%v per second after %v that were used up", grown.Rate, s.Rate)
		}
		sleepPast(used.Until.Add(time.Second)) // no replica was denied for a second
		s = r.b.exchange(report{})
		if s.Phase == holdoff.Paced {
			sleepPast(s.Until)
			s = r.b.exchange(report{})
		}
		r.want(s, holdoff.Ramping, 0, "an unused slot")
		sleepPast(s.Until)
		r.want(r.a.exchange(report{}), holdoff.Healthy, 0, "an unused ramp")
	}},
	{"a pace ends where demand is below it, though replicas ask as each slot ends", func(r *rig) {
		s := r.paced()
		begun := time.Now()
		for s.Phase == holdoff.Paced {
			if time.Since(begun) > 5*time.Second {
				r.fatalf("paced still, five seconds after demand has fallen to a tenth: %+v", s)
			}
			sleepPast(s.Until)
			s = r.a.exchange(report{Want: 1})
			r.permits(s, 1, "one of the slot")
			r.a.exchange(report{Generation: s.Generation, Good: 1})
		}
		r.want(s, holdoff.Ramping, 0, "demand is below the pace")
	}},
	{"a server that accepts nothing is held for as long as it asked", func(r *rig) {
		s := r.a.exchange(report{Refusals: 1, Status: 429})
		asked := time.Now().Add(1500 * ms)
		r.b.exchange(report{Generation: s.Generation, Refused: 6, Hint: 1500 * ms, Status: 429})
		r.before(s.Until)
		sleepPast(s.Until)
		held := r.a.exchange(report{Want: 1})
		r.want(held, holdoff.Held, 0, "nothing is accepted")
		r.ends(held, asked, "the hold")
		if held.ServerDirected || held.Generation != s.Generation+1 {
			r.fatalf("a hold that the server did not ask for: %+v", held)
		}
	}},
	{"a refusal in a ramp paces the key at what was accepted before", func(r *rig) {
		s := r.ramp()
		r.permits(r.a.exchange(report{Want: 2}), 2, "the first slot")
		r.a.exchange(report{Generation: s.Generation, Good: 2})
		r.before(s.Until)
		sleepPast(s.Until)
		s = r.a.exchange(report{Want: 4})
		r.permits(s, 4, "the second slot")
		end := s.Until
		s = r.a.exchange(report{Generation: s.Generation, Refused: 1, Status: 429})
		r.before(end)
		r.want(s, holdoff.Paced, 0, "a refusal in a slot of four")
		if s.Rate != 20 {
			r.fatalf("%v per second, want 20", s.Rate)
		}
	}},
	{"a quota that is nearly used up is shared out until its reset", func(r *rig) {
		r.want(r.a.exchange(report{Remaining: 100, ResetIn: 10 * time.Second}), holdoff.Healthy, 0, "a quota")
		s := r.a.exchange(report{Remaining: 100, ResetIn: 10 * time.Second, NearExhaustion: true})
		r.want(s, holdoff.Rationed, 0, "a quota that is nearly used up")
		if !near(s.Rate, 10) {
			r.fatalf("%v per second, want ten", s.Rate)
		}
		r.ends(s, time.Now().Add(time.Second), "the slot")
		a, b := r.a.exchange(report{Want: 3, Patience: time.Minute}), r.b.exchange(report{Want: 200, Patience: time.Minute})
		r.before(s.Until)
		if a.Permits != 3 || b.Permits != 97 {
			r.fatalf("%d and %d turns, want 3 and 97 of the hundred", a.Permits, b.Permits)
		}
		sleepPast(s.Until)
		s = r.b.exchange(report{Want: 100, Patience: time.Minute})
		r.want(s, holdoff.Rationed, 0, "the next share")
		r.permits(s, 0, "of a quota of which all is handed out")
	}},
	{"a quota that is used up holds the key until its reset", func(r *rig) {
		reset := time.Now().Add(600 * ms)
		s := r.a.exchange(report{Remaining: 10, ResetIn: 600 * ms, NearExhaustion: true})
		generation := s.Generation
		r.permits(r.a.exchange(report{Want: 1}), 1, "the slot")
		r.b.exchange(report{Generation: generation, Remaining: 0, ResetIn: time.Until(reset)})
		r.permits(r.b.exchange(report{Want: 5}), 0, "where nothing remains")
		sleepPast(s.Until)
		s = r.a.exchange(report{Want: 1})
		if s.Phase == holdoff.Held {
			r.ends(s, reset, "the hold")
			if s.ServerDirected || s.Generation != generation+1 {
				r.fatalf("a hold until the reset: %+v", s)
			}
			sleepPast(s.Until)
			s = r.a.exchange(report{Want: 5})
		}
		r.want(s, holdoff.Probing, 0, "after the reset")
		r.permits(s, 1, "after the reset")
	}},
	{"a refusal, or numbers that contradict each other, end a share of a quota", func(r *rig) {
		s := r.a.exchange(report{Remaining: 100, ResetIn: 10 * time.Second, NearExhaustion: true})
		r.permits(r.a.exchange(report{Want: 1}), 1, "the slot")
		r.a.exchange(report{Generation: s.Generation, Refused: 1, Status: 429})
		r.permits(r.b.exchange(report{Want: 9}), 0, "after a refusal")
		r.before(s.Until)
		sleepPast(s.Until)
		held := r.b.exchange(report{Want: 9})
		r.want(held, holdoff.Held, 0, "after the slot")
		if left := time.Until(held.Until); left < 8*time.Second {
			r.fatalf("held for %v, and the reset is in 9 s", left)
		}
		r.key += "x"
		s = r.a.exchange(report{Remaining: 100, ResetIn: 10 * time.Second, NearExhaustion: true})
		r.want(r.b.exchange(report{Generation: s.Generation, Inconsistent: true}), holdoff.Ramping, 0, "numbers that contradict each other")
		r.key += "x"
		r.want(r.b.exchange(report{Inconsistent: true}), holdoff.Healthy, 0, "such numbers of a healthy key")
	}},
	{"a host that answers late is counted and paced for longer", func(r *rig) {
		begun := time.Now()
		s := r.a.exchange(report{Refusals: 1, Status: 429, Lease: 4 * time.Second})
		r.before(begun.Add(slack))
		r.want(s, holdoff.Counted, 0, "refusals")
		r.ends(s, time.Now().Add(time.Second), "the measurement")
		r.a.exchange(report{Generation: s.Generation, Good: 100, Refused: 10, Status: 429})
		r.before(s.Until)
		sleepPast(s.Until)
		s = r.b.exchange(report{Lease: 4 * time.Second})
		if s.Phase != holdoff.Paced || s.Rate < 80 || s.Rate > 101 || time.Until(s.Until) < 10*hold.Slot-2*slack {
			r.fatalf("%+v, want a hundred in slots of a second", s)
		}
	}},
}
