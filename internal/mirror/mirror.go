// Package mirror keeps what one process knows of the records of a store, and notifies the
// watchers of their keys.
package mirror

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// MaxRecords bounds the records that a Mirror keeps of keys without a watcher: an
// attacker may make the fleet meet refusals from ever new hosts.
const MaxRecords = 64 << 10

// A Mirror is what one process knows of the records of a store, and who watches them.
// It is safe for concurrent use, and the zero value is ready for use.
//
// It keeps a state for a minute after it has expired. So a state that arrives late is
// known to be old.
type Mirror struct {
	mu      sync.Mutex // guards what follows
	keys    map[string]*mirrored
	records int
	swept   time.Time
}

type watcher = func(scope string, state hold.Snapshot)

// mirrored is one key of a Mirror.
type mirrored struct {
	records  map[string]known // by scope
	watchers map[*watcher]bool
}

// known is what is known of a record.
type known struct {
	state hold.Snapshot
	since time.Time
	lost  bool // the store no longer has the record, and no watcher was notified yet
}

// Put adopts the state of a record, unless it is older than the one that is known. It
// notifies the watchers of the record's key if the state is newer; also one of the same
// version, if again is set. Their states have no permits: those are the caller's.
// They are called before Put returns: no lock may be held that they need.
//
// A state that is Lost says that the store has lost the record. Watchers are notified and
// the state is forgotten. If there are none, the next one gets both: it can report
// the record again.
//
// A state that an operator has released (Cleared) does the same to what is known of the
// scopes inside its own. Where the record is "", which is no key's, it speaks of all.
//
// Put reports whether the state was newer.
func (m *Mirror) Put(record string, state hold.Snapshot, again bool) (newer bool) {
	key, part := scope.Split(record)
	now := time.Now()
	state.Permits = 0
	m.mu.Lock()
	m.sweep(now)
	if record == "" && state.Cleared > 0 {
		watchers := m.clearAll(state.Cleared, now)
		m.mu.Unlock()
		for _, changed := range watchers {
			(*changed)("", hold.Snapshot{Version: state.Cleared, Cleared: state.Cleared, ClearedAt: state.ClearedAt})
		}
		return len(watchers) > 0
	}
	k := m.key(key)
	newer, same := m.adopt(k, part, state, now)
	if state.Cleared > 0 {
		k.clear(scope.Parse(part), state.Cleared, now)
	}
	var watchers map[*watcher]bool
	if newer || (again && same) {
		watchers = maps.Clone(k.watchers)
	}
	m.drop(key, k)
	m.mu.Unlock()
	for changed := range watchers {
		(*changed)(part, state)
	}
	return newer
}

// adopt changes what is known of a record, and reports how the state compares to what
// was known. The caller holds mu.
func (m *Mirror) adopt(k *mirrored, part string, state hold.Snapshot, now time.Time) (newer, same bool) {
	old, exists := k.records[part]
	watched := len(k.watchers) > 0
	switch {
	case state.Lost && exists && !watched:
		old.lost = true
		k.records[part] = old
		return true, false
	case state.Lost:
		m.remove(k, part)
		return true, false
	case old.lost:
		old.state.Version = 0 // the store begins again
	}
	newer, same = state.Version > old.state.Version, state.Version == old.state.Version
	if (newer || same) && (exists || watched || (m.records < MaxRecords && !state.Expired(now))) {
		if !exists {
			m.records++
		}
		k.records[part] = known{state: state, since: now}
	}
	return newer, same
}

// clear makes the records of the scopes in a scope healthy that were known before an
// operator released it. A state of theirs that arrives late is older.
func (k *mirrored) clear(s scope.Scope, cleared uint64, now time.Time) {
	for part, r := range k.records {
		if r.state.Version < cleared && s.Covers(scope.Parse(part)) {
			k.records[part] = known{state: hold.Snapshot{Version: cleared}, since: now}
		}
	}
}

// clearAll does the same with all keys, and returns their watchers. The caller holds mu.
func (m *Mirror) clearAll(cleared uint64, now time.Time) (watchers []*watcher) {
	for _, k := range m.keys {
		k.clear(scope.Scope{}, cleared, now)
		watchers = slices.AppendSeq(watchers, maps.Keys(k.watchers))
	}
	return watchers
}

// Watch calls changed with the states of the records of key that are not healthy,
// before it returns, and with each that is newer thereafter, until stop is called.
func (m *Mirror) Watch(key string, changed func(scope string, state hold.Snapshot)) (stop func()) {
	w := &changed
	m.mu.Lock()
	k := m.key(key)
	k.watchers[w] = true
	records := maps.Clone(k.records)
	m.mu.Unlock()
	for _, part := range slices.Sorted(maps.Keys(records)) { // the whole key first
		r := records[part]
		if r.state.Expired(time.Now()) {
			continue
		}
		changed(part, r.state)
		if r.lost {
			changed(part, hold.Snapshot{Lost: true})
		}
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(k.watchers, w)
		m.drop(key, k)
	}
}

// All yields the names of the records that are not healthy, with their states.
func (m *Mirror) All() iter.Seq2[string, hold.Snapshot] {
	return func(yield func(string, hold.Snapshot) bool) {
		now, all := time.Now(), make(map[string]hold.Snapshot)
		m.mu.Lock()
		for key, k := range m.keys {
			for part, r := range k.records {
				if !r.state.Expired(now) {
					all[scope.Record(key, part)] = r.state
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

// Len returns how many records the Mirror keeps.
func (m *Mirror) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records
}

// Watched reports whether a key has a watcher.
func (m *Mirror) Watched(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keys[key]
	return k != nil && len(k.watchers) > 0
}

// sweep forgets, now and then, what expired a minute ago. The caller holds mu.
func (m *Mirror) sweep(now time.Time) {
	if now.Sub(m.swept) < hold.Grace/4 {
		return
	}
	m.swept = now
	for key, k := range m.keys {
		for part, r := range k.records {
			if r.state.Expired(now) && now.Sub(r.since) > hold.Grace {
				m.remove(k, part)
			}
		}
		m.drop(key, k)
	}
}

// key returns the key of that name, and makes it if there is none. The caller holds mu.
func (m *Mirror) key(name string) *mirrored {
	if m.keys == nil {
		m.keys = make(map[string]*mirrored)
	}
	k := m.keys[name]
	if k == nil {
		k = &mirrored{records: make(map[string]known), watchers: make(map[*watcher]bool)}
		m.keys[name] = k
	}
	return k
}

// remove forgets a record. The caller holds mu.
func (m *Mirror) remove(k *mirrored, part string) {
	if _, exists := k.records[part]; exists {
		delete(k.records, part)
		m.records--
	}
}

// drop forgets a key without a record and without a watcher. The caller holds mu.
func (m *Mirror) drop(name string, k *mirrored) {
	if len(k.records)+len(k.watchers) == 0 && m.keys[name] == k {
		delete(m.keys, name)
	}
}
