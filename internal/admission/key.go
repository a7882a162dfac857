package admission

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
	"github.com/go-holdoff/holdoff/internal/quota"
	"github.com/go-holdoff/holdoff/internal/retrybudget"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// A Key is what a process knows of one key: its retry budget, its latency, and a
// gate for each of its scopes that is in trouble. Requests of a key without trouble
// pass it without a lock.
type Key struct {
	name      hostkey.Name
	text      string // name, as people see it
	Budget    retrybudget.Budget
	Tolerance retrybudget.Budget // refusals that are left to retries
	Quota     quota.Counters     // what the server says of them
	latency   atomic.Int64       // smoothed time to response headers, in ns; 0 = unknown
	// fastPath is the generation of the whole key's machine, doubled, plus one while
	// a scope is in trouble: all that a request has to read to pass. It is written
	// under mu.
	fastPath   atomic.Uint64
	ignored    atomic.Uint32 // how many answers are not looked at for each that is: see MayLearn
	epoch      atomic.Uint64 // counts the limits that were met or reported; written under mu
	evicted    atomic.Bool   // the table has forgotten this key, and has or makes another; set under mu
	emit       func(Change)
	dispatcher *dispatcher   // nil without a store
	stop       func()        // ends the watch of the store
	scopes     *atomic.Int64 // how many narrow gates all keys have

	mu      sync.Mutex // guards what follows, and all that the gates have
	whole   Gate       // of the key as a whole
	rest    *Gate      // of what is outside the limits that are known, while it is on trial; nil before
	narrow  []*Gate    // of narrower scopes: those in trouble, and some that were
	limits  evidence
	names   map[string]string // of limits, by route: see learnName
	counted *scope.Scope      // all whose answers had the numbers of the quota without a name; nil: none
	arrived uint64            // counts the requests that had to look at gates
	changed []*Gate           // since the key was locked
	events  []Change          // likewise

	// Of the table that the key is in, whose lock is needed as well to change what
	// follows; nil where it is in none yet, or was evicted.

	table    *Table
	standing standing
	place    *list.Element // among the keys of this standing
}

func newKey(name hostkey.Name, t *Table) *Key {
	k := &Key{name: name, text: name.String(), emit: t.emit, dispatcher: t.dispatcher, scopes: &t.scopes}
	k.whole = Gate{key: k, record: k.text}
	return k
}

// Text returns the key, as people see it.
func (k *Key) Text() string { return k.text }

// Latency returns the smoothed time to response headers, or 0 if it is unknown.
func (k *Key) Latency() time.Duration { return time.Duration(k.latency.Load()) }

// Sample takes in the latency of a first attempt that succeeded, with the gain of
// RFC 6298. A sample that is lost to another does no harm.
func (k *Key) Sample(d time.Duration) {
	old := k.latency.Load()
	if old == 0 {
		k.latency.Store(max(int64(d), 1))
		return
	}
	k.latency.Store(old + (int64(d)-old)/8)
}

func (k *Key) lease() time.Duration { return hold.Lease(time.Duration(k.latency.Load())) }

// Open reports whether no scope of the key is in trouble.
func (k *Key) Open() bool { return k.fastPath.Load()&1 == 0 }

// TryFastPath lets a request of a key without trouble pass, without a lock.
func (k *Key) TryFastPath() (Pass, bool) {
	epoch, look := k.epoch.Load(), k.fastPath.Load()
	return Pass{epoch: epoch, whole: hold.Permit{Generation: look >> 1}}, look&1 == 0
}

// replica returns the name of this process in its store, or "" where it has none.
func (k *Key) replica() string {
	if k.dispatcher == nil {
		return ""
	}
	return k.dispatcher.replica
}

// unlock does what the changes of the gates since the key was locked call for, opens
// or closes the fast path, and unlocks the key. Then it notifies watchers.
func (k *Key) unlock() {
	now := time.Now()
	for i := 0; i < len(k.changed); i++ { // a gate may change another
		g := k.changed[i]
		g.marked = false
		g.settle(now)
	}
	clear(k.changed)
	k.changed = k.changed[:0]
	k.forget(now)
	if s := k.stands(now); k.table != nil && s != k.standing {
		k.table.move(k, s)
	}
	look := k.whole.hold.Generation() << 1
	if k.troubled() {
		look |= 1
	}
	k.fastPath.Store(look)
	events := k.events
	k.events = nil
	k.mu.Unlock()
	for _, e := range events {
		k.emit(e)
	}
}

// troubled reports whether requests must look at the gates.
func (k *Key) troubled() bool {
	if k.whole.troubled() || k.rest.troubled() {
		return true
	}
	for _, g := range k.narrow {
		if g.troubled() {
			return true
		}
	}
	return false
}

// gates calls f for all gates of the key.
func (k *Key) gates(f func(*Gate)) {
	f(&k.whole)
	if k.rest != nil {
		f(k.rest)
	}
	for _, g := range k.narrow {
		f(g)
	}
}

// stands returns the standing of a key. The caller holds mu.
func (k *Key) stands(now time.Time) (s standing) {
	k.gates(func(g *Gate) { s = max(s, g.stands(now)) })
	return s
}

// discard ends what goes on behind a key that no request will use again. The caller
// holds mu.
func (k *Key) discard() {
	k.evicted.Store(true)
	if k.stop != nil {
		k.stop()
	}
	k.gates((*Gate).stopTimers)
	k.scopes.Add(-int64(len(k.narrow)))
}
