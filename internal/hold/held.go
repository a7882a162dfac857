package hold

import "time"

const (
	// tripAfter is how many failures with no success between hold a key without
	// a hint. At 5, a server that fails 30 % at random is held most of the time;
	// at 20 it is never held, and an outage is still caught.
	tripAfter = 20
	// A hold that the server did not ask for is short: one probe per hold,
	// whatever the size of the fleet, costs the server nothing.
	holdBase = 500 * time.Millisecond
	holdCap  = 2 * time.Second
	// Quorum is how many replicas must have seen a server fail before the fleet
	// is held without a hint: one replica alone may be at fault itself.
	Quorum = 2
)

// MaxBackoff is the longest hold that the server did not ask for.
const MaxBackoff = holdCap

// healthyFailed takes in a failure or a refusal of a healthy key that does not
// hold other requests by itself.
func (m *Machine) healthyFailed(r Result, now time.Time, jitter Jitter) {
	if r.Lesson == Refused {
		return // backpressure is not damage
	}
	m.countFailure(r, now, jitter)
}

// startHold starts a hold, or the next one. escalate raises the level of the
// backoff.
func (m *Machine) startHold(r Result, escalate bool, now time.Time, jitter Jitter) {
	switch {
	case m.phase == Healthy && m.longHealthy(now):
		m.level = 0
	case escalate:
		m.level++
	}
	d := r.Hint
	if !r.ServerDirected {
		d = min(holdBase<<min(m.level, 10), holdCap)
		d = max(d-jitter(d/2), r.Hint)
	}
	m.generation++
	m.failures = 0
	m.length = d
	m.enter(Held, 0, now.Add(d))
	m.serverDirected, m.shared = r.ServerDirected, false
}

// extendHold takes in a failure that arrives during a hold. Of many failures in
// flight the first has escalated; a longer hint extends the hold.
func (m *Machine) extendHold(r Result, now time.Time) {
	if end := now.Add(r.Hint); r.ServerDirected && end.After(m.until) {
		m.until, m.serverDirected, m.length = end, true, m.length+r.Hint
	}
}

// endHold recovers a key for which no request has come since its hold ended
// long ago. Otherwise the next request is the probe: see Grant.
func (m *Machine) endHold(now time.Time) {
	if now.Sub(m.until) >= Grace {
		m.recover(now)
	}
}
