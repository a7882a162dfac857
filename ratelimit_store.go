package holdoff

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

// A Store shares the states of keys among replicas, so that all of them know
// what one was told. [MemoryStore] does so within a process, [RedisStore] among
// processes.
//
// A store is advice. A [Transport] never waits for it on behalf of a request
// that it may send by what it knows itself, and where the store fails, each
// replica goes on alone. It knows the Transports that use it until it is dropped:
// a Transport should live as long as its store.
type Store interface {
	// Exchange tells the store what a replica learnt about key, and returns the
	// key's state thereafter, with the permits that the replica was granted. It
	// is called from the Transport's own goroutines, and may block within
	// reason.
	Exchange(ctx context.Context, key string, news News) (State, error)

	// Watch calls changed with the state of key as it is known here, before it
	// returns if the key isn't healthy, and whenever it changes thereafter, by
	// whomever, until stop is called. It must not block, and neither does
	// changed.
	Watch(key string, changed func(State)) (stop func())
}

// News is what a replica has to say about a key, and what it asks for: what it
// met since it last spoke, added up. Times are durations, since no two clocks
// agree.
type News struct {
	// Replica names who speaks. To a RedisStore a process is one replica, and
	// what is said here makes no difference.
	Replica string
	// Generation is that of the hold whose permits Good, Bad, Refused and
	// Returned speak of.
	Generation uint64
	// Good, Bad and Refused count the results of permits: successes, failures
	// that the server answered, and refusals.
	Good, Bad, Refused int
	// GoodRetries and RefusedRetries are how many of those were of requests that had
	// failed before.
	GoodRetries, RefusedRetries int
	// Returned counts permits that were not used, or whose result is unknown.
	// That of a probe is for another to use; the others lapse with their slot.
	Returned int
	// Failures counts failures that the server answered while the key was
	// healthy. What never got an answer stays with the replica: its network may
	// be at fault.
	Failures int
	// Refusals counts refusals while the key was healthy, beyond those that a
	// replica keeps to itself.
	Refusals int
	// Left is what the server says to remain of a quota until it is refilled,
	// after Refill; where Refill is zero, it says nothing. Near tells that the
	// quota will be used up before all have heard of it; Lies, that such numbers
	// contradicted each other, and are not to be believed.
	Left   int
	Refill time.Duration
	Near   bool
	Lies   bool
	// Status is the last status code among all those.
	Status int
	// Hint is how much is left of the longest hint that the server gave.
	Hint time.Duration
	// Word tells that Hint holds everybody, whatever is left of it.
	Word bool
	// Well tells that a request succeeded, which ends a row of failures.
	Well bool
	// Want is how many permits the replica has use for.
	Want int
	// Lease is how long a probe of this replica may take.
	Lease time.Duration
}

// State is what a [Store] knows of a key: N sends until T.
type State struct {
	Phase Phase
	// Permits is how many sends the replica that asked was granted, until Until.
	Permits int
	// Until is when the hold, the probe's lease or the ramp's slot ends, by the
	// clock of this process.
	Until time.Time
	// Generation counts holds; it tells what was sent before from what was
	// sent since.
	Generation uint64
	// Rate is how many sends per second a paced or rationed key is granted.
	Rate float64
	// Level is how many holds in a row came before this one.
	Level int
	// Word tells that the hold rests on the server's own word.
	Word bool
	// Attempts is how many attempts have failed since the key was last well,
	// as far as they were reported; Last is when the latest was.
	Attempts int
	Last     time.Time
	// Status is the last status code among them.
	Status int
	// Witnesses is how many replicas reported failures of a healthy key.
	Witnesses int
	// Version orders the states of a key as one process hears of them: of two, the
	// higher is the later.
	Version uint64
	// Lost tells that the store no longer knows a key that it knew: it was
	// flushed, or has lost writes. Who still holds the key tells it again.
	Lost bool
}

// over reports whether a state says nothing, or nothing any more.
func (s State) over() bool { return hold.Snapshot(s).Expired(time.Now()) }

// MemoryStore shares states among the Transports of one process: several
// clients of one service, or replicas in a test. The zero value is ready for
// use.
type MemoryStore struct {
	mu      sync.Mutex // guards what follows
	records map[string]*record
	version uint64
}

// record is one key of a MemoryStore.
type record struct {
	fleet    hold.Fleet
	version  uint64
	watchers map[*func(State)]bool
}

// Exchange implements [Store]. It never fails.
func (s *MemoryStore) Exchange(_ context.Context, key string, n News) (State, error) {
	s.mu.Lock()
	r := s.record(key)
	before := r.fleet.Machine
	permits := r.fleet.Apply(hold.Report(n), time.Now(), jitter.Uniform)
	var told []func(State)
	if h := &r.fleet.Machine; h.MateriallyChanged(before) || (h.Attempts() == 0) != (before.Attempts() == 0) {
		s.version++
		r.version = s.version
		for w := range r.watchers {
			told = append(told, *w)
		}
	}
	state := r.state()
	s.drop(key, r)
	s.mu.Unlock()

	for _, changed := range told {
		changed(state)
	}
	state.Permits = permits
	return state, nil
}

// All yields the keys that are not healthy, with their states.
func (s *MemoryStore) All() iter.Seq2[string, State] {
	return func(yield func(string, State) bool) {
		s.mu.Lock()
		all := make(map[string]State)
		for key, r := range s.records {
			if state := r.state(); !state.over() {
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
	r := s.record(key)
	w := &changed
	r.watchers[w] = true
	state := r.state()
	s.mu.Unlock()
	if !state.over() {
		changed(state)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(r.watchers, w)
		s.drop(key, r)
	}
}

func (s *MemoryStore) record(key string) *record {
	if s.records == nil {
		s.records = make(map[string]*record)
	}
	r := s.records[key]
	if r == nil {
		r = &record{fleet: hold.NewFleet(), watchers: make(map[*func(State)]bool)}
		s.records[key] = r
	}
	return r
}

// drop forgets a record that says nothing and that nobody watches.
func (s *MemoryStore) drop(key string, r *record) {
	if len(r.watchers) == 0 && r.fleet.Forgettable(time.Now()) {
		delete(s.records, key)
	}
}

func (r *record) state() State {
	s := State(r.fleet.Snapshot())
	s.Version = r.version
	return s
}
