package virtual

import (
	"slices"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

// job is a row to be.
type job struct {
	scenario  fleet.Scenario
	contender Contender
}

// Plotted are the scenarios of which the course is kept, to be drawn.
var Plotted = []string{"throttle", "outage", "quota", "bucket", "brown-out"}

// Sizes are those of the fleets that make the same work in Swept, with the
// contenders in Sweepers.
var (
	Sizes    = []int{1, 10, 100, 1000}
	Swept    = []string{"throttle", "outage", "bucket"}
	Sweepers = []string{Shared, Alone, "hashicorp/go-retryablehttp"}
)

// plan is everything that is run, or a little of each kind.
func plan(quick bool) []job {
	var jobs []job
	for _, s := range fleet.Scenarios {
		for _, c := range Contenders {
			if !quick || slices.Contains(Plotted, s.Name) {
				jobs = append(jobs, job{s, c})
			}
		}
	}
	for _, s := range fleet.Scenarios {
		if !slices.Contains(Swept, s.Name) {
			continue
		}
		for _, n := range Sizes {
			for _, c := range Contenders {
				if slices.Contains(Sweepers, c.Name) && (!quick || n < 100) {
					of := s
					of.Work = s.Work.Among(n)
					jobs = append(jobs, job{of, c})
				}
			}
		}
	}
	return jobs
}
