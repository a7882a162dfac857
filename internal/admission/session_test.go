package admission

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// undecided is a store in which a decision is due that no replica makes, at times.
type undecided struct {
	memory
	due bool
}

func (s *undecided) Report(ctx context.Context, key string, r hold.Report) (hold.Reply, error) {
	reply, err := s.memory.Report(ctx, key, r)
	if s.due {
		reply.Decide, reply.Due = false, true
	}
	return reply, err
}

// heldGate returns a gate whose key the store holds for d, with a request that waits.
func heldGate(t *testing.T, s *undecided, d time.Duration) *Key {
	t.Helper()
	holdInStore(t, &s.memory, "http://h", d)
	var table Table
	table.Init(s, func(Change) {})
	g := table.Key(named("h"))
	if inLine, err := g.Enqueue(&Waiter{Latest: time.Now().Add(time.Hour)}); !inLine {
		t.Fatalf("the request does not wait: %v", err)
	}
	return g
}

func (g *Key) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.discard()
}

func TestSession_UndecidedForLongContinuesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &undecided{due: true}
		g := heldGate(t, s, 2*time.Second)
		time.Sleep(2*time.Second + maxUndecided/2)
		if m := g.now(); !m.Shared() {
			t.Errorf("the replica is alone %v after the hold", maxUndecided/2)
		}
		time.Sleep(maxUndecided)
		if m := g.now(); m.Shared() || m.Phase() != hold.Probing {
			t.Errorf("%v, shared %v; want the replica to probe alone", m.Phase(), m.Shared())
		}
		g.end()
	})
}

// A published state says that another replica has decided: the next decision that is
// due is another one.
func TestSession_PublishedDecisionEndsTheWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &undecided{due: true}
		g := heldGate(t, s, 2*time.Second)
		time.Sleep(2*time.Second + maxUndecided/2)
		g.onStoreChange("", hold.Snapshot{Phase: hold.Held, Until: time.Now().Add(5 * time.Second), Generation: 7, Version: 2})
		time.Sleep(5*time.Second + maxUndecided/2)
		if m := g.now(); !m.Shared() {
			t.Error("the replica is alone, though this decision is not due for long")
		}
		g.end()
	})
}

// overtaken is a store whose next round is published before the answer to a report of
// the round before arrives.
type overtaken struct {
	undecided
	publish func()

	mu     sync.Mutex
	wanted []int // permits asked for, in each report
}

func (s *overtaken) asked() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wanted)
}

func (s *overtaken) Report(ctx context.Context, key string, r hold.Report) (hold.Reply, error) {
	s.mu.Lock()
	s.wanted = append(s.wanted, r.Want)
	first := len(s.wanted) == 1
	s.mu.Unlock()
	if first {
		reply, err := s.undecided.Report(ctx, key, r)
		reply.Snapshot.Version = 1
		s.publish()
		return reply, err
	}
	round := hold.Snapshot{Phase: hold.Ramping, Until: time.Now().Add(hold.Slot), Permits: r.Want, Generation: 7, Version: 2}
	return hold.Reply{Snapshot: round, Now: time.Now()}, nil
}

func TestSession_RoundThatOvertakesAReplyIsAskedForPermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &overtaken{undecided: undecided{due: true}}
		holdInStore(t, &s.memory, "http://h", 2*time.Second)
		var table Table
		table.Init(s, func(Change) {})
		g := table.Key(named("h"))
		s.publish = func() {
			g.onStoreChange("", hold.Snapshot{Phase: hold.Ramping, Until: time.Now().Add(hold.Slot), Generation: 7, Version: 2})
		}
		w := &Waiter{Latest: time.Now().Add(time.Hour)}
		if inLine, err := g.Enqueue(w); !inLine {
			t.Fatalf("the request does not wait: %v", err)
		}
		time.Sleep(2*time.Second + askSpread + hold.Slot/2)
		synctest.Wait()
		select {
		case <-w.ready:
		default:
			t.Errorf("permits asked for: %v; want the request to be sent in the round that was published", s.asked())
		}
		g.end()
	})
}

// A replica that was alone comes back with a hint that it has not reported: a store
// that still says healthy does not end its hold.
func TestSession_UnreportedHintOutlastsAHealthyState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		table.Init(&memory{}, func(Change) {})
		g := table.Key(named("h"))
		g.onStoreChange("", hold.Snapshot{Phase: hold.Held, Until: time.Now().Add(5 * time.Second), Generation: 7, Version: 2})
		g.mu.Lock()
		g.whole.hold.Adopt(hold.Snapshot{Phase: hold.Held, Until: time.Now().Add(10 * time.Second), ServerDirected: true, Generation: 7}, time.Now())
		g.whole.session.hint, g.whole.session.serverDirected = time.Now().Add(10*time.Second), true
		g.mu.Unlock()
		g.onStoreChange("", hold.Snapshot{Phase: hold.Healthy, Generation: 7, Version: 3})
		if m := g.now(); m.Phase() != hold.Held {
			t.Errorf("the key is %v, want held until its hint is reported", m.Phase())
		}
		g.end()
	})
}

// away is a store that does not answer while it is away.
type away struct {
	memory
	away atomic.Bool
}

func (s *away) Report(ctx context.Context, key string, r hold.Report) (hold.Reply, error) {
	if s.away.Load() {
		return hold.Reply{}, errors.New("away")
	}
	return s.memory.Report(ctx, key, r)
}

// A route that healed while the store was away is reported when it is back: no other
// replica may have a request there, and the record would stay held until it expires.
func TestSession_RouteThatHealedAloneEndsItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table Table
		s := &away{}
		table.Init(s, func(Change) {})
		k := table.Key(named("h"))
		k.refuse(at("/a", "", ""), 2*time.Second)
		time.Sleep(time.Second)
		s.away.Store(true)
		probe := &Waiter{Point: at("/a", "", ""), Latest: time.Now().Add(time.Hour)}
		if inLine, err := k.Enqueue(probe); !inLine || err != nil {
			t.Fatalf("the request does not wait: %v", err)
		}
		if err := k.Wait(t.Context(), probe, false); err != nil {
			t.Fatal(err)
		}
		k.Record(&probe.Pass, Outcome{At: probe.Point, Result: hold.Result{Lesson: hold.Good}})
		time.Sleep(5 * time.Second)
		s.away.Store(false)
		time.Sleep(2*storeRetry + time.Second)
		s.mu.Lock()
		for name, r := range s.records {
			if phase := r.Snapshot().Phase; phase == hold.Held {
				t.Errorf("%s is %v, want the hold to end", name, phase)
			}
		}
		s.mu.Unlock()
		k.end()
	})
}
