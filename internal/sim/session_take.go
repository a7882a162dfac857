package sim

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// record takes in what came of a request: Gate.Record and recordShared in
// internal/admission.
func (q *session) record(o hold.Result) {
	before, now := q.m, q.sim.now
	if q.m.Phase() == hold.Counted {
		o.Limited, o.Generation = true, q.m.Generation()
	}
	many := q.refusedMuch(o)
	q.recordShared(o)
	switch {
	case !many:
	case now.Before(q.retry):
		q.m.Measure(now)
	default:
		q.report.Refusals++
	}
	q.truth.result(q, o)
	q.unlock(before)
}

func (q *session) refusedMuch(o hold.Result) bool {
	if o.Lesson == hold.Good {
		q.tolerance = max(q.tolerance-0.1, 0)
	}
	if o.Lesson != hold.Refused || o.Hint >= hold.MinHold || q.m.Phase() != hold.Healthy {
		return false
	}
	if q.tolerance+1 > hold.RefusalTolerance {
		return true
	}
	q.tolerance++
	return q.sim.rng.IntN(16) == 0
}

func (q *session) recordShared(o hold.Result) {
	m, now := &q.m, q.sim.now
	word := o.Hint >= hold.MinHold
	mine := o.Limited && m.Shared() && o.Generation == m.Generation()
	fresh := m.Phase() == hold.Healthy && o.Generation == m.Generation()
	if mine && q.report.Generation != o.Generation {
		q.report.Good, q.report.Bad, q.report.Refused, q.report.Returned = 0, 0, 0, 0
		q.report.Generation = o.Generation
	}
	if o.HasQuota && o.Generation == m.Generation() && (o.NearExhaustion || o.Inconsistent || m.Phase() != hold.Healthy) {
		q.quota, q.hasQuota = o.Quota, true
	}
	probed := !m.Shared() && m.Phase() == hold.Probing
	if !m.Shared() || (word && (o.Lesson == hold.Refused || o.Lesson == hold.Failed)) {
		m.Record(o, now, q.sim.jitter)
	}
	switch o.Lesson {
	case hold.Nothing:
		if mine && m.Phase() == hold.Probing && o.Round == m.Round() {
			q.report.Returned++
		}
		return
	case hold.Good:
		if mine {
			q.report.Good++
		}
		q.row = 0
		q.report.Well = q.report.Well || q.failing || (probed && m.Phase() != hold.Probing)
		return
	case hold.Unreachable:
		if mine && !m.IsPaced() && m.Phase() != hold.Counted {
			q.abstain = now.Add(hold.MaxBackoff)
		}
		return
	}
	if m.Phase() == hold.Held {
		q.report.Well = false
	}
	if word || mine {
		q.report.Status = o.Status
		if end := now.Add(o.Hint); end.After(q.hint) {
			q.hint = end
		}
		q.word = q.word || word
	}
	switch {
	case mine && o.Lesson == hold.Refused:
		q.report.Refused++
		if !m.IsPaced() {
			m.ForfeitPermits()
		}
	case mine && (m.Phase() == hold.Probing || !o.Retry):
		q.report.Bad++
	case fresh && o.Lesson == hold.Failed:
		q.row++
		if q.row >= reportAfter {
			q.report.Status = o.Status
			q.report.Failures++
			if q.row == reportAfter {
				q.report.Failures = reportAfter
			}
		}
	}
}

func (q *session) takeReport() (report hold.Report, hint time.Time, worth bool) {
	now := q.sim.now
	_, worth = q.tell()
	_, want := q.ask()
	report, hint = q.report, q.hint
	q.replica.calls++
	report.Replica, report.Call, report.Version = q.replica.name, q.replica.calls, q.replica.version
	report.Lease = q.lease()
	if hint.After(now) {
		report.Hint, report.ServerDirected = hint.Sub(now), q.word
	}
	if q.hasQuota {
		report.Remaining, report.ResetIn, report.Inconsistent = q.quota.Remaining, q.quota.ResetAt.Sub(now), q.quota.Inconsistent
		report.NearExhaustion = q.quota.NearExhaustion
		q.hasQuota = false
	}
	if want {
		report.Want = q.wanted()
		if q.inTurns() {
			report.Want, report.Patience = max(report.Want-q.turns.Len(), 0), q.patience()
		}
		q.turned = 0
	}
	q.report = hold.Report{Generation: q.report.Generation}
	return report, hint, worth || want
}

func (q *session) handBackUnused() {
	m := &q.m
	if q.sim.now.Sub(q.missed) < missedFor || !m.Shared() || m.Phase() != hold.Probing || m.PermitsLeft() <= 0 {
		return
	}
	m.ForfeitPermits()
	q.report.Generation = m.Generation()
	q.report.Returned++
}

