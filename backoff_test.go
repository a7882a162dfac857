package holdoff

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/jitter"
)

// Sources of chance that draw nothing, the middle and everything.
func lowest(time.Duration) time.Duration    { return 0 }
func middle(d time.Duration) time.Duration  { return d / 2 }
func highest(d time.Duration) time.Duration { return d }

const (
	ms      = time.Millisecond
	forever = time.Duration(math.MaxInt64)
)

// Case 40: each jitter draws from the range that its comment names.
func TestBackoffFormulas(t *testing.T) {
	t.Parallel()
	full := Exponential{Base: 100 * ms, Cap: time.Second}
	equal := Exponential{Base: 100 * ms, Cap: time.Second, Jitter: EqualJitter}
	deco := Exponential{Base: 100 * ms, Cap: time.Second, Jitter: DecorrelatedJitter}
	none := Exponential{Base: 100 * ms, Cap: time.Second, Jitter: NoJitter}
	for _, test := range []struct {
		name             string
		e                Exponential
		r                Retry
		low, mid, height time.Duration
	}{
		{"full, first", full, Retry{}, 0, 50 * ms, 100 * ms},
		{"full, third", full, Retry{Attempt: 2}, 0, 200 * ms, 400 * ms},
		{"full, at the cap", full, Retry{Attempt: 4}, 0, 500 * ms, time.Second},
		{"full does not go by the delay before", full, Retry{Attempt: 1, Previous: time.Hour}, 0, 100 * ms, 200 * ms},
		// Equal jitter takes the draw off.
		{"equal, first", equal, Retry{}, 100 * ms, 75 * ms, 50 * ms},
		{"equal, fourth", equal, Retry{Attempt: 3}, 800 * ms, 600 * ms, 400 * ms},
		{"equal, at the cap", equal, Retry{Attempt: 9}, time.Second, 750 * ms, 500 * ms},
		{"decorrelated, first", deco, Retry{}, 100 * ms, 200 * ms, 300 * ms},
		{"decorrelated goes by the delay before", deco, Retry{Attempt: 1, Previous: 200 * ms}, 100 * ms, 350 * ms, 600 * ms},
		{"decorrelated, below the base before", deco, Retry{Attempt: 1, Previous: 10 * ms}, 100 * ms, 200 * ms, 300 * ms},
		{"decorrelated, at the cap", deco, Retry{Attempt: 5, Previous: time.Hour}, 100 * ms, 550 * ms, time.Second},
		{"none, first", none, Retry{}, 100 * ms, 100 * ms, 100 * ms},
		{"none, second", none, Retry{Attempt: 1}, 200 * ms, 200 * ms, 200 * ms},
		{"none, at the cap", none, Retry{Attempt: 7}, time.Second, time.Second, time.Second},
		{"cap below the base", Exponential{Base: time.Second, Cap: 10 * ms, Jitter: NoJitter}, Retry{}, 10 * ms, 10 * ms, 10 * ms},
		{"cap below the base, decorrelated", Exponential{Base: time.Second, Cap: 10 * ms, Jitter: DecorrelatedJitter}, Retry{}, 10 * ms, 10 * ms, 10 * ms},
		{"cap of a nanosecond, decorrelated", Exponential{Cap: 1, Jitter: DecorrelatedJitter}, Retry{Attempt: 3, Previous: 1}, 1, 1, 1},
		{"the default cap", Exponential{Base: time.Second, Jitter: NoJitter}, Retry{Attempt: 30}, 10 * time.Second, 10 * time.Second, 10 * time.Second},
		{"an attempt that can't be", none, Retry{Attempt: -1}, 100 * ms, 100 * ms, 100 * ms},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, source := range []struct {
				name string
				upTo func(time.Duration) time.Duration
				want time.Duration
			}{{"lowest", lowest, test.low}, {"middle", middle, test.mid}, {"highest", highest, test.height}} {
				if got := test.e.delay(test.r, source.upTo); (got - source.want).Abs() > 3 {
					t.Errorf("%+v of %+v, %s draw: got %v, want %v", test.r, test.e, source.name, got, source.want)
				}
			}
		})
	}
}

// Case 40: without a Base, the delay follows the key's latency within bounds,
// and is a second where the server throttled.
func TestBackoffBaseFollowsLatency(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		r    Retry
		want time.Duration
	}{
		{"unknown", Retry{}, 100 * ms},
		{"fast", Retry{Latency: time.Microsecond}, 25 * ms},
		{"at the least", Retry{Latency: 12500 * time.Microsecond}, 25 * ms},
		{"between", Retry{Latency: 60 * ms}, 120 * ms},
		{"at the most", Retry{Latency: 125 * ms}, 250 * ms},
		{"slow", Retry{Latency: time.Minute}, 250 * ms},
		{"throttled", Retry{Latency: 60 * ms, Refused: true}, time.Second},
		{"throttled, unknown", Retry{Refused: true}, time.Second},
		{"second attempt", Retry{Attempt: 1, Latency: 60 * ms}, 240 * ms},
	} {
		if got := (Exponential{Jitter: NoJitter}).delay(test.r, jitter.Uniform); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	if got := (Exponential{Base: 7 * ms, Jitter: NoJitter}).delay(Retry{Latency: time.Minute, Refused: true}, jitter.Uniform); got != 7*ms {
		t.Errorf("a Base of the user's: got %v, want 7ms", got)
	}
}

