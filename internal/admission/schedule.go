package admission

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

// When a gate reports to its store: as soon as it has to, and no more often.

// due returns how long it is until the next report, if there is to be one.
func (g *Gate) due(now time.Time) (time.Duration, bool) {
	s := &g.session
	delay, tell := g.reportDue(now)
	ask, want := g.permitsDue(now)
	switch {
	case !tell && !want:
		return 0, false
	case !tell || (want && ask < delay):
		delay = ask
	}
	return max(delay, s.retry.Sub(now)), true
}

// reportDue reports whether there is something to report, and how long it may wait.
func (g *Gate) reportDue(now time.Time) (time.Duration, bool) {
	n := &g.session.report
	switch {
	case g.session.hasQuota && (g.hold.Phase() != hold.Rationed || g.session.quota.Inconsistent):
		return 0, true
	case g.inTurns() && n.Bad+n.Refused == 0 && !g.session.serverDirected:
		return rideDelay, n.Good > 0 // with the next report that asks for turns, as a rule
	case (g.hold.Phase() == hold.Counted || g.hold.IsPaced()) && !g.session.serverDirected:
		return goodDelay, n.Bad+n.Refused+n.Good > 0
	case n.Bad+n.Refused+n.Failures+n.Refusals+n.Returned > 0, n.Well:
		return 0, true
	case g.session.hint.After(now):
		if h := &g.hold; h.Shared() && h.Phase() == hold.Held && h.Until().Sub(now) > 2*hintDelay {
			// Every replica is held already. Of many refusals in flight each asks
			// for a little more than the one before.
			return hintDelay, true
		}
		return 0, true
	case n.Good > 0 && g.hold.Phase() == hold.Ramping:
		return goodDelay, true
	}
	return 0, n.Good > 0
}

// permitsDue reports whether permits are wanted that only the store can grant, and
// when to ask for them.
func (g *Gate) permitsDue(now time.Time) (time.Duration, bool) {
	h, s := &g.hold, &g.session
	over := !now.Before(h.Until())
	if at, due := s.turns.Ask(g.wanted(now), now); due && g.inTurns() {
		return max(at.Sub(now), s.noAskBefore.Sub(now), 0), true
	}
	switch {
	case !h.Shared():
		return 0, false
	case s.finds && g.inTurns():
		return max(h.Until().Sub(now), s.noAskBefore.Sub(now)), true
	case g.wanted(now) == 0 || g.inTurns():
		// This replica has no use for permits, but some replica must find that the
		// round is over.
		return idleSpread + jitter.Uniform(idleSpread), over && h.HasDeadline()
	case over:
		return max(jitter.Uniform(askSpread), s.noProbeBefore.Sub(now), s.noAskBefore.Sub(now)), true
	}
	return max(s.noAskBefore.Sub(now), 0), h.HasDeadline() && h.PermitsLeft() <= 0 && !s.exhausted && s.noProbeBefore.Before(now)
}

// wanted returns how many permits this process has use for. Where no request waits,
// it is as many as could not wait: where no request ever may, no hold would end
// otherwise.
func (g *Gate) wanted(now time.Time) int {
	n := g.waiters.Len()
	if g.inTurns() {
		return n
	}
	if n == 0 && now.Sub(g.session.lastTimeout) < timeoutMemory {
		n = g.session.timedOut
	}
	return min(n, maxWant)
}

// schedule arranges for the next report.
func (g *Gate) schedule(now time.Time) {
	s := &g.session
	if !g.shared() || g.dropped || s.talking {
		return
	}
	delay, due := g.due(now)
	at := now.Add(delay)
	switch {
	case !due:
		if s.timer != nil {
			s.timer.Stop()
			s.next = time.Time{}
		}
	case delay <= 0:
		s.talking = true
		g.key.dispatcher.enqueue(g)
	case !s.next.IsZero() && !s.next.After(at):
		// That will do: a delay that began again with each request would not end.
	case s.timer == nil:
		s.timer, s.next = time.AfterFunc(delay, g.flush), at
	default:
		s.timer.Reset(delay)
		s.next = at
	}
}

// flush starts an exchange whose time has come.
func (g *Gate) flush() {
	g.key.mu.Lock()
	defer g.key.mu.Unlock()
	s := &g.session
	s.next = time.Time{}
	if !s.talking && !g.dropped && (!g.key.evicted.Load() || g.waiters.Len() > 0) { // a request that came as the gate was evicted is served all the same
		s.talking = true
		g.key.dispatcher.enqueue(g)
	}
}
