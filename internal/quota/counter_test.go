package quota

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/ratelimitheader"
)

// quotaTrace lets a quota see answers, each of which took 10 ms unless told.
type quotaTrace struct {
	t     *testing.T
	q     Counters
	start time.Time
	took  time.Duration
	token uint64 // of the sender
}

func (tr *quotaTrace) of() uint64 { return tr.token }

func nobody() uint64 { return 0 }

func newQuotaTrace(t *testing.T) *quotaTrace {
	return &quotaTrace{t: t, start: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), took: 10 * ms}
}

func (tr *quotaTrace) read(d time.Duration, headers ...string) (hold.Quota, bool) {
	q, _, ok := tr.q.Read(header(headers...), tr.of, tr.took, tr.start.Add(d), 5*time.Minute)
	return q, ok
}

// at lets an answer come at d, and checks what is believed: "-" for nothing,
// "lies", or how much is left until when, and whether that is near.
func (tr *quotaTrace) at(d time.Duration, want string, headers ...string) {
	tr.t.Helper()
	if got := tr.word(tr.read(d, headers...)); got != want {
		tr.t.Fatalf("at %v, %q: got %q, want %q", d, headers, got, want)
	}
}

func (tr *quotaTrace) word(r hold.Quota, ok bool) string {
	switch {
	case !ok:
		return "-"
	case r.Inconsistent:
		return "lies"
	case r.NearExhaustion:
		return fmt.Sprintf("%d until %v, near", r.Remaining, r.ResetAt.Sub(tr.start))
	}
	return fmt.Sprintf("%d until %v", r.Remaining, r.ResetAt.Sub(tr.start))
}

// field is a RateLimit field.
func field(left, seconds int) string {
	return fmt.Sprintf(`RateLimit: "default";r=%d;t=%d`, left, seconds)
}

// A counter is believed once it was seen to fall three times, and near its end
// where it will not last a quarter of a second more.
func TestCounterIsBelievedWhenItFalls(t *testing.T) {
	tr := newQuotaTrace(t)
	tr.at(0, "-", field(100, 60))
	tr.at(0, "-", field(99, 60))
	tr.at(50*ms, "-", field(98, 60))
	tr.at(100*ms, "97 until 1m0s", field(97, 60))
	tr.at(200*ms, "95 until 1m0s", field(95, 60))
	tr.at(300*ms, "46 until 1m0s", field(46, 60))       // a stroke
	tr.at(350*ms, "26 until 1m0s, near", field(26, 60)) // 69 in 0.15 s, and no stroke
	tr.at(time.Second, "25 until 1m0s", field(25, 60))  // 21 in 0.7 s
	tr.at(time.Minute-ms, "0 until 1m0s, near", field(0, 1))
}

// Counters whose windows end as one are several all the same: one that rises long
// before its end is not believed, and one that falls at a stroke is not near it.
func TestCountersOfOneWindowAreFoundOut(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range 10 {
		tr.read(time.Duration(i)*100*ms, field(4000-i, 60-i/10))
	}
	tr.at(time.Second, "19 until 1m0s", field(19, 59))
	tr.took = 10 * ms
	tr.at(1005*ms, "-", field(3990, 59)) // it may have been said before
	tr.at(1100*ms, "lies", field(3989, 59))
	tr.at(1200*ms, "-", field(18, 59))
}

// The end of a window that nobody would wait for is not told: nor does what
// remains of it matter yet.
func TestCounterOfALongWindowIsNotTold(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range 50 {
		tr.at(time.Duration(i)*ms, "-", field(5000-i, 3600))
	}
	tr.at(3500*time.Second, "7 until 1h0m0s", field(7, 100))
}

