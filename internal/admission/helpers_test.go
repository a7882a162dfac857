package admission

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/go-holdoff/holdoff/internal/jitter"
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

func (s *memory) Watch(key string, changed func(string, hold.Snapshot)) (stop func()) {
	s.mu.Lock()
	state := s.record(key).Snapshot()
	state.Version = 1
	s.mu.Unlock()
	if !state.Expired(time.Now()) {
		changed("", state)
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

// now returns the gate's machine as it is.
func (g *Key) now() *hold.Machine {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.whole.hold
	return &m
}

func (g *Key) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.whole.waiters.Len()
}

// enterPhase puts g in a phase of its own. The caller holds mu.
func enterPhase(g *Gate, p hold.Phase, permits int, until time.Time) {
	g.hold.Adopt(hold.Snapshot{Phase: p, Permits: permits, Until: until, Generation: g.hold.Generation() + 1}, time.Now())
	g.hold.Detach(time.Now())
	g.touch()
}

// failOnce counts a failure of g. The caller holds mu.
func failOnce(g *Gate) {
	g.hold.Record(hold.Result{Permit: hold.Permit{Generation: g.hold.Generation()}, Lesson: hold.Failed}, time.Now(), jitter.Uniform)
	g.touch()
}

// record records a result of a key that has one scope.
func (k *Key) record(p hold.Permit, r hold.Result) bool {
	return k.Record(&Pass{whole: p}, Outcome{Result: r})
}

// unlocked does something to a key as its own methods do.
func (k *Key) unlocked(what func()) {
	k.mu.Lock()
	defer k.unlock()
	what()
}

// evict makes the table forget g.
func evict(gs *Table, g *Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.remove(g)
}
