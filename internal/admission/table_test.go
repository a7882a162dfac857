package admission

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/hostkey"
)

// keyed returns the i-th key of a test.
func keyed(i int) hostkey.Name {
	return hostkey.Name{Scheme: "http", Host: fmt.Sprintf("h%d.example", i)}
}

// tableOf returns a table of n keys that know nothing, and their gates.
func tableOf(n int) (*Table, []*Key) {
	gs := &Table{emit: func(Change) {}}
	all := make([]*Key, n)
	for i := range all {
		all[i] = gs.add(keyed(i))
	}
	return gs, all
}

// remembered counts the keys of a table for which no request waits.
func remembered(gs *Table) int {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.idleKeys()
}

// waitedOf adds n keys from the i-th on to a table, with a request that waits for
// each.
func waitedOf(t *testing.T, gs *Table, i, n int) []*Key {
	t.Helper()
	all := make([]*Key, n)
	for j := range all {
		all[j] = gs.add(keyed(i + j))
		waitAt(t, all[j], 1, false)
	}
	return all
}

// change does something to a gate as its own methods do.
func change(g *Key, what func()) {
	g.unlocked(func() {
		what()
		g.whole.touch()
	})
}

// An insertion that has to make room looks at evictLooks gates and at no other,
// and is not held up where these are in use.
func TestGates_InsertionLooksAtFewGates(t *testing.T) {
	gs, all := tableOf(maxKeys)
	for i, g := range all {
		if i != evictLooks {
			g.mu.Lock()
			defer g.mu.Unlock()
		}
	}
	gs.add(keyed(maxKeys))
	if all[evictLooks].evicted.Load() {
		t.Errorf("an insertion looked at more than %d gates", evictLooks)
	}
	all[evictLooks-1].mu.Unlock()
	gs.add(keyed(maxKeys + 1))
	if !all[evictLooks-1].evicted.Load() {
		t.Errorf("an insertion looked at fewer than %d gates", evictLooks)
	}
	all[evictLooks-1].mu.Lock()
}

// Gates with waiters are not looked at, however many there are.
func TestGates_InsertionDoesNotLookAtWaitedGates(t *testing.T) {
	gs, _ := tableOf(0)
	all := waitedOf(t, gs, 0, maxKeys+100)
	for _, g := range all {
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	for i := range 2 * maxKeys {
		gs.add(keyed(len(all) + i))
	}
	if got := remembered(gs); got != maxKeys {
		t.Errorf("got %d keys for which no request waits, want %d", got, maxKeys)
	}
	for _, g := range all {
		if g.evicted.Load() {
			t.Fatal("a key was evicted for which a request waits")
		}
	}
}

// Gates that know nothing against their host go first, then those whose news the
// store has, and of equals the one that has been so for longest.
func TestGates_EvictionFollowsTheStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gs, all := tableOf(maxKeys)
		waiting := waitedOf(t, gs, maxKeys, 50)
		newest := gs.add(keyed(maxKeys + 50)) // in place of all[0]
		until := time.Now().Add(time.Hour)
		worry := func(g *Key) { change(g, func() { failOnce(&g.whole); g.whole.session.hint = until }) }
		unreported, clean, reported := all[1:50], append(all[50:100:100], newest), all[100:]
		for _, g := range unreported {
			worry(g)
		}
		for _, g := range reported {
			change(g, func() { failOnce(&g.whole) })
		}
		for i, g := range slices.Concat(clean, reported, unreported) {
			if g.evicted.Load() {
				t.Fatalf("a gate of standing %d went before its turn, as number %d", g.standing, i)
			}
			worry(gs.add(keyed(2*maxKeys + i)))
			if !g.evicted.Load() {
				t.Fatalf("insertion %d did not evict the gate whose turn it was, of standing %d", i, g.standing)
			}
		}
		for _, g := range waiting {
			if g.evicted.Load() {
				t.Fatal("a key was evicted for which a request waits")
			}
		}
	})
}

