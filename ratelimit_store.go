package holdoff

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// A Store shares the states of keys among replicas, so that all of them act on
// what one of them learned. [MemoryStore] does so within a process, [RedisStore]
// among processes.
//
// A store is a register and a change feed. It adds up what replicas report,
// hands out the permits of the present round, and asks one replica to decide when a
// decision is due; that replica decides, and commits. So a store needs no rule of
// the machine. [Record] is such a register in Go, for a store that can hold a lock;
// package storetest checks any other.
//
// A store is advice. A [Transport] never waits for it on behalf of a request
// that it may send by what it knows itself, and where the store fails, each
// replica continues alone. A store keeps its watchers until they stop: a
// Transport should live as long as its store.
type Store interface {
	// Report adds r to a record, and returns the state thereafter, with the permits
	// that the replica was granted: see [Record.Add]. The name of a record is that of
	// its key; for a scope of the key, a space and the scope follow, as in
	// "https://api.example.com /v1/search". Keys have no space. Report is called from
	// the Transport's own goroutines, and may block within reason.
	Report(ctx context.Context, record string, r Report) (Reply, error)

	// Commit starts the round of d, unless another replica has decided since: see
	// [Record.Commit].
	Commit(ctx context.Context, record string, d Decision) (Reply, error)

	// Watch calls changed with the state of each record of key as it is known here:
	// of its own, for which scope is "", and of its scopes. It does so before it
	// returns for those that are not healthy, and for each whenever it changes
	// thereafter, through any replica, until stop is called. It must not block, and
	// neither does changed.
	Watch(key string, changed func(scope string, state State)) (stop func())
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
	// State is what a [Store] knows of a record: N sends until T. Phase, Until and Permits
	// say just that. Level is how many holds in a row came before this one,
	// ServerDirected reports whether the server itself asked for it, Rate is in sends per second where
	// the key is paced or rationed. Attempts, Last, Status and Witnesses are of the
	// failures since the key was last healthy.
	State = hold.Snapshot
)

// maxMemoryHold bounds the holds of a MemoryStore. A Transport has cut them to its
// MaxHold before.
const maxMemoryHold = 366 * 24 * time.Hour

// keepRecord is for how long a MemoryStore keeps a record after its last time, when no
// replica has reported about it.
const keepRecord = 2 * time.Minute

// MemoryStore shares states among the Transports of one process: several
// clients of one service, or replicas in a test. The zero value is ready for
// use.
type MemoryStore struct {
	mirror  Mirror
	mu      sync.Mutex // guards what follows
	records map[string]*memoryRecord
	version uint64 // of the last change of any record
	swept   time.Time
}

type memoryRecord struct {
	Record
	version uint64
}

// Report implements [Store]. It never fails.
func (s *MemoryStore) Report(_ context.Context, record string, r Report) (Reply, error) {
	return s.update(record, func(rec *Record, now time.Time) Reply { return rec.Add(r, now, maxMemoryHold) })
}

// Commit implements [Store]. It never fails.
func (s *MemoryStore) Commit(_ context.Context, record string, d Decision) (Reply, error) {
	return s.update(record, func(rec *Record, now time.Time) Reply { return rec.Commit(d, now) })
}

// update changes a record, and notifies the watchers of its key.
func (s *MemoryStore) update(name string, change func(*Record, time.Time) Reply) (Reply, error) {
	s.mu.Lock()
	now := time.Now()
	s.sweep(now)
	r := s.records[name]
	if r == nil {
		if s.records == nil {
			s.records = make(map[string]*memoryRecord)
		}
		r = &memoryRecord{version: s.version} // not less than a watcher may have seen of it
		s.records[name] = r
	}
	reply := change(&r.Record, now)
	if reply.Changed {
		s.version++
		r.version = s.version
	}
	reply.Snapshot.Version = r.version
	s.forget(name, r.Forgettable(now))
	s.mu.Unlock()

	if reply.Changed || !reply.Snapshot.Expired(now) {
		s.mirror.Put(name, reply.Snapshot, false)
	}
	return reply, nil
}

// sweep forgets, now and then, what no replica has reported about for long.
// The caller holds mu.
func (s *MemoryStore) sweep(now time.Time) {
	if now.Sub(s.swept) < hold.Grace {
		return
	}
	s.swept = now
	for name, r := range s.records {
		last := max(r.Until, r.HintUntil, r.Keep, r.LastFailure, r.ClaimUntil).Time()
		s.forget(name, now.Sub(last) > keepRecord || r.Forgettable(now))
	}
}

// forget forgets a record that is over. That of a key in use is kept for what it
// remembers, as by a process alone. The caller holds mu.
func (s *MemoryStore) forget(name string, over bool) {
	if over && !s.mirror.Watched(name) {
		delete(s.records, name)
	}
}

// All yields the records that are not healthy, by name, with their states.
func (s *MemoryStore) All() iter.Seq2[string, State] { return s.mirror.All() }

// Watch implements [Store].
func (s *MemoryStore) Watch(key string, changed func(scope string, state State)) (stop func()) {
	return s.mirror.Watch(key, changed)
}
