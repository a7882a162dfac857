package admission

import "time"

// How the requests of a fleet take turns where a scope is paced.

// inTurns reports whether the store hands out turns of a schedule.
func (g *Gate) inTurns() bool { return g.hold.Shared() && g.hold.IsPaced() }

// patience is how long the most patient of the requests will wait: it is the last to go.
func (g *Gate) patience(now time.Time) time.Duration {
	if w := g.waiters.mostPatient(); w != nil {
		return w.Latest.Sub(now)
	}
	return 0
}

// refuseLate refuses requests that would be the last to go, and have no turn, since none
// comes while they will wait.
func (g *Gate) refuseLate(now time.Time) {
	for g.waiters.Len() > g.session.turns.Len() {
		w := g.waiters.mostPatient()
		held := g.tooLate(w, g.waiters.Len(), now)
		if held == nil {
			return
		}
		g.waiters.remove(w)
		g.key.giveBack(&w.Pass, now)
		w.held = held
		close(w.ready)
	}
}

// tooLate returns why it is not worth waiting for a request that would be the n-th to go,
// or nil if it is.
func (g *Gate) tooLate(w *Waiter, n int, now time.Time) *Rejection {
	at, known := g.turnOf(n, now)
	if !known || !w.Latest.Before(at) {
		return nil
	}
	held := g.rejection()
	held.Until = at
	return held
}

// turnOf returns when the n-th of those that wait may be sent, at the present rate.
func (g *Gate) turnOf(n int, now time.Time) (at time.Time, known bool) {
	h := &g.hold
	switch {
	case g.inTurns():
		return g.session.turns.At(n, now)
	case h.IsPaced() && h.Rate() > 0:
		return h.NextSendAt().Add(time.Duration(float64(n-1) / h.Rate() * float64(time.Second))), true
	}
	return time.Time{}, false
}
