package hold

import (
	"math"
	"time"
)

const (
	// steadyAfterDecrease is how long a rate does not grow after a refusal. A
	// rate that grows again at once has more refused than no pacing would.
	steadyAfterDecrease = time.Second
	// idleAfter is how long no permit is denied before demand counts as met: longer
	// than a replica that was denied waits before it asks again.
	idleAfter = time.Second
	// increaseFactor is the share by which a rate that is used up grows from slot
	// to slot. It doubles with every accelerateAfterSlots slots without a refusal,
	// up to 1, so that a limit that was lifted is forgotten in seconds.
	increaseFactor       = 0.05
	accelerateAfterSlots = 6
	// A slot is made for sendsPerSlot sends, between Slot and maxSlot: fewer would
	// say little about the rate.
	sendsPerSlot = 10
	maxSlot      = 2 * time.Second
	minRate      = 0.1 // sends per second
	maxRate      = MaxPermits * float64(time.Second/Slot)
)

// pacing is what a machine knows of the rate that a server accepts.
type pacing struct {
	rate       float64 // sends per second that are granted
	booked     bool    // turns were handed out beyond this moment: there is no lack of demand
	announced  float64 // the rate that replicas of a fleet were last told of
	provenRate float64 // follows a rate that is not refused, by increaseFactor a slot (cf. ssthresh)
	// cooldownUntil is when the rate may grow again, and a healthy key may be
	// measured again. Growth accelerates with the slots since then.
	cooldownUntil time.Time
	cooldownExp   int // consecutive times that pacing did not help
	// descent tells whether lower rates are refused less.
	descent descent
	// latency is how long the server takes to answer, if that is long: what a
	// slot says is not known before.
	latency    time.Duration
	retryAfter time.Time     // the latest time that refusals of this slot asked for
	lastDenied time.Time     // when a request last asked for a permit and got none
	slotStart  time.Time     // since when this slot's permits may be used, one by one
	length     time.Duration // of this slot, or of this measurement

	remaining int       // of a quota, beyond this slot's permits
	resetAt   time.Time // when that quota is refilled; zero where none is known
}

// NextSendAt returns when the next permit of a slot may be used.
func (m *Machine) NextSendAt() time.Time {
	if !m.IsPaced() || m.granted >= m.permits {
		return m.until
	}
	return m.slotStart.Add(time.Duration(float64(m.until.Sub(m.slotStart)) * float64(m.granted) / float64(m.permits)))
}

// endPaceSlot sets the rate of the next slot by the results of the last one.
func (m *Machine) endPaceSlot(now time.Time, jitter Jitter) {
	m.descent.add(m.rate, m.good, m.bad)
	switch {
	case m.allRefused():
		m.startHold(Result{Hint: m.retryAfter.Sub(now)}, false, now, jitter)
	case m.bad > 0:
		m.decreaseRate(now)
	case m.applicationLimited(now):
		m.cooldownExp = 0
		m.startRamp(now) // which ends where demand is met
	default:
		if !now.Before(m.cooldownUntil) {
			// A full bucket accepts for a while what it will not accept for long.
			m.provenRate = min(m.rate, m.provenRate*(1+increaseFactor))
			m.increaseRate(now)
		}
		m.nextPaceSlot(now)
	}
}

// decreaseRate lowers the rate to what the server accepted, or to the share that
// it accepted, since a slot may be late. It lowers it by a quarter at most, since
// the results of a slot are not all of requests sent in it, unless the rate was
// more than that above the proven one. Where lower rates are refused as often as
// higher ones, the rate is not the cause, and is left alone for a while.
func (m *Machine) decreaseRate(now time.Time) {
	share := m.rate * float64(m.good) / float64(m.good+m.bad)
	accepted := max(m.acceptedRate(now), share)
	m.rate = max(min(m.rate, accepted), min(m.rate*3/4, m.provenRate), minRate)
	m.cooldownUntil = now.Add(steadyAfterDecrease + 2*m.latency)
	if m.descent.doesNotHelp(m.rate) {
		m.startCooldown(now)
		m.startRamp(now)
		return
	}
	m.nextPaceSlot(now)
}

// increaseRate raises a rate that was used up, except for a permit or two that
// came too late for the slot: turns come one after another, so that the last of them may
// be counted in the next.
func (m *Machine) increaseRate(now time.Time) {
	if 20*(m.granted+1) < 19*m.permits || (now.Sub(m.until) >= m.length && !m.booked) {
		m.cooldownUntil = now // the slot says nothing of a higher rate: acceleration starts again
		return
	}
	clean := int(now.Sub(m.cooldownUntil) / max(m.length, Slot))
	m.rate = min(m.rate*(1+min(math.Ldexp(increaseFactor, clean/accelerateAfterSlots), 1)), maxRate)
}

// applicationLimited reports whether a slot granted all that was asked for, so
// that demand is below the rate. A replica that was denied may skip a few slots
// before it asks again.
func (m *Machine) applicationLimited(now time.Time) bool {
	return 2*m.granted < m.permits && now.Sub(m.lastDenied) >= idleAfter
}

// startPacing paces the key at a rate that the server has accepted.
func (m *Machine) startPacing(rate float64, now time.Time) {
	m.rate = min(max(rate, minRate), maxRate)
	m.provenRate, m.cooldownUntil = m.rate, now.Add(steadyAfterDecrease+2*m.latency)
	m.descent = descent{}
	m.nextPaceSlot(now)
}

func (m *Machine) nextPaceSlot(now time.Time) {
	m.length = m.slotLength()
	begin := now
	if m.phase == Paced && now.Sub(m.until) < m.length {
		begin = m.until // slots come at the rate, whether their end is found late or not
	}
	m.enter(Paced, m.permitsIn(m.length), begin.Add(m.length))
	m.slotStart = now
}

func (m *Machine) slotLength() time.Duration {
	one := time.Duration(float64(time.Second) / m.rate)
	return max(min(max(sendsPerSlot*one, Slot), max(maxSlot, one)), m.latency)
}

func (m *Machine) permitsIn(length time.Duration) int {
	return int(min(max(m.rate*length.Seconds()+0.5, 1), MaxPermits))
}
