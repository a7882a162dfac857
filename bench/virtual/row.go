package virtual

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// Row is what came of the runs of a scenario through one contender, over the seeds.
type Row struct {
	Scenario  string `json:"scenario"`
	Replicas  int    `json:"replicas"`
	Contender string `json:"contender"`
	Seeds     int    `json:"seeds"`

	Requests   Stat `json:"requests"`
	Failed     Stat `json:"failed"`
	Refused    Stat `json:"refused"`     // sends
	InVain     Stat `json:"in_vain"`     // sends that served no caller
	PerRequest Stat `json:"per_request"` // sends
	Use        Stat `json:"use"`         // share of the capacity, while requests were made
	P50        Stat `json:"p50_s"`
	P99        Stat `json:"p99_s"`
	Exchanges  Stat `json:"exchanges"` // with the store, of the whole fleet

	// Of scenarios in which a part is limited: the share of the others that were served,
	// and the time that 99 of 100 of them took at most.
	Others    *Stat `json:"others,omitempty"`
	OthersP99 *Stat `json:"others_p99_s,omitempty"`

	// Of scenarios whose trouble ends: the most sent in a slot from there on, as a
	// multiple of what is offered; how many of the runs recovered, and after what
	// time.
	Peak      *Stat `json:"peak,omitempty"`
	Recovered int   `json:"recovered,omitempty"`
	Recovery  *Stat `json:"recovery_s,omitempty"`

	// Of the first seed, where a plot shows them: what reached the server, and how
	// many callers asked in each slot and how many were served in it.
	Slots   fleet.Slots `json:"slots,omitempty"`
	Callers fleet.Slots `json:"callers,omitempty"`
}

// row adds up runs.
func row(s fleet.Scenario, contender string, runs []fleet.Result) Row {
	of := func(measure func(fleet.Result) float64) Stat {
		var all []float64
		for _, r := range runs {
			all = append(all, measure(r))
		}
		return stat(all)
	}
	r := Row{
		Scenario: s.Name, Replicas: s.Work.Replicas, Contender: contender, Seeds: len(runs),
		Requests:   of(func(r fleet.Result) float64 { return float64(r.Requests) }),
		Failed:     of(func(r fleet.Result) float64 { return float64(r.Failed) }),
		Refused:    of(func(r fleet.Result) float64 { return float64(r.Refused) }),
		InVain:     of(func(r fleet.Result) float64 { return float64(r.InVain()) }),
		PerRequest: of(fleet.Result.PerRequest),
		Use:        of(func(r fleet.Result) float64 { return r.Goodput(0, s.Work.Sending) / s.Capacity }),
		P50:        of(func(r fleet.Result) float64 { return r.P50.Seconds() }),
		P99:        of(func(r fleet.Result) float64 { return r.P99.Seconds() }),
		Exchanges:  of(func(r fleet.Result) float64 { return float64(r.Exchanges) }),
	}
	if s.Limited != nil {
		r.Others = new(of(func(r fleet.Result) float64 { return others(s, r).Share() }))
		r.OthersP99 = new(of(func(r fleet.Result) float64 { return others(s, r).P99.Seconds() }))
	}
	if s.Released > 0 {
		r.release(s, runs, of)
	}
	return r
}

// others is what came of the requests from outside the part that is limited.
func others(s fleet.Scenario, r fleet.Result) fleet.Result {
	return fleet.NewResult(slices.DeleteFunc(slices.Clone(r.Answers), s.Limited), nil)
}

// reached is what came of the requests of replicas whose networks work.
func reached(s fleet.Scenario, r fleet.Result) fleet.Result {
	broken := func(a fleet.Answer) bool { return a.Replica < s.Unreachable }
	return fleet.NewResult(slices.DeleteFunc(slices.Clone(r.Answers), broken), nil)
}

func (r *Row) release(s fleet.Scenario, runs []fleet.Result, of func(func(fleet.Result) float64) Stat) {
	offered := s.Work.Offered() * fleet.Slot.Seconds()
	r.Peak = new(of(func(r fleet.Result) float64 {
		return float64(r.Peak(s.Released, s.Work.Sending+s.Work.Timeout)) / offered
	}))
	var took []float64
	for _, run := range runs {
		if d, ok := reached(s, run).Recovery(s.Released); ok {
			took = append(took, d.Seconds())
		}
	}
	if r.Recovered = len(took); r.Recovered > 0 {
		r.Recovery = new(stat(took))
	}
}

// callers counts who asked in each slot, and who was served in it.
func callers(answers []fleet.Answer) fleet.Slots {
	var slots fleet.Slots
	at := func(t time.Duration) *fleet.Count {
		i := int(t / fleet.Slot)
		for len(slots) <= i {
			slots = append(slots, fleet.Count{})
		}
		return &slots[i]
	}
	for _, a := range answers {
		at(a.Asked).Sent++
		if a.Served {
			at(a.Asked+a.Took).Served++
		}
	}
	return slots
}

// Stat is a median, and the range that it is the median of.
type Stat struct{ Median, Min, Max float64 }

// stat rounds to thousandths, which is more than any measure is good for.
func stat(all []float64) Stat {
	slices.Sort(all)
	round := func(f float64) float64 { return math.Round(1000*f) / 1000 }
	return Stat{round(all[len(all)/2]), round(all[0]), round(all[len(all)-1])}
}

// MarshalText writes the median, and the range behind it where it is one.
func (s Stat) MarshalText() ([]byte, error) {
	text := number(s.Median)
	if s.Min != s.Max {
		text += " (" + number(s.Min) + " to " + number(s.Max) + ")"
	}
	return []byte(text), nil
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// UnmarshalText reads what MarshalText writes.
func (s *Stat) UnmarshalText(text []byte) error {
	switch n, err := fmt.Sscanf(string(text), "%g (%g to %g)", &s.Median, &s.Min, &s.Max); n {
	case 1:
		s.Min, s.Max = s.Median, s.Median
	case 3:
	default:
		return fmt.Errorf("%q is no median and range: %w", text, err)
	}
	return nil
}
