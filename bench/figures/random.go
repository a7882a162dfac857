package figures

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/go-holdoff/holdoff/bench/random"
	"github.com/go-holdoff/holdoff/bench/report"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

const randomPreface = `%d servers in trouble, drawn at random. *Served* is the share of callers, of those that a
scheduler that knows everything could have served: on average, and in the worst tenth of the
servers. The best peer is the one that serves the most on average.
`

// Random shows how many callers are served by servers that are drawn at random: by holdoff
// and by the best peer.
func Random(rows []random.Row) string {
	served := func(name string) []float64 {
		return random.Of(rows, name, func(s random.Score) float64 { return s.Served })
	}
	peers := slices.DeleteFunc(random.Names(rows), func(name string) bool {
		return name == virtual.Shared || name == virtual.Alone || name == "bare"
	})
	best := slices.MaxFunc(peers, func(a, b string) int {
		return cmp.Compare(random.Mean(served(a)), random.Mean(served(b)))
	})
	t := report.Table{Head: []string{"random servers", "served", "worst tenth", "wasted requests per request"}}
	for _, c := range []struct{ title, name string }{
		{"best peer: " + best, best}, {"holdoff, each replica alone", virtual.Alone}, {"holdoff, shared", virtual.Shared},
	} {
		wasted := random.Of(rows, c.name, func(s random.Score) float64 { return s.Wasted })
		t.Rows = append(t.Rows, []string{
			c.title, random.Percent(random.Mean(served(c.name))), random.Percent(random.Quantile(served(c.name), 0.1)), report.Figure(random.Mean(wasted)),
		})
	}
	return fmt.Sprintf(randomPreface, len(rows)) + "\n" + t.String()
}
