package admission

import (
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/scope"
)

// How a key lets go of what it holds, where an operator says so.

// clear releases the gates inside a scope, also where this process holds alone, and
// forgets what they have yet to report. A gate that follows a state of the store that is
// newer than the clear is held again since, and so is one that was opened since.
func (k *Key) clear(s scope.Scope, cleared uint64, now time.Time) {
	k.cleared = max(k.cleared, cleared)
	k.limits.limits = slices.DeleteFunc(k.limits.limits, func(l limit) bool { return s.Covers(l.scope) })
	k.gates(func(g *Gate) {
		if g.alone || !s.Covers(g.scope) || g.session.cleared >= cleared {
			return
		}
		g.session.cleared = cleared
		if g.session.version < cleared {
			g.clear(cleared, now)
		}
	})
	if s == (scope.Scope{}) {
		k.endTrial(now)
	}
}

func (g *Gate) clear(cleared uint64, now time.Time) {
	g.touch()
	g.hold.Recover(now)
	s := &g.session
	s.report = hold.Report{}
	s.hint, s.serverDirected, s.hasQuota = time.Time{}, false, false
	s.consecutiveFailures, s.failing, s.exhausted = 0, false, false
	s.retry, s.dueSince, s.turns = time.Time{}, time.Time{}, hold.Turns{}
	s.version = cleared // an answer that is under way is older
}
