package fleet

import (
	"cmp"
	"slices"
	"time"
)

// Result is what came of a run.
type Result struct {
	Requests, Served, Failed int           // of callers
	Sent, Refused            int           // that reached the server; that it did not serve
	Exchanges                int           // with the store
	P50, P99                 time.Duration // of the callers that were served
	Last                     time.Duration // when the last of them was
	Slots                    Slots         `json:",omitempty"`
	Answers                  []Answer      `json:"-"`
}

// NewResult adds up what became of the callers, and what reached the server.
func NewResult(answers []Answer, slots Slots) Result {
	r := Result{Requests: len(answers), Refused: slots.Refused(), Slots: slots, Answers: answers}
	var took []time.Duration
	for _, a := range answers {
		if !a.Served {
			r.Failed++
			continue
		}
		r.Served++
		took = append(took, a.Took)
		r.Last = max(r.Last, a.Asked+a.Took)
	}
	slices.Sort(took)
	if n := len(took); n > 0 {
		r.P50, r.P99 = took[n/2], took[n*99/100]
	}
	for _, c := range slots {
		r.Sent += c.Sent
	}
	return r
}

// Share is how much of what callers asked for was served.
func (r Result) Share() float64 { return float64(r.Served) / float64(max(r.Requests, 1)) }

// Goodput is how many callers were served from one time to another, per second. What
// the server served to nobody, as its caller had given up, is none.
func (r Result) Goodput(from, to time.Duration) float64 {
	served := 0
	for _, a := range r.Answers {
		if at := a.Asked + a.Took; a.Served && from <= at && at < to {
			served++
		}
	}
	return float64(served) / (to - from).Seconds()
}

// Peak is the most that reached the server in one slot from one time to another.
func (r Result) Peak(from, to time.Duration) int {
	peak := 0
	last := min(int(to/Slot), len(r.Slots))
	for _, c := range r.Slots[min(int(from/Slot), last):last] {
		peak = max(peak, c.Sent)
	}
	return peak
}

// PerRequest is how often a request was sent, on average.
func (r Result) PerRequest() float64 { return float64(r.Sent) / float64(max(r.Requests, 1)) }

// InVain is how many sends served no caller: refused, failed, or served when its
// caller had given up.
func (r Result) InVain() int { return r.Sent - r.Served }

const (
	// soon is within what time a caller is served of whom a time of trouble is past.
	soon = time.Second
	// nearly is the share of such callers, in the second that begins there, by
	// which a service is called recovered.
	nearly = 0.97
)

// Recovery is how long after a time of trouble callers are served as if there had
// been none, or false if they never are before the last one asks.
func (r Result) Recovery(released time.Duration) (time.Duration, bool) {
	byTime := slices.Clone(r.Answers)
	slices.SortFunc(byTime, func(a, b Answer) int { return cmp.Compare(a.Asked, b.Asked) })
	if len(byTime) == 0 {
		return 0, false
	}
	end := byTime[len(byTime)-1].Asked
	for from := released; from+time.Second <= end+Slot; from += Slot {
		asked, well := 0, 0
		for _, a := range byTime {
			if from <= a.Asked && a.Asked < from+time.Second {
				asked++
				if a.Served && a.Took <= soon {
					well++
				}
			}
		}
		if asked > 0 && float64(well) >= nearly*float64(asked) {
			return from - released, true
		}
	}
	return 0, false
}
