package admission

import (
	"context"
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
func heldGate(t *testing.T, s *undecided, d time.Duration) *Gate {
	t.Helper()
	holdInStore(t, &s.memory, "http://h", d)
	var table Table
	table.Init(s, func(Change) {})
	g := table.Gate(named("h"))
	if inLine, err := g.Enqueue(&Waiter{Latest: time.Now().Add(time.Hour)}); !inLine {
		t.Fatalf("the request does not wait: %v", err)
	}
	return g
}

func (g *Gate) end() {
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
		g.onStoreChange(hold.Snapshot{Phase: hold.Held, Until: time.Now().Add(5 * time.Second), Generation: 7, Version: 2})
		time.Sleep(5*time.Second + maxUndecided/2)
		if m := g.now(); !m.Shared() {
			t.Error("the replica is alone, though this decision is not due for long")
		}
		g.end()
	})
}
