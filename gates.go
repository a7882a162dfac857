package holdoff

import (
	"container/list"
	"math/rand/v2"
	"net/http"
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

// gates are a Transport's gates by key. Lookups take no lock. Where both locks are
// needed, a gate's own is taken before that of the table, or only tried.
type gates struct {
	custom func(*http.Request) string // Transport.Key
	link   *link                      // nil without a store
	emit   func(Event)
	last   atomic.Pointer[gate] // the last one found: most clients talk to one host
	byName sync.Map             // keyName -> *gate
	mu     sync.Mutex           // guards what follows; held for all insertion and removal
	idle   [waited]list.List    // of *gate, by standing: those that may be evicted, in this order
}

// of returns the gate of req, and makes it if there is none.
func (gs *gates) of(req *http.Request) *gate {
	if gs.custom == nil {
		g := gs.last.Load()
		if g != nil && g.name.Host == req.URL.Host && g.name.Scheme == req.URL.Scheme && !g.evicted.Load() {
			return g
		}
	}
	name := hostkey.Of(req, gs.custom)
	found, ok := gs.byName.Load(name)
	if !ok {
		return gs.add(name)
	}
	g := found.(*gate)
	if rand.Uint32()%16 == 0 {
		// Now and then is enough, and spares clients of many hosts that all
		// their cores write here.
		gs.last.Store(g)
	}
	return g
}

func (gs *gates) add(name hostkey.Name) *gate {
	// The name may be a part of a much longer string of the request's.
	name = hostkey.Name{Scheme: strings.Clone(name.Scheme), Host: strings.Clone(name.Host)}
	g := &gate{name: name, key: name.String(), emit: gs.emit}
	if gs.link != nil {
		// Before any request passes the gate: the fleet may hold the key already.
		g.share.link = gs.link
		g.share.stop = gs.link.store.Watch(g.key, g.told)
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
func (gs *gates) insert(g *gate) (found *gate, evicted []*gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if other, ok := gs.byName.LoadOrStore(g.name, g); ok {
		return other.(*gate), nil
	}
	g.table = gs
	gs.place(g, g.stands(time.Now())) // the store may have spoken of it already
	return g, gs.evict()
}

// evict takes gates out of the table while it is too large, by their standing,
// and returns them locked. A gate that is in use at this moment is passed over.
// The caller holds mu.
func (gs *gates) evict() (evicted []*gate) {
	looks := 0
	for i := range gs.idle {
		var next *list.Element
		for e := gs.idle[i].Front(); e != nil && looks < evictLooks && gs.idleKeys() > maxKeys; e = next {
			next = e.Next()
			looks++
			g := e.Value.(*gate)
			if g.mu.TryLock() {
				gs.remove(g)
				evicted = append(evicted, g)
			}
		}
	}
	return evicted
}

// remove makes the table forget g. The caller holds both locks.
func (gs *gates) remove(g *gate) {
	gs.place(g, waited)
	gs.byName.Delete(g.name)
	g.table = nil
	g.evicted.Store(true)
}

// move notes the new standing of g. The caller holds g's lock.
func (gs *gates) move(g *gate, to standing) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.place(g, to)
}

// place puts g at the end of the gates of a standing. The caller holds both locks.
func (gs *gates) place(g *gate, to standing) {
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
func (gs *gates) idleKeys() (n int) {
	for i := range gs.idle {
		n += gs.idle[i].Len()
	}
	return n
}

// stands returns the standing of a gate. The caller holds mu.
func (g *gate) stands(now time.Time) standing {
	switch {
	case g.waiters.Len() > 0:
		return waited
	case g.hold.IsHealthy():
		return knowsNothing
	case !g.share.hint.After(now):
		return reported
	}
	return unreported
}

// discard ends what goes on behind a gate that no request will use again. The
// caller holds mu.
func (g *gate) discard() {
	g.evicted.Store(true)
	if g.share.stop != nil {
		g.share.stop()
	}
	for _, timer := range []*time.Timer{g.timer, g.share.timer} {
		if timer != nil {
			timer.Stop()
		}
	}
}
