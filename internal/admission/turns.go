package admission

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// How requests wait where a scope is paced: a fleet's take turns.

// roughTime is how long a new pace is no reason to give up a request: its first rates are
// rough.
const roughTime = 2 * time.Second

// sure is the share of an expected wait that patience must fall short of, before a request
// is given up: one cut lowers a rate by a quarter, and the wait seems so much longer.
const sure = 0.75

// inTurns reports whether the store hands out turns of a schedule.
func (g *Gate) inTurns() bool { return g.hold.Shared() && g.hold.IsPaced() }

func isPaced(p hold.Phase) bool { return p == hold.Paced || p == hold.Rationed }

// patience is how long the most patient of the requests will wait: it is the last to go.
func (g *Gate) patience(now time.Time) time.Duration {
	if w := g.waiters.mostPatient(); w != nil {
		return w.Latest.Sub(now)
	}
	return 0
}

// refuseLate refuses requests that would be the last to go, where no turn comes while they
// will wait.
func (g *Gate) refuseLate(now time.Time) {
	if !g.hold.IsPaced() {
		return
	}
	for g.waiters.Len() > 0 {
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
// or nil if it may be.
func (g *Gate) tooLate(w *Waiter, n int, now time.Time) *Rejection {
	at, known := g.turnOf(n, now)
	if !known || float64(w.Latest.Sub(now)) >= sure*float64(at.Sub(now)) {
		return nil
	}
	held := g.rejection()
	held.Until = at
	return held
}

// turnOf returns when the n-th of those that wait may be sent, at the present rate.
func (g *Gate) turnOf(n int, now time.Time) (at time.Time, known bool) {
	h := &g.hold
	if now.Sub(g.paced) < roughTime {
		return time.Time{}, false
	}
	switch {
	case g.inTurns():
		return g.session.turns.At(n, now)
	case h.IsPaced() && h.Rate() > 0:
		return h.NextSendAt().Add(time.Duration(float64(n-1) / h.Rate() * float64(time.Second))), true
	}
	return time.Time{}, false
}
