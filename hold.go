package holdoff

import "time"

// A Phase is where a key is in the course of a hold.
type Phase int

const (
	Healthy  Phase = iota // everybody sends
	Held                  // nobody sends
	Probing               // one request tries whether the host is well
	Ramping               // permits grow, slot by slot, until demand is met
	Counted               // everybody sends, and what is refused is counted
	Paced                 // as many as the server has shown to take
	Rationed              // what is left of a quota, spread over its time
)

// String returns the phase in a word.
func (p Phase) String() string {
	return wordOf("phase", int(p), "healthy", "held", "probing", "ramping", "counted", "paced", "rationed")
}

const (
	// minHold is the shortest hint that holds others than the request that got
	// it. A server that refuses its surplus for a moment (a token bucket) is
	// not in need of silence, and silence would waste what it can do.
	minHold = 2 * time.Second
	// tripAfter is how many failures with no success between hold a key without
	// the server's word. At 5, a host that fails 30 % at random is held most of
	// the time; at 20, never, and an outage is still caught.
	tripAfter = 20
	// A hold that the server did not ask for is short, because one probe per
	// hold, whatever the size of the fleet, costs the host nothing.
	holdBase = 500 * time.Millisecond
	holdCap  = 2 * time.Second
	// slot is the ramp's unit of time: permits are granted per slot.
	slot = 100 * time.Millisecond
	// grace is how long a key that got well is remembered: a relapse within it
	// goes on with the next level.
	grace = time.Minute
	// maxPermits ends the doubling where it could overflow.
	maxPermits = 1 << 20
)

// hold is the state of one key, of one process or of the fleet, and it is one
// sentence: N sends until T.
//
//	phase     N                   T                 at T
//	healthy   no bound            -                 -
//	held      0                   end of the hint,  probing, when somebody asks
//	                              or the refill
//	probing   1                   end of the lease  another probe, when somebody asks
//	ramping   twice before        end of the slot   healthy if less than half was used; rationed where
//	                                                the next slot would use up a quota; held if nothing
//	                                                was taken
//	counted   no bound            half a second,    paced if much was refused, held if all was, else
//	                              or one answer     healthy
//	paced     what it has taken   end of the slot   a little more, or what was taken; ramping if less
//	                                                than half was used, held if all was refused
//	rationed  a slot's share of   end of the slot   the next share; ramping if less than half was
//	          what a quota has                      used; held when there is none, until it is refilled
//
// It knows no clock, no lock and no network: its methods are told the time.
// The zero value is a healthy key. A process without a store runs one per key;
// a store runs one per key for the fleet, and then that of a process is its
// share of it: N is what the process was granted, and what comes at T is asked
// for (shared).
type hold struct {
	phase   Phase
	permits int       // N
	granted int       // how many of them are taken
	until   time.Time // T
	shared  bool      // the fleet's: it moves on by what the store says
	word    bool      // it rests on the server's own word

	generation uint64 // counts holds and countings: what an older one sent teaches little
	round      uint64 // counts slots and leases: permits of an older one can't be handed back
	level      int    // how often in a row a hold was followed by another
	good, bad  int    // what this slot's permits have told of the host

	attempts int       // failed attempts since the key was last well
	failures int       // those of them that count towards tripAfter
	status   int       // the last of their status codes
	calm     time.Time // when the key last got well

	witnesses int // replicas that reported failures
	quorum    int // how many of them it takes to hold the key without the server's word

	pacing
}

// pass is the leave to send once.
type pass struct {
	generation uint64 // of the hold at the time of sending
	round      uint64 // of a permit
	retry      bool   // the request has failed before: it may fail by itself
	permit     bool   // it is one of the N, and its outcome is waited for
}

// outcome is what came of a send.
type outcome struct {
	pass
	lesson Lesson
	hint   time.Duration // how long the server asked for, cut to MaxHold
	word   bool          // the hint holds others, though less than minHold may be left of it
	status int
	ration      // of a quota
	told   bool // there is such a ration
}

// well reports whether the key is healthy and nothing is held against it.
func (h *hold) well() bool { return h.phase == Healthy && h.attempts == 0 }

// free reports whether everybody may send.
func (h *hold) free() bool { return h.phase == Healthy || h.phase == Counted }

// slotted reports whether the key is in a phase of which somebody has to find the
// end, also where nobody waits.
func (h *hold) slotted() bool { return h.phase >= Ramping }

