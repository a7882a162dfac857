package admission

import (
	"cmp"
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// How a key keeps the gates of its scopes.

// maxScopes bounds the scopes of a key that have a gate of their own, and maxKeys those
// of all keys. What is met beyond them is taken for a limit of the whole key.
const maxScopes = 64

// usual is how many scopes in trouble a request is in at most, as a rule.
const usual = 4

// trialTime is how long the rest of a key waits for an answer to a request that tries
// whether it is well. Refusals come soon; where none has come, the rest is open. A
// server that takes seconds to answer must not make the rest wait for it.
const trialTime = 250 * time.Millisecond

// gate returns the gate of a scope, or nil if it has none.
func (k *Key) gate(s scope.Scope) *Gate {
	if s == (scope.Scope{}) {
		return &k.whole
	}
	for _, g := range k.narrow {
		if g.scope == s {
			return g
		}
	}
	return nil
}

// open returns the gate of a scope, and makes it if there is none: that of a wider scope
// where the key has too many.
func (k *Key) open(s scope.Scope) *Gate {
	if g := k.gate(s); g != nil {
		return g
	}
	if len(k.narrow) >= maxScopes {
		k.narrow = slices.DeleteFunc(k.narrow, (*Gate).dropIdle)
	}
	if len(k.narrow) >= maxScopes {
		k.condense(time.Now())
		if g := k.gateOver(s); g != nil {
			return g
		}
	}
	if len(k.narrow) >= maxScopes || k.scopes.Load() >= maxKeys {
		return &k.whole
	}
	return k.add(s)
}

// condense makes room for new scopes: what the most of the limits have in common is held in
// their place until the latest of their ends, if that explains them.
func (k *Key) condense(now time.Time) {
	var wide scope.Scope
	most, seen := 0, make(map[scope.Scope]bool)
	for i, a := range k.limits.limits {
		for _, b := range k.limits.limits[:i] {
			w := a.scope.Join(b.scope).Shared()
			if seen[w] || w == (scope.Scope{}) {
				continue
			}
			seen[w] = true
			if n, ok := k.limits.explains(w, now); ok && n > most {
				wide, most = w, n
			}
		}
	}
	if most == 0 {
		return
	}
	var until time.Time
	for _, l := range k.limits.limits {
		if wide.Covers(l.scope) {
			until = later(until, l.until)
		}
	}
	g := k.gate(wide)
	if g == nil {
		g = k.add(wide) // one too many, until those inside it are dropped
	}
	g.suppose(hold.Permit{Generation: g.hold.Generation()}, until.Sub(now), g.hold.Status(), now)
	k.absorb(g, now)
}

// gateOver returns the gate of a narrow scope that is held and has all of another.
func (k *Key) gateOver(s scope.Scope) *Gate {
	for _, g := range k.narrow {
		if g.scope.Covers(s) && g.hold.Phase() == hold.Held {
			return g
		}
	}
	return nil
}

// add makes a gate.
func (k *Key) add(s scope.Scope) *Gate {
	k.count(1)
	g := &Gate{key: k, scope: s.Clone(), record: s.Of(k.text), opened: k.epoch.Load()}
	k.narrow = append(k.narrow, g)
	return g
}

// forget drops the gates of scopes that have been well for long.
func (k *Key) forget(now time.Time) {
	k.narrow = slices.DeleteFunc(k.narrow, func(g *Gate) bool {
		return g.old(now) && g.dropIdle()
	})
	if len(k.narrow) == 0 {
		k.narrow = nil
	}
}

// old reports whether nothing of what the gate knows matters any more.
func (g *Gate) old(now time.Time) bool {
	return g.shared() || !g.hold.Remembers(now) // a store remembers it
}

// busy reports whether the gate has something to report, or does so.
func (g *Gate) busy() bool {
	s := &g.session
	if !g.shared() {
		return false
	}
	_, due := g.reportDue(time.Now())
	return due || s.talking
}

// dropIdle ends a gate that is not in trouble and has nothing to report, and returns
// false for any other.
func (g *Gate) dropIdle() bool {
	if g.troubled() || g.waiters.Len() > 0 || g.busy() {
		return false
	}
	g.drop()
	return true
}

// drop ends a gate.
func (g *Gate) drop() {
	g.dropped = true
	g.key.count(-1)
	g.stopTimers()
}

// count counts the narrow gates of a key that is in the table.
func (k *Key) count(n int64) {
	if !k.evicted.Load() {
		k.scopes.Add(n)
	}
}

// around appends the gates that a request at a point has to pass, narrow ones first.
func (k *Key) around(point scope.Scope, gates []*Gate) []*Gate {
	for _, g := range k.narrow {
		if g.troubled() && g.scope.Covers(point) {
			gates = append(gates, g)
		}
	}
	slices.SortStableFunc(gates, narrower)
	if len(gates) == 0 && k.rest.troubled() {
		gates = append(gates, k.rest) // it is outside the limits that are known
	}
	if k.whole.troubled() {
		gates = append(gates, &k.whole)
	}
	return gates
}

func narrower(a, b *Gate) int { return b.scope.Fixed() - a.scope.Fixed() }

// absorb drops the gates of narrower scopes than that of g, whose trouble is that of
// g, and lets the requests that wait there go on, in the order in which they came. A hold
// that outlasts g's stays.
func (k *Key) absorb(g *Gate, now time.Time) {
	var waiting []*Waiter
	k.narrow = slices.DeleteFunc(k.narrow, func(n *Gate) bool {
		if n == g || !g.scope.Covers(n.scope) || n.outlasts(g) {
			return false
		}
		waiting = append(waiting, n.waiters.drain()...)
		n.drop()
		return true
	})
	if g == &k.whole {
		k.endTrial(now)
	}
	k.limits.absorb(g.scope, g.hold.Until())
	if len(waiting) > 0 {
		waiting = append(waiting, g.waiters.drain()...)
		slices.SortFunc(waiting, func(a, b *Waiter) int { return cmp.Compare(a.number, b.number) })
	}
	for _, w := range waiting {
		k.advance(w, nil, now)
	}
}

// outlasts reports whether n is held for longer than g.
func (n *Gate) outlasts(g *Gate) bool {
	if n.hold.Phase() != hold.Held {
		return false
	}
	return g.hold.Phase() != hold.Held || n.hold.Until().Sub(g.hold.Until()) > hold.Rounding
}

// tryRest puts what is outside the known limits on trial: one request at a time, until
// one is answered well.
func (k *Key) tryRest(now time.Time) {
	if k.whole.hold.Phase() != hold.Healthy || k.rest.troubled() {
		return
	}
	if k.rest == nil {
		k.rest = &Gate{key: k, record: k.text, alone: true}
	}
	k.rest.hold.StartTrial(now, trialTime)
	k.rest.touch()
}

// endTrial ends the trial of the rest, and lets the requests go on that waited for it.
func (k *Key) endTrial(now time.Time) {
	g := k.rest
	if !g.troubled() {
		return
	}
	g.hold.Recover(now)
	g.touch()
	for _, w := range g.waiters.drain() {
		k.advance(w, nil, now)
	}
}
