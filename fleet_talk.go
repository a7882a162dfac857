package holdoff

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/jitter"
)

// When a gate speaks with its store: as soon as it has to, and no more often.

// due returns how long it is until the store is to be spoken with, if at all.
func (g *gate) due(now time.Time) (time.Duration, bool) {
	s := &g.share
	delay, tell := g.tell(now)
	ask, want := g.ask(now)
	switch {
	case !tell && !want:
		return 0, false
	case !tell || (want && ask < delay):
		delay = ask
	}
	return max(delay, s.retry.Sub(now)), true
}

// tell reports whether there is news, and how long it may wait.
func (g *gate) tell(now time.Time) (time.Duration, bool) {
	n := &g.share.report
	switch {
	case g.share.hasQuota && (g.hold.Phase() != Rationed || g.share.quota.Inconsistent):
		return 0, true
	case (g.hold.Phase() == Counted || g.hold.IsPaced()) && !g.share.word:
		return goodDelay, n.Bad+n.Refused+n.Good > 0
	case n.Bad+n.Refused+n.Failures+n.Refusals+n.Returned > 0, n.Well:
		return 0, true
	case g.share.hint.After(now):
		if h := &g.hold; h.Shared() && h.Phase() == Held && h.Until().Sub(now) > 2*hintDelay {
			// Everybody is held. Of many refusals in flight each is a little
			// later than the one before.
			return hintDelay, true
		}
		return 0, true
	case n.Good > 0 && g.hold.Phase() == Ramping:
		return goodDelay, true
	}
	return 0, n.Good > 0
}

// ask reports whether permits are wanted that only the store can grant, and
// when to ask for them.
func (g *gate) ask(now time.Time) (time.Duration, bool) {
	h, s := &g.hold, &g.share
	over := !now.Before(h.Until())
	switch {
	case !h.Shared():
		return 0, false
	case g.wanted(now) == 0:
		// Nobody here has use for the ramp. Somebody has to find that it is over.
		return idleSpread + jitter.Uniform(idleSpread), over && h.HasDeadline()
	case over && h.IsPaced():
		return max(jitter.Uniform(askSpread), s.abstain.Sub(now), s.out.Sub(now)), true
	case over:
		return max(jitter.Uniform(askSpread), s.abstain.Sub(now)), true
	}
	return 0, h.HasDeadline() && h.PermitsLeft() <= 0 && !s.dry && s.abstain.Before(now)
}

// wanted returns how many permits this process has use for. Where nobody waits,
// it is as many as could not wait: where no request ever may, no hold would end
// otherwise.
func (g *gate) wanted(now time.Time) int {
	n := g.waiters.Len()
	if n == 0 && now.Sub(g.share.missed) < missedFor {
		n = g.share.turned
	}
	return min(n, maxWant)
}

// schedule sees to it that the store is spoken with when that is due.
func (g *gate) schedule(now time.Time) {
	s := &g.share
	if s.link == nil || s.talking {
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
		s.link.enqueue(g)
	case !s.next.IsZero() && !s.next.After(at):
		// That will do: a delay which began anew with each request would not end.
	case s.timer == nil:
		s.timer, s.next = time.AfterFunc(delay, g.speak), at
	default:
		s.timer.Reset(delay)
		s.next = at
	}
}

// speak starts an exchange whose time has come.
func (g *gate) speak() {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.share
	s.next = time.Time{}
	if !s.talking && (!g.evicted.Load() || g.waiters.Len() > 0) { // who came as it was evicted is served all the same
		s.talking = true
		s.link.enqueue(g)
	}
}
