package admission

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
)

// What a gate does when its store answers, changes or fails.

// onStoreError notes that the store failed. Where the store was to decide what
// comes next, this process continues alone, from the state that it knows and with
// the results that it could not report.
func (g *Gate) onStoreError(report hold.Report) {
	h, s := &g.hold, &g.session
	now := time.Now()
	s.retry = now.Add(storeRetry + jitter.Uniform(storeRetry))
	s.report.Well = s.report.Well || (report.Well && h.Phase() != hold.Held)
	if !h.Shared() || (now.Before(h.Until()) && report.Good+report.Refused+report.Bad+report.Returned == 0) {
		return
	}
	s.version = 0
	if h.IsPaced() {
		report = hold.Report{} // results of the fleet's pace say nothing of this process alone
	}
	h.Detach(now)
	s.turns = hold.Turns{}
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

// storeOverdue reports whether the store is to decide what comes next, and is known
// to be away.
func (g *Gate) storeOverdue(now time.Time) bool {
	return g.hold.Shared() && !now.Before(g.hold.Until()) && now.Before(g.session.retry)
}

// apply follows the store's state, unless it is older than what is known: then it
// reports false. reply tells that it is the answer to a report.
func (g *Gate) apply(state hold.Snapshot, reply bool) bool {
	h, s := &g.hold, &g.session
	if state.Lost {
		g.onRecordLost()
		return true
	}
	if state.Version < s.version || (state.Version == s.version && !reply) {
		return false
	}
	if state.Version > s.version {
		s.dueSince = time.Time{} // a replica has decided
	}
	s.version, s.last = state.Version, state.Last
	if state.Phase == hold.Held && !s.hint.After(state.Until.Add(hold.Rounding)) {
		s.hint, s.serverDirected = time.Time{}, false // another replica has reported it
	}
	if reply && h.Shared() && state.Phase == hold.Healthy && state.Generation == 0 {
		// The record is gone: no replica has probed.
		g.onRecordLost()
		return true
	}
	if h.Phase() == hold.Held && h.ServerDirected() && state.Phase != hold.Held && s.hint.After(time.Now()) {
		return true // a hint is yet to be reported
	}
	s.failing = state.Phase == hold.Healthy && state.Attempts > 0
	if state.Phase == hold.Healthy {
		if h.Shared() {
			h.Recover(time.Now())
			s.consecutiveFailures, s.turns = 0, hold.Turns{}
		}
		return true
	}
	if longer := h.OutlastsHold(state); longer && !reply && s.hint.IsZero() && h.Until().Sub(state.Until) > hold.Rounding {
		// Two halves of a fleet have met again: the longer hold wins.
		s.hint, s.serverDirected, s.report.Status = h.Until(), true, h.Status()
	}
	h.Adopt(state, time.Now())
	s.exhausted = false
	switch {
	case !h.IsPaced():
		s.turns = hold.Turns{}
	case !reply:
		s.turns.Retime(state.Rate, time.Now())
	}
	return true
}

// onRecordLost continues alone where the store has lost the key, and reports the
// server's hint again: not all replicas at once, since one is enough.
func (g *Gate) onRecordLost() {
	h, s := &g.hold, &g.session
	s.failing, s.version = false, 0
	if !h.Shared() {
		return
	}
	h.Detach(time.Now())
	s.turns = hold.Turns{}
	if h.Phase() == hold.Held && h.ServerDirected() {
		s.hint, s.serverDirected, s.report.Status = h.Until(), true, h.Status()
		s.retry = time.Now().Add(jitter.Uniform(storeRetry / 2))
	}
}
