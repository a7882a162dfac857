package overhead

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-holdoff/holdoff/bench/report"
)

const preface = `What a request costs, in nanoseconds on the clock per request, with its ratio to
the bare base: medians of repetitions in turns, and in the column *spread* half of
the range of their middle half, the largest of the row. Bytes and allocations are
those at one goroutine; on the loopback they include the server's. The stub does
nothing, hundreds of times faster than a socket: there the difference to bare says
more than the ratio.

Where the first attempt is answered 503, all peers wait as little as they let
themselves be made to, so that the figures are of work and not of sleep; holdoff
has no budget there. Bare is then a caller's own loop, which can also make the
stream anew. A dash: the peer can't do that, and the notes below the table say why.
`

// Markdown shows rows as tables, one for each kind of work.
func Markdown(rows []Row) string {
	var b strings.Builder
	b.WriteString(preface + report.Noise(spreads(rows)))
	for _, site := range sites {
		for _, work := range works {
			for _, n := range sends {
				of := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool {
					return r.Site != site || r.Work != work || r.Sends != n
				})
				if len(of) > 0 {
					fmt.Fprintf(&b, "\n### %s, %s, %s\n\n%s", work, attempt(n), where(site), table(of))
				}
			}
		}
	}
	return b.String()
}

func spreads(rows []Row) []float64 {
	var all []float64
	for _, r := range rows {
		if r.Note == "" {
			all = append(all, r.Spread)
		}
	}
	return all
}

func attempt(sends int) string {
	if sends == 1 {
		return "the first attempt succeeds"
	}
	return "the second attempt succeeds"
}

func where(site string) string {
	if site == onStub {
		return "over a stub"
	}
	return "over the loopback"
}

func table(rows []Row) string {
	t := report.Table{Head: []string{"peer"}}
	for _, g := range goroutines {
		unit := "goroutines"
		if g == 1 {
			unit = "goroutine"
		}
		t.Head = append(t.Head, fmt.Sprintf("%d %s", g, unit), "× bare")
	}
	t.Head = append(t.Head, "bytes", "allocations", "spread")
	var peers []string
	for _, r := range rows {
		if !slices.Contains(peers, r.Peer) {
			peers = append(peers, r.Peer)
		}
	}
	for _, peer := range peers {
		t.Rows = append(t.Rows, line(peer, rows))
	}
	return t.String() + notes(rows)
}

func line(peer string, rows []Row) []string {
	cells := []string{peer}
	bytes, allocs, spread := "-", "-", "-"
	widest := 0.0
	for _, g := range goroutines {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Peer == peer && r.Goroutines == g })
		if i < 0 || rows[i].Note != "" {
			cells = append(cells, "-", "-")
			continue
		}
		r := rows[i]
		cells = append(cells, report.Figure(r.NS), fmt.Sprintf("%.2f", r.Ratio))
		if g == 1 {
			bytes, allocs = report.Figure(r.Bytes), fmt.Sprintf("%.0f", r.Allocs)
		}
		widest = max(widest, r.Spread)
		spread = fmt.Sprintf("%.0f %%", 100*widest)
	}
	return append(cells, bytes, allocs, spread)
}

// notes says why there are dashes, and whose.
func notes(rows []Row) string {
	var reasons []string
	of := make(map[string][]string)
	for _, r := range rows {
		if r.Note == "" {
			continue
		}
		if of[r.Note] == nil {
			reasons = append(reasons, r.Note)
		}
		if !slices.Contains(of[r.Note], r.Peer) {
			of[r.Note] = append(of[r.Note], r.Peer)
		}
	}
	var b strings.Builder
	for _, reason := range reasons {
		fmt.Fprintf(&b, "\n%s: %s.\n", strings.Join(of[reason], "; "), reason)
	}
	return b.String()
}
