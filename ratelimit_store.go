package holdoff

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// A Store shares the states of keys among replicas, so that all of them act on
// what one of them learned. [MemoryStore] does so within a process, [RedisStore]
// among processes.
//
// A store is a register and a change feed. It adds up what replicas report,
// hands out the permits of the present round, and tells one replica when a
// decision is due; that replica decides, and commits. So a store needs no rule of
// the machine. [Record] is such a register in Go, for a store that can hold a lock;
// package storetest checks any other.
//
// A store is advice. A [Transport] never waits for it on behalf of a request
// that it may send by what it knows itself, and where the store fails, each
// replica continues alone. A store keeps its watchers until they stop: a
// Transport should live as long as its store.
type Store interface {
	// Report adds r to the record of key, and returns the state thereafter, with
	// the permits that the replica was granted: see [Record.Add]. It is called from
	// the Transport's own goroutines, and may block within reason.
	Report(ctx context.Context, key string, r Report) (Reply, error)

	// Commit starts the round of d, unless another replica has decided since: see
	// [Record.Commit].
	Commit(ctx context.Context, key string, d Decision) (Reply, error)

	// Watch calls changed with the state of key as it is known here, before it
	// returns if the key isn't healthy, and whenever it changes thereafter, through
	// any replica, until stop is called. It must not block, and neither does
	// changed.
	Watch(key string, changed func(State)) (stop func())
}

type (
	// A Report is what a replica met since its last report, added up, and what it
	// asks for.
	Report = hold.Report
	// A Reply is what a store answers: the state, the permits that were granted, and
	// whether the replica is to decide.
	Reply = hold.Reply
	// A Record is what a store keeps of one key.
	Record = hold.Record
	// A Decision is the next round of a record.
	Decision = hold.Decision
	// Totals are the reports since the last decision, added up.
	Totals = hold.Totals
	// Alarms are what makes a decision due before the round ends.
	Alarms = hold.Alarms
	// Memory is what the machine keeps of a key from round to round. A store keeps it,
	// and does not look into it.
	Memory = hold.Memory
	// Millis is a time of a store's own clock, in ms since 1970; 0 is none.
	Millis = hold.Millis
	// NotShared is the error of a store that works, but does not share this key, for
	// example because it keeps too many.
	NotShared = hold.NotShared
	// State is what a [Store] knows of a key: N sends until T. Phase, Until and Permits
	// say just that. Level is how many holds in a row came before this one, Word
	// tells that the server itself asked for it, Rate is in sends per second where
	// the key is paced or rationed. Attempts, Last, Status and Witnesses are of the
	// failures since the key was last healthy.
	State = hold.Snapshot
)

// maxMemoryHold bounds the holds of a MemoryStore. A Transport has cut them to its
// MaxHold before.
const maxMemoryHold = 366 * 24 * time.Hour

// MemoryStore shares states among the Transports of one process: several
// clients of one service, or replicas in a test. The zero value is ready for
// use.
type MemoryStore struct {
	mu      sync.Mutex // guards what follows
	keys    map[string]*memoryKey
	version uint64 // of the last change of any key
	tmp     map[string]map[*func(string, State)]bool
}

// memoryKey is one key of a MemoryStore.
type memoryKey struct {
	record   Record
	version  uint64
	watchers map[*func(State)]bool
}

// Report implements [Store]. It never fails.
func (s *MemoryStore) Report(_ context.Context, key string, r Report) (Reply, error) {
	return s.update(key, func(rec *Record, now time.Time) Reply { return rec.Add(r, now, maxMemoryHold) })
}

// Commit implements [Store]. It never fails.
func (s *MemoryStore) Commit(_ context.Context, key string, d Decision) (Reply, error) {
	return s.update(key, func(rec *Record, now time.Time) Reply { return rec.Commit(d, now) })
}

// update changes a record, and notifies the watchers.
func (s *MemoryStore) update(key string, change func(*Record, time.Time) Reply) (Reply, error) {
	s.mu.Lock()
	k := s.key(key)
	reply := change(&k.record, time.Now())
	var watchers []func(State)
	if reply.Changed {
		s.version++
		k.version = s.version
		for w := range k.watchers {
			watchers = append(watchers, *w)
		}
		base, sc := scope.Split(key)
		for w := range s.tmp[base] {
			watchers = append(watchers, func(st State) { (*w)(sc, st) })
		}
	}
	reply.Snapshot.Version = k.version
	s.drop(key, k)
	s.mu.Unlock()

	state := reply.Snapshot
	state.Permits = 0
	for _, changed := range watchers {
		changed(state)
	}
	return reply, nil
}

// All yields the keys that are not healthy, with their states.
func (s *MemoryStore) All() iter.Seq2[string, State] {
	return func(yield func(string, State) bool) {
		s.mu.Lock()
		all := make(map[string]State)
		for key, k := range s.keys {
			if state := k.state(); !state.Expired(time.Now()) {
				all[key] = state
			}
		}
		s.mu.Unlock()
		for key, state := range all {
			if !yield(key, state) {
				return
			}
		}
	}
}

// Watch implements [Store].
func (s *MemoryStore) Watch(key string, changed func(State)) (stop func()) {
	s.mu.Lock()
	k := s.key(key)
	w := &changed
	k.watchers[w] = true
	state := k.state()
	s.mu.Unlock()
	if !state.Expired(time.Now()) {
		changed(state)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(k.watchers, w)
		s.drop(key, k)
	}
}

// key returns the key of that name. The caller holds mu.
func (s *MemoryStore) key(name string) *memoryKey {
	if s.keys == nil {
		s.keys = make(map[string]*memoryKey)
	}
	k := s.keys[name]
	if k == nil {
		k = &memoryKey{watchers: make(map[*func(State)]bool)}
		s.keys[name] = k
	}
	return k
}

// drop forgets a key of which nothing is left, and that has no watcher. The caller
// holds mu.
func (s *MemoryStore) drop(name string, k *memoryKey) {
	if len(k.watchers) == 0 && k.record.Forgettable(time.Now()) {
		delete(s.keys, name)
	}
}

func (k *memoryKey) state() State {
	state := k.record.Snapshot()
	state.Version = k.version
	return state
}
