package hold

import "time"

// startRamp leaves a rate for the ramp, at twice the rate.
func (m *Machine) startRamp(now time.Time) {
	m.enter(Ramping, min(max(int(2*m.rate*Slot.Seconds()), 2), MaxPermits), now.Add(Slot))
}

// endRampSlot decides what follows a slot of the ramp.
func (m *Machine) endRampSlot(now time.Time, jitter Jitter) {
	switch {
	case m.allRefused():
		m.startHold(Result{Hint: m.retryAfter.Sub(now)}, false, now, jitter)
	case 2*m.granted < m.permits:
		m.recover(now) // demand is met
	case m.quotaWouldRunOut(now):
		if !now.Before(m.resetAt) {
			m.resetAt = now.Add(QuotaSlack) // grant a share only: the reset may come at any moment
		}
		m.startQuotaSlot(now)
	case 2*(m.good+m.bad) >= m.permits:
		m.enter(Ramping, min(2*m.permits, MaxPermits), now.Add(Slot))
	default:
		// The answers take longer than a slot. Growth waits for them.
		m.enter(Ramping, m.permits, now.Add(Slot))
	}
}

// rampRefused paces the key at the rate that was accepted a slot ago, except
// during a cooldown: then a refusal in the ramp is refused at any rate.
func (m *Machine) rampRefused(r Result, now time.Time) {
	m.countRefusal(r, now)
	if now.Before(m.cooldownUntil) {
		return
	}
	m.startPacing(float64(m.permits)/2/Slot.Seconds(), now)
}

// rampFailed holds the key again when failures clearly outnumber successes. A
// single failure may be one path's own, and a ramp that ended at each would
// never end for a server with a broken path. A retry that fails again says
// nothing new: retries gather at the end of the queue, and would end the ramp
// there.
func (m *Machine) rampFailed(r Result, now time.Time, jitter Jitter) {
	if !r.Retry {
		m.bad++
	}
	if m.bad > 3 && m.bad > 2*m.good {
		m.startHold(r, true, now, jitter)
	}
}
