package holdoff

import "iter"

// KeyState is what is known of one key: see [Transport.Keys].
type KeyState struct {
	Key string
	State
	// Shared tells that the store says so, for the fleet; else it is what this
	// process has found by itself.
	Shared bool
	// Waiters is how many requests of this process stand in line.
	Waiters int
	// Retries is how many retries the key's budget has room for; it is 0 where
	// there is no bound.
	Retries int
}

// Keys yields the keys that are not well, or for which requests wait: why
// nothing is being sent. What the store knows of keys that this process has not
// used is among them. The order is not defined.
func (t *Transport) Keys() iter.Seq[KeyState] {
	t.once.Do(t.init)
	return func(yield func(KeyState) bool) {
		used := make(map[string]bool)
		for _, v := range t.gates.byName.Range {
			g := v.(*gate)
			used[g.key] = true
			if s, worth := g.inspect(t.room()); worth && !yield(s) {
				return
			}
		}
		store, ok := t.Store.(interface {
			All() iter.Seq2[string, State]
		})
		if !ok {
			return
		}
		for key, state := range store.All() {
			if !used[key] && !yield(KeyState{Key: key, State: state, Shared: true}) {
				return
			}
		}
	}
}

func (g *gate) inspect(room int) (KeyState, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := &g.hold
	s := KeyState{Key: g.key, Shared: h.shared, Waiters: g.waiters.Len(), Retries: g.budget.left(room)}
	s.State = State{
		Phase: h.phase, Permits: h.permits - h.granted, Until: h.until, Generation: h.generation, Level: h.level,
		Word: h.word, Attempts: h.attempts, Last: g.bad, Status: h.status, Witnesses: h.witnesses, Version: g.share.version,
	}
	return s, !h.well() || s.Waiters > 0
}
