package holdoff

import (
	"iter"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/internal/scope"
)

// maxMirrored bounds the records that a Mirror keeps: an attacker may make us meet
// refusals from ever new hosts.
const maxMirrored = 64 << 10

// A Mirror is what one process knows of the records of a store, and who watches them.
// It is for those who write a [Store]: Watch and All are as a Store must have them,
// once each state that becomes known is Put. The zero value is ready for use, and safe
// for concurrent use.
type Mirror struct {
	mu      sync.Mutex // guards what follows
	keys    map[string]*mirrored
	records int
}

// mirrored is one key of a Mirror.
type mirrored struct {
	states   map[string]State // by scope
	watchers map[*func(string, State)]bool
}

// Put adopts the state of a record, unless it is older than the one that is known, and
// tells the watchers of its key if it is newer; or in any case, if again is set. A
// state that is Lost is told, and forgotten. Put reports whether the state was newer.
func (m *Mirror) Put(record string, state State, again bool) (newer bool) {
	key, part := scope.Split(record)
	m.mu.Lock()
	k := m.key(key)
	known, exists := k.states[part]
	newer = state.Lost || state.Version > known.Version
	switch {
	case state.Lost && exists:
		delete(k.states, part)
		m.records--
	case state.Lost || state.Version < known.Version:
	case exists || m.records < maxMirrored || len(k.watchers) > 0:
		k.states[part] = state
		if !exists {
			m.records++
		}
	}
	var told []func(string, State)
	if newer || (again && state.Version == known.Version) {
		for w := range k.watchers {
			told = append(told, *w)
		}
	}
	m.drop(key, k)
	m.mu.Unlock()
	for _, changed := range told {
		changed(part, state)
	}
	return newer
}

// Watch tells changed of the records of a key, as [Store] says.
func (m *Mirror) Watch(key string, changed func(scope string, state State)) (stop func()) {
	m.mu.Lock()
	k := m.key(key)
	w := &changed
	k.watchers[w] = true
	known := make(map[string]State)
	for part, state := range k.states {
		if !state.Expired(time.Now()) {
			known[part] = state
		}
	}
	m.mu.Unlock()
	for part, state := range known {
		changed(part, state)
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(k.watchers, w)
		m.drop(key, k)
	}
}

// All yields the names of the records that are not healthy, with their states.
func (m *Mirror) All() iter.Seq2[string, State] {
	return func(yield func(string, State) bool) {
		all := make(map[string]State)
		m.mu.Lock()
		for key, k := range m.keys {
			for part, state := range k.states {
				if !state.Expired(time.Now()) {
					all[scope.Record(key, part)] = state
				}
			}
		}
		m.mu.Unlock()
		for record, state := range all {
			if !yield(record, state) {
				return
			}
		}
	}
}

// Len returns how many records the Mirror knows.
func (m *Mirror) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records
}

// Sweep forgets the states that say nothing any more. It is to be called now and then.
func (m *Mirror) Sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, k := range m.keys {
		for part, state := range k.states {
			if state.Expired(time.Now()) {
				delete(k.states, part)
				m.records--
			}
		}
		m.drop(key, k)
	}
}

// watches reports whether there is a watcher of a key of that name.
func (m *Mirror) watches(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keys[key]
	return k != nil && len(k.watchers) > 0
}

// forget drops what is known of a record, without a word.
func (m *Mirror) forget(record string) {
	key, part := scope.Split(record)
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.key(key)
	if _, exists := k.states[part]; exists {
		delete(k.states, part)
		m.records--
	}
	m.drop(key, k)
}

// key returns the key of that name. The caller holds mu.
func (m *Mirror) key(name string) *mirrored {
	if m.keys == nil {
		m.keys = make(map[string]*mirrored)
	}
	k := m.keys[name]
	if k == nil {
		k = &mirrored{states: make(map[string]State), watchers: make(map[*func(string, State)]bool)}
		m.keys[name] = k
	}
	return k
}

// drop forgets a key without a state and without a watcher. The caller holds mu.
func (m *Mirror) drop(name string, k *mirrored) {
	if len(k.states)+len(k.watchers) == 0 && m.keys[name] == k {
		delete(m.keys, name)
	}
}
