package hold

import "time"

const (
	// A probe that takes much longer than the server's usual latency is given up
	// as lost, and another is sent. Its lease is four times that latency, within
	// these bounds.
	minLease = time.Second
	// MaxLease is the longest lease of a probe.
	MaxLease = 30 * time.Second
	// Moment is the length of a hold below which it is an assumption, which the next success
	// disproves: see probeSucceeded. It is three slots, since no more may be sent in a slot
	// after a hold than is offered in three.
	Moment = 3 * Slot
)

// Lease returns how long a probe may take, from the server's smoothed latency.
func Lease(latency time.Duration) time.Duration {
	return min(max(4*latency, minLease), MaxLease)
}

// slowLatency returns the latency from which a lease was made, if it is long
// enough to matter for the length of a slot, and else 0.
func slowLatency(lease time.Duration) time.Duration {
	if lease <= minLease {
		return 0
	}
	return lease / 4
}

// probeSucceeded starts the ramp. After a hold of a moment, which was an assumption that
// this success disproves, what waited is no more than three slots' worth: there is none.
func (m *Machine) probeSucceeded(now time.Time) {
	m.resetAt = time.Time{} // what was known of a quota before the hold is out of date
	if m.serverDirected && 0 < m.length && m.length < Moment {
		m.recover(now)
		m.level = 0
		return
	}
	m.enter(Ramping, 2, now.Add(Slot))
}

// endProbe allows another probe: the lease ran out, so that the request is lost,
// or slower than that.
func (m *Machine) endProbe() {
	m.granted = 0
	m.round++
}

// releaseProbe cuts the lease short, though not to nothing: if the request was
// sent and its caller left, the next probe must not follow at once.
func (m *Machine) releaseProbe(now time.Time) {
	if soon := now.Add(Slot); soon.Before(m.until) {
		m.until = soon
	}
}

// StartTrial sends one request at a time, without a hold before: it is not known
// whether the server takes them.
func (m *Machine) StartTrial(now time.Time, lease time.Duration) {
	m.generation++
	m.enter(Probing, 1, now.Add(lease))
}
