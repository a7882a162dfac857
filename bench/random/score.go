package random

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-holdoff/holdoff"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/peers"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// Contenders are those of the rows, and the peers that limit what they send.
var Contenders = contenders()

func contenders() []virtual.Contender {
	all := append([]virtual.Contender(nil), virtual.Contenders...)
	for _, p := range peers.Adaptive {
		all = append(all, virtual.Contender{Name: p.Name, New: func(base http.RoundTripper, _ holdoff.Store) http.RoundTripper { return p.New(base) }})
	}
	return all
}

// Score is what one contender made of a draw.
type Score struct {
	Served  float64 // callers, as a share of those whom the oracle could serve
	Wasted  float64 // sends that served no caller, per request
	P50     float64 // seconds of the callers who were served
	P99     float64
	Peak    float64 // the most that was sent in a slot, as a multiple of what is offered
	Late    float64 // seconds after an ideal queue would, it serves as if there were no trouble; -1 if never
	PerCall float64 // exchanges with the store per request
}

// score compares a result to what could be had.
func (d Draw) score(r fleet.Result, oracle int, ideal fleet.Result) Score {
	reachable := 0
	for _, a := range r.Answers {
		if a.Served && a.Replica >= d.Unreachable {
			reachable++
		}
	}
	requests := float64(max(r.Requests, 1))
	s := Score{
		Served: float64(reachable) / float64(max(oracle, 1)), Wasted: float64(r.InVain()) / requests,
		P50: r.P50.Seconds(), P99: r.P99.Seconds(), PerCall: float64(r.Exchanges) / requests,
		Peak: float64(r.Peak(0, d.Work.Sending+d.Work.Timeout)) / (d.offered() * fleet.Slot.Seconds()),
	}
	if released, ok := d.Released(); ok {
		if best, ok := ideal.Recovery(released); ok {
			s.Late = -1
			if took, ok := r.Recovery(released); ok {
				s.Late = max(took-best, 0).Seconds()
			}
		}
	}
	return s
}

// offered is how many requests per second the fleet makes at most.
func (d Draw) offered() float64 { return d.Work.Offered() * max(d.Work.Step.Factor, 1) }

// MarshalText writes the numbers in the order of the fields.
func (s Score) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%.4f %.3f %.3f %.3f %.2f %.1f %.2f", s.Served, s.Wasted, s.P50, s.P99, s.Peak, s.Late, s.PerCall), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *Score) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscan(string(text), &s.Served, &s.Wasted, &s.P50, &s.P99, &s.Peak, &s.Late, &s.PerCall); err != nil {
		return fmt.Errorf("%q is no score: %w", text, err)
	}
	return nil
}

// Row is what came of a draw.
type Row struct {
	Seed     uint64           `json:"seed"`
	About    string           `json:"about"`
	Requests int              `json:"requests"`
	Oracle   int              `json:"oracle"` // callers who could be served at most
	Queue    int              `json:"queue"`  // callers whom first come, first served serves, without attempts
	Scores   map[string]Score `json:"scores"` // by contender
}

// row returns a row without scores, and what an ideal queue makes of the draw.
func (d Draw) row(asks []fleet.Ask) (Row, fleet.Result) {
	ideal := d.ideal(asks)
	return Row{Seed: d.Seed, About: d.String(), Requests: len(asks), Oracle: d.Oracle(asks), Queue: ideal.Served, Scores: make(map[string]Score)}, ideal
}

// run makes a draw's requests through a contender. It wants to be called in a bubble.
func (d Draw) run(ctx context.Context, c virtual.Contender, watch func([]http.RoundTripper)) fleet.Result {
	return virtual.Run(ctx, d.Scenario(), c, d.Asks(), watch)
}
