package admission

import (
	"container/list"
	"context"
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// How requests wait for the scopes that they are in.

// A Pass is the leave to send once: a permit of each scope in trouble that the request
// is in.
type Pass struct {
	epoch  uint64      // of the key, when it was given
	whole  hold.Permit // of the whole key, or just its generation
	narrow []pass
}

type pass struct {
	gate   *Gate
	permit hold.Permit
}

// Limited reports whether a result is waited for.
func (p *Pass) Limited() bool { return p.whole.Limited || len(p.narrow) > 0 }

// permit returns the permit of a gate.
func (p *Pass) permit(g *Gate) (hold.Permit, bool) {
	if g == &g.key.whole {
		return p.whole, p.whole.Limited
	}
	for i := range p.narrow {
		if p.narrow[i].gate == g {
			return p.narrow[i].permit, true
		}
	}
	return hold.Permit{}, false
}

// keepOf drops the permits of another key's gates: of one that was evicted meanwhile.
func (p *Pass) keepOf(k *Key) {
	p.narrow = slices.DeleteFunc(p.narrow, func(n pass) bool { return n.gate.key != k })
}

func (p *Pass) add(g *Gate, permit hold.Permit) {
	switch {
	case g == &g.key.whole:
		p.whole = permit
	case permit.Limited:
		p.narrow = append(p.narrow, pass{g, permit})
	}
}

// A Waiter is a request that waits for its scopes.
type Waiter struct {
	Point  scope.Scope   // where the request stands
	Latest time.Time     // when it stops waiting
	Retry  bool          // it has failed before
	number uint64        // its place in the order in which requests came to the key
	at     *Gate         // whose queue it is in
	in     *queue        // that queue; nil before, and when it is released
	place  *list.Element // in that queue
	ready  chan struct{} // closed when Pass or held is set
	Pass   Pass
	held   *Rejection
}

// TryPass lets a request pass that is in no scope in trouble.
func (k *Key) TryPass(at scope.Scope) (Pass, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var room [usual]*Gate
	if len(k.around(k.point(at), room[:0])) > 0 {
		return Pass{}, false
	}
	return Pass{epoch: k.epoch.Load(), whole: hold.Permit{Generation: k.whole.hold.Generation()}}, true
}

// Enqueue lets a request pass at once, refuses it with a *Rejection where a hold
// outlasts its patience, or puts it in a queue: then it must Wait or Leave. The pass
// is in w, where it is found also after a hook has panicked.
func (k *Key) Enqueue(w *Waiter) (inLine bool, err error) {
	k.mu.Lock()
	defer k.unlock()
	w.Point = k.point(w.Point)
	k.arrived++
	w.number = k.arrived
	if k.advance(w, nil, time.Now()) {
		if w.held != nil {
			return false, w.held
		}
		return false, nil
	}
	w.ready = make(chan struct{})
	return true, nil
}

// advance moves a request as far as it may go now, and reports whether it waits no
// longer: it has its pass, or it is held for too long. The gate from has just let it
// go. It never waits for the end of a hold with a permit in hand.
func (k *Key) advance(w *Waiter, from *Gate, now time.Time) (done bool) {
	defer func() {
		if done && w.ready != nil {
			close(w.ready)
		}
	}()
	var room [usual]*Gate
	gates := k.around(w.Point, room[:0])
	for _, g := range gates {
		if g != from && g.hold.Phase() == hold.Held && now.Before(g.hold.Until()) {
			k.giveBack(&w.Pass, now)
			return g.line(w)
		}
	}
	for _, g := range gates {
		if _, has := w.Pass.permit(g); has || g == from {
			continue
		}
		if g.waiters.Len() > 0 {
			return g.line(w)
		}
		permit, ok := g.grant(now)
		g.touch()
		if !ok {
			return g.line(w)
		}
		permit.Retry = w.Retry
		w.Pass.add(g, permit)
	}
	w.Pass.epoch = k.epoch.Load()
	if !w.Pass.whole.Limited {
		w.Pass.whole.Generation = k.whole.hold.Generation()
	}
	return true
}

// line puts a request at the end of the gate's queue, or refuses it: then it returns
// true.
func (g *Gate) line(w *Waiter) (refused bool) {
	g.touch()
	now := time.Now()
	if g.cannotMeetDeadline(w) {
		w.held = g.rejection()
	} else {
		w.held = g.tooLate(w, g.waiters.before(w.Latest)+1, now)
	}
	if w.held != nil {
		g.key.giveBack(&w.Pass, now)
		return true
	}
	w.at = g
	g.waiters.push(w)
	return false
}

// giveBack returns the permits of a pass that is not used.
func (k *Key) giveBack(p *Pass, now time.Time) {
	if p.whole.Limited {
		k.whole.take(hold.Result{Permit: p.whole}, now)
	}
	for _, n := range p.narrow {
		n.gate.take(hold.Result{Permit: n.permit}, now)
	}
	*p = Pass{}
}

// Wait waits until w may be sent, its patience is over or ctx ends: with deadline,
// the two are one, and it is the context that ends. The error is a *Rejection or the
// context's. With the latter w may have a pass all the same, that came at this
// moment and must be returned.
func (k *Key) Wait(ctx context.Context, w *Waiter, deadline bool) error {
	var over <-chan time.Time
	if !deadline {
		timer := time.NewTimer(time.Until(w.Latest))
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-w.ready:
	case <-ctx.Done():
		k.Leave(w, ctx.Err() == context.DeadlineExceeded)
		return ctx.Err()
	case <-over:
		if held := k.Leave(w, true); held != nil {
			return held
		}
	}
	if w.held != nil {
		return w.held
	}
	return nil
}

// Leave takes w out of its queue, because its patience is over or its caller has
// gone, and returns why it is still held: nil where it may be sent since a moment
// ago.
func (k *Key) Leave(w *Waiter, impatient bool) *Rejection {
	k.mu.Lock()
	defer k.unlock()
	g := w.at
	if w.place == nil {
		return w.held
	}
	g.touch()
	if impatient {
		g.session.timedOut++
		g.session.lastTimeout = time.Now()
	}
	g.waiters.remove(w)
	k.giveBack(&w.Pass, time.Now())
	return g.rejection()
}

// release ends the wait of as many requests as there are permits, and of those whose
// patience the hold outlasts. The oldest goes first; while the scope is paced, and a line
// is long, the one whose patience ends first.
func (g *Gate) release(now time.Time) {
	for g.waiters.Len() > 0 {
		p, ok := g.grant(now)
		if !ok {
			break
		}
		w := g.waiters.oldest()
		switch {
		case g.hold.Phase() == hold.Probing:
			w = g.waiters.pickProbe(g.key.limits.suspicion)
		case g.hold.IsPaced():
			w = g.waiters.soonest()
		}
		g.waiters.remove(w)
		p.Retry = w.Retry
		w.Pass.add(g, p)
		g.key.advance(w, g, now)
	}
	for g.hold.Phase() == hold.Held {
		w := g.waiters.soonest()
		if w == nil || !g.cannotMeetDeadline(w) {
			break
		}
		g.waiters.remove(w)
		w.held = g.rejection()
		close(w.ready)
	}
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
	k := g.key
	return &Rejection{
		Key: k.text, Scope: g.scope, Until: until, Attempts: g.hold.Attempts(), Status: g.hold.Status(),
		RestOpen: !k.whole.troubled() && !k.rest.troubled(),
	}
}
