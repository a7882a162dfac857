package holdoff

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-holdoff/holdoff/internal/hostkey"
)

// maxKeys bounds the keys that a process remembers.
const maxKeys = 16 << 10

// gates are a Transport's gates by key: at most maxKeys, or as many as are in
// use at this moment. Lookups take no lock.
type gates struct {
	custom func(*http.Request) string // Transport.Key
	link   *link                      // nil without a store
	emit   func(Event)
	last   atomic.Pointer[gate] // the last one found: most clients talk to one host
	byName sync.Map             // keyName -> *gate
	mu     sync.Mutex           // held for all insertion and removal
	count  int
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
		// Before anybody passes the gate: the fleet may hold the key already.
		g.share.link = gs.link
		g.share.stop = gs.link.store.Watch(g.key, g.told)
	}

	gs.mu.Lock()
	defer gs.mu.Unlock()
	if other, ok := gs.byName.Load(name); ok {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.discard()
		return other.(*gate)
	}
	if gs.count >= maxKeys {
		gs.evict()
	}
	gs.byName.Store(name, g)
	gs.count++
	return g
}

// evict makes room: a quarter of the gates go, those first that know nothing
// against their host, and none at which somebody waits.
func (gs *gates) evict() {
	spare := maxKeys * 3 / 4
	well := func(g *gate) bool { return g.hold.IsHealthy() }
	told := func(g *gate) bool { return !g.share.hint.After(time.Now()) } // or there is no store to tell
	all := func(*gate) bool { return true }
	for _, mayGo := range []func(*gate) bool{well, told, all} {
		gs.byName.Range(func(name, v any) bool {
			g := v.(*gate)
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.waiters.Len() == 0 && mayGo(g) {
				g.discard()
				gs.byName.Delete(name)
				gs.count--
			}
			return gs.count > spare
		})
		if gs.count <= spare {
			return
		}
	}
}

// discard ends what goes on behind a gate that nobody will use again. The
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
