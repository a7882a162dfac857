package admission

import (
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// Which scopes learn of a result. A success goes to every gate that gave a permit for it.
// A failure or a refusal goes to one gate, that of the narrowest scope which explains it;
// for the others the request had no result.

// An Outcome is what came of a send.
type Outcome struct {
	hold.Result
	At      scope.Scope // where the request stood
	Limit   string      // the name that the server gives to the limit that it speaks of; "" for none
	Reach   string      // what the server says of whose limit that is: see scope.Reach
	QuotaOf string      // the name of the limit whose Quota it is; "" for none
}

// Record takes in what came of a send, or reports false where the key was evicted.
func (k *Key) Record(p *Pass, o Outcome) bool {
	k.mu.Lock()
	defer k.unlock()
	if k.evicted.Load() {
		return false
	}
	now := time.Now()
	p.keepOf(k)
	k.learn(&o)
	at := k.point(o.At)
	o.HasQuota = o.HasQuota && (o.NearExhaustion || o.Inconsistent || p.Limited())
	k.takeQuota(&o, now)
	switch {
	case o.Lesson == hold.Good:
		k.succeeded(p, at, o.Result, now)
	case o.Lesson == hold.Nothing, o.Lesson == hold.Unreachable:
		k.deliver(p, nil, o.Result, now)
	default:
		k.failed(p, at, scope.Reach(at, o.Reach), o.Result, now)
	}
	return true
}

// deliver gives the gates that gave a permit for a result what it means to them. Where a
// gate is meant, the others learn that nothing came of it, for them; without one all
// learn the same.
func (k *Key) deliver(p *Pass, meant *Gate, o hold.Result, now time.Time) {
	other := o
	if meant != nil {
		other.Lesson, other.Hint = hold.Nothing, 0
	}
	give := func(g *Gate, permit hold.Permit) {
		r := other
		if g == meant || g == k.rest {
			r = o
		}
		r.Permit, r.HasQuota = permit, o.HasQuota && g == &k.whole
		r.Retry = o.Retry
		g.take(r, now)
	}
	delivered := false
	for _, n := range p.narrow {
		give(n.gate, n.permit)
		delivered = delivered || n.gate == meant
	}
	if meant != nil && meant != &k.whole && !delivered {
		give(meant, hold.Permit{})
	}
	if meant == nil || meant == &k.whole || p.whole.Limited || o.HasQuota {
		give(&k.whole, p.whole)
	}
}

// succeeded takes in a success.
func (k *Key) succeeded(p *Pass, at scope.Scope, o hold.Result, now time.Time) {
	k.limits.good(at, p.epoch)
	for _, g := range k.narrow { // those that count what was sent before as well
		if _, has := p.permit(g); !has && g.hold.Phase() == hold.Counted && g.scope.Covers(at) {
			p.narrow = append(p.narrow, pass{gate: g})
		}
	}
	k.deliver(p, nil, o, now)
	k.disprove(now)
	if k.rest.troubled() && p.epoch >= k.limits.doubted && !k.limits.covers(at, now) {
		k.limits.narrowUntil = now.Add(narrowMemory)
		k.endTrial(now)
	}
}

// failed takes in a failure or a refusal that the server answered to a request from a
// point, and that is one of its limit.
func (k *Key) failed(p *Pass, at, limit scope.Scope, o hold.Result, now time.Time) {
	if o.Lesson == hold.Refused {
		k.limits.bad(at)
	}
	if g := k.blame(p, limit, o, now); g != nil {
		if g != &k.whole && o.Lesson == hold.Failed && o.Hint == 0 && k.limits.servedBeside(g) {
			o.Lesson = hold.Good // it is broken, and not limited: its hold would not end
		}
		k.deliver(p, g, o, now)
		if g != &k.whole && o.Hint >= hold.MinHold && g.hold.Phase() == hold.Held {
			k.renew(g.scope, g.hold.Until(), now) // a probe that is refused is evidence as well
		}
		return
	}
	nothing := o
	nothing.Lesson, nothing.Hint = hold.Nothing, 0
	k.deliver(p, nil, nothing, now)
}

// blame returns the gate of the scope that explains a failure at a point, or nil where
// it explains nothing by itself.
func (k *Key) blame(p *Pass, at scope.Scope, o hold.Result, now time.Time) *Gate {
	g := k.responsible(p, at)
	hinted := o.Hint >= hold.MinHold
	if hinted {
		k.supposeLonger(p, at, o, now)
	}
	own := p.whole.Limited && k.whole.serving() && k.apart(at)
	switch {
	case hinted && g != nil && g.wider(at) && (g.hold.Phase() == hold.Held || g.hold.Phase() == hold.Probing):
		// It was said to one point: that is remembered, and needs no gate meanwhile.
		k.limits.add(limit{at, k.epoch.Add(1), p.epoch, now.Add(o.Hint)}, now)
		return nil
	case hinted && g != nil && g.wider(at) && g.hold.Phase() == hold.Ramping:
		return k.meet(p, at, o, now)
	case g != nil && g != &k.whole:
		return g
	case hinted && at != (scope.Scope{}) && (g == nil || own):
		return k.meet(p, at, o, now)
	case o.Lesson == hold.Failed && !hinted && k.outdated(p, at):
		return nil
	case hinted, o.Lesson == hold.Failed, g != nil && !own:
		return &k.whole
	case own:
		k.exceeded(at, true, now)
		return nil
	case k.whole.hold.Phase() == hold.Healthy:
		o.Permit, o.HasQuota = p.whole, false
		k.whole.take(o, now) // it is counted, for people, but not by the measurement that it starts
		k.exceeded(at, false, now)
	}
	return nil // it is counted, or was sent long ago
}

// outdated reports whether a request was sent before a hold of its scope began: its
// failure says nothing of the time since.
func (k *Key) outdated(p *Pass, at scope.Scope) bool {
	return slices.ContainsFunc(k.narrow, func(g *Gate) bool {
		_, has := p.permit(g)
		return !has && p.epoch < g.opened && g.scope.Covers(at)
	})
}

// responsible returns the gate of the narrowest scope that gave a permit for what was
// sent from a point, or that holds or counts what is sent from there.
func (k *Key) responsible(p *Pass, at scope.Scope) *Gate {
	var room [usual]*Gate
	for _, g := range k.around(at, room[:0]) {
		if g == k.rest {
			continue
		}
		_, has := p.permit(g)
		if phase := g.hold.Phase(); has || phase == hold.Held || phase == hold.Counted {
			return g
		}
	}
	return nil
}
