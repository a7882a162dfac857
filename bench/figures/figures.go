// Package figures writes those of the README.
package figures

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/report"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

const preface = `16 replicas, medians of %d runs in virtual time. *Wasted* requests are requests that the
server refused or failed. The *best peer* is the retry library with the fewest failed callers;
of those, the one with the fewest wasted requests. *The others* are requests that the limit
does not concern.
`

// works are the scenarios that the README shows: one limit of a part, three of the whole
// host, and one that holdoff does not win.
var works = []string{"limited route", "throttle", "outage", "quota", "brown-out"}

// Markdown shows a few of the rows of a run.
func Markdown(rows []virtual.Row, run report.Run) string {
	t := report.Table{Head: []string{"the server", "callers", "best peer", "holdoff, each replica alone", "holdoff, shared"}}
	for _, name := range works {
		i := slices.IndexFunc(fleet.Scenarios, func(s fleet.Scenario) bool { return s.Name == name })
		if i < 0 {
			continue
		}
		s := fleet.Scenarios[i]
		of := virtual.Select(rows, s.Name, s.Work.Replicas)
		if len(of) == 0 {
			continue
		}
		peer := best(of)
		alone, _ := virtual.Find(of, virtual.Alone)
		shared, _ := virtual.Find(of, virtual.Shared)
		t.Rows = append(t.Rows, []string{
			fmt.Sprintf("**%s**: %s", s.Name, s.About), report.Count(int(peer.Requests.Median)), cell(peer) + ": " + peer.Contender, cell(alone), cell(shared),
		})
	}
	return fmt.Sprintf(preface, rows[0].Seeds) + "\n" + t.String() + "\n" + strings.TrimSpace(run.String()) + "\n"
}

// best returns the row of the best peer.
func best(rows []virtual.Row) virtual.Row {
	peers := slices.DeleteFunc(slices.Clone(rows), func(r virtual.Row) bool {
		return r.Contender == virtual.Shared || r.Contender == virtual.Alone || r.Contender == "bare"
	})
	return slices.MinFunc(peers, func(a, b virtual.Row) int {
		return cmp.Or(cmp.Compare(a.Failed.Median, b.Failed.Median), cmp.Compare(a.InVain.Median, b.InVain.Median))
	})
}

func cell(r virtual.Row) string {
	if r.Others != nil {
		return fmt.Sprintf("%s wasted, %s of the others served", report.Count(int(r.InVain.Median)), r.Others.Exact())
	}
	return fmt.Sprintf("%s wasted, %s failed", report.Count(int(r.InVain.Median)), report.Count(int(r.Failed.Median)))
}
