package holdoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

const (
	ms      = time.Millisecond
	forever = time.Duration(math.MaxInt64)
)

// draws are how many delays a test of their range draws. That none of them is in a
// given tenth of the range happens once in 1e18 runs, and that their mean is off by
// a tenth of it, once in 1e11.
const draws = 400

// Each jitter draws from the range that its comment names: evenly, and to both ends.
func TestBackoffFormulas(t *testing.T) {
	t.Parallel()
	full := holdoff.Exponential{Base: 100 * ms, Cap: time.Second}
	equal := holdoff.Exponential{Base: 100 * ms, Cap: time.Second, Jitter: holdoff.EqualJitter}
	deco := holdoff.Exponential{Base: 100 * ms, Cap: time.Second, Jitter: holdoff.DecorrelatedJitter}
	none := holdoff.Exponential{Base: 100 * ms, Cap: time.Second, Jitter: holdoff.NoJitter}
	for _, test := range []struct {
		name             string
		e                holdoff.Exponential
		r                holdoff.Retry
		low, mid, height time.Duration
	}{
		{"full, first", full, holdoff.Retry{}, 0, 50 * ms, 100 * ms},
		{"full, third", full, holdoff.Retry{Attempt: 2}, 0, 200 * ms, 400 * ms},
		{"full, at the cap", full, holdoff.Retry{Attempt: 4}, 0, 500 * ms, time.Second},
		{"full does not go by the delay before", full, holdoff.Retry{Attempt: 1, Previous: time.Hour}, 0, 100 * ms, 200 * ms},
		{"equal, first", equal, holdoff.Retry{}, 50 * ms, 75 * ms, 100 * ms},
		{"equal, fourth", equal, holdoff.Retry{Attempt: 3}, 400 * ms, 600 * ms, 800 * ms},
		{"equal, at the cap", equal, holdoff.Retry{Attempt: 9}, 500 * ms, 750 * ms, time.Second},
		{"decorrelated, first", deco, holdoff.Retry{}, 100 * ms, 200 * ms, 300 * ms},
		{"decorrelated goes by the delay before", deco, holdoff.Retry{Attempt: 1, Previous: 200 * ms}, 100 * ms, 350 * ms, 600 * ms},
		{"decorrelated, below the base before", deco, holdoff.Retry{Attempt: 1, Previous: 10 * ms}, 100 * ms, 200 * ms, 300 * ms},
		{"decorrelated, at the cap", deco, holdoff.Retry{Attempt: 5, Previous: time.Hour}, 100 * ms, 550 * ms, time.Second},
		{"none, first", none, holdoff.Retry{}, 100 * ms, 100 * ms, 100 * ms},
		{"none, second", none, holdoff.Retry{Attempt: 1}, 200 * ms, 200 * ms, 200 * ms},
		{"none, at the cap", none, holdoff.Retry{Attempt: 7}, time.Second, time.Second, time.Second},
		{"cap below the base", holdoff.Exponential{Base: time.Second, Cap: 10 * ms, Jitter: holdoff.NoJitter}, holdoff.Retry{}, 10 * ms, 10 * ms, 10 * ms},
		{"cap below the base, decorrelated", holdoff.Exponential{Base: time.Second, Cap: 10 * ms, Jitter: holdoff.DecorrelatedJitter}, holdoff.Retry{}, 10 * ms, 10 * ms, 10 * ms},
		{"cap of a nanosecond, decorrelated", holdoff.Exponential{Cap: 1, Jitter: holdoff.DecorrelatedJitter}, holdoff.Retry{Attempt: 3, Previous: 1}, 1, 1, 1},
		{"the default cap", holdoff.Exponential{Base: time.Second, Jitter: holdoff.NoJitter}, holdoff.Retry{Attempt: 30}, 10 * time.Second, 10 * time.Second, 10 * time.Second},
		{"an attempt that can't be", none, holdoff.Retry{Attempt: -1}, 100 * ms, 100 * ms, 100 * ms},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			least, most, sum := forever, time.Duration(0), time.Duration(0)
			for range draws {
				d := test.e.Delay(test.r)
				least, most, sum = min(least, d), max(most, d), sum+d
			}
			tenth := (test.height - test.low) / 10
			if least < test.low || least > test.low+tenth {
				t.Errorf("%+v of %+v: the least of %d draws is %v, want %v or little more", test.r, test.e, draws, least, test.low)
			}
			if most > test.height || most < test.height-tenth {
				t.Errorf("%+v of %+v: the most of %d draws is %v, want %v or little less", test.r, test.e, draws, most, test.height)
			}
			if got := sum / draws; (got - test.mid).Abs() > tenth {
				t.Errorf("%+v of %+v: the mean of %d draws is %v, want about %v", test.r, test.e, draws, got, test.mid)
			}
		})
	}
}

