package holdoff

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

// What a gate does with what its store says, or does not say.

// alone notes that the store failed. Where the next step was the store's to
// take, this process goes on by itself, from the state that is known and with
// the results that could not be told.
func (g *gate) alone(report Report) {
	h, s := &g.hold, &g.share
	now := time.Now()
	s.retry = now.Add(storeRetry + jitter.Uniform(storeRetry))
	if !h.Shared() || (now.Before(h.Until()) && report.Good+report.Refused+report.Bad+report.Returned == 0) {
		return
	}
	s.version = 0
	if h.IsPaced() {
		report = Report{} // what was paced for all tells nothing of this process alone
	}
	h.Detach(now)
	o := hold.Result{Permit: hold.Permit{Generation: report.Generation, Limited: true}, Status: report.Status, Hint: report.Hint}
	for _, results := range []struct {
		n      int
		lesson Lesson
	}{{report.Good, Good}, {report.Refused, Refused}, {report.Bad, Failed}, {report.Returned, Nothing}} {
		o.Lesson = results.lesson
		for range results.n {
			h.Record(o, now, jitter.Uniform)
		}
	}
}

// orphaned reports whether the next step is the store's to take, and the store
// is known to be away.
func (g *gate) orphaned(now time.Time) bool {
	return g.hold.Shared() && !now.Before(g.hold.Until()) && now.Before(g.share.retry)
}

// told takes in what the store says of its own accord.
func (g *gate) told(state State) {
	before := g.lock()
	g.take(state, false)
	g.unlock(before)
}

// take adopts the store's state, unless it is older than what is known.
func (g *gate) take(state State, reply bool) {
	h, s := &g.hold, &g.share
	if state.Lost {
		g.lost()
		return
	}
	if state.Version < s.version || (state.Version == s.version && !reply) {
		return
	}
	s.version, s.last = state.Version, state.Last
	if state.Phase == Held && !s.hint.After(state.Until.Add(hold.Rounding)) {
		s.hint, s.word = time.Time{}, false // somebody else has told
	}
	if reply && h.Shared() && state.Phase == Healthy && state.Generation == 0 {
		// The record is gone: nobody has probed.
		g.lost()
		return
	}
	s.failing = state.Phase == Healthy && state.Attempts > 0
	if state.Phase == Healthy {
		if h.Shared() {
			h.Recover(time.Now())
			s.row = 0
		}
		return
	}
	if h.Phase() == Held && h.ServerDirected() && state.Phase != Held && s.hint.After(time.Now()) {
		return // the store has yet to hear of a hint
	}
	if longer := h.OutlastsHold(hold.Snapshot(state)); longer && !reply && s.hint.IsZero() && h.Until().Sub(state.Until) > hold.Rounding {
		// Two halves of a fleet have met again: the longer hold wins.
		s.hint, s.word, s.report.Status = h.Until(), true, h.Status()
	}
	h.Adopt(hold.Snapshot(state), time.Now(), jitter.Uniform)
	s.dry = false
}

// lost goes on alone where the store has lost the key, and tells it again what
// the server said: not all replicas at once, since one is enough.
func (g *gate) lost() {
	h, s := &g.hold, &g.share
	s.failing, s.version = false, 0
	if !h.Shared() {
		return
	}
	h.Detach(time.Now())
	if h.Phase() == Held && h.ServerDirected() {
		s.hint, s.word, s.report.Status = h.Until(), true, h.Status()
		s.retry = time.Now().Add(jitter.Uniform(storeRetry / 2))
	}
}
