package coordination

import (
	"fmt"
	"strings"

	"github.com/go-holdoff/holdoff/bench/peers"
	"github.com/go-holdoff/holdoff/bench/report"
)

const preface = `What it costs a request over a stub, while all is well, that processes share what
they know through a Redis on the same machine: in nanoseconds on the clock per
request, medians of repetitions in turns. Commands are counted at one goroutine, a
background's among them: *sent* by the client (a script is one), and *executed* by
Redis as it counts them, within scripts too.
`

// Markdown shows rows as a table.
func Markdown(rows []Row) string {
	t := report.Table{Head: []string{"peer"}}
	for _, n := range goroutines {
		t.Head = append(t.Head, fmt.Sprintf("%d at once", n), "spread")
	}
	t.Head = append(t.Head, "allocations", "sent per request", "executed", "sent per second")
	var notes strings.Builder
	var spreads []float64
	for ; len(rows) > 0; rows = rows[len(goroutines):] {
		line := []string{rows[0].Peer}
		for _, r := range rows[:len(goroutines)] {
			if r.Note != "" {
				line = append(line, "-", "-")
				fmt.Fprintf(&notes, "\n%s, %d at once: %s.\n", r.Peer, r.Goroutines, r.Note)
				continue
			}
			spreads = append(spreads, r.Spread)
			line = append(line, report.Figure(r.NS), fmt.Sprintf("%.0f %%", 100*r.Spread))
		}
		counts := []string{"-", "-", "-", "-"}
		if r := rows[0]; r.Note == "" {
			counts = []string{fmt.Sprintf("%.0f", r.Allocs), report.Figure(r.Sent), report.Figure(r.Executed), report.Figure(r.PerSecond)}
		}
		t.Rows = append(t.Rows, append(line, counts...))
	}
	return preface + report.Noise(spreads) + "\n" + t.String() + notes.String()
}

// Versions are those of what is measured.
func Versions() map[string]string {
	versions := map[string]string{"go-redsync/redsync": peers.Version("github.com/go-redsync/redsync/v4")}
	for _, c := range contenders {
		if c.version != "" {
			versions[c.name] = c.version
		}
	}
	return versions
}
