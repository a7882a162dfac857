package admission

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// An Inspection is what a process knows of one key.
type Inspection struct {
	State   hold.Snapshot
	Shared  bool // the store says so
	Witness bool // this process has met a failure since the key was last healthy
	Waiters int  // requests of this process in the queue
}

// Inspect returns how the key stands, and whether that is worth showing.
func (g *Gate) Inspect() (Inspection, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := &g.hold
	s := Inspection{State: h.Snapshot(), Shared: h.Shared(), Waiters: g.waiters.Len(), Witness: g.bad.After(h.RecoveredAt())}
	s.State.Last, s.State.Version = g.session.last, g.session.version
	if g.bad.After(s.State.Last) {
		s.State.Last = g.bad
	}
	return s, s.Waiters > 0 || (!h.IsHealthy() && !s.State.Expired(time.Now()))
}
