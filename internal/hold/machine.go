// Package hold is the state machine of one key: N sends until T.
//
// It is pure. It knows no clock, no lock, no network and no source of chance:
// its methods take the time and the jitter as arguments. Each phase has a file of its
// own, with what ends the phase and what a result means in it. Record
// dispatches results to them, and Advance the end of a round. A process
// without a store runs one Machine per key. A store keeps a [Record] per key; a
// process that uses one follows the store's state (Adopt).
package hold

import "time"

const (
	// MinHold is the shortest hint that holds other requests than the one that
	// got it. A token bucket that refuses its surplus for a moment does not need
	// silence, and silence would waste its capacity.
	MinHold = 2 * time.Second
	// Slot is the unit of time of a ramp: permits are granted per slot.
	Slot = 100 * time.Millisecond
	// Grace is how long a recovered key is remembered. A relapse within it
	// continues with the next level of backoff.
	Grace = time.Minute
	// MaxPermits ends the doubling of a ramp before it can overflow.
	MaxPermits = 1 << 20
)

// A Jitter returns a random duration in [0, d].
type Jitter func(d time.Duration) time.Duration

// A Machine is the state of one key, and it is one sentence: N sends until T.
//
//	phase     N                   T                 at T
//	healthy   no bound            -                 -
//	held      0                   end of the hint,  probing, when a request asks
//	                              or the reset
//	probing   1                   end of the lease  another probe, when a request asks
//	ramping   twice before        end of the slot   healthy if less than half was used; rationed where
//	                                                the next slot would use up a quota; held if nothing
//	                                                was accepted
//	counted   no bound            half a second,    paced if much was refused, held if all was, else
//	                              or one answer     healthy
//	paced     measured goodput    end of the slot   a little more, or what was accepted; ramping if less
//	                                                than half was used, held if all was refused
//	rationed  a slot's share of   end of the slot   the next share; ramping if less than half was
//	          the quota                             used; held when nothing remains, until its reset
//
// The zero value is a healthy key. A Machine is a plain value: a copy is a
// snapshot. It is not safe for concurrent use.
type Machine struct {
	phase          Phase
	permits        int       // N
	granted        int       // how many of them are taken
	until          time.Time // T
	shared         bool      // this process follows the store: it decides nothing at T
	serverDirected bool      // the server itself asked for this hold

	generation uint64 // counts holds and measurements: results of an older one say little
	round      uint64 // counts slots and leases: permits of an older one can't be released
	level      int    // consecutive holds: the exponent of the backoff
	good, bad  int    // results of this slot's permits

	attempts    int       // failed attempts since the key was last healthy
	failures    int       // those of them that count towards tripAfter
	status      int       // the last of their status codes
	recoveredAt time.Time // when the key last became healthy

	witnesses int // replicas that reported failures
	quorum    int // witnesses needed for a hold that the server did not ask for

	pacing
}

// A Permit is the leave to send once.
type Permit struct {
	Generation uint64 // of the machine at the time of sending
	Round      uint64 // of the slot or lease that granted it
	Retry      bool   // the request has failed before: it may fail by itself
	Limited    bool   // it is one of the N, and its result is waited for
}

// A Result is what came of one send.
type Result struct {
	Permit
	Lesson         Lesson
	Hint           time.Duration // how long the server asked for, cut to the longest hold
	ServerDirected bool          // the hint holds other requests, although less than MinHold may be left of it
	Meanwhile      bool          // others are served meanwhile: the hint holds this request alone
	Status         int
	Quota          // what the answer said of a quota
	HasQuota       bool
}

// Phase returns the phase.
func (m *Machine) Phase() Phase { return m.phase }

// Until returns T.
func (m *Machine) Until() time.Time { return m.until }

// Generation returns the number of the present hold or measurement.
func (m *Machine) Generation() uint64 { return m.generation }

// Round returns the number of the present slot or lease.
func (m *Machine) Round() uint64 { return m.round }

// Status returns the last status code of a failure.
func (m *Machine) Status() int { return m.status }

// Attempts returns how many attempts have failed since the key was last healthy.
func (m *Machine) Attempts() int { return m.attempts }

// Level returns how many holds in a row came before this one.
func (m *Machine) Level() int { return m.level }

// RecoveredAt returns when the key last became healthy.
func (m *Machine) RecoveredAt() time.Time { return m.recoveredAt }

// Shared reports whether this process follows the store's state.
func (m *Machine) Shared() bool { return m.shared }

// ServerDirected reports whether the server itself asked for the hold.
func (m *Machine) ServerDirected() bool { return m.serverDirected }

// Rate returns how many sends per second are granted, where the key is paced or rationed.
func (m *Machine) Rate() float64 { return m.rate }

// PermitsLeft returns how many permits of this round are not taken.
func (m *Machine) PermitsLeft() int { return m.permits - m.granted }