// Without a Base, the delay follows the key's latency within bounds, and is a second
// where the server throttled.
func TestBackoffBaseFollowsLatency(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		r    holdoff.Retry
		want time.Duration
	}{
		{"unknown", holdoff.Retry{}, 100 * ms},
		{"fast", holdoff.Retry{Latency: time.Microsecond}, 25 * ms},
		{"at the least", holdoff.Retry{Latency: 12500 * time.Microsecond}, 25 * ms},
		{"between", holdoff.Retry{Latency: 60 * ms}, 120 * ms},
		{"at the most", holdoff.Retry{Latency: 125 * ms}, 250 * ms},
		{"slow", holdoff.Retry{Latency: time.Minute}, 250 * ms},
		{"throttled", holdoff.Retry{Latency: 60 * ms, Refused: true}, time.Second},
		{"throttled, unknown", holdoff.Retry{Refused: true}, time.Second},
		{"second attempt", holdoff.Retry{Attempt: 1, Latency: 60 * ms}, 240 * ms},
	} {
		if got := (holdoff.Exponential{Jitter: holdoff.NoJitter}).Delay(test.r); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	if got := (holdoff.Exponential{Base: 7 * ms, Jitter: holdoff.NoJitter}).Delay(holdoff.Retry{Latency: time.Minute, Refused: true}); got != 7*ms {
		t.Errorf("a Base of the user's: got %v, want 7ms", got)
	}
}

// Huge attempt numbers reach the cap and do not overflow.
func TestBackoffHugeAttemptsDoNotOverflow(t *testing.T) {
	t.Parallel()
	for _, attempt := range []int{63, 64, 65, 1000, math.MaxInt} {
		for _, limit := range []time.Duration{1, ms, 10 * time.Second, forever - 1, forever} {
			for _, base := range []time.Duration{1, 3, time.Second, forever/2 + 1, forever} {
				e := holdoff.Exponential{Base: base, Cap: limit, Jitter: holdoff.NoJitter}
				if got := e.Delay(holdoff.Retry{Attempt: attempt}); got != limit {
					t.Errorf("base %v, cap %v, attempt %d: got %v, want the cap", base, limit, attempt, got)
				}
				for _, jitter := range []holdoff.Jitter{holdoff.FullJitter, holdoff.EqualJitter, holdoff.DecorrelatedJitter} {
					e.Jitter = jitter
					for _, previous := range []time.Duration{0, ms, limit} {
						r := holdoff.Retry{Attempt: attempt, Previous: previous}
						if got := e.Delay(r); got < 0 || got > limit {
							t.Errorf("base %v, cap %v, jitter %d, %+v: got %v, want within [0, cap]", base, limit, jitter, r, got)
						}
					}
				}
			}
		}
	}
}

// Decorrelated jitter reaches up to the cap, also where three times the delay before
// does not fit a time.Duration.
func TestBackoffDecorrelatedDoesNotOverflow(t *testing.T) {
	t.Parallel()
	e := holdoff.Exponential{Base: time.Second, Cap: forever, Jitter: holdoff.DecorrelatedJitter}
	for _, previous := range []time.Duration{forever / 3, forever/3 + 1, forever / 2, forever} {
		r, most := holdoff.Retry{Attempt: 1, Previous: previous}, time.Duration(0)
		for range draws {
			got := e.Delay(r)
			if got < e.Base {
				t.Fatalf("previous %v: got %v, want the base at least", previous, got)
			}
			most = max(most, got)
		}
		if most < forever/10*9 {
			t.Errorf("previous %v: the most of %d draws is %v, want about the cap", previous, draws, most)
		}
	}
}

// A Base or Cap below zero, and an unknown Jitter, are refused with the name of
// the field.
func TestBackoffValidates(t *testing.T) {
	t.Parallel()
	for _, e := range []holdoff.Exponential{{Base: -1}, {Cap: -1}, {Jitter: -1}, {Jitter: holdoff.NoJitter + 1}} {
		base := script(200)
		_, err := (&holdoff.Transport{Base: base, Backoff: e}).RoundTrip(newRequest(t, "GET", "http://a.example/", ""))
		if err == nil || base.sends() != 0 {
			t.Errorf("%+v: got error %v after %d sends, want one before the first", e, err, base.sends())
		}
	}
	for _, e := range []holdoff.Exponential{{}, {Base: 1, Cap: 1, Jitter: holdoff.NoJitter}, {Base: forever, Cap: forever}} {
		if err := refusal(t, e); err != nil {
			t.Errorf("%+v: got error %v, want none", e, err)
		}
	}
}

// refusal is why a Transport does not take e, if it does not.
func refusal(t *testing.T, e holdoff.Exponential) error {
	_, err := statusOf(&holdoff.Transport{Base: script(200), Backoff: e}, newRequest(t, "GET", "http://a.example/", ""))
	return err
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
		e := holdoff.Exponential{Base: time.Duration(base), Cap: time.Duration(limit), Jitter: holdoff.Jitter(spread)}
		if refusal(t, e) != nil {
			t.Skip("the Transport refuses such settings")
		}
		r := holdoff.Retry{Attempt: attempt, Previous: time.Duration(previous), Latency: time.Duration(latency), Refused: refused}
		most := e.Cap
		if most == 0 {
			most = holdoff.DefaultCap
		}
		plain := e
		plain.Jitter = holdoff.NoJitter
		top := plain.Delay(r)
		for range 4 {
			got := e.Delay(r)
			if got < 0 || got > most {
				t.Errorf("%+v of %+v: got %v, want within [0, %v]", r, e, got, most)
			}
			if e.Jitter == holdoff.EqualJitter && got < top/2 {
				t.Errorf("%+v of %+v: got %v, want %v at least", r, e, got, top/2)
			}
			if e.Jitter == holdoff.DecorrelatedJitter && got < min(e.Base, most) {
				t.Errorf("%+v of %+v: got %v, want the base at least", r, e, got)
			}
			if e.Jitter != holdoff.DecorrelatedJitter && got > top {
				t.Errorf("%+v of %+v: got %v, want %v at most", r, e, got, top)
			}
		}
	})
}
