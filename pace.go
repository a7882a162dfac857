package holdoff

import (
	"math"
	"time"
)

// How a server that refuses its surplus is fed at its own rate, and how a quota
// is made to last.

const (
	// surplus is how many refusals of a healthy key a process meets in a row
	// before it makes them known; each success earns a tenth of one back. What is
	// refused less often than that is left to retries.
	surplus = 3
	// countFor is how long sends are counted to find what a server takes.
	countFor = 500 * time.Millisecond
	// countAgain is how long a key is not counted that counting or pacing did not
	// help; twice as long each time, up to vainly times.
	countAgain = 4 * time.Second
	vainly     = 5
	// inVainAfter is how many refusals of retries tell that pacing does not help: it
	// is those requests that are refused, whatever the rate. Each retry that is taken
	// outweighs cureWeighs of them, slot by slot.
	inVainAfter = 5
	cureWeighs  = 3
	// quietFor is how long a rate stays as it is after a refusal. Without it, a
	// rate that grows again at once refuses more than no pacing would.
	quietFor = time.Second
	// metAfter is how long nobody is denied before demand is taken to be met: longer
	// than those who were denied sit out.
	metAfter = time.Second
	// growth is the share by which the rate grows from slot to slot while it is
	// used up; twice that for each time of bolderAfter slots in which nothing was
	// refused, and at most all of it: a limit that was lifted is not to be felt for
	// minutes.
	growth      = 0.05
	bolderAfter = 6
	// perSlot is for how many sends a slot is made, as far as slot and maxSlot
	// allow: fewer than that would teach little.
	perSlot = 10
	maxSlot = 2 * time.Second
	minRate = 0.1 // sends per second
	maxRate = maxPermits * float64(time.Second/slot)
	// closed is how many refusals of a slot that took nothing tell that a server
	// takes nothing for a while; or all of the slot's permits, if they are fewer. A
	// counted key has none: there one tells.
	closed = 5
)

// pacing is what a hold knows of the rate that a server takes.
type pacing struct {
	rate  float64 // sends per second that are granted
	proof float64 // the proven rate: it follows a rate that is not refused, by growth a slot
	// quiet is before what time the rate does not grow, and a healthy key isn't
	// counted. The longer ago it is, the bolder the rate grows.
	quiet time.Time
	vain  int // how often in a row pacing did not help
	// What became of those permits of a pace that went to retries: how many were
	// refused, less cureWeighs for each that was taken, up to this slot, and how
	// many were taken in it.
	stubborn, cured int
	// latency is how long the host takes to answer, if that is long: what a
	// slot teaches is not known before.
	latency time.Duration
	asked   time.Time // when the refusals of a counted or paced key, or of its ramp, said to come back
	unmet   time.Time // when permits were last wanting
	from    time.Time // since when this slot's permits may be used, one by one

	left   int       // of a quota, beyond this slot's permits
	refill time.Time // when that quota is refilled; zero where none is known
}

// ration is what an answer said of a quota.
type ration struct {
	left   int
	refill time.Time
	near   bool // it will be used up before all have heard of it
	lies   bool // the numbers contradict each other
}

// spaced reports whether the permits of a slot are spread over it: a server that
// takes so many in a slot may not take them at once.
func (h *hold) spaced() bool { return h.phase == Paced || h.phase == Rationed }

// due returns when the next permit of a slot may be used.
func (h *hold) due() time.Time {
	if !h.spaced() || h.granted >= h.permits {
		return h.until
	}
	return h.from.Add(time.Duration(float64(h.until.Sub(h.from)) * float64(h.granted) / float64(h.permits)))
}

// count lets everybody send for a while, to find out what the server takes.
func (h *hold) count(now time.Time) {
	if h.phase != Healthy || now.Before(h.quiet) {
		return
	}
	h.stir(now)
	h.failures = 0
	h.enter(Counted, 0, now.Add(max(countFor, h.latency)))
}

// pace sets the next slot by what the last one has taught.
func (h *hold) pace(now time.Time, jitter func(time.Duration) time.Duration) {
	length := max(countFor, h.latency)
	if h.phase == Paced {
		length = h.slotLength()
	}
	h.stubborn, h.cured = max(h.stubborn-cureWeighs*h.cured, 0), 0
	// Where nobody has looked for long, nobody was there to send.
	taken := float64(h.good) / (length + min(now.Sub(h.until), length)).Seconds()
	switch {
	case h.phase == Counted && 20*h.bad <= h.good:
		calm := h.calm // it was well all the time
		h.inVain(now)
		h.recover(now)
		h.calm = calm
	case h.shut():
		h.begin(outcome{hint: h.asked.Sub(now)}, false, now, jitter)
	case h.phase == Counted:
		h.generation++ // what is refused from now on is refused at that rate
		h.paceAt(taken, now)
		h.quiet = now // news travels: more was taken than was heard of
	case h.bad > 0:
		// To what it took, or to the share that it took, since a slot may be late;
		// but not by more than a quarter, since what comes in during a slot was not
		// all sent in it, unless the rate was more than that above the proven one.
		taken = max(taken, h.rate*float64(h.good)/float64(h.good+h.bad))
		h.rate = max(min(h.rate, taken), min(h.rate*3/4, h.proof), minRate)
		h.quiet = now.Add(quietFor + 2*h.latency)
		if h.rate < h.proof/4 || h.stubborn >= inVainAfter {
			// It is not the rate. A path, or one of those who share the key, has a
			// limit of its own.
			h.inVain(now)
			h.toRamp(now)
			return
		}
		h.nextSlot(now)
	case h.met(now):
		h.vain = 0
		h.toRamp(now) // which ends where demand is met
	default:
		if !now.Before(h.quiet) {
			// A bucket that is full takes for a while what it will not for long.
			h.proof = min(h.rate, h.proof*(1+growth))
			h.grow(now)
		}
		h.nextSlot(now)
	}
}

