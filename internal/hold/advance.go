package hold

import "time"

// Advance decides what comes next for a record: the one place where a fleet's
// next round is decided, whatever store it shares. rep is the report to which
// the register answered that a decision is due, now is the time of the register's
// clock, and longest bounds holds.
func Advance(rec Record, rep Report, now time.Time, longest time.Duration, jitter Jitter) Decision {
	m := rec.machine(now, longest)
	before := rec.view()
	m.latency = slowLatency(rep.Lease)
	m.attempts = max(m.attempts-rec.Totals.attempts(), 0)
	m.apply(rec, now, longest, jitter)
	if over := !now.Before(m.until); m.phase == Held || m.phase == Probing {
		switch {
		case over && rep.Well, rec.disproved(rep, millis(now)):
			m.probeSucceeded(now) // a success that no permit was needed for is as good as a probe
		case over && rep.Want > 0:
			m.enter(Probing, 1, now.Add(rep.Lease))
		}
	}
	gap, announce := m.turnGap()
	permits := m.permits
	if m.phase == Rationed {
		permits += m.remaining // turns are handed out beyond this slot
	}
	d := Decision{
		Rev: rec.Rev, At: millis(now), Seen: rec.Totals, SeenHint: rec.HintUntil, SeenAttempts: rec.Attempts,
		Phase: m.phase, Generation: m.generation, Until: millis(m.until), Permits: permits, Gap: gap, Alarms: m.alarms(now),
		Memory: m.memory(), Keep: m.keepUntil(now), Attempts: m.attempts, Status: m.status,
		Replica: rep.Replica, Want: rep.Want, Patience: rep.Patience, MaxAge: MaxAge, NewRound: m.round != rec.Rev,
	}
	d.Memory.At = d.At
	if m.phase == Healthy {
		d.Failures, d.Memory.Failures = m.failures, 0
	}
	after := view{phase: m.phase, until: d.Until, failing: m.attempts > 0}
	d.Changed = announce || after.differs(before)
	return d
}

// turnGap returns the time between turns, and whether replicas must be told of it, since
// they have turns that are not yet due. A rate that differs by less than is worth a message
// changes nothing.
func (m *Machine) turnGap() (gap time.Duration, announce bool) {
	if !m.IsPaced() {
		m.announced = 0
		return 0, false
	}
	if m.rate < m.announced*slower || m.rate > m.announced*faster {
		m.announced, announce = m.rate, true
	}
	return max(time.Duration(float64(time.Second)/m.announced), 1), announce
}

// apply takes in the reports since the last decision. Results of a slot that is
// over belong to that slot, successes first. A hint counts from when it came, and
// everything else from now. A quota that is refilled later than longest from now was
// reported before the clock was set back.
func (m *Machine) apply(rec Record, now time.Time, longest time.Duration, jitter Jitter) {
	t := rec.Totals.bounded()
	mine := Permit{Generation: m.generation, Round: m.round, Limited: true}
	at := now
	if m.HasDeadline() && !now.Before(m.until) {
		at = m.until.Add(-1)
	}
	good := Result{Permit: mine, Lesson: Good}
	for range t.Good {
		m.Record(good, at, jitter)
	}
	m.attempts += t.Hints
	if rec.HintUntil > 0 {
		at = earlier(rec.HintAt.Time(), now)
		hint := Result{Permit: Permit{Generation: mine.Generation}, Lesson: Refused, Hint: rec.HintUntil.Time().Sub(at), ServerDirected: true, Status: rec.Status}
		m.Record(hint, at, jitter)
		m.attempts = max(m.attempts-1, 0) // it is among the totals
	}
	m.applyFailures(t, mine, rec.Status, at, jitter)
	if reset := t.ResetAt.Time(); t.Inconsistent || t.ResetAt > 0 && reset.Sub(now) <= longest {
		m.recordQuota(Quota{Remaining: t.Remaining, ResetAt: reset, NearExhaustion: t.NearExhaustion, Inconsistent: t.Inconsistent}, now)
	}
	if t.Refusals > 0 {
		m.Measure(now)
	}
	m.Advance(now, jitter)
	if t.Returned > 0 && m.phase == Probing && m.generation == mine.Generation {
		m.releaseProbe(now)
	}
}

func (m *Machine) applyFailures(t Totals, mine Permit, status int, now time.Time, jitter Jitter) {
	bad := Result{Permit: mine, Lesson: Failed, Status: status, Hint: max(t.RetryAt.Time().Sub(now), 0), Meanwhile: true}
	if t.RetryAt == 0 {
		bad.Hint = 0
	}
	for range t.Bad {
		m.Record(bad, now, jitter)
	}
	bad.Lesson = Refused
	for range t.Refused {
		m.Record(bad, now, jitter)
	}
	if m.phase != Healthy {
		return
	}
	for range t.Failures {
		m.Record(Result{Permit: Permit{Generation: m.generation}, Lesson: Failed, Status: status, Hint: bad.Hint}, now, jitter)
	}
}

// FirstAlarms are those of a record about which nothing has been decided.
func FirstAlarms() Alarms {
	var healthy Machine
	return healthy.alarms(time.Time{})
}

// alarms returns what makes a decision due before this round ends.
func (m *Machine) alarms(now time.Time) Alarms {
	trip := max(tripAfter-m.failures, 1)
	switch m.phase {
	case Healthy:
		return Alarms{Failures: tripAfter, Witnesses: Quorum, Refusals: true, RefusalsFrom: millis(m.cooldownUntil), Near: true}
	case Probing:
		return Alarms{Good: 1, Bad: 1, Refused: 1, Returned: 1}
	case Ramping:
		a := Alarms{Bad: max(max(4, 2*m.good+1)-m.bad, 1)}
		if !now.Before(m.cooldownUntil) {
			a.Refused = 1
		}
		return a
	case Counted, Paced:
		return Alarms{Bad: trip, Near: true}
	case Rationed:
		return Alarms{Bad: trip, Refused: 1, Spent: true}
	}
	return Alarms{}
}

// keepUntil returns until when the machine remembers something of the key.
func (m *Machine) keepUntil(now time.Time) Millis {
	keep := m.cooldownUntil
	if !m.recoveredAt.IsZero() {
		keep = later(keep, m.recoveredAt.Add(Grace))
	}
	return millis(later(keep, m.resetAt))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
