package admission

import (
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// maxWorkers bounds the conversations that a Transport has with its store at a
// time.
const maxWorkers = 8

// calls counts the reports of this process: those of a replica must differ, and the
// Transports that share a RedisStore are one replica.
var calls atomic.Uint64

// dispatcher is a Transport's queue of gates that have something to report or to ask,
// and the workers that exchange with the store while it is not empty. No request waits
// for it.
type dispatcher struct {
	store   Store
	replica string
	emit    func(Change)
	failing atomic.Bool // the last exchange failed

	mu      sync.Mutex // guards what follows
	queue   []*Gate
	sifted  int // how long the queue was when evicted gates were last dropped from it
	workers int
}

func newDispatcher(store Store, emit func(Change)) *dispatcher {
	d := &dispatcher{store: store, replica: rand.Text(), emit: emit}
	if named, ok := store.(interface{ Replica() string }); ok {
		d.replica = named.Replica()
	}
	return d
}

// watch notifies the observer when exchanges begin to fail, and when they work
// again: once for each change.
func (l *dispatcher) watch(key string, err error) {
	if _, notShared := errors.AsType[hold.NotShared](err); notShared || l.failing.Swap(err != nil) == (err != nil) {
		return
	}
	kind := StoreBack
	if err != nil {
		kind = StoreFailed
	}
	l.emit(Change{Kind: kind, Key: key, Err: err})
}

func (l *dispatcher) enqueue(g *Gate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= 2*max(maxKeys, l.sifted) {
		// An attacker has us meet new hosts faster than the store takes them in.
		l.queue = slices.DeleteFunc(l.queue, func(g *Gate) bool { return g.key.evicted.Load() })
		l.sifted = len(l.queue)
	}
	l.queue = append(l.queue, g)
	if l.workers < maxWorkers {
		l.workers++
		go l.work()
	}
}

func (l *dispatcher) work() {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.workers--
			l.mu.Unlock()
			return
		}
		g := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		g.exchange()
	}
}
