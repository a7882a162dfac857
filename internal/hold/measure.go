package hold

import "time"

const (
	// RefusalTolerance is how many refusals of a healthy key a process meets in a
	// row before it reports them; each success earns a tenth of one back. Rarer
	// refusals are left to retries.
	RefusalTolerance = 3
	// measureWindow is how long results are counted to find the server's capacity.
	measureWindow = 500 * time.Millisecond
	// A key that measuring or pacing did not help is left alone for
	// pacingCooldown, doubled each time up to maxCooldownDoublings times.
	pacingCooldown       = 4 * time.Second
	maxCooldownDoublings = 5
	// allRefusedThreshold is how many refusals in a slot without a success tell
	// that the server accepts nothing for a while; or all of the slot's permits,
	// if they are fewer. A counted key has no permits: there one refusal tells.
	allRefusedThreshold = 5
)

// Measure lets every request pass for a while, and counts the results to find
// how many the server accepts.
func (m *Machine) Measure(now time.Time) {
	if m.phase != Healthy || now.Before(m.cooldownUntil) {
		return
	}
	m.newGeneration(now)
	m.failures = 0
	m.length = max(measureWindow, m.latency)
	m.enter(Counted, 0, now.Add(m.length))
}

// endMeasurement paces the key where more than one result in twenty was a
// refusal, and holds it where all were.
func (m *Machine) endMeasurement(now time.Time, jitter Jitter) {
	switch {
	case 20*m.bad <= m.good:
		recoveredAt := m.recoveredAt // it was healthy all the time
		m.startCooldown(now)
		m.recover(now)
		m.recoveredAt = recoveredAt
	case m.allRefused():
		m.startHold(Result{Hint: m.retryAfter.Sub(now)}, false, now, jitter)
	default:
		accepted := m.acceptedRate(now)
		m.generation++ // later refusals are refusals at that rate
		m.startPacing(accepted, now)
		m.cooldownUntil = now // reports take a moment: more was accepted than was reported
	}
}

// acceptedRate returns how many successes per second this round had. Where its
// end was found late, no request was there to be sent after it.
func (m *Machine) acceptedRate(now time.Time) float64 {
	return float64(m.good) / (m.length + min(now.Sub(m.until), m.length)).Seconds()
}

// allRefused reports whether the server accepts nothing for a while, so that the
// rate is not the cause, as where a quota is used up.
func (m *Machine) allRefused() bool {
	return m.good == 0 && m.bad >= min(m.permits, allRefusedThreshold)
}

// startCooldown leaves a key alone for a while that measuring or pacing did not
// help.
func (m *Machine) startCooldown(now time.Time) {
	m.cooldownUntil = now.Add(pacingCooldown << min(m.cooldownExp, maxCooldownDoublings))
	m.cooldownExp++
}
