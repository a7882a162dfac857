package hold

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The end of a hold is monotone while a key is held, and there is at most
// one probe per lease. Both, and what holds in every phase, under random events.
func TestMachine_KeepsInvariantsUnderRandomEvents(t *testing.T) {
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
