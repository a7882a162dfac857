package admission

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// What a store says of a key's scopes, and what it means for their gates.

// onStoreChange takes in a change that another replica made in one of the key's scopes.
func (k *Key) onStoreChange(text string, state hold.Snapshot) {
	k.mu.Lock()
	defer k.unlock()
	now := time.Now()
	s := scope.Parse(text)
	if state.Cleared > 0 {
		k.clear(s, state, now)
	}
	if s.Replica != "" && s.Replica != k.replica() {
		k.learnLimit(s, state, now)
		return
	}
	g := k.gate(s)
	if g == nil {
		if state.Phase == hold.Healthy || state.Expired(now) || k.has(s, state) {
			return
		}
		if g = k.open(s); g.scope != s {
			return // too many
		}
	}
	g.touch()
	was := g.hold.Phase()
	g.apply(state, false)
	k.disprove(now)
	switch {
	case s == (scope.Scope{}):
	case was == hold.Healthy, state.Phase != hold.Held:
		k.learnLimit(s, state, now)
	case was == hold.Held, was == hold.Probing:
		k.renew(s, state.Until, now) // it was asked again, elsewhere
	default:
		// What was measured or paced before is no news: others were served meanwhile.
	}
}

// has reports whether the trouble of a scope is part of that of a wider one.
func (k *Key) has(s scope.Scope, state hold.Snapshot) bool {
	has := false
	k.gates(func(g *Gate) {
		if !g.alone && g.scope != s && g.hold.Phase() != hold.Healthy && g.scope.Covers(s) {
			has = has || state.Phase != hold.Held || (g.hold.Phase() == hold.Held && state.Until.Sub(g.hold.Until()) <= hold.Rounding)
		}
	})
	return has
}

// learnLimit takes in what the fleet knows of a narrow scope: a limit that is new puts the
// rest on trial here as well. One inside of a limit that is known is not new.
func (k *Key) learnLimit(s scope.Scope, state hold.Snapshot, now time.Time) {
	if state.Phase != hold.Held || !state.Until.After(now) {
		k.limits.drop(s)
		return
	}
	if k.has(s, state) || !k.renew(s, state.Until, now) {
		return
	}
	if status, met := k.metIn(s.Shared()); met && s.Replica != "" {
		// It was met elsewhere at this moment, and here: it is one limit.
		if latest, ok := k.limits.everywhere(s, now); ok {
			k.holdAll(s.Shared(), later(state.Until, latest), status, now)
		}
	}
	if !k.suspect(s, state.Status, now) {
		k.doubt(now)
	}
}

// renew notes that a scope is limited until then, and reports whether that is news.
func (k *Key) renew(s scope.Scope, until, now time.Time) (isNew bool) {
	if isNew = k.limits.add(limit{scope: s, epoch: k.epoch.Load() + 1, until: until}, now); isNew {
		k.epoch.Add(1)
	}
	return isNew
}

// metIn reports whether this process itself has met a limit in a scope, and with what
// status.
func (k *Key) metIn(s scope.Scope) (status int, met bool) {
	for _, g := range k.narrow {
		if s.Covers(g.scope) && g.hold.Phase() == hold.Held && g.bad.After(g.hold.RecoveredAt()) {
			return g.hold.Status(), true
		}
	}
	return 0, false
}
