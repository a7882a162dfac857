package admission

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

// What a gate does with what its store says, or does not say.

// alone notes that the store failed. Where the next step was the store's to
// take, this process goes on by itself, from the state that is known and with
// the results that could not be told.
func (g *Gate) onStoreError(report hold.Report) {
	h, s := &g.hold, &g.session
	now := time.Now()
	s.retry = now.Add(storeRetry + jitter.Uniform(storeRetry))
	if !h.Shared() || (now.Before(h.Until()) && report.Good+report.Refused+report.Bad+report.Returned == 0) {
		return
	}
	s.version = 0
	if h.IsPaced() {
		report = hold.Report{} // what was paced for all tells nothing of this process alone
	}
	h.Detach(now)
	o := hold.Result{Permit: hold.Permit{Generation: report.Generation, Limited: true}, Status: report.Status, Hint: report.Hint}
	for _, results := range []struct {
		n      int
		lesson hold.Lesson
	}{{report.Good, hold.Good}, {report.Refused, hold.Refused}, {report.Bad, hold.Failed}, {report.Returned, hold.Nothing}} {
		o.Lesson = results.lesson
		for range results.n {
			h.Record(o, now, jitter.Uniform)
		}
	}
}

// orphaned reports whether the next step is the store's to take, and the store
// is known to be away.
func (g *Gate) storeOverdue(now time.Time) bool {
	return g.hold.Shared() && !now.Before(g.hold.Until()) && now.Before(g.session.retry)
}

// told takes in what the store says of its own accord.
func (g *Gate) onStoreChange(state hold.Snapshot) {
	before := g.lock()
	g.apply(state, false)
	g.applyAndUnlock(before)
}

// take adopts the store's state, unless it is older than what is known.
func (g *Gate) apply(state hold.Snapshot, reply bool) {
	h, s := &g.hold, &g.session
	if state.Lost {
		g.onRecordLost()
		return
	}
	if state.Version < s.version || (state.Version == s.version && !reply) {
		return
	}
	s.version, s.last = state.Version, state.Last
	if state.Phase == hold.Held && !s.hint.After(state.Until.Add(hold.Rounding)) {
		s.hint, s.word = time.Time{}, false // somebody else has told
	}
	if reply && h.Shared() && state.Phase == hold.Healthy && state.Generation == 0 {
		// The record is gone: nobody has probed.
		g.onRecordLost()
		return
	}
	s.failing = state.Phase == hold.Healthy && state.Attempts > 0
	if state.Phase == hold.Healthy {
		if h.Shared() {
			h.Recover(time.Now())
			s.consecutiveFailures = 0
		}
		return
	}
	if h.Phase() == hold.Held && h.ServerDirected() && state.Phase != hold.Held && s.hint.After(time.Now()) {
		return // the store has yet to hear of a hint
	}
	if longer := h.OutlastsHold(state); longer && !reply && s.hint.IsZero() && h.Until().Sub(state.Until) > hold.Rounding {
		// Two halves of a fleet have met again: the longer hold wins.
		s.hint, s.word, s.report.Status = h.Until(), true, h.Status()
	}
	h.Adopt(state, time.Now(), jitter.Uniform)
	s.exhausted = false
}

// lost goes on alone where the store has lost the key, and tells it again what
// the server said: not all replicas at once, since one is enough.
func (g *Gate) onRecordLost() {
	h, s := &g.hold, &g.session
	s.failing, s.version = false, 0
	if !h.Shared() {
		return
	}
	h.Detach(time.Now())
	if h.Phase() == hold.Held && h.ServerDirected() {
		s.hint, s.word, s.report.Status = h.Until(), true, h.Status()
		s.retry = time.Now().Add(jitter.Uniform(storeRetry / 2))
	}
}
