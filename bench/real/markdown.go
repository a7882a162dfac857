package real

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff/bench/report"
)

const preface = `Replicas are processes of their own, which call a server on a real socket with an
answer after 5 ms; holdoff shares through a real Redis. The contenders of a
scenario run one after another, with the same requests at the same times.

*Refused*: sends that the server did not serve. *Failed*: callers that got no good
answer. *Goodput*: callers served while requests were being made, of what could have
been served then. *Amplification*: sends per request. *Peak*: the most sends in
100 ms once the trouble was over, as a multiple of what was offered. *Recovered*:
from the end of the trouble to a second in which 97 % of those who asked were served
within one. *p50*, *p99*: of callers that were served. *Redis*: commands that it
executed, within scripts too, in the whole run. *Others*: the requests from outside a
limit that is of a part.
`

// Markdown shows rows as tables, one for each of the trials that have any.
func Markdown(trials []Trial, rows []Row) string {
	var b strings.Builder
	b.WriteString(preface)
	for _, t := range trials {
		of := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Scenario != t.Name })
		if len(of) > 0 {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n%s", capital(t.Name), t.story(), t.table(of))
		}
	}
	return b.String()
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func (t Trial) story() string {
	w := t.Work
	story := fmt.Sprintf("%s. %d replicas, each with %v requests per second for %v; callers wait up to %v.",
		capital(t.About), w.Replicas, w.Rate, w.Sending, w.Timeout)
	return strings.TrimSpace(story + " " + t.Why)
}

func (t Trial) table(rows []Row) string {
	table := report.Table{Head: []string{"", "refused", "served", "failed", "goodput", "amplification", "peak", "recovered", "p50", "p99", "Redis"}}
	if t.Limited != nil {
		table.Head = append(table.Head, "others served", "others' p99")
	}
	for _, r := range rows {
		peak, recovered, p50, p99, commands := "-", "-", "-", "-", "-"
		if t.Released > 0 {
			peak, recovered = fmt.Sprintf("%.1f", r.Peak), "no"
		}
		if r.Recovered {
			recovered = seconds(r.Recovery)
		}
		if r.Served > 0 {
			p50, p99 = seconds(r.P50), seconds(r.P99)
		}
		if r.Commands > 0 {
			commands = count(r.Commands)
		}
		cells := []string{
			r.Contender, count(r.Refused), count(r.Served), count(r.Failed),
			fmt.Sprintf("%.0f %%", 100*r.Goodput), fmt.Sprintf("%.2f", r.PerRequest()), peak, recovered,
			p50, p99, commands,
		}
		if t.Limited != nil {
			cells = append(cells, fmt.Sprintf("%.2f %%", 100*r.Others), seconds(r.OthersP99))
		}
		table.Rows = append(table.Rows, cells)
	}
	return table.String()
}

// count writes n with all its digits.
func count[N int | int64](n N) string {
	if n < 100 {
		return fmt.Sprint(n)
	}
	return report.Figure(float64(n))
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
