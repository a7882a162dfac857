package admission

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// published is a store that several replicas use, and that publishes each change after
// a round trip.
type published struct {
	memory
	version  uint64
	watchers []func(scope string, s hold.Snapshot)
}

const roundTrip = time.Millisecond

// A replica is the view that one process has of a published store.
type replica struct {
	*published
	name string
}

func (r replica) Replica() string { return r.name }

func (r replica) Report(ctx context.Context, record string, rep hold.Report) (hold.Reply, error) {
	time.Sleep(roundTrip)
	reply, err := r.memory.Report(ctx, record, rep)
	reply.Snapshot.Version = r.publish(record)
	return reply, err
}

func (r replica) Commit(ctx context.Context, record string, d hold.Decision) (hold.Reply, error) {
	time.Sleep(roundTrip)
	reply, err := r.memory.Commit(ctx, record, d)
	reply.Snapshot.Version = r.publish(record)
	return reply, err
}

func (s *published) publish(record string) (version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	state := s.record(record).Snapshot()
	state.Permits, state.Version = 0, s.version
	_, part := scope.Split(record)
	for _, changed := range s.watchers {
		time.AfterFunc(roundTrip, func() { changed(part, state) })
	}
	return s.version
}

func (s *published) Watch(_ string, changed func(scope string, s hold.Snapshot)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = append(s.watchers, changed)
	return func() {}
}

// replicas returns the view that each of n replicas has of one key.
func replicas(n int) []*Key {
	store := &published{}
	all := make([]*Key, n)
	for i := range all {
		var table Table
		table.Init(replica{store, string(rune('a' + i))}, func(Change) {})
		all[i] = table.Key(named("h"))
	}
	return all
}

// machine returns the machine of a scope of k, healthy if it has none.
func machine(k *Key, s scope.Scope) hold.Machine {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g := k.gate(s); g != nil {
		return g.hold
	}
	return hold.Machine{}
}

// Where several replicas are refused on a route before they hear of each other, they
// find that the route is limited for all: one of them probes, and not each.
func TestFleet_SimultaneousRefusalsOfARouteHoldIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := replicas(4)
		search := at("/search", "", "")
		for _, k := range all[:3] {
			k.refuse(search, 10*time.Second)
		}
		time.Sleep(time.Second)
		for i, k := range all {
			if m := machine(k, search); m.Phase() != hold.Held || !m.Shared() {
				t.Errorf("replica %d: the route is %v, shared %t; want held by the fleet", i, m.Phase(), m.Shared())
			}
		}
		var sent sync.Map
		for i, k := range all {
			go func() {
				w := &Waiter{Point: search, Latest: time.Now().Add(time.Minute)}
				if inLine, err := k.Enqueue(w); !inLine || err != nil {
					t.Errorf("replica %d: a request does not wait: %v", i, err)
					return
				}
				if err := k.Wait(t.Context(), w, false); err != nil {
					t.Errorf("replica %d: %v", i, err)
				}
				sent.Store(i, true)
			}()
		}
		time.Sleep(9*time.Second + hold.Slot)
		n := 0
		sent.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("%d replicas sent a probe, want 1", n)
		}
		time.Sleep(time.Minute)
		for _, k := range all {
			k.unlocked(k.discard)
		}
	})
}

// A limit inside of one that is known is no news: it puts the rest on no new trial.
func TestFleet_LimitInsideAKnownOneIsNoNews(t *testing.T) {
	var table Table
	table.Init(&memory{}, func(Change) {})
	k := table.Key(named("h"))
	state := func(version uint64) hold.Snapshot {
		return hold.Snapshot{Phase: hold.Held, Until: time.Now().Add(time.Minute), Generation: 1, Version: version}
	}
	k.onStoreChange("/search", state(1))
	before := k.epoch.Load()
	k.onStoreChange("/search @other", state(2))
	if got := k.epoch.Load(); got != before {
		t.Error("a limit of one replica was news, though the route is held for all")
	}
	k.unlocked(k.discard)
}

// What one replica supposes to be limited as a whole, another knows to be served: the hold
// ends as soon as the other hears of it.
func TestFleet_KnownSuccessContradictsASupposition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := replicas(3)
		for i, route := range []string{"/a", "/b", "/c"} {
			all[i].refuse(at(route, "", ""), 30*time.Second)
			if i < 2 {
				time.Sleep(10 * roundTrip)
				all[0].serve(at("/well", "", ""))
			}
		}
		if phase := all[2].now().Phase(); phase != hold.Held {
			t.Fatalf("after three refused routes the key is %v, want held", phase)
		}
		time.Sleep(supposeTime / 2) // what it takes is five round trips, and a little
		for i, k := range all {
			if phase := k.now().Phase(); phase != hold.Healthy {
				t.Errorf("replica %d: the key is %v, want healthy", i, phase)
			}
		}
		for i, route := range []string{"/a", "/b", "/c"} {
			if all[i].passes(t, at(route, "", "")) {
				t.Errorf("%s is open, which was refused", route)
			}
		}
		time.Sleep(time.Minute)
		for _, k := range all {
			k.unlocked(k.discard)
		}
	})
}

// What was served before any of the limits was met contradicts nothing.
func TestFleet_EarlierSuccessLeavesASupposition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := replicas(3)
		all[0].serve(at("/well", "", ""))
		for i, route := range []string{"/a", "/b", "/c"} {
			time.Sleep(10 * roundTrip)
			all[i].refuse(at(route, "", ""), 30*time.Second)
		}
		time.Sleep(supposeTime / 2)
		for i, k := range all {
			if phase := k.now().Phase(); phase != hold.Held {
				t.Errorf("replica %d: the key is %v, want held", i, phase)
			}
		}
		time.Sleep(time.Minute)
		for _, k := range all {
			k.unlocked(k.discard)
		}
	})
}
