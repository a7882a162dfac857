package retrybudget

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// taken takes up to most retries, and returns how many there were.
func taken(b *Budget, room, most int) int {
	for n := range most {
		if !b.Take(room) {
			return n
		}
	}
	return most
}

func earned(b *Budget, successes int) {
	for range successes {
		b.Earn()
	}
}

// A full bucket allows as many retries as it has room for, and ten successes earn one
// more.
func TestBudgetIsABucketThatSuccessesFill(t *testing.T) {
	t.Parallel()
	var b Budget
	for i, step := range []struct{ successes, want int }{
		{0, 10}, {0, 0}, {9, 0}, {1, 1}, {0, 0}, {25, 2}, {4, 0}, {1, 1},
		{1000, 10}, // full is full: no more than the room is saved up
		{100, 10},
	} {
		earned(&b, step.successes)
		if got := taken(&b, 10, 100); got != step.want {
			t.Errorf("step %d, after %d successes: got %d retries, want %d", i, step.successes, got, step.want)
		}
	}
}

// Budget's extremes: none at all, and no bound.
func TestBudgetExtremes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ room, want int }{
		{0, 0}, {1, 1}, {-1, 1000}, {math.MinInt, 1000}, {math.MaxInt, 1000}, {math.MaxInt/tenths + 1, 1000}, {math.MaxInt / tenths, 1000},
	} {
		var b Budget
		if got := taken(&b, test.room, 1000); got != test.want {
			t.Errorf("room %d: got %d retries of 1000, want %d", test.room, got, test.want)
		}
	}
	var b Budget
	taken(&b, -1, 1000)
	if got := taken(&b, 1, 10); got != 1 {
		t.Errorf("after unbounded retries: got %d, want 1, for they are not counted", got)
	}
}

// Among goroutines, at every moment, retries <= room + 0.1 * successes, and none that
// is due is lost.
func TestBudgetBoundsRetriesConcurrently(t *testing.T) {
	t.Parallel()
	for _, room := range []int{1, 10, 50} {
		var b Budget
		var retries, successes atomic.Int64
		var wg sync.WaitGroup
		for seed := range uint64(8) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(room)))
				for range 5000 {
					if r.IntN(3) > 0 {
						successes.Add(1) // counted before it is earned
						b.Earn()
						continue
					}
					if b.Take(room) {
						// A success that is counted by now was earned before or at most
						// concurrently: it can only raise the right side.
						if n, s := retries.Add(1), successes.Load(); 10*n > int64(10*room)+s {
							t.Errorf("room %d: %d retries on %d successes", room, n, s)
						}
					}
				}
			})
		}
		wg.Wait()
		if got := retries.Load(); got < int64(room) {
			t.Errorf("room %d: got %d retries, want %d at least", room, got, room)
		}
		if spent := b.spent.Load(); spent < 0 || spent > int64(room)*tenths {
			t.Errorf("room %d: the bucket has %d tenths spent", room, spent)
		}
		earned(&b, room*tenths)
		if got := taken(&b, room, 2*room); got != room {
			t.Errorf("room %d: got %d retries out of a bucket filled up, want %d", room, got, room)
		}
	}
}
