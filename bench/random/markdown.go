package random

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/go-holdoff/holdoff/bench/measure"
	"github.com/go-holdoff/holdoff/bench/report"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

const preface = `%d servers in trouble, drawn at random (seeds %d to %d), and for each what share of the callers
was served whom a scheduler could have served that knows all numbers. A draw has 5 to 128
replicas, 20 to 200 requests per second for 12 to 35 s, and callers who wait 5 to 30 s. The
server is limited by workers with a queue, by requests in flight, or not at all, and meets one
to three of: outage, flapping, token bucket, quota (enforced or not), bound on concurrency,
slow work, failures and hangs at random, more demand; of all requests, of a path, of a
credential or of a replica; with 429 or 503, and Retry-After none, 1, 2, 5 or 20. Some
replicas are broken, come late, leave early or restart. Each figure is the mean, the worst
tenth (one of ten draws is as bad, or worse), and the worst. *Wasted* are sends that served no
caller, per request. *Peak* is the most that was sent in 100 ms, as a multiple of what is
offered: without retries it shows how uneven demand is. *Late* is how long after an ideal queue
would have, callers are served again as if there were no trouble, in seconds, and *never* in
how many draws they are not; *beaten* in how many draws a peer serves 1 %% more. Where that is
close, the medians of 5 runs decide. What could be served is a bound: a queue that knows all
numbers, and serves first who came first, serves %s of it.
`

// Markdown shows the distributions of the scores, and holdoff's worst draws.
func Markdown(rows []Row) string {
	var b strings.Builder
	var queue []float64
	for _, r := range rows {
		queue = append(queue, float64(r.Queue)/float64(max(r.Oracle, 1)))
	}
	slices.Sort(queue)
	fmt.Fprintf(&b, preface, len(rows), rows[0].Seed, rows[len(rows)-1].Seed, distribution(queue, true, Percent))
	t := report.Table{Head: []string{"", "served, of the oracle", "wasted", "p50, s", "p99, s", "peak", "late, s", "never", "exchanges", "beaten"}}
	for _, name := range Names(rows) {
		t.Rows = append(t.Rows, []string{
			name,
			distribution(Of(rows, name, func(s Score) float64 { return s.Served }), true, Percent),
			distribution(Of(rows, name, func(s Score) float64 { return s.Wasted }), false, report.Figure),
			distribution(Of(rows, name, func(s Score) float64 { return s.P50 }), false, report.Figure),
			distribution(Of(rows, name, func(s Score) float64 { return s.P99 }), false, report.Figure),
			distribution(Of(rows, name, func(s Score) float64 { return s.Peak }), false, report.Figure),
			late(rows, name), never(rows, name),
			distribution(Of(rows, name, func(s Score) float64 { return s.PerCall }), false, report.Figure),
			beaten(rows, name),
		})
	}
	b.WriteString("\n" + t.String())
	fmt.Fprintf(&b, "\nShared replicas serve 1 %% less than each alone in %d draws.\n", Worse(rows))
	for _, name := range []string{virtual.Shared, virtual.Alone} {
		if worst := Worst(rows, name, 15); len(worst) > 0 {
			fmt.Fprintf(&b, "\nThe worst draws of %s:\n\n%s", name, worstTable(worst, name))
		}
	}
	return b.String()
}

// Percent writes a share, rounded down: almost all is not all.
func Percent(f float64) string { return fmt.Sprintf("%.1f %%", math.Floor(1000*f)/10) }

// distribution writes the mean, the tenth that is worst, and the worst, of sorted values.
func distribution(sorted []float64, moreIsBetter bool, write func(float64) string) string {
	if len(sorted) == 0 {
		return "-"
	}
	worst, tenth := sorted[len(sorted)-1], Quantile(sorted, 0.9)
	if moreIsBetter {
		worst, tenth = sorted[0], Quantile(sorted, 0.1)
	}
	return write(Mean(sorted)) + " / " + write(tenth) + " / " + write(worst)
}

// Mean returns the mean of at least one value.
func Mean(values []float64) float64 {
	sum := 0.
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Quantile returns a quantile of at least one value.
func Quantile(values []float64, q float64) float64 { return measure.Quantile(values, q) }

func late(rows []Row, name string) string {
	all := Of(rows, name, func(s Score) float64 { return s.Late })
	return distribution(slices.DeleteFunc(all, func(f float64) bool { return f < 0 }), false, report.Figure)
}

func never(rows []Row, name string) string {
	n := 0
	for _, r := range rows {
		if s, ok := r.Scores[name]; ok && s.Late < 0 {
			n++
		}
	}
	return report.Count(n)
}

func beaten(rows []Row, name string) string {
	if name != virtual.Shared && name != virtual.Alone {
		return ""
	}
	return report.Count(len(Beaten(rows, name)))
}

// Worst returns so many draws, those of which a contender serves the least first.
func Worst(rows []Row, contender string, n int) []Row {
	sorted := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { _, ok := r.Scores[contender]; return !ok })
	slices.SortStableFunc(sorted, func(a, b Row) int { return cmp.Compare(a.Scores[contender].Served, b.Scores[contender].Served) })
	return sorted[:min(n, len(sorted))]
}

func worstTable(rows []Row, name string) string {
	t := report.Table{Head: []string{"draw", "served", "wasted", "the best peer", "no retries", "seed"}}
	for _, r := range rows {
		s := r.Scores[name]
		t.Rows = append(t.Rows, []string{
			r.About, Percent(s.Served), report.Figure(s.Wasted), Percent(r.best()), Percent(r.Scores["bare"].Served), fmt.Sprint(r.Seed),
		})
	}
	return t.String()
}
