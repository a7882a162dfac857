package hold

import (
	"fmt"
	"testing"
	"time"
)

// trace drives a hold by hand: what happens, when, and what the key is then.
// It uses no jitter unless told, and leases of one second.
type trace struct {
	t      *testing.T
	h      Machine
	start  time.Time
	passes map[string]Permit
	jitter func(time.Duration) time.Duration
}

const traceLease = time.Second

func newTrace(t *testing.T) *trace {
	return &trace{
		t: t, start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), passes: map[string]Permit{},
		jitter: func(time.Duration) time.Duration { return 0 },
	}
}

// at lets an event happen at d after the start, and compares the state.
func (tr *trace) at(d time.Duration, event func(*trace, time.Time) error, want string) {
	tr.t.Helper()
	err := event(tr, tr.start.Add(d))
	if err != nil {
		tr.t.Errorf("at %v: %v", d, err)
	}
	if got := tr.state(); got != want {
		tr.t.Fatalf("at %v: got %q, want %q", d, got, want)
	}
}

// state is the sentence: N sends until T.
func (tr *trace) state() string {
	switch h := &tr.h; h.phase {
	case Healthy:
		return "healthy"
	case Held:
		return fmt.Sprintf("held until %v, level %d", h.until.Sub(tr.start), h.level)
	default:
		return fmt.Sprintf("%v %d of %d until %v", h.phase, h.granted, h.permits, h.until.Sub(tr.start))
	}
}

// asks is a request, or several, each of which may send.
func asks(names ...string) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		for _, name := range names {
			p, ok := tr.h.grant(now, traceLease, uniform)
			if !ok {
				return fmt.Errorf("%s may not send, want leave", name)
			}
			tr.passes[name] = p
		}
		return nil
	}
}

// denied is a request that may not send.
func denied(tr *trace, now time.Time) error {
	if _, ok := tr.h.grant(now, traceLease, uniform); ok {
		return fmt.Errorf("got leave to send, want none")
	}
	return nil
}

// ends is what came of a request that asked before.
func ends(name string, lesson Lesson, hint time.Duration) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		p, ok := tr.passes[name]
		if !ok {
			return fmt.Errorf("%s never asked", name)
		}
		tr.h.Record(Result{Permit: p, Lesson: lesson, Hint: hint, Status: 503}, now, tr.jitter)
		return nil
	}
}

func good(name string) func(*trace, time.Time) error   { return ends(name, Good, 0) }
func failed(name string) func(*trace, time.Time) error { return ends(name, Failed, 0) }

// failures are n failures of requests that were let through.
func failures(n int) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		for range n {
			p, ok := tr.h.grant(now, traceLease, uniform)
			if !ok {
				return fmt.Errorf("may not send, want leave")
			}
			tr.h.Record(Result{Permit: p, Lesson: Failed, Status: 500}, now, tr.jitter)
		}
		return nil
	}
}

func passes(tr *trace, now time.Time) error {
	tr.h.Advance(now, tr.jitter)
	return nil
}

// held5 is a key that a hint holds from 0 to 5 s. "old" was sent before.
func held5(t *testing.T) *trace {
	t.Helper()
	tr := newTrace(t)
	tr.at(0, asks("old", "first"), "healthy")
	tr.at(0, ends("first", Refused, 5*time.Second), "held until 5s, level 0")
	return tr
}

// ramp5 is the same key after a good probe: it ramps from 5 s on.
func ramp5(t *testing.T) *trace {
	t.Helper()
	tr := held5(t)
	tr.at(5*time.Second, asks("probe"), "probing 1 of 1 until 6s")
	tr.at(5*time.Second, good("probe"), "ramping 0 of 2 until 5.1s")
	return tr
}

// counts is a surplus of refusals that a process made known.
func counts(tr *trace, now time.Time) error {
	tr.h.Measure(now)
	return nil
}

// answered is as many requests, each let through and answered at once.
func answered(good, refused int) func(*trace, time.Time) error {
	return answeredWith(good, refused, Refused, 0)
}

func answeredWith(good, bad int, lesson Lesson, hint time.Duration) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		for i := range good + bad {
			p, ok := tr.h.grant(now, traceLease, uniform)
			if !ok {
				return fmt.Errorf("request %d may not send, want leave", i)
			}
			o := Result{Permit: p, Lesson: Good, Status: 200}
			if i >= good {
				o.Lesson, o.Hint, o.Status = lesson, hint, 429
			}
			tr.h.Record(o, now, tr.jitter)
		}
		return nil
	}
}

// paced20 is a key whose server was seen to take 100 requests in half a second,
// and to refuse some: from 0.5 s on it is paced at 200/s, in slots of 20.
func paced20(t *testing.T) *trace {
	t.Helper()
	tr := newTrace(t)
	tr.at(0, counts, "counted 0 of 0 until 500ms")
	tr.at(0, answered(100, 10), "counted 0 of 0 until 500ms")
	tr.at(500*ms, passes, "paced 0 of 20 until 600ms")
	return tr
}

// says is what an answer says of a quota: so many left, for so long.
func says(left int, refill time.Duration) func(*trace, time.Time) error {
	return func(tr *trace, now time.Time) error {
		tr.h.recordQuota(Quota{Remaining: left, ResetAt: now.Add(refill), NearExhaustion: true}, now)
		return nil
	}
}

func lies(tr *trace, now time.Time) error {
	tr.h.recordQuota(Quota{Inconsistent: true}, now)
	return nil
}

// rationed10 is a key with 100 left for 2 s: 50/s, in slots of ten.
func rationed10(t *testing.T) *trace {
	t.Helper()
	tr := newTrace(t)
	tr.at(0, asks("old"), "healthy")
	tr.at(0, says(100, 2*time.Second), "rationed 0 of 10 until 200ms")
	return tr
}
