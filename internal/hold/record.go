package hold

import "time"

// Record takes in what came of one send, and dispatches it to the phase.
func (m *Machine) Record(r Result, now time.Time, jitter Jitter) {
	mine := r.Limited && r.Generation == m.generation
	if r.HasQuota && r.Generation == m.generation {
		defer m.recordQuota(r.Quota, now)
	}
	r.ServerDirected = !r.Meanwhile && (r.ServerDirected || r.Hint >= MinHold)
	if r.Lesson == Good {
		// Successes count before the round ends: a result that arrives before a
		// slot is closed belongs to that slot.
		m.recordGood(r, mine, now)
		return
	}
	m.Advance(now, jitter)
	switch {
	case r.Lesson != Nothing:
		m.recordBad(r, mine, now, jitter)
	case mine && r.Round == m.round:
		m.releasePermit(now)
	}
}

func (m *Machine) recordGood(r Result, mine bool, now time.Time) {
	switch {
	case r.Generation != m.generation:
		// It was sent before the hold, and says nothing of the time since.
	case m.phase == Healthy:
		m.forget()
	case m.phase == Probing && mine:
		m.probeSucceeded(now)
	case mine && m.phase >= Ramping:
		m.good++
		m.failures = 0
	}
}

func (m *Machine) recordBad(r Result, mine bool, now time.Time, jitter Jitter) {
	if r.Generation != m.generation && !r.ServerDirected {
		return // a late result of what was sent before the hold
	}
	m.attempts++
	m.status = r.Status
	switch {
	case m.phase == Held:
		m.extendHold(r, now)
	case r.ServerDirected:
		// The server's own word counts, whenever the request was sent.
		m.startHold(r, r.Generation == m.generation, now, jitter)
	case m.phase == Healthy:
		m.healthyFailed(r, now, jitter)
	case !mine:
	case m.phase == Probing:
		m.startHold(r, true, now, jitter)
	case m.phase == Ramping && r.Lesson == Refused:
		m.rampRefused(r, now)
	case m.phase == Ramping:
		m.rampFailed(r, now, jitter)
	case r.Lesson != Refused:
		m.countFailure(r, now, jitter)
	case m.phase == Rationed:
		m.rationRefused()
	default:
		m.countRefusal(r, now)
	}
}

// releasePermit returns a permit that was not used, or whose result will not be
// known.
func (m *Machine) releasePermit(now time.Time) {
	if m.phase == Probing {
		m.releaseProbe(now)
		return
	}
	m.granted = max(m.granted-1, 0)
}

// countRefusal counts a refused permit in this slot.
func (m *Machine) countRefusal(r Result, now time.Time) {
	m.bad++
	if end := now.Add(r.Hint); end.After(m.retryAfter) {
		m.retryAfter = end
	}
}

// countFailure counts a failure, and holds the key after tripAfter failures
// with no success between.
func (m *Machine) countFailure(r Result, now time.Time, jitter Jitter) {
	m.failures++
	if m.failures >= tripAfter && (m.phase != Healthy || m.witnesses >= m.quorum) {
		m.startHold(r, true, now, jitter)
	}
}
