package admission

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// An Inspection is what a process knows of one scope of a key.
type Inspection struct {
	Scope   scope.Scope
	State   hold.Snapshot
	Shared  bool // the store says so
	Witness bool // this process has met a failure since the scope was last healthy
	Waiters int  // requests of this process in the queue
}

// Inspect returns how the scopes of the key stand that are worth showing.
func (k *Key) Inspect() (all []Inspection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.gates(func(g *Gate) {
		if seen, worth := g.inspect(now); worth {
			all = append(all, seen)
		}
	})
	return all
}

func (g *Gate) inspect(now time.Time) (Inspection, bool) {
	h := &g.hold
	s := Inspection{Scope: g.scope, State: h.Snapshot(), Shared: h.Shared(), Waiters: g.waiters.Len(), Witness: g.bad.After(h.RecoveredAt())}
	s.State.Last, s.State.Version = g.session.last, g.session.version
	if g.bad.After(s.State.Last) {
		s.State.Last = g.bad
	}
	return s, s.Waiters > 0 || (!h.IsHealthy() && !g.alone && !s.State.Expired(now))
}

// HeldUntil reports whether requests from a point have to wait, and the earliest time
// at which one may be sent.
func (k *Key) HeldUntil(at scope.Scope) (until time.Time, waits bool) {
	if k.Open() {
		return time.Time{}, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var room [usual]*Gate
	for _, g := range k.around(k.point(at), room[:0]) {
		if g.hold.Phase() == hold.Held && g.hold.Until().After(until) {
			until = g.hold.Until()
		}
		waits = waits || g.hold.Phase() != hold.Healthy
	}
	return until, waits
}