// Servers that round their seconds up or down, and answers out of order.
func TestCounterOfRoundedSeconds(t *testing.T) {
	tr := newQuotaTrace(t)
	tr.at(0, "-", field(100, 5))
	tr.at(100*ms, "-", field(90, 5)) // 4.9 s, rounded up
	tr.at(200*ms, "-", field(80, 5))
	tr.at(300*ms, "70 until 5s", field(70, 5))
	tr.took = 100 * ms
	tr.at(350*ms, "-", field(75, 5)) // out of order
	tr.took = 0
	tr.at(360*ms, "-", field(75, 5)) // perhaps
	tr.at(2900*ms, "60 until 4.9s", field(60, 2))
	tr.at(4*time.Second, "55 until 4.9s", field(55, 1))

	tr = newQuotaTrace(t)
	tr.at(0, "-", field(100, 4)) // 4.9 s, rounded down
	tr.at(100*ms, "-", field(90, 4))
	tr.at(200*ms, "-", field(80, 4))
	tr.at(300*ms, "70 until 4s", field(70, 4))
	tr.at(4100*ms, "20 until 5.1s", field(20, 0))     // it has not ended yet
	tr.at(5*time.Second, "99 until 9s", field(99, 4)) // now it has
}

// A window that turns begins the counter anew, and an answer of the one before is
// late.
func TestCounterOfWindowsThatTurn(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range 4 {
		tr.read(time.Duration(i)*100*ms, field(100-i, 5))
	}
	tr.at(5100*ms, "100 until 10.1s", field(100, 5))
	tr.at(5110*ms, "-", field(2, 0)) // late
	tr.at(5200*ms, "99 until 10.1s", field(99, 5))
	// It turned before the end that rounding had us believe.
	tr.at(9500*ms, "100 until 14.5s", field(100, 5))
}

// The wrong numbers that servers send are not believed: constant ones, those of
// several counters in turn, and of what is refilled all the time.
func TestWrongNumbersAreNotBelieved(t *testing.T) {
	type said struct{ left, seconds int }
	for name, says := range map[string]func(i int) said{
		"GitLab: another limiter, of which little is used": func(i int) said { return said{595, 60 - i/25} },
		"Azure: constant 0":        func(int) said { return said{0, 1} },
		"a window that never ends": func(i int) said { return said{1000 - i, 60} },
		"Discord: buckets of different windows": func(i int) said {
			return []said{{500 - i, 60 - i/25}, {400 - i, 30 - i/25}, {300 - i, 10 - i/25%10}}[i%3]
		},
		"GitHub: core and search, without their names": func(i int) said {
			return []said{{5000 - i, 3000 - i/25}, {30 - i%30, 60 - i/25%60}}[i%2]
		},
		"a token bucket of 100/s that says when it is full": func(i int) said { return said{19 - i%3, 1} },
	} {
		t.Run(name, func(t *testing.T) {
			tr := newQuotaTrace(t)
			believed := 0
			for i := range 2000 { // 25 per second
				s := says(i)
				if r, ok := tr.read(time.Duration(i)*40*ms, field(s.left, s.seconds)); ok && !r.Inconsistent {
					believed++
				}
			}
			// A window that never ends is found out when it should have moved on.
			if believed > 30 {
				t.Errorf("believed %d times of 2,000", believed)
			}
		})
	}
}

// Numbers that contradict each other are told once if they were believed, and
// not believed again for ten minutes.
func TestLiesAreToldOnce(t *testing.T) {
	tr := newQuotaTrace(t)
	for i := range 4 {
		tr.read(time.Duration(i)*100*ms, field(100-i, 60))
	}
	tr.at(500*ms, "lies", field(4000, 3600))
	for i := range 10 {
		tr.at(time.Second, "-", field(90-i, 60))
	}
	tr.at(500*ms+Distrust-1, "-", field(50, 60))
	for i := range 3 {
		tr.at(11*time.Minute, "-", field(49-i, 60))
	}
	tr.at(11*time.Minute, "46 until 12m0s", field(46, 60))

	// Who believed nothing has nothing to take back.
	tr = newQuotaTrace(t)
	tr.at(0, "-", field(100, 60))
	tr.at(0, "-", field(4000, 3600))
}

