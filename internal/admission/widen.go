package admission

import (
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// How a limit is found to be as narrow or as wide as it is. A refusal says something of
// one point. What several points have in common is supposed to be limited where all of them
// were refused, and nothing in it was served since. It is held for a moment, and tried.

// meet takes in a hint at a point that is in no limit known to be one, and returns the gate
// that obeys it: that of the point, or of the point for all replicas.
func (k *Key) meet(p *Pass, at scope.Scope, o hold.Result, now time.Time) *Gate {
	until := now.Add(o.Hint)
	k.limits.add(limit{at, k.epoch.Add(1), p.epoch, until}, now)
	if !k.suspect(at, o.Status, now) {
		k.doubt(now)
	}
	if latest, ok := k.limits.everywhere(at, now); ok && at.Replica != "" {
		return k.holdAll(at.Shared(), later(until, latest), o.Status, now)
	}
	return k.open(at)
}

// holdAll holds a point for all replicas until the server may be asked by each of them.
func (k *Key) holdAll(s scope.Scope, until time.Time, status int, now time.Time) *Gate {
	g := k.open(s)
	g.suppose(hold.Permit{}, until.Sub(now), status, now) // no longer, where each replica supposes so
	k.limits.add(limit{scope: s, epoch: k.epoch.Load(), until: until}, now)
	return g
}

// suspect holds what a point that was just refused has in common with others that were, if
// that explains them. The server has not said so: the hold is short, and the request that
// is sent at its end, from a point that was never refused, says more. The points themselves
// stay held for as long as the server asked.
func (k *Key) suspect(at scope.Scope, status int, now time.Time) bool {
	wide, ok := k.limits.common(at, now, k.confirmed)
	if !ok {
		return false
	}
	if g := k.open(wide); g.hold.Phase() == hold.Healthy {
		g.suppose(hold.Permit{Generation: g.hold.Generation()}, supposeTime, status, now)
	}
	return true
}

// suppose holds a scope for a while of which it is supposed that all of it is limited.
func (g *Gate) suppose(p hold.Permit, d time.Duration, status int, now time.Time) {
	g.take(hold.Result{Permit: p, Lesson: hold.Refused, Hint: d, ServerDirected: true, Status: status}, now)
}

// supposeLonger takes in that a trial request was refused with a hint, which was said to one
// point. Wider scopes whose trial it was stay held until they have been so for three times as
// long. When they were refused for as long as a hint is, it is taken to be said of all of them.
func (k *Key) supposeLonger(p *Pass, at scope.Scope, o hold.Result, now time.Time) {
	k.gates(func(g *Gate) {
		permit, has := p.permit(g)
		if !has || g.alone || g.hold.Phase() != hold.Probing || permit.Generation != g.hold.Generation() || !g.wider(at) {
			return
		}
		d := o.Hint
		if passed := now.Sub(g.since); passed < o.Hint {
			d = max(min(2*passed, o.Hint-passed), hold.Slot)
		}
		g.suppose(permit, d, o.Status, now)
	})
}

// disprove reports to the store that scopes are not limited which another replica has supposed
// to be a moment ago: this process knows of a success.
func (k *Key) disprove(now time.Time) {
	k.gates(func(g *Gate) {
		h := &g.hold
		recent := g.shown.Phase == hold.Healthy || now.Sub(g.since) < supposeTime
		if recent && h.Phase() == hold.Held && h.Shared() && h.Until().Sub(now) <= supposeTime && k.limits.disproves(g.scope, now) {
			g.touch()
			g.session.report.Well = true
		}
	})
}

// servedSince reports whether a hold has just ended by a success, of this process or another.
func (g *Gate) servedSince() bool {
	was, phase := g.shown.Phase, g.hold.Phase()
	return !g.alone && (was == hold.Held || was == hold.Probing) && (phase == hold.Ramping || phase == hold.Healthy)
}

// served takes in that a request was served from a scope that was held: what has points
// inside and outside of it is no limit, as far as is known.
func (k *Key) served(g *Gate, now time.Time) {
	k.limits.good(g.scope, k.epoch.Load())
	k.limits.drop(g.scope)
	if k.rest.troubled() && g.hold.Phase() == hold.Healthy {
		k.endTrial(now)
	}
}

// wider reports whether a gate has all of a point, and other routes or credentials as well.
func (g *Gate) wider(at scope.Scope) bool {
	return g.scope.Covers(at) && (g.scope.Route != at.Route || g.scope.Credential != at.Credential)
}

// confirmed reports whether a scope is known to be limited as a whole.
func (k *Key) confirmed(s scope.Scope) bool {
	g := k.gate(s)
	return g != nil && g.hold.Phase() != hold.Healthy
}

// doubt puts the rest of the key on trial, unless it is known that its limits are
// narrow, and nothing says otherwise.
func (k *Key) doubt(now time.Time) {
	if now.Before(k.limits.narrowUntil) && !k.limits.piled() {
		return
	}
	k.limits.doubted = k.epoch.Load()
	k.tryRest(now)
}

// piled reports whether two limits were met with no success since the first.
func (e *evidence) piled() bool {
	n, served := 0, e.lastGood(scope.Scope{})
	for _, l := range e.limits {
		if l.epoch > served {
			n++
		}
	}
	return n >= 2
}

// exceeded takes in a refusal without a hint that holds others: the server asks for
// less. It measures the scope that is too much for the server: the point's own, or what
// it has in common with others.
func (k *Key) exceeded(at scope.Scope, own bool, now time.Time) {
	if !own && !k.tooMany() {
		return
	}
	s := at.Shared()
	switch wide, ok := k.tooMuch(s); {
	case own:
	case ok:
		k.measureAll(wide, now)
		return
	case k.dispatcher == nil:
		s = scope.Scope{} // one route of one process has too few requests to be measured
	}
	k.open(s).measure(now)
	if own && k.dispatcher == nil {
		k.acquit(now)
	}
}

// acquit ends the pace of the whole key of a process alone, where all that was refused was
// refused in scopes that now have a state of their own: the pace was measured with them.
func (k *Key) acquit(now time.Time) {
	bad, _ := k.limits.count(func(at scope.Scope) bool {
		return !slices.ContainsFunc(k.narrow, func(g *Gate) bool { return g.troubled() && g.scope.Covers(at) })
	})
	if bad == 0 {
		k.whole.hold.Recover(now)
		k.whole.touch()
	}
}

// joinPaced measures what several paced scopes have in common, where it seems that they
// are one limit. A process that has met none of its refusals leaves that to others.
func (k *Key) joinPaced(g *Gate, now time.Time) {
	if bad, _ := k.limits.count(g.scope.Covers); bad == 0 {
		return
	}
	if wide, ok := k.tooMuch(g.scope); ok {
		k.measureAll(wide, now)
	}
}

// measureAll measures a scope in the place of narrower ones, whose limit is one.
func (k *Key) measureAll(wide scope.Scope, now time.Time) {
	g := k.open(wide)
	if g.measure(now); g.hold.Phase() == hold.Counted {
		k.absorb(g, now)
	}
}

// partly reports whether requests of the scope are served, though not all: it is paced, or
// it is measured, and some were served here and some refused.
func (g *Gate) partly() bool {
	if g.hold.Phase() == hold.Paced {
		return true
	}
	bad, n := g.key.limits.count(g.scope.Covers)
	return (g.hold.Phase() == hold.Counted || g.session.report.Refusals > 0) && 0 < bad && bad < n
}

// tooMuch returns the least scope that has a scope and so many others of which a part
// is served that they are one limit.
func (k *Key) tooMuch(s scope.Scope) (found scope.Scope, ok bool) {
	for _, other := range k.narrow {
		wide := s.Join(other.scope)
		if !other.partly() || wide == s || wide == other.scope || (ok && wide.Fixed() <= found.Fixed()) {
			continue
		}
		n := 1
		for _, g := range k.narrow {
			if g.partly() && g.scope != s && wide.Covers(g.scope) {
				n++
			}
		}
		inside := func(p scope.Scope) bool {
			g := k.partlyAt(p)
			return s.Covers(p) || g != nil && wide.Covers(g.scope)
		}
		if n >= enoughPoints && !k.limits.contradicted(wide, inside, k.limits.refused(inside)) {
			found, ok = wide, true
		}
	}
	return found, ok
}

// partlyAt returns the gate of a narrow scope of which a part is served, and that has the
// point.
func (k *Key) partlyAt(p scope.Scope) *Gate {
	for _, g := range k.narrow {
		if g.scope.Covers(p) && g.partly() {
			return g
		}
	}
	return nil
}

// apart reports whether a point is refused so much more often than the rest of the key
// that it has a limit of its own: of the most of its requests, while others are served.
func (k *Key) apart(at scope.Scope) bool {
	route := at.Shared()
	enough := enoughRefusals
	if k.dispatcher == nil {
		enough = enoughRefusalsAlone
	}
	bad, n := k.limits.count(route.Covers)
	return bad >= enough && 2*bad > n && k.limits.contradicted(scope.Scope{}, route.Covers, float64(bad)/float64(n))
}
