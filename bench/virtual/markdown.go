package virtual

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/peers"
	"github.com/go-holdoff/holdoff/bench/report"
)

const preface = `Fleets of clients in virtual time: the real Transports and peers, a modelled
network (8 to 12 ms there and back, a timeout of 2 s per attempt) and server. What is
asked, and when, is the same for all; jitter is their own. Figures are medians of %d
runs, with their range. *Shared* replicas have a MemoryStore that takes 1 ms; *alone*
they have none; "bare" does not retry. *Refused* counts sends that the server did not
serve, *in vain* those that served no caller, since some were served too late (it is
left out where there were none). *Used* is how much of what the server could have
served was served while requests were made, at first from a bucket's burst; *others*
are the requests from outside a limit that is of a part;
*exchanges* are those of the whole fleet with its store. Where the trouble ends:
*peak* is the most that was sent in 100 ms from there on, as a multiple of what is
offered, and *recovers* says after what time 97 %% of those who ask are served within
a second.
`

// Markdown shows rows as tables, one for each scenario, and how cost grows with the
// size of the fleet.
func Markdown(rows []Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, preface, rows[0].Seeds)
	for _, s := range fleet.Scenarios {
		of := Select(rows, s.Name, s.Work.Replicas)
		if len(of) > 0 {
			fmt.Fprintf(&b, "\n### %s\n\n%s. %s\n\n%s", title(s.Name), title(s.About), describe(s.Work), table(of))
		}
	}
	b.WriteString("\n### The same work among more replicas\n\nSends that are refused, and for the shared fleet its exchanges with the store.\n\n" + sweep(rows))
	return b.String()
}

// Select returns the rows of a scenario among so many replicas.
func Select(rows []Row, scenario string, replicas int) []Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Scenario != scenario || r.Replicas != replicas })
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func describe(w fleet.Work) string {
	sending := w.Sending.String()
	switch {
	case w.Sending%time.Hour == 0:
		sending = fmt.Sprintf("%d h", w.Sending/time.Hour)
	case w.Sending%time.Second == 0:
		sending = fmt.Sprintf("%d s", w.Sending/time.Second)
	}
	return fmt.Sprintf("%d replicas, each with %v requests per second for %s; callers wait %d s.", w.Replicas, w.Rate, sending, w.Timeout/time.Second)
}

// column is one measure of the tables.
type column struct {
	head string
	cell func(Row) string
}

var columns = []column{
	{"", func(r Row) string { return r.Contender }},
	{"others served", func(r Row) string { return r.Others.Exact() }},
	{"others' p99, s", func(r Row) string { return r.OthersP99.figure() }},
	{"refused", func(r Row) string { return r.Refused.count() }},
	{"in vain", func(r Row) string { return r.InVain.count() }},
	{"sends per request", func(r Row) string { return r.PerRequest.figure() }},
	{"callers failed", func(r Row) string { return r.Failed.count() }},
	{"used", func(r Row) string { return r.Use.percent() }},
	{"p50, s", func(r Row) string { return r.P50.figure() }},
	{"p99, s", func(r Row) string { return r.P99.figure() }},
	{"exchanges", func(r Row) string { return r.Exchanges.count() }},
	{"peak", func(r Row) string { return r.Peak.figure() }},
	{"recovers, s", Row.recovers},
}

func table(rows []Row) string {
	shown := slices.Clone(columns)
	drop := func(head string) {
		shown = slices.DeleteFunc(shown, func(c column) bool { return c.head == head })
	}
	if !slices.ContainsFunc(rows, func(r Row) bool { return r.InVain != r.Refused }) {
		drop("in vain")
	}
	if rows[0].Others == nil {
		drop("others served")
		drop("others' p99, s")
	}
	if rows[0].Peak == nil {
		drop("peak")
		drop("recovers, s")
	}
	t := report.Table{Rows: make([][]string, len(rows))}
	for _, c := range shown {
		t.Head = append(t.Head, c.head)
		for i, r := range rows {
			t.Rows[i] = append(t.Rows[i], c.cell(r))
		}
	}
	return t.String()
}

func (r Row) recovers() string {
	switch {
	case r.Recovered == 0:
		return "never"
	case r.Recovered < r.Seeds:
		return fmt.Sprintf("%s, in %d of %d runs", r.Recovery.figure(), r.Recovered, r.Seeds)
	}
	return r.Recovery.figure()
}

func sweep(rows []Row) string {
	t := report.Table{Head: []string{"replicas"}}
	for _, n := range Sizes {
		t.Head = append(t.Head, report.Count(n))
	}
	for _, scenario := range Swept {
		for _, contender := range Sweepers {
			refused, exchanges := []string{scenario + ": " + contender}, []string{scenario + ": exchanges"}
			for _, n := range Sizes {
				r, ok := Find(Select(rows, scenario, n), contender)
				if !ok {
					refused, exchanges = append(refused, "-"), append(exchanges, "-")
					continue
				}
				refused, exchanges = append(refused, r.Refused.count()), append(exchanges, r.Exchanges.count())
			}
			t.Rows = append(t.Rows, refused)
			if contender == Shared {
				t.Rows = append(t.Rows, exchanges)
			}
		}
	}
	return t.String()
}

// Find returns the first row of a contender.
func Find(rows []Row, contender string) (Row, bool) {
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Contender == contender })
	if i < 0 {
		return Row{}, false
	}
	return rows[i], true
}

func (s Stat) count() string  { return s.format(func(f float64) string { return report.Count(int(f)) }) }
func (s Stat) figure() string { return s.format(report.Figure) }
func (s Stat) percent() string {
	return s.format(func(f float64) string { return fmt.Sprintf("%.0f %%", 100*f) })
}

// Exact is a share that is nearly all.
func (s Stat) Exact() string {
	return s.format(func(f float64) string { return strconv.FormatFloat(math.Floor(1000*f)/10, 'f', -1, 64) + " %" })
}

// format writes the median, and the range where it can be told from it.
func (s Stat) format(write func(float64) string) string {
	median, from, to := write(s.Median), write(s.Min), write(s.Max)
	if from == to {
		return median
	}
	return fmt.Sprintf("%s (%s–%s)", median, strings.TrimSuffix(from, " %"), to)
}

// Versions are those of what is run.
func Versions() map[string]string {
	versions := make(map[string]string)
	for _, p := range peers.All[1:] { // without bare
		versions[p.Name] = p.Version
	}
	return versions
}
