package admission

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// The lease of a probe follows the host's latency, within bounds.
func TestGate_LeaseFollowsLatencyWithinBounds(t *testing.T) {
	for _, tt := range []struct{ latency, want time.Duration }{
		{0, time.Second}, {time.Millisecond, time.Second}, {time.Second, 4 * time.Second}, {time.Minute, 30 * time.Second},
	} {
		var g Key
		g.latency.Store(int64(tt.latency))
		if got := g.lease(); got != tt.want {
			t.Errorf("lease at a latency of %v: got %v, want %v", tt.latency, got, tt.want)
		}
	}
}

// The latency is smoothed with the gain of RFC 6298.
func TestGate_SampleSmoothsTheLatency(t *testing.T) {
	var g Key
	for _, tt := range []struct{ sample, want time.Duration }{
		{800, 800}, {1600, 900}, {100, 800}, {800, 800},
	} {
		g.Sample(tt.sample)
		if got := g.Latency(); got != tt.want {
			t.Errorf("after a sample of %d: got %d, want %d", tt.sample, got, tt.want)
		}
	}
}

// While a key is counted, every result is, whenever its request was sent; after
// that, a result of a request that was sent before is history.
func TestGate_RecordCountsOldResultsWhileCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newKey(named("h"), &Table{emit: func(Change) {}})
		pass, _ := g.TryFastPath()
		p := pass.whole
		change(g, func() { g.whole.hold.Measure(time.Now()) })
		for range 10 {
			g.record(p, hold.Result{Lesson: hold.Good})
			g.record(p, hold.Result{Lesson: hold.Refused})
		}
		if h := g.now(); h.Phase() != hold.Counted {
			t.Errorf("%v, want counted", h.Phase())
		}
		time.Sleep(501 * time.Millisecond)
		g.record(p, hold.Result{Lesson: hold.Refused})
		if h := g.now(); h.Phase() != hold.Paced {
			t.Errorf("%v, want paced", h.Phase())
		}
		time.Sleep(time.Minute)
	})
}

// A gate that was evicted takes in no outcome: the caller gives it to the gate that
// took its place.
func TestGate_RecordOfAnEvictedGateIsRefused(t *testing.T) {
	gs, _ := tableOf(0)
	old := gs.Key(keyed(0))
	evict(gs, old)
	if old.record(hold.Permit{}, hold.Result{Lesson: hold.Refused, Hint: time.Minute, Status: 429}) {
		t.Error("an evicted gate took in an outcome")
	}
	if got := gs.Key(keyed(0)); got == old {
		t.Error("the evicted gate is still in the table")
	}
}

// A request that comes to a gate at the moment at which that is evicted is sent when
// the hold ends, though no other request will use the gate.
func TestGate_WaiterOfAnEvictedGateIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gs := &Table{}
		gs.Init(&memory{}, func(Change) {})
		g := gs.Key(keyed(0))
		g.record(hold.Permit{}, hold.Result{Lesson: hold.Refused, Hint: 3 * time.Second, Status: 429})
		synctest.Wait()
		g.mu.Lock()
		g.discard()
		g.mu.Unlock()
		begun := time.Now()
		w := &Waiter{Latest: begun.Add(time.Minute)}
		if inLine, err := g.Enqueue(w); !inLine || err != nil {
			t.Fatalf("in line: %t, %v; want a held key", inLine, err)
		}
		err := g.Wait(t.Context(), w, false)
		if d := time.Since(begun); err != nil || !w.Pass.Limited() || d > 4*time.Second {
			t.Errorf("after %v: %v, %+v; want the probe's permit after 3 s", d, err, w.Pass)
		}
		time.Sleep(time.Hour)
	})
}

// The keys of a crawler are bounded, and a key that is held is not forgotten for a
// healthy one.
func TestTable_ManyHealthyKeysAreBoundedAndEvictedFirst(t *testing.T) {
	gs, _ := tableOf(0)
	var held []*Key
	for i := range 10 {
		g := gs.Key(keyed(i))
		g.record(hold.Permit{}, hold.Result{Lesson: hold.Refused, Hint: time.Minute, Status: 429})
		held = append(held, g)
	}
	for i := range maxKeys + 100 {
		gs.Key(keyed(10 + i))
	}
	n := 0
	gs.byName.Range(func(any, any) bool { n++; return true })
	if n > maxKeys || n != remembered(gs) {
		t.Errorf("got %d keys, counted as %d; want at most %d, rightly counted", n, remembered(gs), maxKeys)
	}
	for _, g := range held {
		if g.evicted.Load() {
			t.Errorf("%s was evicted, which is held", g.Text())
		}
		g.mu.Lock()
		g.discard()
		g.mu.Unlock()
	}
}

// hanging is a store that answers when it is let.
type hanging struct {
	memory
	until chan struct{}
}

func (s *hanging) Report(ctx context.Context, key string, r hold.Report) (hold.Reply, error) {
	<-s.until
	return s.memory.Report(ctx, key, r)
}

// Where the store hangs, keys that were evicted do not wait for it.
func TestDispatcher_EvictedKeysLeaveTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{until: make(chan struct{})}
		gs := &Table{}
		gs.Init(store, func(Change) {})
		for i := range 3 * maxKeys {
			gs.Key(named(fmt.Sprint(i, ".example"))).record(hold.Permit{}, hold.Result{Lesson: hold.Refused, Hint: 4 * time.Minute, Status: 429})
		}
		d := gs.dispatcher
		d.mu.Lock()
		n := len(d.queue)
		d.mu.Unlock()
		if n > 2*maxKeys {
			t.Errorf("%d keys wait for the store, and %d are remembered", n, maxKeys)
		}
		close(store.until)
	})
}
