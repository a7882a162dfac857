package hold

import "time"

const (
	// QuotaSlack is by how much the reset of a window may seem to move: servers
	// give it in seconds, rounded.
	QuotaSlack = 1100 * time.Millisecond
	// QuotaReorder is how many answers may arrive out of order.
	QuotaReorder = 32
)

// A Quota is what an answer said of a rate limit.
type Quota struct {
	Remaining      int
	ResetAt        time.Time
	NearExhaustion bool // it will be used up before all replicas have learned of it
	Inconsistent   bool // the numbers contradict each other, and are not to be believed
}

// recordQuota takes in what remains of a quota, and spreads it where it is
// nearly used up.
func (m *Machine) recordQuota(q Quota, now time.Time) {
	if m.phase == Held || m.phase == Probing {
		return
	}
	if q.Inconsistent {
		m.resetAt = time.Time{}
		if m.phase == Rationed {
			m.startRamp(now)
		}
		return
	}
	ends := m.resetAt.Sub(now)
	risen := ends <= QuotaSlack && q.Remaining > m.remaining+m.permits+QuotaReorder
	switch moved := q.ResetAt.Sub(m.resetAt); {
	case moved < -QuotaSlack:
		return // a late answer of the window before
	case moved > QuotaSlack, risen:
		m.remaining, m.resetAt = q.Remaining, q.ResetAt
	default:
		m.remaining = min(m.remaining, q.Remaining)
		if moved < 0 || ends <= 0 {
			m.resetAt = q.ResetAt // servers round up; or down, if it has passed
		}
	}
	switch {
	case m.phase == Rationed && m.remaining == 0:
		m.permits = m.granted
	case q.NearExhaustion && (m.phase == Healthy || m.phase == Counted || m.phase == Paced):
		if m.phase == Healthy {
			m.newGeneration(now)
		}
		m.startQuotaSlot(now)
	}
}

// rationRefused takes in a refusal: another client of the same quota has used
// the rest.
func (m *Machine) rationRefused() {
	m.remaining, m.permits = 0, m.granted
}

// quotaWouldRunOut reports whether the next slot of a ramp would use up a quota.
// An expected reset of a moment ago says little, since servers round; answers do.
func (m *Machine) quotaWouldRunOut(now time.Time) bool {
	remaining := m.remaining - max(m.granted-m.good-m.bad, 0)
	over := now.Sub(m.resetAt)
	return remaining <= 2*m.permits && (over < 0 || over < QuotaSlack && m.remaining > 0)
}

// endQuotaSlot takes back the permits that were not used, and starts the next
// slot.
func (m *Machine) endQuotaSlot(now time.Time) {
	m.remaining = max(m.remaining+m.permits-m.granted, 0)
	if m.applicationLimited(now) {
		m.startRamp(now)
		return
	}
	m.startQuotaSlot(now)
}

// startQuotaSlot grants a slot its share of what remains of a quota.
func (m *Machine) startQuotaSlot(now time.Time) {
	span := m.resetAt.Sub(now)
	if m.remaining <= 0 || span <= 0 {
		m.generation++
		m.enter(Held, 0, m.resetAt)
		m.serverDirected = false
		return
	}
	m.rate = min(max(float64(m.remaining)/span.Seconds(), minRate), maxRate)
	m.length = m.slotLength()
	if span < m.length+Slot {
		m.length = span
	}
	permits := min(m.permitsIn(m.length), m.remaining)
	m.remaining -= permits
	m.enter(Rationed, permits, now.Add(m.length))
	m.slotStart = now
}