// grow raises a rate that was used up, but for a permit or two that came too late
// for the slot.
func (h *hold) grow(now time.Time) {
	if 20*h.granted < 19*h.permits || now.Sub(h.until) >= h.slotLength() {
		h.quiet = now // nothing was learned of more: it begins anew
		return
	}
	clean := int(now.Sub(h.quiet) / h.slotLength())
	h.rate = min(h.rate*(1+min(math.Ldexp(growth, clean/bolderAfter), 1)), maxRate)
}

// shut reports whether it is not the rate that is refused: nothing is taken for a
// while, as where a quota is used up.
func (h *hold) shut() bool { return h.good == 0 && h.bad >= min(h.permits, closed) }

// met reports whether a slot has granted all that was asked for. Who was denied
// may sit out a few slots before asking again.
func (h *hold) met(now time.Time) bool {
	return 2*h.granted < h.permits && now.Sub(h.unmet) >= metAfter
}

// inVain leaves a key alone for a while that pacing does not help.
func (h *hold) inVain(now time.Time) {
	h.quiet = now.Add(countAgain << min(h.vain, vainly))
	h.vain++
}

// toRamp leaves a rate for the ramp, at twice the rate.
func (h *hold) toRamp(now time.Time) {
	h.enter(Ramping, min(max(int(2*h.rate*slot.Seconds()), 2), maxPermits), now.Add(slot))
}

// paceAt paces the key at a rate that the server has shown to take.
func (h *hold) paceAt(rate float64, now time.Time) {
	h.rate = min(max(rate, minRate), maxRate)
	h.proof, h.quiet = h.rate, now.Add(quietFor+2*h.latency)
	h.stubborn, h.cured = 0, 0
	h.nextSlot(now)
}

func (h *hold) nextSlot(now time.Time) {
	length := h.slotLength()
	begin := now
	if h.phase == Paced && now.Sub(h.until) < length {
		begin = h.until // late or not, the slots come at the rate
	}
	h.enter(Paced, h.permitsIn(length), begin.Add(length))
	h.from = now
}

func (h *hold) slotLength() time.Duration {
	one := time.Duration(float64(time.Second) / h.rate)
	return max(min(max(perSlot*one, slot), max(maxSlot, one)), h.latency)
}

func (h *hold) permitsIn(length time.Duration) int {
	return int(min(max(h.rate*length.Seconds()+0.5, 1), maxPermits))
}

// refused takes in that a permit was refused, without a hint that holds all.
func (h *hold) refused(o outcome, now time.Time) {
	switch {
	case h.phase == Rationed:
		h.left, h.permits = 0, h.granted // somebody else has had the rest
	case h.phase == Ramping && !now.Before(h.quiet):
		h.paceAt(float64(h.permits)/2/slot.Seconds(), now) // what it took a slot ago
	default:
		h.bad++ // in a ramp: what is refused here is refused at any rate
		if o.retry && h.phase == Paced {
			h.stubborn++
		}
		if end := now.Add(o.hint); end.After(h.asked) {
			h.asked = end
		}
	}
}

// ration takes in what is left of a quota, and makes it last.
func (h *hold) ration(r ration, now time.Time) {
	if h.phase == Held || h.phase == Probing {
		return
	}
	if r.lies {
		h.refill = time.Time{}
		if h.phase == Rationed {
			h.toRamp(now)
		}
		return
	}
	ends := h.refill.Sub(now)
	risen := ends <= quotaSlack && r.left > h.left+h.permits+quotaReorder
	switch moved := r.refill.Sub(h.refill); {
	case moved < -quotaSlack:
		return // late news of the time before
	case moved > quotaSlack, risen:
		h.left, h.refill = r.left, r.refill
	default:
		h.left = min(h.left, r.left)
		if moved < 0 || ends <= 0 {
			h.refill = r.refill // servers round up; or down, if it has passed
		}
	}
	switch {
	case h.phase == Rationed && h.left == 0:
		h.permits = h.granted
	case r.near && (h.phase == Healthy || h.phase == Counted || h.phase == Paced):
		if h.phase == Healthy {
			h.stir(now)
		}
		h.nextShare(now)
	}
}

// scarce reports whether the next slot of a ramp would use up a quota. That a refill
// was to come a moment ago tells little, since servers round; what answers say does.
func (h *hold) scarce(now time.Time) bool {
	left := h.left - max(h.granted-h.good-h.bad, 0)
	over := now.Sub(h.refill)
	return left <= 2*h.permits && (over < 0 || over < quotaSlack && h.left > 0)
}

// shareOut moves on from a slot of a ration.
func (h *hold) shareOut(now time.Time) {
	h.left += max(h.permits-h.granted, 0)
	if h.met(now) {
		h.toRamp(now)
		return
	}
	h.nextShare(now)
}

// nextShare grants a slot its share of what is left of a quota.
func (h *hold) nextShare(now time.Time) {
	span := h.refill.Sub(now)
	if h.left <= 0 || span <= 0 {
		h.generation++
		h.enter(Held, 0, h.refill)
		h.word = false
		return
	}
	h.rate = min(max(float64(h.left)/span.Seconds(), minRate), maxRate)
	length := h.slotLength()
	if span < length+slot {
		length = span
	}
	permits := min(h.permitsIn(length), h.left)
	h.left -= permits
	h.enter(Rationed, permits, now.Add(length))
	h.from = now
}
