package admission

import (
	"container/list"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// model is a queue as a plain list, the oldest first.
type model []*Waiter

func (m model) pickProbe() *Waiter {
	if i := slices.IndexFunc(m, func(w *Waiter) bool { return !w.Retry }); i >= 0 {
		return m[i]
	}
	return m[0]
}

func (m model) earliest() time.Time {
	return slices.MinFunc(m, func(a, b *Waiter) int { return a.Latest.Compare(b.Latest) }).Latest
}

func (m model) latest() time.Time {
	return slices.MaxFunc(m, func(a, b *Waiter) int { return a.Latest.Compare(b.Latest) }).Latest
}

func (m model) before(then time.Time) (n int) {
	for _, w := range m {
		if w.Latest.Unix() < then.Unix() {
			n++
		}
	}
	return n
}

// A queue finds what a walk along a plain list finds, whatever joins and leaves.
func FuzzQueue(f *testing.F) {
	f.Add(uint64(1), uint8(2))
	f.Add(uint64(2), uint8(3))
	f.Add(uint64(3), uint8(5))
	f.Fuzz(func(t *testing.T, seed uint64, joining uint8) {
		r := rand.New(rand.NewPCG(seed, 0))
		start := time.Now()
		var q, elsewhere queue
		var line model
		for i := range uint64(500) {
			if r.IntN(6) < int(joining%6) || len(line) == 0 {
				w := &Waiter{Latest: start.Add(time.Duration(r.IntN(50)) * 100 * time.Millisecond), Retry: r.IntN(2) == 0, number: i}
				q.push(w)
				line = append(line, w)
				if n := max(q.ends.Len(), q.latest.Len()); n > keepGone*len(line) {
					t.Fatalf("%d waiters are kept for %d that wait", n, len(line))
				}
			} else {
				i := []int{0, len(line) - 1, r.IntN(len(line))}[r.IntN(3)]
				q.remove(line[i])
				if r.IntN(3) == 0 {
					elsewhere.push(line[i]) // of a wider scope
				}
				line = slices.Delete(line, i, i+1)
			}
			if q.Len() != len(line) {
				t.Fatalf("got %d waiters, want %d", q.Len(), len(line))
			}
			if len(line) == 0 {
				if q.oldest() != nil || q.pickProbe(func(*Waiter) int { return 0 }) != nil || q.soonest() != nil || q.mostPatient() != nil || len(q.seconds) > 0 {
					t.Fatal("an empty queue has a waiter")
				}
				continue
			}
			if q.oldest() != line[0] {
				t.Fatal("oldest is not the one that joined first")
			}
			if q.pickProbe(func(*Waiter) int { return 0 }) != line.pickProbe() {
				t.Fatal("prober is not the oldest that has not failed before")
			}
			if r.IntN(3) == 0 && !q.soonest().Latest.Equal(line.earliest()) {
				t.Fatal("soonest is not the least patient")
			}
			if r.IntN(3) == 0 && !q.mostPatient().Latest.Equal(line.latest()) {
				t.Fatal("the most patient is not")
			}
			then := start.Add(time.Duration(r.IntN(50)) * 100 * time.Millisecond)
			if got, want := q.before(then), line.before(then); got != want {
				t.Fatalf("%d have less patience, want %d", got, want)
			}
		}
	})
}

// blindLine returns a gate that is held for an hour and has a line of n requests of
// which only the oldest, and the least patient, can be looked at: to look at
// another one panics.
func blindLine(t *testing.T, n int, retry bool) *Key {
	g := newKey(named("h"), &Table{emit: func(Change) {}})
	waitAt(t, g, n, retry)
	g.mu.Lock()
	defer g.mu.Unlock()
	q := &g.whole.waiters
	for _, half := range []*list.List{&q.first, &q.retries} {
		for e := half.Front(); e != nil; e = e.Next() {
			if e != half.Front() {
				e.Value = nil
			}
		}
	}
	clear(q.ends.heap[1:])
	clear(q.latest.heap[1:])
	return g
}

func TestGate_RefusalLooksAtNoMoreThanTheFrontOfTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, retry := range []bool{false, true} {
			g := blindLine(t, 1000, retry)
			for range 100 {
				time.Sleep(time.Millisecond)
				g.record(hold.Permit{}, hold.Result{Lesson: hold.Refused, Hint: time.Hour, Status: 429}) // the hold is extended
			}
			if got, want := g.now().Until(), time.Now().Add(time.Hour); !got.Equal(want) {
				t.Errorf("the hold ends at %v, want %v", got, want)
			}
			if got := g.waiting(); got != 1000 {
				t.Errorf("got %d waiters, want 1000", got)
			}
			g.mu.Lock()
			g.discard()
			g.mu.Unlock()
		}
	})
}

func TestGate_ProbeLooksAtNoMoreThanTheFrontOfTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := blindLine(t, 1000, true)
		g.mu.Lock()
		w := g.whole.waiters.oldest()
		g.mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		g.mu.Lock()
		if g.whole.hold.Phase() != hold.Probing || !w.Pass.Limited() {
			t.Errorf("got phase %v and pass %+v of the oldest, want probing with a permit", g.whole.hold.Phase(), w.Pass)
		}
		g.discard()
		g.mu.Unlock()
	})
}

// Of those that wait, exactly those are let go whose patience the hold outgrows,
// wherever they stand.
func TestGate_HopelessAreLetGoWhereverTheyStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newKey(named("h"), &Table{emit: func(Change) {}})
		waitAt(t, g, 0, false)
		start := time.Now()
		var line []*Waiter
		for i := range 1000 {
			w := &Waiter{Latest: start.Add(time.Hour + time.Duration(1+(i*37)%1000)*time.Second), Retry: i%3 == 0}
			if inLine, err := g.Enqueue(w); !inLine {
				t.Fatal(err)
			}
			line = append(line, w)
		}
		for _, more := range []time.Duration{0, 1, 500, 499, 999, 1000} { // seconds; a shorter hint changes nothing
			g.record(hold.Permit{}, hold.Result{Lesson: hold.Refused, Hint: time.Hour + more*time.Second, Status: 429})
			for _, w := range line {
				gone := !w.Latest.After(g.whole.hold.Until())
				if told := w.held != nil; told != gone || (w.place == nil) != gone {
					t.Fatalf("after a hint of 1 h and %d s: a request that waits for %v more was let go %v, want %v", more, w.Latest.Sub(start), told, gone)
				}
			}
		}
		if got := g.waiting(); got != 0 {
			t.Errorf("%d waiters left, want none", got)
		}
		g.mu.Lock()
		g.discard()
		g.mu.Unlock()
	})
}
