package holdoff

import "time"

// What the outcome of a send teaches a hold.

// learn takes in what came of a send. jitter spreads a hold that the server
// did not measure: it returns a duration in [0, d].
func (h *hold) learn(o outcome, now time.Time, jitter func(d time.Duration) time.Duration) {
	mine := o.permit && o.generation == h.generation
	if o.told && o.generation == h.generation {
		defer h.ration(o.ration, now)
	}
	o.word = o.word || o.hint >= minHold
	if o.lesson == Good {
		// Before the roll: what is known by the time that somebody looks at a
		// slot belongs to it.
		h.learnGood(o, mine, now)
		return
	}
	h.roll(now, jitter)
	switch {
	case o.lesson != Nothing:
		h.learnBad(o, mine, now, jitter)
	case mine && o.round == h.round:
		h.handBack(now)
	}
}

func (h *hold) learnGood(o outcome, mine bool, now time.Time) {
	switch {
	case o.generation != h.generation:
		// It was sent before the hold, and says nothing of the time since.
	case h.phase == Healthy:
		h.forget()
	case h.phase == Probing && mine:
		h.refill = time.Time{} // what was known of a quota is history
		h.enter(Ramping, 2, now.Add(slot))
	case mine && h.phase >= Ramping:
		h.good++
		h.failures = 0
		if o.retry && h.phase == Paced {
			h.cured++
		}
	}
}

func (h *hold) learnBad(o outcome, mine bool, now time.Time, jitter func(time.Duration) time.Duration) {
	if o.generation != h.generation && !o.word {
		return // late news from before a hold
	}
	h.attempts++
	h.status = o.status
	switch {
	case h.phase == Held:
		// Of many failures in flight one has escalated. A longer hint extends.
		if end := now.Add(o.hint); o.word && end.After(h.until) {
			h.until, h.word = end, true
		}
	case o.word:
		// The server's word counts whenever it was said.
		h.begin(o, o.generation == h.generation, now, jitter)
	case h.phase == Healthy && o.lesson == Refused:
		// Backpressure is not damage.
	case h.phase == Healthy:
		h.failures++
		if h.failures >= tripAfter && h.witnesses >= h.quorum {
			h.begin(o, true, now, jitter)
		}
	case !mine:
	case h.phase == Probing:
		h.begin(o, true, now, jitter)
	case o.lesson == Refused:
		h.refused(o, now)
	case h.phase == Ramping:
		// A failure may be one path's own, and a ramp that ended at each would
		// never end well for a host with a broken path. What has failed before
		// tells nothing new: it gathers at the end of the line, and would end the
		// ramp there.
		if !o.retry {
			h.bad++
		}
		if h.bad > 3 && h.bad > 2*h.good {
			h.begin(o, true, now, jitter)
		}
	default:
		h.fail(o, now, jitter)
	}
}

// fail holds a key that has failed often enough with no success between.
func (h *hold) fail(o outcome, now time.Time, jitter func(time.Duration) time.Duration) {
	h.failures++
	if h.failures >= tripAfter {
		h.begin(o, true, now, jitter)
	}
}

// begin starts a hold, or the next one.
func (h *hold) begin(o outcome, escalate bool, now time.Time, jitter func(time.Duration) time.Duration) {
	switch {
	case h.phase == Healthy && (h.calm.IsZero() || now.Sub(h.calm) >= grace):
		h.level = 0
	case escalate:
		h.level++
	}
	d := doubled(holdBase, h.level, holdCap)
	d = max(d-jitter(d/2), o.hint)
	h.generation++
	h.failures = 0
	h.enter(Held, 0, now.Add(d))
	h.word, h.shared = o.word, false
}
