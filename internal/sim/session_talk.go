package sim

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// The constants of the session in internal/admission.
const (
	storeRetry  = time.Second
	reportAfter = 3
	askSpread   = 20 * time.Millisecond
	goodDelay   = hold.Slot / 4
	hintDelay   = 2 * hold.Slot
	idleSpread  = time.Second
	rideDelay   = 10 * time.Second
	missedFor   = time.Second
	maxWant     = 256
)

// due returns how long it is until the store is to be spoken with, if at all.
func (q *session) due() (time.Duration, bool) {
	delay, tell := q.tell()
	ask, want := q.ask()
	switch {
	case !tell && !want:
		return 0, false
	case !tell || (want && ask < delay):
		delay = ask
	}
	return max(delay, q.retry.Sub(q.sim.now)), true
}

// tell reports whether there is news, and how long it may wait.
func (q *session) tell() (time.Duration, bool) {
	n, now := &q.report, q.sim.now
	switch {
	case q.hasQuota && (q.m.Phase() != hold.Rationed || q.quota.Inconsistent):
		return 0, true
	case q.inTurns() && n.Bad+n.Refused == 0 && !q.word:
		return rideDelay, n.Good > 0
	case (q.m.Phase() == hold.Counted || q.m.IsPaced()) && !q.word:
		return goodDelay, n.Bad+n.Refused+n.Good > 0
	case n.Bad+n.Refused+n.Failures+n.Refusals+n.Returned > 0, n.Well:
		return 0, true
	case q.hint.After(now):
		if q.m.Shared() && q.m.Phase() == hold.Held && q.m.Until().Sub(now) > 2*hintDelay {
			return hintDelay, true
		}
		return 0, true
	case n.Good > 0 && q.m.Phase() == hold.Ramping:
		return goodDelay, true
	}
	return 0, n.Good > 0
}

// ask reports whether permits are wanted that only the store can grant, and when to
// ask for them.
func (q *session) ask() (time.Duration, bool) {
	now, jitter := q.sim.now, q.sim.jitter
	over := !now.Before(q.m.Until())
	if at, due := q.turns.Ask(q.wanted(), now); due && q.inTurns() {
		return max(at.Sub(now), q.out.Sub(now), 0), true
	}
	switch {
	case !q.m.Shared():
		return 0, false
	case q.finds && q.inTurns():
		return max(q.m.Until().Sub(now), q.out.Sub(now)), true
	case q.wanted() == 0 || q.inTurns():
		return idleSpread + jitter(idleSpread), over && q.m.HasDeadline()
	case over:
		return max(jitter(askSpread), q.abstain.Sub(now), q.out.Sub(now)), true
	}
	return 0, q.m.HasDeadline() && q.m.PermitsLeft() <= 0 && !q.dry && q.abstain.Before(now)
}

func (q *session) wanted() int {
	n := len(q.line)
	if q.inTurns() {
		return n
	}
	if n == 0 && q.sim.now.Sub(q.missed) < missedFor {
		n = q.turned
	}
	return min(n, maxWant)
}

// schedule sees to it that the store is spoken with when that is due.
func (q *session) schedule() {
	if q.talking {
		return
	}
	delay, due := q.due()
	at := q.sim.now.Add(delay)
	switch {
	case !due:
		q.next = time.Time{}
	case delay <= 0:
		q.talking = true
		q.sim.after(0, q.exchange)
	case !q.next.IsZero() && !q.next.After(at):
	default:
		q.next = at
		q.sim.after(delay, func() {
			if !q.lives() || !q.next.Equal(at) {
				return
			}
			q.next = time.Time{}
			if !q.talking {
				q.talking = true
				q.exchange()
			}
		})
	}
}

// exchange speaks with the store once: it reports, and decides where that is due.
func (q *session) exchange() {
	if !q.lives() {
		return
	}
	report, hint, worth := q.takeReport()
	if !worth {
		q.talking = false
		return
	}
	r, s := q.replica, q.sim
	if r.mirror.away {
		q.exchanged(report, hint, answer{}, false)
		return
	}
	var sent time.Time
	if r.mirror.timed {
		sent = s.now.Add(r.mirror.offset)
	}
	wire := rounded(report)
	s.network.call(r, func() answer { return s.register.report(q.key, wire, sent) }, func(a answer, ok bool) {
		q.answered(ok)
		if !ok || !a.reply.Decide {
			q.exchanged(report, hint, a, ok)
			return
		}
		q.received(a)
		q.decide(report, hint, a)
	})
}

// decide commits the next round, unless the process dies now; or is paused, and
// commits late.
func (q *session) decide(report hold.Report, hint time.Time, a answer) {
	r, s := q.replica, q.sim
	if !s.over() && s.chance(s.Die) {
		r.crash()
		s.after(s.jitter(2*time.Second), r.boot)
		return
	}
	pause := time.Duration(0)
	if !s.over() && s.chance(s.Pause) {
		pause = s.jitter(500 * time.Millisecond)
	}
	d := s.rules.Advance(a.reply.Record, report, a.reply.Now, a.reply.MaxHold, s.jitter)
	d.Memory.Version = r.version
	s.after(pause, func() {
		if !q.lives() {
			return
		}
		s.network.call(r, func() answer { return s.register.commit(q.key, d, r.version) }, func(a answer, ok bool) {
			q.answered(ok)
			q.exchanged(report, hint, a, ok)
		})
	})
}

func (q *session) answered(ok bool) {
	if ok {
		q.replica.mirror.answered(q.replica)
		return
	}
	q.replica.mirror.failed()
}

// received takes a reply into the mirror, as if it had been published.
func (q *session) received(a answer) hold.Snapshot {
	m, r := &q.replica.mirror, q.replica
	state := m.observe(r, a)
	heard := state
	heard.Permits = 0
	m.put(r, q.key, heard)
	return state
}

// exchanged is the rest of exchange, when the store has answered or not.
func (q *session) exchanged(report hold.Report, hint time.Time, a answer, ok bool) {
	s, now := q.sim, q.sim.now
	if ok {
		a.reply.Snapshot = q.received(a)
	}
	before := q.m
	q.talking = false
	if !ok {
		q.alone(report)
		q.unlock(before)
		return
	}
	state := a.reply.Snapshot
	q.retry = time.Time{}
	if !q.hint.After(hint) {
		q.hint, q.word = time.Time{}, false
	}
	q.truth.permits(s, a.round, state.Permits)
	q.take(state, true)
	if report.ServerDirected && state.Phase == hold.Healthy && hint.After(now.Add(storeRetry)) {
		q.hint, q.word, q.retry = hint, true, now.Add(storeRetry)
	}
	if !s.rules.AsWritten && q.undecided(state) {
		q.alone(hold.Report{})
	}
	q.dry = state.Permits < report.Want
	if q.inTurns() {
		q.turns.Add(report.Want, state, now)
		q.finds = s.rng.Float64() < q.turns.Share(state.Until, now)
	}
	q.release(before)
	q.handBackUnused()
	q.unlock(before)
}

// rounded is a report as it crosses: upMillis in wire.go.
func rounded(r hold.Report) hold.Report {
	up := func(d time.Duration) time.Duration {
		if d <= 0 {
			return 0
		}
		return d.Truncate(time.Millisecond) + 2*time.Millisecond
	}
	r.Hint, r.ResetIn = up(r.Hint), up(r.ResetIn)
	return r
}