// Two counters in turn, whose windows differ by more than rounding, are never
// believed, whatever their limits, their phases and the order of answers.
func TestInterleavedCountersAreNeverBelieved(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		tr := newQuotaTrace(t)
		var counters [2]struct {
			limit, left int
			window, end time.Duration
		}
		for i := range counters {
			c := &counters[i]
			c.limit = 50 + rng.IntN(5000)
			c.window = time.Duration(3+rng.IntN(10)+i*60) * time.Second
			c.left, c.end = c.limit, time.Duration(rng.Int64N(int64(c.window)))+2*time.Second
			if i == 1 {
				c.end += counters[0].window + 10*time.Second
			}
		}
		at := time.Duration(0)
		tries := 0
		for range 400 {
			at += time.Duration(rng.Int64N(int64(100 * ms)))
			c := &counters[rng.IntN(2)]
			for c.end <= at {
				c.end += c.window
				c.left = c.limit
			}
			if c.left = max(c.left-1-rng.IntN(3), 0); counters[1].end-counters[0].end < 2*hold.QuotaSlack {
				break // their ends are one, for now
			}
			left := int((c.end - at + time.Second - 1) / time.Second)
			r, ok := tr.read(at, field(c.left, left))
			// A few answers of one counter in a row are that counter's.
			if tries++; ok && !r.Inconsistent && tries > 40 {
				t.Fatalf("seed %d: at %v, %d until %v is believed", seed, at, r.Remaining, r.ResetAt.Sub(tr.start))
			}
		}
	}
}

// Any header bytes: no panic, and what is believed is within bounds.
func FuzzQuota(f *testing.F) {
	for _, v := range []string{"", "0", "1", "-1", "+5", "594.0", "1e3", "NaN", "Inf", "0x10", "9223372036854775807", "99999999999999999999",
		"1767268831.5", "1767268832000", "6m0s", "2026-01-01T12:03Z", "Tue, 15 Nov 2022 08:00:30 GMT", `"a";r=3;t=5`, `"a";r=3;t=5, "b";r=0;t=9223372036854775807`,
		"limit=10, remaining=4, reset=30", `;r=;t=,;=\x00`, "remaining=9223372036854775807,reset=0"} {
		f.Add(v, "5", 100)
		f.Add("5", v, -100)
		f.Add(v, v, 0)
	}
	f.Fuzz(func(t *testing.T, a, b string, step int) {
		start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
		for _, names := range [][2]string{
			{"Ratelimit", "Date"}, {"Ratelimit", "Age"}, {"X-Ratelimit-Remaining", "X-Ratelimit-Reset"}, {"Ratelimit-Remaining", "Ratelimit-Reset"},
			{"X-Rate-Limit-Remaining", "X-Rate-Limit-Reset"}, {"X-Ratelimit-Remaining", "X-Ratelimit-Reset-After"},
		} {
			var q Counters
			now := start
			for i := range 8 {
				h := http.Header{names[0]: {a}, names[1]: {b}}
				if i%2 == 1 {
					h = http.Header{"Ratelimit": {fmt.Sprintf(`"a";r=%d;t=5`, 100-i)}}
				}
				now = now.Add(time.Duration(step%1000) * ms)
				ratelimitheader.Counts(h, now, func(c ratelimitheader.Count) {
					if c.Remaining < 0 || c.Remaining > ratelimitheader.MaxRemaining || c.Reset < time.Second || c.Reset > ratelimitheader.MaxDelay {
						t.Fatalf("%q: %q, %q: %q: got %v", names[0], a, names[1], b, c)
					}
				})
				r, _, ok := q.Read(h, nobody, time.Duration(i)*ms, now, time.Minute)
				if ok && !r.Inconsistent && (r.Remaining < 0 || r.ResetAt.After(now.Add(time.Minute))) {
					t.Fatalf("%q: %q, %q: %q: got %d for %v", names[0], a, names[1], b, r.Remaining, r.ResetAt.Sub(now))
				}
			}
		}
	})
}
