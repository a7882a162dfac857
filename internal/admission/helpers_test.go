package admission

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// memory is a store in memory, as small as one can be. It tells watchers nothing
// but what they find when they come.
type memory struct {
	mu      sync.Mutex
	records map[string]*hold.Record
}

func (s *memory) record(key string) *hold.Record {
	if s.records == nil {
		s.records = make(map[string]*hold.Record)
	}
	if s.records[key] == nil {
		s.records[key] = &hold.Record{}
	}
	return s.records[key]
}

func (s *memory) Report(_ context.Context, key string, r hold.Report) (hold.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record(key).Add(r, time.Now(), time.Hour), nil
}

func (s *memory) Commit(_ context.Context, key string, d hold.Decision) (hold.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record(key).Commit(d, time.Now()), nil
}

func (s *memory) Watch(key string, changed func(scope string, s hold.Snapshot)) (stop func()) {
	s.mu.Lock()
	states := make(map[string]hold.Snapshot)
	for name, r := range s.records {
		if of, scope := scope.Split(name); of == key {
			state := r.Snapshot()
			state.Version = 1
			states[scope] = state
		}
	}
	s.mu.Unlock()
	for scope, state := range states {
		if !state.Expired(time.Now()) {
			changed(scope, state)
		}
	}
	return func() {}
}

// holdInStore holds a key in the store, as another replica does.
func holdInStore(t *testing.T, s Store, key string, d time.Duration) {
	t.Helper()
	r := hold.Report{Replica: "another", Version: hold.Version, Hint: d, ServerDirected: true, Status: 429, Lease: time.Second}
	if _, err := Exchange(t.Context(), s, key, r); err != nil {
		t.Fatal(err)
	}
}

// named is the name of a host.
func named(host string) hostkey.Name { return hostkey.Name{Scheme: "http", Host: host} }

// newTestKey returns a key without a store and without a table.
func newTestKey() *Key { return newKey(named("h"), nil, func(Change) {}) }

// take records what came of a send at a key that has one scope.
func (k *Key) take(o hold.Result) bool {
	return k.Record(&Pass{whole: o.Permit}, scope.Scope{}, o)
}

// now returns the machine of the whole key as it is.
func (k *Key) now() *hold.Machine {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.whole.hold
	return &m
}

func (k *Key) waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.whole.waiters.Len()
}

// change does something to the gate of a whole key as its own methods do.
func (k *Key) change(what func(g *Gate)) {
	k.mu.Lock()
	defer k.unlock()
	k.whole.touch()
	what(&k.whole)
}

// end does what an eviction does to a key.
func (k *Key) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.discard()
}

// enterPhase puts g in a phase of its own. The caller holds mu.
func enterPhase(g *Gate, p hold.Phase, permits int, until time.Time) {
	g.hold.Adopt(hold.Snapshot{Phase: p, Permits: permits, Until: until, Generation: g.hold.Generation() + 1}, time.Now(), jitter.Uniform)
	g.hold.Detach(time.Now())
}

// failOnce counts a failure of g. The caller holds mu.
func failOnce(g *Gate) {
	g.hold.Record(hold.Result{Permit: hold.Permit{Generation: g.hold.Generation()}, Lesson: hold.Failed}, time.Now(), jitter.Uniform)
}

// evict makes the table forget k.
func evict(gs *Table, k *Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.remove(k)
}
