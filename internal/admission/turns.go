package admission

import "time"

// How the requests of a fleet take turns where a scope is paced.

// inTurns reports whether the store hands out turns of a schedule.
func (g *Gate) inTurns() bool { return g.hold.Shared() && g.hold.IsPaced() }

// lookedAt bounds the requests that are looked at for each report.
const lookedAt = 256

// patience is how long the most patient of the requests will wait that have no turn yet.
func (g *Gate) patience(now time.Time) (longest time.Duration) {
	for _, w := range g.waiters.newest(min(g.turnless(), lookedAt)) {
		longest = max(longest, w.Latest.Sub(now))
	}
	return longest
}

// turnless returns how many of the requests that wait have no turn.
func (g *Gate) turnless() int { return max(g.waiters.Len()-g.session.turns.Len(), 0) }

// refuseLate refuses the requests that have no turn, since none comes while they will
// wait.
func (g *Gate) refuseLate(now time.Time) {
	n := g.waiters.Len() + 1
	for _, w := range g.waiters.newest(min(g.turnless(), lookedAt)) {
		n--
		if held := g.tooLate(w, n, now); held != nil {
			g.waiters.remove(w)
			g.key.giveBack(&w.Pass, now)
			w.held = held
			close(w.ready)
		}
	}
}

// tooLate returns why a request is not worth waiting, as the n-th of those that wait,
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
		return g.session.turns.Expect(n, now)
	case h.IsPaced() && h.Rate() > 0:
		return h.NextSendAt().Add(time.Duration(float64(n-1) / h.Rate() * float64(time.Second))), true
	}
	return time.Time{}, false
}
