package limit

import (
	"math"
	"testing"
	"time"
)

const ms = time.Millisecond

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// server is what a server keeps: a bucket of tokens, or a window.
type server struct {
	max, level, rate float64
	at               time.Time
	window           time.Duration
	coarse           bool // it rounds its resets up to whole seconds
}

func (s *server) advance(now time.Time) {
	if s.window > 0 {
		if now.Truncate(s.window).After(s.at.Truncate(s.window)) {
			s.level = s.max
		}
	} else {
		s.level = min(s.level+s.rate*now.Sub(s.at).Seconds(), s.max)
	}
	s.at = now
}

// take charges a request, if there is enough, and says what remains.
func (s *server) take(cost float64, now time.Time) (Limit, bool) {
	s.advance(now)
	ok := s.level >= cost
	if ok {
		s.level -= cost
	}
	l := Limit{Name: "tokens", Max: s.max, Remaining: math.Floor(s.level)}
	if s.window > 0 {
		l.Reset = now.Truncate(s.window).Add(s.window).Sub(now)
	} else {
		l.Reset = time.Duration((s.max - s.level) / s.rate * float64(time.Second))
	}
	if s.coarse {
		l.Reset = (l.Reset + time.Second - 1).Truncate(time.Second)
	}
	return l, ok
}

// use sends requests of a cost, one after the other and each as soon as the account lets it,
// and returns how many were served and refused.
func use(s *server, cost float64, d, took time.Duration) (a *Account, served, refused int) {
	now := start
	s.level, s.at = s.max, now
	l, _ := s.take(cost, now)
	a = FromAnswer(l, now)
	for now.Before(start.Add(d)) {
		if wait := a.Wait(cost, 0, now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		m := a.Draw(cost, true, now)
		l, ok := s.take(cost, now.Add(took/2))
		now = now.Add(took)
		a.Learn(l, m, now)
		if ok {
			served++
		} else {
			refused++
		}
	}
	return a, served, refused
}

func TestAccount_OfABucketOrAWindow_IsUsedUpAndSeldomRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server server
		window bool
	}{
		{"a bucket in milliseconds", server{max: 10000, rate: 2000}, false},
		{"a bucket in whole seconds", server{max: 40000, rate: 40000.0 / 60, coarse: true}, false},
		{"a minute's window", server{max: 40000, window: time.Minute}, true},
		{"a minute's window in whole seconds", server{max: 40000, window: time.Minute, coarse: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.server
			a, served, refused := use(&s, 1000, 10*time.Minute, 20*ms)
			most := (s.max + 600*s.rate) / 1000
			if s.window > 0 {
				most = 10 * s.max / 1000
			}
			if float64(served) < 0.95*most {
				t.Errorf("%d served, want 95 %% of %.0f", served, most)
			}
			if refused*10 > served {
				t.Errorf("%d refused for %d served, want a tenth at most", refused, served)
			}
			if a.refill.window() != tt.window {
				t.Errorf("votes %d: taken for the other kind", a.refill.votes)
			}
		})
	}
}

func TestAccount_Bucket_WaitsForTheCostAndNotForFull(t *testing.T) {
	a := FromAnswer(Limit{Max: 10000, Remaining: 1000}, start)
	a.Learn(Limit{Max: 10000, Remaining: 1000, Reset: 4500 * ms}, Mark{}, start)
	if got := a.Wait(2000, 0, start); (got - 1750*ms).Abs() > 5*ms {
		t.Errorf("got %v, want 1.75s: 1000 are missing, and a reserve of 2500, at 2000 per second", got)
	}
	if got := a.Wait(2000, 3000, start); (got - 3250*ms).Abs() > 5*ms {
		t.Errorf("behind 3000: got %v, want 3.25s", got)
	}
	if got := a.Wait(50000, 0, start); (got - 4500*ms).Abs() > 5*ms {
		t.Errorf("larger than the bucket: got %v, want 4.5s, until it is full", got)
	}
}