// alone goes on without the store, where the next step was the store's.
func (q *session) alone(report hold.Report) {
	m, now := &q.m, q.sim.now
	q.retry = now.Add(storeRetry + q.sim.jitter(storeRetry))
	q.report.Well = q.report.Well || (report.Well && m.Phase() != hold.Held)
	if !m.Shared() || q.sim.rules.Deaf || (now.Before(m.Until()) && report.Good+report.Refused+report.Bad+report.Returned == 0) {
		return
	}
	q.version = 0
	if m.IsPaced() {
		report = hold.Report{}
	}
	m.Detach(now)
	q.turns = hold.Turns{}
	o := hold.Result{Permit: hold.Permit{Generation: report.Generation, Limited: true}, Status: report.Status, Hint: report.Hint}
	for _, results := range []struct {
		n      int
		lesson hold.Lesson
	}{{report.Good, hold.Good}, {report.Refused, hold.Refused}, {report.Bad, hold.Failed}, {report.Returned, hold.Nothing}} {
		o.Lesson = results.lesson
		for range results.n {
			m.Record(o, now, q.sim.jitter)
		}
	}
}

// told takes in what the store says of its own accord.
func (q *session) told(state hold.Snapshot) {
	before := q.m
	q.take(state, false)
	q.unlock(before)
}

// take adopts the store's state, unless it is older than what is known.
func (q *session) take(state hold.Snapshot, reply bool) {
	m, now := &q.m, q.sim.now
	if q.sim.trace != nil {
		q.sim.logf("replica %s key %d: hears %v for %v, generation %d, %d permits from %v at %.3g/s, version %d.%d (knows %d.%d), lost %v, reply %v", q.replica.name, q.key, state.Phase,
			state.Until.Sub(now), state.Generation, state.Permits, state.First.Sub(now), state.Rate, state.Version>>seqBits, state.Version&(1<<seqBits-1), q.version>>seqBits, q.version&(1<<seqBits-1), state.Lost, reply)
	}
	if state.Lost {
		q.lost()
		return
	}
	if state.Version < q.version || (state.Version == q.version && !reply) {
		return
	}
	q.version = state.Version
	if state.Phase == hold.Held && !q.hint.After(state.Until.Add(hold.Rounding)) {
		q.hint, q.word = time.Time{}, false
	}
	if reply && m.Shared() && state.Phase == hold.Healthy && state.Generation == 0 {
		q.lost()
		return
	}
	if !q.sim.rules.AsWritten && q.keepsHold(state) {
		return
	}
	q.failing = state.Phase == hold.Healthy && state.Attempts > 0
	if state.Phase == hold.Healthy {
		if m.Shared() {
			m.Recover(now)
			q.row, q.turns = 0, hold.Turns{}
		}
		return
	}
	if m.Phase() == hold.Held && m.ServerDirected() && state.Phase != hold.Held && q.hint.After(now) {
		return
	}
	if longer := m.OutlastsHold(state); longer && !reply && q.hint.IsZero() && m.Until().Sub(state.Until) > hold.Rounding {
		q.hint, q.word, q.report.Status = m.Until(), true, m.Status()
	}
	q.sim.rules.Adopt(m, state, now)
	switch {
	case !m.IsPaced():
		q.turns = hold.Turns{}
	case !reply:
		q.turns.Retime(state.Rate, now)
	}
	q.truth.adopted(q, state)
	q.dry = false
}

// keepsHold reports whether the server's own word outlives what the store says. The
// store has yet to learn of the hint; or it has lost it, or its clock went forward, and
// it is told again. Less than lateness may be the message's own delay.
func (q *session) keepsHold(state hold.Snapshot) bool {
	m, now := &q.m, q.sim.now
	if m.Phase() != hold.Held || !m.ServerDirected() || state.Phase == hold.Held {
		return false
	}
	if !q.hint.After(now) && m.Until().Sub(now) > lateness {
		q.hint, q.word, q.report.Status = m.Until(), true, m.Status()
	}
	return q.hint.After(now)
}

// undecided reports whether no replica decides what comes after a round, as where its
// memory is of the next version and no replica is left that reads it. The process then
// goes on alone, as where the store fails.
func (q *session) undecided(state hold.Snapshot) bool {
	return state.Phase != hold.Healthy && q.sim.now.Sub(state.Until) > storeRetry
}

// lost goes on alone where the store has lost the key, and tells it again what the
// server said.
func (q *session) lost() {
	m, now := &q.m, q.sim.now
	q.failing, q.version = false, 0
	if !m.Shared() {
		return
	}
	m.Detach(now)
	q.turns = hold.Turns{}
	if m.Phase() == hold.Held && m.ServerDirected() {
		q.hint, q.word, q.report.Status = m.Until(), true, m.Status()
		q.retry = now.Add(q.sim.jitter(storeRetry / 2))
	}
}
