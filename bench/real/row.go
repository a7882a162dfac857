package real

import (
	"slices"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// Row is what came of a scenario with a contender.
type Row struct {
	Scenario, Contender string
	fleet.Result

	// Where a limit is of a part, what came of the requests from outside it.
	Others    float64       `json:",omitempty"`
	OthersP99 time.Duration `json:",omitempty"`

	// Goodput is how many callers were served while requests were made, as a share
	// of what could have been served.
	Goodput float64
	// Peak is the most that was sent in a slot after the trouble, as a multiple of
	// what was offered; 0 where the trouble does not end.
	Peak float64 `json:",omitempty"`
	// Recovery is how long after the trouble callers were served as before; 0 where
	// that did not come, or nothing was to recover from.
	Recovery  time.Duration `json:",omitempty"`
	Recovered bool
	// Commands are those that Redis executed, within scripts too.
	Commands int64
}

func row(s fleet.Scenario, contender string, answers []fleet.Answer, slots fleet.Slots) Row {
	r := Row{Scenario: s.Name, Contender: contender, Result: fleet.NewResult(answers, slots)}
	if s.Limited != nil {
		others := fleet.NewResult(slices.DeleteFunc(slices.Clone(answers), s.Limited), nil)
		r.Others, r.OthersP99 = others.Share(), others.P99
	}
	r.Goodput = r.Result.Goodput(0, s.Work.Sending) / s.Capacity
	if s.Released > 0 {
		end := time.Duration(len(slots)) * fleet.Slot
		r.Peak = float64(r.Result.Peak(s.Released, end)) / (s.Work.Offered() * fleet.Slot.Seconds())
		r.Recovery, r.Recovered = r.Result.Recovery(s.Released)
	}
	return r
}