// IsHealthy reports whether the key is healthy and no failure is counted against it.
func (m *Machine) IsHealthy() bool { return m.phase == Healthy && m.attempts == 0 }

// Unlimited reports whether every request may be sent.
func (m *Machine) Unlimited() bool { return m.Mark().Unlimited() }

// HasDeadline reports whether the end of the round must be found even where no
// request waits for it.
func (m *Machine) HasDeadline() bool { return m.phase >= Ramping }

// IsPaced reports whether the permits of a slot are spread over it: a server that
// accepts so many in a slot may not accept them at once.
func (m *Machine) IsPaced() bool { return m.phase == Paced || m.phase == Rationed }

// Remembers reports whether what is known of a healthy key still matters.
func (m *Machine) Remembers(now time.Time) bool {
	return !m.IsHealthy() || !m.longHealthy(now) || now.Before(m.cooldownUntil)
}

// A Mark is the phase and T of a machine at a moment, to which it is compared later.
type Mark struct {
	Phase Phase
	until time.Time
}

// Mark returns the phase and T of the machine.
func (m *Machine) Mark() Mark { return Mark{m.phase, m.until} }

// Unlimited reports whether every request could be sent.
func (k Mark) Unlimited() bool { return k.Phase == Healthy || k.Phase == Counted }

// MateriallyChanged reports whether waiters must be told of the change since
// before. A hold that grows by less than a slot is no such change: of many
// refusals in flight each asks for a little more than the one before.
func (m *Machine) MateriallyChanged(before Mark) bool {
	grown := m.until.Sub(before.until)
	return m.phase != before.Phase || (grown != 0 && !m.IsPaced() && !(m.phase == Held && 0 < grown && grown < Slot))
}

// Grant returns a permit for one send, or false where none is due yet. lease is
// how long a probe may take before another is sent.
func (m *Machine) Grant(now time.Time, lease time.Duration, jitter Jitter) (Permit, bool) {
	if m.IsPaced() && now.Before(m.NextSendAt()) {
		return Permit{}, false
	}
	m.latency = slowLatency(lease)
	return m.grant(now, lease, jitter)
}

func (m *Machine) grant(now time.Time, lease time.Duration, jitter Jitter) (Permit, bool) {
	m.Advance(now, jitter)
	if m.phase == Held && !now.Before(m.until) && !m.shared {
		m.enter(Probing, 1, now)
	}
	switch m.phase {
	case Healthy:
		return Permit{Generation: m.generation}, true
	case Counted:
		return m.permit(), !m.shared || now.Before(m.until)
	}
	if m.granted >= m.permits || (m.shared && !now.Before(m.until)) {
		m.lastDenied = now
		return Permit{}, false
	}
	if m.phase == Probing && !m.shared {
		m.until = now.Add(lease)
	}
	m.granted++
	return m.permit(), true
}

// Turn returns the permit that goes with a turn of a schedule: see [Turns].
func (m *Machine) Turn() Permit { return m.permit() }

func (m *Machine) permit() Permit {
	return Permit{Generation: m.generation, Round: m.round, Limited: true}
}

// Advance ends a round whose T has passed.
func (m *Machine) Advance(now time.Time, jitter Jitter) {
	if m.phase == Healthy || m.shared || now.Before(m.until) {
		return
	}
	switch m.phase {
	case Held:
		m.endHold(now)
	case Probing:
		m.endProbe()
	case Ramping:
		m.endRampSlot(now, jitter)
	case Counted:
		m.endMeasurement(now, jitter)
	case Paced:
		m.endPaceSlot(now, jitter)
	case Rationed:
		m.endQuotaSlot(now)
	}
}

// enter starts a round.
func (m *Machine) enter(p Phase, permits int, until time.Time) {
	m.phase, m.permits, m.granted, m.good, m.bad, m.until = p, permits, 0, 0, 0, until
	m.round++
}

// recover makes the key healthy.
func (m *Machine) recover(now time.Time) {
	m.enter(Healthy, 0, time.Time{})
	m.forget()
	m.shared, m.serverDirected = false, false
	m.recoveredAt = now
}

// forget drops the failures that were counted against a key that is healthy.
func (m *Machine) forget() {
	m.attempts, m.failures, m.witnesses, m.status = 0, 0, 0, 0
}

// newGeneration separates results of what is sent from now on from earlier ones.
// The backoff of a key that has been healthy for long starts again.
func (m *Machine) newGeneration(now time.Time) {
	if m.phase == Healthy && m.longHealthy(now) {
		m.level = 0
	}
	m.generation++
}

// longHealthy reports whether the last recovery is too long ago to matter.
func (m *Machine) longHealthy(now time.Time) bool {
	return m.recoveredAt.IsZero() || now.Sub(m.recoveredAt) >= Grace
}
