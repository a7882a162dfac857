// Package admission decides when a request may be sent: a gate per key with its
// machine, the queue of requests that wait there, and the session in which a
// process follows a store. It knows no http.Request, no log and no Redis.
package admission

import (
	"container/list"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/hostkey"
	limits "github.com/go-holdoff/holdoff/internal/limit"
)

const (
	// maxKeys bounds the keys that a process remembers while no request waits for
	// them. A request that waits costs more memory than its key.
	maxKeys = 16 << 10
	// evictLooks bounds the gates that one insertion looks at to make room. More
	// than one, so that the table shrinks again after many lines have ended.
	evictLooks = 4
)

// A standing says how little is lost if a gate is forgotten: least first.
type standing int

const (
	knowsNothing standing = iota // against its host
	reported                     // the store has what the gate knows, or there is no store
	unreported                   // the gate has a hint that the store has yet to get
	waited                       // requests wait at the gate: it is never evicted
)

// Table has a process's gates by key. Lookups take no lock. Where both locks are
// needed, a gate's own is taken before that of the table, or only tried.
type Table struct {
	Limits     []limits.Limit // that the user knows, of each key; set before Init
	dispatcher *dispatcher    // nil without a store
	emit       func(Change)
	last       atomic.Pointer[Key] // the last one found: most clients talk to one host
	byName     sync.Map            // hostkey.Name -> *Key
	scopes     atomic.Int64        // how many narrow gates all keys have
	mu         sync.Mutex          // guards what follows; held for all insertion and removal
	idle       [waited]list.List   // of *Key, by standing: those that may be evicted, in this order
}

// Init makes the table ready: store may be nil, and emit gets every change.
func (t *Table) Init(store Store, emit func(Change)) {
	t.emit = emit
	if store != nil {
		t.dispatcher = newDispatcher(store, emit)
	}
}

// Recent returns the gate that was found last, if it is of that scheme and host, and
// else nil. It is the fast way of a client of one host.
func (t *Table) Recent(scheme, host string) *Key {
	k := t.last.Load()
	if k != nil && k.name.Host == host && k.name.Scheme == scheme && !k.evicted.Load() {
		return k
	}
	return nil
}

// Key returns what is known of a key, and makes it if there is none.
func (t *Table) Key(name hostkey.Name) *Key {
	found, ok := t.byName.Load(name)
	if !ok {
		return t.add(name)
	}
	k := found.(*Key)
	if rand.Uint32()%16 == 0 {
		// Now and then is enough, and spares clients of many hosts that all
		// their cores write here.
		t.last.Store(k)
	}
	return k
}

// Keys yields all keys.
func (t *Table) Keys() iter.Seq[*Key] {
	return func(yield func(*Key) bool) {
		for _, k := range t.byName.Range {
			if !yield(k.(*Key)) {
				return
			}
		}
	}
}

func (t *Table) add(name hostkey.Name) *Key {
	// The name may be a part of a much longer string of the request's.
	name = hostkey.Name{Scheme: strings.Clone(name.Scheme), Host: strings.Clone(name.Host)}
	k := newKey(name, t)
	if t.dispatcher != nil {
		// Before any request passes: the fleet may hold the key already.
		k.stop = t.dispatcher.store.Watch(k.text, k.onStoreChange)
	}
	found, evicted := t.insert(k)
	for _, old := range evicted {
		old.discard()
		old.mu.Unlock()
	}
	if found != k {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.discard()
	}
	return found
}

// insert returns the gate of k's name, which is k unless another goroutine was
// faster, and the gates that made room for it, locked.
func (t *Table) insert(k *Key) (found *Key, evicted []*Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, ok := t.byName.LoadOrStore(k.name, k); ok {
		return other.(*Key), nil
	}
	k.table = t
	t.place(k, k.stands(time.Now())) // the store may have spoken of it already
	return k, t.evict()
}

// evict takes gates out of the table while it is too large, by their standing,
// and returns them locked. A gate that is in use at this moment is passed over.
// The caller holds mu.
func (t *Table) evict() (evicted []*Key) {
	looks := 0
	for i := range t.idle {
		var next *list.Element
		for e := t.idle[i].Front(); e != nil && looks < evictLooks && t.idleKeys() > maxKeys; e = next {
			next = e.Next()
			looks++
			k := e.Value.(*Key)
			if k.mu.TryLock() {
				t.remove(k)
				evicted = append(evicted, k)
			}
		}
	}
	return evicted
}

// remove makes the table forget k. The caller holds both locks.
func (t *Table) remove(k *Key) {
	t.place(k, waited)
	t.byName.Delete(k.name)
	k.table = nil
	k.evicted.Store(true)
}

// move notes the new standing of k. The caller holds k's lock.
func (t *Table) move(k *Key, to standing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.place(k, to)
}

// place puts k at the end of the gates of a standing. The caller holds both locks.
func (t *Table) place(k *Key, to standing) {
	if k.place != nil {
		t.idle[k.standing].Remove(k.place)
		k.place = nil
	}
	k.standing = to
	if to != waited {
		k.place = t.idle[to].PushBack(k)
	}
}

// idleKeys counts the keys for which no request waits.
func (t *Table) idleKeys() (n int) {
	for i := range t.idle {
		n += t.idle[i].Len()
	}
	return n
}