func TestAccount_AnswerOfAnEarlierRequest_DoesNotHideWhatWasDrawnSince(t *testing.T) {
	a := FromAnswer(Limit{Max: 10000, Remaining: 10000}, start)
	first := a.Draw(4000, true, start)
	second := a.Draw(5000, true, start)
	a.Learn(Limit{Max: 10000, Remaining: 6000, Reset: 2 * time.Second}, first, start)
	if got := a.Seen(start).Remaining; got != 1000 {
		t.Errorf("after the first answer: %v remain, want 1000", got)
	}
	a.Learn(Limit{Max: 10000, Remaining: 3000, Reset: 3500 * ms}, second, start)
	if got := a.Seen(start).Remaining; got != 3000 {
		t.Errorf("after the second: %v remain, want 3000, as the server says", got)
	}
	a.Return(second, 2000, start)
	if got := a.Seen(start).Remaining; got != 3000 {
		t.Errorf("given back after the server has spoken: %v remain, want 3000", got)
	}
}

func TestAccount_SharedWithOthers_IsRefilledByItsPortion(t *testing.T) {
	a := FromAnswer(Limit{Max: 10000, Remaining: 10000}, start)
	now := start
	left := 10000.0
	for range 20 {
		m := a.Draw(100, true, now)
		left -= 400 // three others draw as much
		a.Learn(Limit{Max: 10000, Remaining: left, Reset: time.Duration((10000 - left) / 1000 * float64(time.Second))}, m, now)
	}
	if got := a.portion.share(false); got < 0.2 || got > 0.3 {
		t.Errorf("the portion is %v, want a quarter", got)
	}
}

func TestAccount_OfTheUser_SendsNeverMoreThanTheRateAndTheBurst(t *testing.T) {
	a := FromUser(Limit{Name: "requests", Max: 50, Per: time.Second}, start)
	var sent []time.Time
	for now := start; now.Before(start.Add(10 * time.Second)); {
		if wait := a.Wait(1, 0, now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		a.Draw(1, true, now)
		sent = append(sent, now)
	}
	for i := range sent {
		n := 0
		for _, at := range sent[i:] {
			if at.Sub(sent[i]) < time.Second {
				n++
			}
		}
		if n > 55 {
			t.Fatalf("%d in the second after %v, want 55 at most", n, sent[i].Sub(start))
		}
	}
	if len(sent) < 485 {
		t.Errorf("%d sent in 10 s, want 97 %% of 500", len(sent))
	}
}

func TestAccount_NotEnforced_IsTriedOncePerWindowAndThenIgnored(t *testing.T) {
	a := FromAnswer(Limit{Max: 100, Remaining: 0}, start)
	a.Learn(Limit{Max: 100, Remaining: 0, Reset: time.Minute}, Mark{}, start)
	if a.Ready(10, 0, start) {
		t.Fatal("nothing is left, and a request is ready")
	}
	if !a.Try(10, start) || a.Try(10, start) {
		t.Fatal("want one trial")
	}
	a.ServedBeyond(start)
	if !a.Ready(10, 0, start) || a.Ready(10, 0, start.Add(Distrust)) && a.level < 10 {
		t.Error("want it ignored for ten minutes")
	}
}

func TestAccount_Enforced_IsNotTriedAgain(t *testing.T) {
	a := FromAnswer(Limit{Max: 100, Remaining: 0}, start)
	a.Learn(Limit{Max: 100, Remaining: 0, Reset: time.Minute}, Mark{}, start)
	a.Refused(start)
	if a.Try(10, start.Add(time.Second)) {
		t.Error("a limit that refused is tried")
	}
}

// Whatever a server says, nothing is infinite, negative in time, or waited for for ever
// without a number that says so.
func FuzzAccount(f *testing.F) {
	f.Add(100.0, 50.0, int64(1000), int64(0), 10.0, int64(50))
	f.Add(0.0, 5.0, int64(-1), int64(60000), 1e9, int64(-50))
	f.Fuzz(func(t *testing.T, size, remaining float64, reset, per int64, cost float64, step int64) {
		l := Limit{Max: size, Remaining: remaining, Reset: time.Duration(reset), Per: time.Duration(per)}
		if !l.Valid() || !(cost >= 0 && cost < MaxAmount) {
			return
		}
		a, now := FromAnswer(l, start), start
		for range 4 {
			now = now.Add(time.Duration(step % int64(time.Hour)))
			m := a.Draw(cost, true, now)
			a.Learn(l, m, now)
			if wait := a.Wait(cost, cost, now); wait < 0 || wait > Forever {
				t.Fatalf("%+v: a wait of %v", l, wait)
			}
			if seen := a.Seen(now); !(seen.Remaining >= 0) || math.IsInf(seen.Remaining, 0) {
				t.Fatalf("%+v: %v remain", l, seen.Remaining)
			}
			a.Correct(m, -cost/2, now)
		}
	})
}