// moved reports whether the hold is another one than before for those who wait.
// A hold that grows by less than a slot is not: of many refusals in flight each
// is a little later than the one before.
func (h *hold) moved(before hold) bool {
	grown := h.until.Sub(before.until)
	return h.phase != before.phase || (grown != 0 && !h.spaced() && !(h.phase == Held && 0 < grown && grown < slot))
}

// grant gives leave for one send, or says no. lease is how long a probe may
// take before another is sent.
func (h *hold) grant(now time.Time, lease time.Duration) (pass, bool) {
	h.roll(now, uniform)
	if h.phase == Held && !now.Before(h.until) && !h.shared {
		h.enter(Probing, 1, now)
	}
	switch h.phase {
	case Healthy:
		return pass{generation: h.generation}, true
	case Counted:
		return pass{generation: h.generation, round: h.round, permit: true}, !h.shared || now.Before(h.until)
	}
	if h.granted >= h.permits || (h.shared && !now.Before(h.until)) {
		h.unmet = now
		return pass{}, false
	}
	if h.phase == Probing && !h.shared {
		h.until = now.Add(lease)
	}
	h.granted++
	return pass{generation: h.generation, round: h.round, permit: true}, true
}

// roll moves the key over a T that has passed.
func (h *hold) roll(now time.Time, jitter func(time.Duration) time.Duration) {
	if h.phase == Healthy || h.shared || now.Before(h.until) {
		return
	}
	switch h.phase {
	case Held:
		if now.Sub(h.until) >= grace {
			h.recover(now) // nobody has asked since: this is history
		}
	case Counted, Paced:
		h.pace(now, jitter)
	case Rationed:
		h.shareOut(now)
	case Probing:
		h.granted = 0 // the lease ran out: the prober is gone, or slower than that
		h.round++
	case Ramping:
		switch {
		case h.shut():
			h.begin(outcome{hint: h.asked.Sub(now)}, false, now, jitter)
		case 2*h.granted < h.permits:
			h.recover(now) // demand is met
		case h.scarce(now):
			if !now.Before(h.refill) {
				h.refill = now.Add(quotaSlack) // a share of it only: it may come at any time
			}
			h.nextShare(now)
		case 2*(h.good+h.bad) >= h.permits:
			h.enter(Ramping, min(2*h.permits, maxPermits), now.Add(slot))
		default:
			// The answers are slower than the slots. Growth waits for them.
			h.enter(Ramping, h.permits, now.Add(slot))
		}
	}
}

// handBack returns a permit that was not used, or whose result won't be known.
// A probe's lease is cut short, but not to nothing: were the request sent and
// its caller gone, the next probe must not follow on its heels.
func (h *hold) handBack(now time.Time) {
	if h.phase != Probing {
		h.granted = max(h.granted-1, 0)
		return
	}
	if soon := now.Add(slot); soon.Before(h.until) {
		h.until = soon
	}
}

func (h *hold) recover(now time.Time) {
	h.enter(Healthy, 0, time.Time{})
	h.forget()
	h.shared, h.word = false, false
	h.calm = now
}

// stir begins a new generation of a key that may be healthy. What it went through
// before a long calm is forgotten.
func (h *hold) stir(now time.Time) {
	if h.phase == Healthy && (h.calm.IsZero() || now.Sub(h.calm) >= grace) {
		h.level = 0
	}
	h.generation++
}

// forget drops what was held against a key that is well.
func (h *hold) forget() {
	h.attempts, h.failures, h.witnesses, h.status = 0, 0, 0, 0
}

func (h *hold) enter(p Phase, permits int, until time.Time) {
	h.phase, h.permits, h.granted, h.good, h.bad, h.until = p, permits, 0, 0, 0, until
	h.round++
}

// part goes on without the fleet. Who had no permit of the probe or the slot
// is the next to probe, at T; and what a server takes of this process alone is
// to be found anew, from little: there may be a line.
func (h *hold) part(now time.Time) {
	h.shared = false
	switch {
	case h.phase == Paced || h.phase == Rationed:
		h.enter(Ramping, 2, now.Add(slot))
	case h.permits == 0 && (h.phase == Probing || h.phase == Ramping):
		h.enter(Probing, 1, h.until)
		h.granted = 1
	}
}
