package admission

import (
	"container/list"
	"context"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// How requests wait at a gate.

// A Waiter is a request that waits at a gate.
type Waiter struct {
	Latest time.Time     // when it stops waiting
	Retry  bool          // it has failed before
	number uint64        // its place in the order of arrival
	place  *list.Element // in the queue; nil before, and when it is released
	ready  chan struct{} // closed when Permit or held is set
	Permit hold.Permit
	held   *Rejection
}

// Enqueue lets a request pass at once, refuses it with a *Rejection where the hold
// outlasts its patience, or puts it in the queue: then it must Wait or Leave. The
// permit is in w, where it is found also after a hook has panicked.
func (g *Gate) Enqueue(w *Waiter) (inLine bool, err error) {
	defer g.applyAndUnlock(g.lock())
	if g.waiters.Len() == 0 {
		var ok bool
		if w.Permit, ok = g.grant(time.Now()); ok {
			w.Permit.Retry = w.Retry
			return false, nil
		}
	}
	if g.cannotMeetDeadline(w) {
		return false, g.rejection()
	}
	w.ready = make(chan struct{})
	g.waiters.push(w)
	return true, nil
}

// Wait waits until w may be sent, its patience is over or ctx ends: with deadline,
// the two are one, and it is the context that ends. The error is a *Rejection or the
// context's. With the latter w may have a permit all the same, that came at this
// moment and must be returned.
func (g *Gate) Wait(ctx context.Context, w *Waiter, deadline bool) error {
	var over <-chan time.Time
	if !deadline {
		timer := time.NewTimer(time.Until(w.Latest))
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-w.ready:
	case <-ctx.Done():
		g.Leave(w, ctx.Err() == context.DeadlineExceeded)
		return ctx.Err()
	case <-over:
		if held := g.Leave(w, true); held != nil {
			return held
		}
	}
	if w.held != nil {
		return w.held
	}
	return nil
}

// Leave takes w out of the queue, because its patience is over or its caller has
// gone, and returns why it is still held: nil where it may be sent since a moment
// ago.
func (g *Gate) Leave(w *Waiter, impatient bool) *Rejection {
	defer g.applyAndUnlock(g.lock())
	if w.place == nil {
		return w.held
	}
	if impatient {
		g.session.timedOut++
		g.session.lastTimeout = time.Now()
	}
	g.waiters.remove(w)
	return g.rejection()
}

// release ends the wait of as many requests as there are permits, the oldest first,
// and of those whose patience the hold outlasts.
func (g *Gate) release(now time.Time) {
	for g.waiters.Len() > 0 {
		p, ok := g.grant(now)
		if !ok {
			break
		}
		w := g.waiters.oldest()
		if g.hold.Phase() == hold.Probing {
			w = g.waiters.pickProbe()
		}
		w.Permit = p
		w.Permit.Retry = w.Retry
		g.letGo(w)
	}
	for g.hold.Phase() == hold.Held {
		w := g.waiters.soonest()
		if w == nil || !g.cannotMeetDeadline(w) {
			break
		}
		w.held = g.rejection()
		g.letGo(w)
	}
}

func (g *Gate) letGo(w *Waiter) {
	g.waiters.remove(w)
	close(w.ready)
}

// cannotMeetDeadline reports whether the hold is certain to outlast the patience of w.
func (g *Gate) cannotMeetDeadline(w *Waiter) bool {
	return g.hold.Phase() == hold.Held && !w.Latest.After(g.hold.Until())
}

// rejection says that requests are held until T; during a probe or a ramp, for a
// slot at least.
func (g *Gate) rejection() *Rejection {
	until := g.hold.Until()
	if soon := time.Now().Add(hold.Slot); g.hold.Phase() != hold.Held && until.Before(soon) {
		until = soon
	}
	return &Rejection{Key: g.key, Until: until, Attempts: g.hold.Attempts(), Status: g.hold.Status()}
}
