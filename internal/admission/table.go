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
	dispatcher *dispatcher // nil without a store
	emit       func(Change)
	last       atomic.Pointer[Gate] // the last one found: most clients talk to one host
	byName     sync.Map             // hostkey.Name -> *Gate
	mu         sync.Mutex           // guards what follows; held for all insertion and removal
	idle       [waited]list.List    // of *Gate, by standing: those that may be evicted, in this order
}

// Init makes the table ready: store may be nil, and emit gets every change.
func (gs *Table) Init(store Store, emit func(Change)) {
	gs.emit = emit
	if store != nil {
		gs.dispatcher = newDispatcher(store, emit)
	}
}

// Recent returns the gate that was found last, if it is of that scheme and host, and
// else nil. It is the fast way of a client of one host.
func (gs *Table) Recent(scheme, host string) *Gate {
	g := gs.last.Load()
	if g != nil && g.name.Host == host && g.name.Scheme == scheme && !g.evicted.Load() {
		return g
	}
	return nil
}

// Gate returns the gate of a key, and makes it if there is none.
func (gs *Table) Gate(name hostkey.Name) *Gate {
	found, ok := gs.byName.Load(name)
	if !ok {
		return gs.add(name)
	}
	g := found.(*Gate)
	if rand.Uint32()%16 == 0 {
		// Now and then is enough, and spares clients of many hosts that all
		// their cores write here.
		gs.last.Store(g)
	}
	return g
}

// Gates yields all gates.
func (gs *Table) Gates() iter.Seq[*Gate] {
	return func(yield func(*Gate) bool) {
		for _, g := range gs.byName.Range {
			if !yield(g.(*Gate)) {
				return
			}
		}
	}
}

func (gs *Table) add(name hostkey.Name) *Gate {
	// The name may be a part of a much longer string of the request's.
	name = hostkey.Name{Scheme: strings.Clone(name.Scheme), Host: strings.Clone(name.Host)}
	g := &Gate{name: name, key: name.String(), emit: gs.emit}
	if gs.dispatcher != nil {
		// Before any request passes the gate: the fleet may hold the key already.
		g.session.dispatcher = gs.dispatcher
		g.session.stop = gs.dispatcher.store.Watch(g.key, g.onStoreChange)
	}
	found, evicted := gs.insert(g)
	for _, old := range evicted {
		old.discard()
		old.mu.Unlock()
	}
	if found != g {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.discard()
	}
	return found
}

// insert returns the gate of g's name, which is g unless another goroutine was
// faster, and the gates that made room for it, locked.
func (gs *Table) insert(g *Gate) (found *Gate, evicted []*Gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if other, ok := gs.byName.LoadOrStore(g.name, g); ok {
		return other.(*Gate), nil
	}
	g.table = gs
	gs.place(g, g.stands(time.Now())) // the store may have spoken of it already
	return g, gs.evict()
}

// evict takes gates out of the table while it is too large, by their standing,
// and returns them locked. A gate that is in use at this moment is passed over.
// The caller holds mu.
func (gs *Table) evict() (evicted []*Gate) {
	looks := 0
	for i := range gs.idle {
		var next *list.Element
		for e := gs.idle[i].Front(); e != nil && looks < evictLooks && gs.idleKeys() > maxKeys; e = next {
			next = e.Next()
			looks++
			g := e.Value.(*Gate)
			if g.mu.TryLock() {
				gs.remove(g)
				evicted = append(evicted, g)
			}
		}
	}
	return evicted
}

// remove makes the table forget g. The caller holds both locks.
func (gs *Table) remove(g *Gate) {
	gs.place(g, waited)
	gs.byName.Delete(g.name)
	g.table = nil
	g.evicted.Store(true)
}

// move notes the new standing of g. The caller holds g's lock.
func (gs *Table) move(g *Gate, to standing) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.place(g, to)
}

// place puts g at the end of the gates of a standing. The caller holds both locks.
func (gs *Table) place(g *Gate, to standing) {
	if g.place != nil {
		gs.idle[g.standing].Remove(g.place)
		g.place = nil
	}
	g.standing = to
	if to != waited {
		g.place = gs.idle[to].PushBack(g)
	}
}

// idleKeys counts the keys for which no request waits.
func (gs *Table) idleKeys() (n int) {
	for i := range gs.idle {
		n += gs.idle[i].Len()
	}
	return n
}

// stands returns the standing of a gate. The caller holds mu.
func (g *Gate) stands(now time.Time) standing {
	switch {
	case g.waiters.Len() > 0:
		return waited
	case g.hold.IsHealthy():
		return knowsNothing
	case !g.session.hint.After(now):
		return reported
	}
	return unreported
}

// discard ends what goes on behind a gate that no request will use again. The
// caller holds mu.
func (g *Gate) discard() {
	g.evicted.Store(true)
	if g.session.stop != nil {
		g.session.stop()
	}
	for _, timer := range []*time.Timer{g.timer, g.session.timer} {
		if timer != nil {
			timer.Stop()
		}
	}
}
