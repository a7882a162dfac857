package sim

import (
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// Rules are what a run takes from package hold, and a few rules of a session. A test
// replaces one of them to show that an invariant can fail.
type Rules struct {
	Add     func(*hold.Record, hold.Report, time.Time, time.Duration) hold.Reply
	Commit  func(*hold.Record, hold.Decision, time.Time) hold.Reply
	Advance func(hold.Record, hold.Report, time.Time, time.Duration, hold.Jitter) hold.Decision
	Adopt   func(*hold.Machine, hold.Snapshot, time.Time)
	// Deaf: a replica that has lost its store waits for it for ever.
	Deaf bool
	// AsWritten leaves out what the session of this package does, and the one in
	// the session did not do at first: see keepsHold and undecided.
	AsWritten bool
}

func (r Rules) withDefaults() Rules {
	if r.Add == nil {
		r.Add = (*hold.Record).Add
	}
	if r.Commit == nil {
		r.Commit = (*hold.Record).Commit
	}
	if r.Advance == nil {
		r.Advance = hold.Advance
	}
	if r.Adopt == nil {
		r.Adopt = (*hold.Machine).Adopt
	}
	return r
}