// Case 39: huge attempt numbers reach the cap and do not overflow.
func TestBackoffHugeAttemptsDoNotOverflow(t *testing.T) {
	t.Parallel()
	for _, attempt := range []int{63, 64, 65, 1000, math.MaxInt} {
		for _, limit := range []time.Duration{1, ms, 10 * time.Second, forever - 1, forever} {
			for _, base := range []time.Duration{1, 3, time.Second, forever/2 + 1, forever} {
				e := Exponential{Base: base, Cap: limit, Jitter: NoJitter}
				if got := e.Delay(Retry{Attempt: attempt}); got != limit {
					t.Errorf("base %v, cap %v, attempt %d: got %v, want the cap", base, limit, attempt, got)
				}
				for _, jitter := range []Jitter{FullJitter, EqualJitter, DecorrelatedJitter} {
					e.Jitter = jitter
					for _, previous := range []time.Duration{0, ms, limit} {
						r := Retry{Attempt: attempt, Previous: previous}
						if got := e.Delay(r); got < 0 || got > limit {
							t.Errorf("base %v, cap %v, jitter %d, %+v: got %v, want within [0, cap]", base, limit, jitter, r, got)
						}
					}
				}
			}
		}
	}
}

// Case 40: decorrelated jitter reaches up to the cap, also where three times
// the delay before does not fit a time.Duration.
func TestBackoffDecorrelatedDoesNotOverflow(t *testing.T) {
	t.Parallel()
	e := Exponential{Base: time.Second, Cap: forever, Jitter: DecorrelatedJitter}
	for _, previous := range []time.Duration{forever / 3, forever/3 + 1, forever / 2, forever} {
		if got := e.delay(Retry{Attempt: 1, Previous: previous}, highest); got < forever-2 {
			t.Errorf("previous %v, highest draw: got %v, want the cap", previous, got)
		}
	}
}

// Case 40: draws keep to [0, d], reach both ends, and concurrent ones do not
// race.
func TestBackoffDrawsAreUniformAndConcurrent(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, -1, math.MinInt64} {
		if got := jitter.Uniform(d); got != 0 {
			t.Errorf("jitter.Uniform(%d): got %v, want 0", d, got)
		}
	}
	for range 100 {
		if got := jitter.Uniform(forever); got < 0 {
			t.Errorf("jitter.Uniform of the longest duration: got %v", got)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var seen [4]int
			for range 1000 {
				seen[jitter.Uniform(3)]++
			}
			for d, n := range seen {
				// 250 are expected. That it is below 100 happens once in 1e30 runs.
				if n < 100 {
					t.Errorf("jitter.Uniform(3) returned %d in %d of 1000 draws, want about 250", d, n)
				}
			}
		})
	}
	wg.Wait()
}

// A Base or Cap below zero, and an unknown Jitter, are refused with the name of
// the field.
func TestBackoffValidates(t *testing.T) {
	t.Parallel()
	for _, e := range []Exponential{{Base: -1}, {Cap: -1}, {Jitter: -1}, {Jitter: NoJitter + 1}} {
		base := script(200)
		_, err := (&Transport{Base: base, Backoff: e}).RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
		if err == nil || base.sends() != 0 {
			t.Errorf("%+v: got error %v after %d sends, want one before the first", e, err, base.sends())
		}
	}
	for _, e := range []Exponential{{}, {Base: 1, Cap: 1, Jitter: NoJitter}, {Base: forever, Cap: forever}} {
		if err := e.validate(); err != nil {
			t.Errorf("%+v: got error %v, want none", e, err)
		}
	}
}

// FuzzBackoff: any valid Exponential delays by something within [0, Cap], by
// Base at least where it is decorrelated, and by half of e where it is equal.
func FuzzBackoff(f *testing.F) {
	for _, attempt := range []int{0, 1, 63, 64, 1000, math.MaxInt, -1} {
		f.Add(int64(0), int64(0), 0, attempt, int64(0), int64(0), false)
		f.Add(int64(time.Second), int64(math.MaxInt64), 2, attempt, int64(math.MaxInt64), int64(math.MaxInt64), true)
		f.Add(int64(math.MaxInt64), int64(1), 1, attempt, int64(1), int64(1), false)
		f.Add(int64(1), int64(math.MaxInt64), 3, attempt, int64(-1), int64(-1), false)
	}
	f.Fuzz(func(t *testing.T, base, limit int64, spread, attempt int, previous, latency int64, refused bool) {
		e := Exponential{Base: time.Duration(base), Cap: time.Duration(limit), Jitter: Jitter(spread)}
		if e.validate() != nil {
			t.Skip("the Transport refuses such settings")
		}
		r := Retry{Attempt: attempt, Previous: time.Duration(previous), Latency: time.Duration(latency), Refused: refused}
		most := e.Cap
		if most == 0 {
			most = defaultCap
		}
		plain := e
		plain.Jitter = NoJitter
		top := plain.Delay(r)
		for _, upTo := range []func(time.Duration) time.Duration{jitter.Uniform, lowest, middle, highest} {
			got := e.delay(r, upTo)
			if got < 0 || got > most {
				t.Errorf("%+v of %+v: got %v, want within [0, %v]", r, e, got, most)
			}
			if e.Jitter == EqualJitter && got < top/2 {
				t.Errorf("%+v of %+v: got %v, want %v at least", r, e, got, top/2)
			}
			if e.Jitter == DecorrelatedJitter && got < min(e.Base, most) {
				t.Errorf("%+v of %+v: got %v, want the base at least", r, e, got)
			}
			if e.Jitter != DecorrelatedJitter && got > top {
				t.Errorf("%+v of %+v: got %v, want %v at most", r, e, got, top)
			}
		}
	})
}
