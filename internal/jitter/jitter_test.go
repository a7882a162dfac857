package jitter

import (
	"math"
	"sync"
	"testing"
	"time"
)

// Draws keep to [0, d], reach both ends, and concurrent ones do not
// race.
func TestUniform_DrawsAreEvenAndConcurrent(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, -1, math.MinInt64} {
		if got := Uniform(d); got != 0 {
			t.Errorf("Uniform(%d): got %v, want 0", d, got)
		}
	}
	for range 100 {
		if got := Uniform(math.MaxInt64); got < 0 {
			t.Errorf("Uniform of the longest duration: got %v", got)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var seen [4]int
			for range 1000 {
				seen[Uniform(3)]++
			}
			for d, n := range seen {
				// 250 are expected. That it is below 100 happens once in 1e30 runs.
				if n < 100 {
					t.Errorf("Uniform(3) returned %d in %d of 1000 draws, want about 250", d, n)
				}
			}
		})
	}
	wg.Wait()
}

func TestDoubled_StopsAtTheLimit(t *testing.T) {
	t.Parallel()
	const forever = time.Duration(math.MaxInt64)
	for _, tt := range []struct {
		base  time.Duration
		n     int
		limit time.Duration
		want  time.Duration
	}{
		{3, 0, 100, 3}, {3, 1, 100, 6}, {3, 5, 100, 96}, {3, 6, 100, 100}, {3, math.MaxInt, 100, 100},
		{200, 0, 100, 100}, {0, math.MaxInt, 100, 0}, {3, -1, 100, 3}, {1, 62, forever, 1 << 62}, {1, 63, forever, forever},
	} {
		if got := Doubled(tt.base, tt.n, tt.limit); got != tt.want {
			t.Errorf("Doubled(%d, %d, %d): got %d, want %d", tt.base, tt.n, tt.limit, got, tt.want)
		}
	}
}