// A key that the fleet holds is listed as held, though the store says so before the
// gate is in the table.
func TestGates_KeyThatTheFleetHoldsIsListedAsHeld(t *testing.T) {
	store := &memory{}
	name := keyed(0)
	holdInStore(t, store, name.String(), time.Minute)
	gs := &Table{emit: func(Change) {}}
	gs.dispatcher = newDispatcher(store, gs.emit)
	g := gs.add(name)
	if got := g.now().Phase(); got != hold.Held || g.standing != reported {
		t.Errorf("got phase %v, standing %d; want held, %d", got, g.standing, reported)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.discard()
}

// After many lines have ended, the table shrinks to its bound within as many
// insertions as it is too large by.
func TestGates_TableShrinksAfterLinesEnd(t *testing.T) {
	const extra = 5000
	gs, _ := tableOf(0)
	all := waitedOf(t, gs, 0, maxKeys+extra)
	for _, g := range all {
		g.Leave(g.whole.waiters.oldest(), false)
	}
	if got := remembered(gs); got != maxKeys+extra {
		t.Fatalf("got %d keys, want %d", got, maxKeys+extra)
	}
	for i := range extra {
		gs.add(keyed(len(all) + i))
	}
	if got := remembered(gs); got != maxKeys {
		t.Errorf("got %d keys, want %d", got, maxKeys)
	}
}

// Whatever happens at many gates at a time, each is listed as what it is, and the
// table finds exactly the gates that it lists.
func TestGates_ListsAreTrueUnderConcurrentUse(t *testing.T) {
	store := &memory{}
	gs := &Table{emit: func(Change) {}}
	gs.dispatcher = newDispatcher(store, gs.emit)
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(worker, 0))

			for range 15_000 {
				name := named(fmt.Sprintf("h%d.example", r.IntN(2*maxKeys)))
				g := gs.Key(name)
				switch r.IntN(4) {
				case 0:
					g.record(hold.Permit{}, hold.Result{Lesson: hold.Failed, Status: 500})
				case 1:
					w := &Waiter{Latest: time.Now().Add(time.Hour)}
					if inLine, err := g.Enqueue(w); err == nil && inLine && r.IntN(2) == 0 {
						g.Leave(w, false)
					}
				case 2:
					if r.IntN(50) == 0 {
						g.record(hold.Permit{}, hold.Result{Lesson: hold.Refused, Hint: time.Minute, Status: 429})
					}
				}
			}
		})
	}
	all.Wait()
	listed := 0
	for name, v := range gs.byName.Range {
		g := v.(*Key)
		g.mu.Lock()
		gs.mu.Lock()
		if want := g.stands(time.Now()); g.standing != want && g.standing != unreported { // a hint is over, or has just been reported
			t.Errorf("%v is listed with standing %d, want %d", name, g.standing, want)
		}
		if g.table != gs || g.evicted.Load() || (g.place == nil) != (g.standing == waited) {
			t.Errorf("%v is in the table, but not as what it is: standing %d", name, g.standing)
		}
		if g.place != nil {
			listed++
		}
		gs.mu.Unlock()
		g.discard()
		g.mu.Unlock()
	}
	if got := remembered(gs); got != listed || got > maxKeys+evictLooks {
		t.Errorf("got %d keys listed, of which %d are found; want as many, and at most %d", got, listed, maxKeys)
	}
}

// Where many gates wait for the store, one more does not make the link look
// through them all each time.
func TestLink_LongQueueIsNotSearchedForEachGate(t *testing.T) {
	l := newDispatcher(&memory{}, func(Change) {})
	l.workers = maxWorkers // which all are busy
	for range 4*maxKeys - 1 {
		l.enqueue(&Gate{key: &Key{}})
	}
	l.queue[0] = nil // to look at it panics
	for range maxKeys / 8 {
		l.queue = l.queue[:len(l.queue)-1]
		l.enqueue(&Gate{key: &Key{}})
	}
	if got := len(l.queue); got != 4*maxKeys-1 {
		t.Errorf("got %d gates in the queue, want %d", got, 4*maxKeys-1)
	}
}
