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

// tableOf returns a table of n keys that know nothing, and the keys.
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

// An insertion that has to make room looks at evictLooks keys and at no other,
// and is not held up where these are in use.
func TestTable_InsertionLooksAtFewKeys(t *testing.T) {
	gs, all := tableOf(maxKeys)
	for i, k := range all {
		if i != evictLooks {
			k.mu.Lock()
			defer k.mu.Unlock()
		}
	}
	gs.add(keyed(maxKeys))
	if all[evictLooks].evicted.Load() {
		t.Errorf("an insertion looked at more than %d keys", evictLooks)
	}
	all[evictLooks-1].mu.Unlock()
	gs.add(keyed(maxKeys + 1))
	if !all[evictLooks-1].evicted.Load() {
		t.Errorf("an insertion looked at fewer than %d keys", evictLooks)
	}
	all[evictLooks-1].mu.Lock()
}

// Keys with waiters are not looked at, however many there are.
func TestTable_InsertionDoesNotLookAtWaitedKeys(t *testing.T) {
	gs, _ := tableOf(0)
	all := waitedOf(t, gs, 0, maxKeys+100)
	for _, k := range all {
		k.mu.Lock()
		defer k.mu.Unlock()
	}
	for i := range 2 * maxKeys {
		gs.add(keyed(len(all) + i))
	}
	if got := remembered(gs); got != maxKeys {
		t.Errorf("got %d keys for which no request waits, want %d", got, maxKeys)
	}
	for _, k := range all {
		if k.evicted.Load() {
			t.Fatal("a key was evicted for which a request waits")
		}
	}
}

// Keys that know nothing against their host go first, then those whose news the
// store has, and of equals the one that has been so for longest.
func TestTable_EvictionFollowsTheStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gs, all := tableOf(maxKeys)
		waiting := waitedOf(t, gs, maxKeys, 50)
		newest := gs.add(keyed(maxKeys + 50)) // in place of all[0]
		until := time.Now().Add(time.Hour)
		worry := func(k *Key) { k.change(func(g *Gate) { failOnce(g); g.session.hint = until }) }
		unreported, clean, reported := all[1:50], append(all[50:100:100], newest), all[100:]
		for _, k := range unreported {
			worry(k)
		}
		for _, k := range reported {
			k.change(failOnce)
		}
		for i, k := range slices.Concat(clean, reported, unreported) {
			if k.evicted.Load() {
				t.Fatalf("a key of standing %d went before its turn, as number %d", k.standing, i)
			}
			worry(gs.add(keyed(2*maxKeys + i)))
			if !k.evicted.Load() {
				t.Fatalf("insertion %d did not evict the key whose turn it was, of standing %d", i, k.standing)
			}
		}
		for _, k := range waiting {
			if k.evicted.Load() {
				t.Fatal("a key was evicted for which a request waits")
			}
		}
	})
}

// A key that the fleet holds is listed as held, though the store says so before the
// key is in the table.
func TestTable_KeyThatTheFleetHoldsIsListedAsHeld(t *testing.T) {
	store := &memory{}
	name := keyed(0)
	holdInStore(t, store, name.String(), time.Minute)
	gs := &Table{emit: func(Change) {}}
	gs.dispatcher = newDispatcher(store, gs.emit)
	k := gs.add(name)
	if got := k.now().Phase(); got != hold.Held || k.standing != reported {
		t.Errorf("got phase %v, standing %d; want held, %d", got, k.standing, reported)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.discard()
}

// After many lines have ended, the table shrinks to its bound within as many
// insertions as it is too large by.
func TestTable_TableShrinksAfterLinesEnd(t *testing.T) {
	const extra = 5000
	gs, _ := tableOf(0)
	all := waitedOf(t, gs, 0, maxKeys+extra)
	for _, k := range all {
		k.Leave(k.whole.waiters.oldest(), false)
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

// Whatever happens at many keys at a time, each is listed as what it is, and the
// table finds exactly the keys that it lists.
func TestTable_ListsAreTrueUnderConcurrentUse(t *testing.T) {
	store := &memory{}
	gs := &Table{emit: func(Change) {}}
	gs.dispatcher = newDispatcher(store, gs.emit)
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(worker, 0))

			for range 15_000 {
				name := named(fmt.Sprintf("h%d.example", r.IntN(2*maxKeys)))
				k := gs.Key(name)
				switch r.IntN(4) {
				case 0:
					k.take(hold.Result{Lesson: hold.Failed, Status: 500})
				case 1:
					w := &Waiter{Latest: time.Now().Add(time.Hour)}
					if inLine, err := k.Enqueue(w); err == nil && inLine && r.IntN(2) == 0 {
						k.Leave(w, false)
					}
				case 2:
					if r.IntN(50) == 0 {
						k.take(hold.Result{Lesson: hold.Refused, Hint: time.Minute, Status: 429})
					}
				}
			}
		})
	}
	all.Wait()
	listed := 0
	for name, v := range gs.byName.Range {
		k := v.(*Key)
		k.mu.Lock()
		gs.mu.Lock()
		if want := k.stands(time.Now()); k.standing != want && k.standing != unreported { // a hint is over, or has just been reported
			t.Errorf("%v is listed with standing %d, want %d", name, k.standing, want)
		}
		if k.table != gs || k.evicted.Load() || (k.place == nil) != (k.standing == waited) {
			t.Errorf("%v is in the table, but not as what it is: standing %d", name, k.standing)
		}
		if k.place != nil {
			listed++
		}
		gs.mu.Unlock()
		k.discard()
		k.mu.Unlock()
	}
	if got := remembered(gs); got != listed || got > maxKeys+evictLooks {
		t.Errorf("got %d keys listed, of which %d are found; want as many, and at most %d", got, listed, maxKeys)
	}
}

// Where many gates wait for the store, one more does not make the dispatcher look
// through them all each time.
func TestDispatcher_LongQueueIsNotSearchedForEachGate(t *testing.T) {
	k := newTestKey()
	l := newDispatcher(&memory{}, func(Change) {})
	l.workers = maxWorkers // which all are busy
	for range 4*maxKeys - 1 {
		l.enqueue(&Gate{key: k})
	}
	l.queue[0] = nil // to look at it panics
	for range maxKeys / 8 {
		l.queue = l.queue[:len(l.queue)-1]
		l.enqueue(&Gate{key: k})
	}
	if got := len(l.queue); got != 4*maxKeys-1 {
		t.Errorf("got %d gates in the queue, want %d", got, 4*maxKeys-1)
	}
}
