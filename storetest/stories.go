package storetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
)

// rampAfter is a hold that is long enough for a ramp to follow.
const rampAfter = 3*hold.Slot + 10*ms

// probe brings the key into a hold and to its end, and takes the probe for a.
func (r *rig) probe() state {
	held := r.a.hint(rampAfter).Snapshot
	r.want(held, holdoff.Held, 0, "a hint")
	sleepPast(held.Until)
	s := r.a.exchange(report{Want: 1, Lease: 10 * time.Second})
	r.want(s, holdoff.Probing, 0, "after the hold")
	r.permits(s, 1, "after the hold")
	return s
}

// ramp brings the key to the first slot of a ramp, of which nothing is used.
func (r *rig) ramp() state {
	s := r.probe()
	s = r.a.exchange(report{Generation: s.Generation, Good: 1})
	r.want(s, holdoff.Ramping, 0, "a good probe")
	return s
}

// Whole stories of holds: the machine over the store.
var storyRules = []rule{
	{"a throttle: one hold for all, one probe, a ramp, and health", func(r *rig) {
		f := r.b.watch()
		defer f.stop()
		s := r.ramp()
		// A probe that has succeeded at once may be over before a store has read it.
		f.phase(holdoff.Held)
		for permits := 2; permits <= 8; permits *= 2 {
			end := s.Until
			half, rest := r.a.exchange(report{Want: permits / 2}), r.b.exchange(report{Want: 100})
			r.before(end)
			if half.Permits+rest.Permits != permits {
				r.fatalf("the slot grants %d and %d, want %d in all", half.Permits, rest.Permits, permits)
			}
			r.a.exchange(report{Generation: s.Generation, Good: half.Permits})
			r.b.exchange(report{Generation: s.Generation, Good: rest.Permits})
			r.before(end)
			sleepPast(end)
			s = r.b.exchange(report{})
			r.want(s, holdoff.Ramping, 0, "after a slot that was used")
		}
		sleepPast(s.Until)
		s = r.a.exchange(report{})
		r.want(s, holdoff.Healthy, 0, "after a slot that was not used")
		if s.Attempts != 0 || s.ServerDirected {
			r.fatalf("nothing is held against a key that has recovered: %+v", s)
		}
		f.phase(holdoff.Ramping)
		f.phase(holdoff.Healthy)
	}},
	{"of twenty replicas that ask at the end of a hold one probes", func(r *rig) {
		held := r.a.hint(rampAfter).Snapshot
		sleepPast(held.Until)
		var granted atomic.Int64
		r.together(20, func(i int) {
			s := r.pick(i).exchange(report{Replica: fmt.Sprintf("replica-%d", i), Call: 1, Want: 3, Lease: 10 * time.Second})
			granted.Add(int64(s.Permits))
		})
		if granted.Load() != 1 {
			r.fatalf("%d probes were granted, want 1", granted.Load())
		}
	}},
	{"a bad probe holds the key again, a level up and for longer", func(r *rig) {
		base := r.key
		for i, bad := range []report{{Refused: 1, Status: 429}, {Bad: 1, Status: 503}} {
			r.key = fmt.Sprintf("%s/%d", base, i)
			probe := r.probe()
			bad.Generation = probe.Generation
			s := r.a.exchange(bad)
			r.want(s, holdoff.Held, 1, "a bad probe")
			if s.Generation != probe.Generation+1 || s.ServerDirected || s.Status != bad.Status || s.Attempts != 2 || time.Until(s.Until) > time.Second+slack {
				r.fatalf("after a bad probe: %+v", s)
			}
			r.permits(r.b.exchange(report{Want: 1}), 0, "in the second hold")
		}
	}},
	{"the hint of a bad probe is how long the next hold lasts", func(r *rig) {
		probe := r.probe()
		asked := time.Now()
		s := r.a.exchange(report{Generation: probe.Generation, Refused: 1, Hint: 3 * time.Second, ServerDirected: true, Status: 429})
		if s.Phase != holdoff.Held || !s.ServerDirected {
			r.fatalf("a bad probe with a hint: %+v", s)
		}
		r.ends(s, asked.Add(3*time.Second), "the second hold")
		r.permits(r.b.exchange(report{Want: 1}), 0, "in the second hold")
	}},
	{"a lease that runs out lets the next replica probe, and a late success still counts", func(r *rig) {
		held := r.a.hint(rampAfter).Snapshot
		sleepPast(held.Until)
		lease := r.a.exchange(report{Want: 1, Lease: 300 * ms})
		r.permits(lease, 1, "the first that asks")
		s := r.b.exchange(report{Want: 1})
		r.before(lease.Until)
		r.permits(s, 0, "while the first has its lease")
		sleepPast(lease.Until)
		s = r.b.exchange(report{Want: 1, Lease: 10 * time.Second})
		r.want(s, holdoff.Probing, 0, "after the lease")
		r.permits(s, 1, "after the lease")
		r.permits(r.a.exchange(report{Want: 1}), 0, "while the second has its lease")
		r.want(r.a.exchange(report{Generation: lease.Generation, Good: 1}), holdoff.Ramping, 0, "a late good probe")
	}},
	{"a probe that was not made is for another replica", func(r *rig) {
		probe := r.probe()
		s := r.a.exchange(report{Generation: probe.Generation, Returned: 1})
		r.want(s, holdoff.Probing, 0, "a probe that is handed back")
		if left := time.Until(s.Until); left > hold.Slot+slack {
			r.fatalf("a probe that was handed back is leased for %v, want %v at most", left, hold.Slot)
		}
		sleepPast(s.Until)
		r.permits(r.b.exchange(report{Want: 1}), 1, "after it")
	}},
	{"an outage: failures of two replicas hold the key, and a good probe ends it", func(r *rig) {
		f := r.b.watch()
		defer f.stop()
		r.want(r.a.exchange(report{Failures: 19, Status: 503}), holdoff.Healthy, 0, "one replica fails")
		s := r.b.exchange(report{Failures: 1, Status: 502})
		r.want(s, holdoff.Held, 0, "twenty failures")
		if left := time.Until(s.Until); s.ServerDirected || left > 500*ms+slack {
			r.fatalf("a hold of %v by failures: %+v", left, s)
		}
		f.phase(holdoff.Held)
		sleepPast(s.Until)
		probe := r.b.exchange(report{Want: 1, Lease: 10 * time.Second})
		r.permits(probe, 1, "the probe")
		s = r.b.exchange(report{Generation: probe.Generation, Bad: 1, Status: 503})
		r.want(s, holdoff.Held, 1, "a bad probe")
		sleepPast(s.Until)
		probe = r.a.exchange(report{Want: 1, Lease: 10 * time.Second})
		s = r.a.exchange(report{Generation: probe.Generation, Good: 1})
		r.want(s, holdoff.Ramping, 1, "a good probe")
		sleepPast(s.Until)
		if s = r.b.exchange(report{}); s.Phase != holdoff.Healthy || s.Attempts != 0 {
			r.fatalf("after the ramp: %+v", s)
		}
	}},
	{"of many failures in flight one begins the next hold", func(r *rig) {
		ramp := r.ramp()
		r.a.exchange(report{Generation: ramp.Generation, Bad: 400, Status: 503})
		s := r.b.exchange(report{Generation: ramp.Generation, Bad: 400, Status: 503})
		r.before(ramp.Until)
		r.want(s, holdoff.Held, 1, "800 failures")
		if s.Generation != ramp.Generation+1 {
			r.fatalf("800 failures begin %d holds", s.Generation-ramp.Generation)
		}
	}},
	{"what is left of the generation before a hold does not end it", func(r *rig) {
		probe := r.probe()
		s := r.a.exchange(report{Generation: probe.Generation, Refused: 1, Status: 429})
		r.want(s, holdoff.Held, 1, "a bad probe")
		for _, late := range []report{{Good: 3}, {Bad: 9, Status: 500}, {Well: true}, {Returned: 1}} {
			late.Generation = probe.Generation
			got := r.b.exchange(late)
			if got.Phase != holdoff.Held || got.Level != 1 || got.Generation != s.Generation || got.Attempts != s.Attempts {
				r.fatalf("%+v changes the hold: %+v", late, got)
			}
		}
	}},
}
