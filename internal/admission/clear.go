package admission

import (
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// How a key lets go of what it holds, where an operator says so.

// clear releases the gates inside a scope, also where this process holds alone, and
// forgets what they have yet to report. What this process has met since the clear stays,
// and so does a gate that follows a state of the store that is newer.
func (k *Key) clear(s scope.Scope, state hold.Snapshot, now time.Time) {
	k.limits.limits = slices.DeleteFunc(k.limits.limits, func(l limit) bool { return s.Covers(l.scope) })
	k.gates(func(g *Gate) {
		switch {
		case g.alone, !s.Covers(g.scope), g.session.cleared >= state.Cleared, g.bad.After(state.ClearedAt):
			return
		case g.hold.Shared() && g.session.version >= state.Cleared:
			g.session.forgetReport()
		default:
			g.touch()
			g.hold.Recover(now)
			g.session.forgetReport()
			g.session.turns = hold.Turns{}
			g.session.version = state.Cleared // an answer that is under way is older
		}
		g.session.cleared = state.Cleared
	})
	if s == (scope.Scope{}) {
		k.endTrial(now)
	}
}

// forgetReport drops what is yet to be reported.
func (s *session) forgetReport() {
	s.report = hold.Report{Generation: s.report.Generation}
	s.hint, s.serverDirected, s.hasQuota = time.Time{}, false, false
	s.consecutiveFailures, s.failing, s.exhausted = 0, false, false
	s.retry, s.dueSince = time.Time{}, time.Time{}
}

// putBack adds what the store did not take in to what is yet to be reported: all of it,
// unless an operator has cleared it in the meantime. The hint is still there.
func (s *session) putBack(r hold.Report, cleared uint64) {
	now := &s.report
	if s.cleared != cleared {
		return
	}
	if now.Generation == r.Generation {
		now.Good, now.Bad, now.Refused, now.Returned = now.Good+r.Good, now.Bad+r.Bad, now.Refused+r.Refused, now.Returned+r.Returned
	}
	now.Failures, now.Refusals, now.Well = now.Failures+r.Failures, now.Refusals+r.Refusals, now.Well || r.Well
	if now.Status == 0 {
		now.Status = r.Status
	}
}
