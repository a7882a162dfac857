package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// report is how requests went.
type report struct {
	Answers       []answer
	Failure       string `json:",omitempty"` // the first
	StoreFailures int    `json:",omitempty"` // replicas that met any
	StoreFailure  string `json:",omitempty"`
}

// answer is how one request went. Times count from the start of the run.
type answer struct {
	Asked  time.Duration
	Took   time.Duration
	Served bool
}

func (r *report) add(other report) {
	r.Answers = append(r.Answers, other.Answers...)
	r.Failure = cmp.Or(r.Failure, other.Failure)
	r.StoreFailures += other.StoreFailures
	r.StoreFailure = cmp.Or(r.StoreFailure, other.StoreFailure)
}

func (r *report) served() (n int) {
	for _, a := range r.Answers {
		if a.Served {
			n++
		}
	}
	return n
}

// waiting returns how long after well the first and the last were served of
// those who had asked before, and waited.
func (r *report) waiting(well time.Duration) (first, last time.Duration, any bool) {
	for _, a := range r.Answers {
		if end := a.Asked + a.Took; a.Served && a.Asked < well && end > well {
			if !any {
				first = end - well
			}
			first, last, any = min(first, end-well), max(last, end-well), true
		}
	}
	return first, last, any
}

// percentile returns how long p percent of the callers took at most.
func (r *report) percentile(p int) time.Duration {
	if len(r.Answers) == 0 {
		return 0
	}
	took := make([]time.Duration, len(r.Answers))
	for i, a := range r.Answers {
		took[i] = a.Took
	}
	slices.Sort(took)
	return took[min(len(took)*p/100, len(took)-1)]
}

// showProgress prints a line per second until done.
func showProgress(runs []*experiment, done <-chan struct{}, out io.Writer) {
	header, columns := "      ", "second"
	for _, x := range runs {
		header += fmt.Sprintf("   %-30s", x.name)
		columns += fmt.Sprintf("   %6s  %7s  %13s", "sends", "refused", "replicas held")
	}
	fmt.Fprintf(out, "%s\n%s\n", strings.TrimRight(header, " "), columns)

	tick := time.NewTicker(slot)
	defer tick.Stop()
	for second := time.Duration(0); ; {
		last := false
		select {
		case <-done:
			last = true
		case <-tick.C:
		}
		for _, x := range runs {
			x.held = max(x.held, x.countHeld())
		}
		if end := second + time.Second; last || time.Since(runs[0].begins) >= end {
			printSecond(runs, second, out)
			second = end
		}
		if last {
			return
		}
	}
}

// printSecond prints what happened in the second that began at from.
func printSecond(runs []*experiment, from time.Duration, out io.Writer) {
	fmt.Fprintf(out, "%6.0f", (from + time.Second).Seconds())
	for _, x := range runs {
		own := from - x.begins.Sub(runs[0].begins)
		if own < 0 {
			fmt.Fprintf(out, "   %6s  %7s  %13s", "-", "-", "-")
			continue
		}
		sum, _ := x.server.got(own, own+time.Second)
		fmt.Fprintf(out, "   %6d  %7d  %13d", sum.sends, sum.refused, x.countHeld())
	}
	fmt.Fprintln(out)
}

// countHeld counts the replicas that are held now.
func (x *experiment) countHeld() (n int) {
	for _, m := range x.members {
		if m.held() {
			n++
		}
	}
	return n
}

const forever = time.Hour

// printTable prints what the runs came to, side by side.
func printTable(out io.Writer, f fault, runs []*experiment) {
	row := func(name string, value func(*experiment) string) {
		fmt.Fprintf(out, "%-50s", name)
		for _, x := range runs {
			fmt.Fprintf(out, "  %10s", value(x))
		}
		fmt.Fprintln(out)
	}
	number := func(name string, value func(*experiment) int) {
		row(name, func(x *experiment) string { return fmt.Sprint(value(x)) })
	}
	peak := func(name string, from, to time.Duration) {
		number(name, func(x *experiment) int {
			_, peak := x.server.got(from, to)
			return peak
		})
	}
	all := func(x *experiment) tally {
		sum, _ := x.server.got(0, forever)
		return sum
	}

	fmt.Fprintln(out)
	row("", func(x *experiment) string { return x.name })
	number("Sends", func(x *experiment) int { return all(x).sends })
	number("  refused (429, 503 or 500)", func(x *experiment) int { return all(x).refused })
	row("  per request", func(x *experiment) string {
		return fmt.Sprintf("%.3f", float64(all(x).sends)/float64(max(len(x.total.Answers), 1)))
	})
	if f.recovers() {
		peak("Most sends in 100 ms: before the fault", 0, f.begins)
		peak("  while it lasts", f.begins, f.ends)
		peak("  after it", f.ends, forever)
	} else {
		peak("Most sends in 100 ms", 0, forever)
	}
	number("Replicas held at most", func(x *experiment) int { return x.held })
	number("Callers", func(x *experiment) int { return len(x.total.Answers) })
	number("  served", func(x *experiment) int { return x.total.served() })
	number("  failed", func(x *experiment) int { return len(x.total.Answers) - x.total.served() })
	row("  waited: half of them at most", func(x *experiment) string { return seconds(x.total.percentile(50)) })
	row("  waited: 99 % of them at most", func(x *experiment) string { return seconds(x.total.percentile(99)) })
	if f.recovers() {
		row("From the fault's end to the first waiting caller", func(x *experiment) string {
			first, _, any := x.total.waiting(f.ends)
			return orNone(first, any)
		})
		row("  to the last of them", func(x *experiment) string {
			_, last, any := x.total.waiting(f.ends)
			return orNone(last, any)
		})
		fmt.Fprintln(out, "\nSends in each 100 ms from the first good answer on:")
		for _, x := range runs {
			fmt.Fprintf(out, "  %-6s %s\n", x.name, x.server.release())
		}
		alone, shared := runs[0], runs[len(runs)-1]
		fmt.Fprintf(out, "\nSharing: %d refused sends instead of %d. Half of the callers waited up to %s instead of %s.\n",
			all(shared).refused, all(alone).refused,
			seconds(shared.total.percentile(50)), seconds(alone.total.percentile(50)))
	}
	for _, x := range runs {
		if x.total.Failure != "" {
			fmt.Fprintf(out, "\nThe first failure, %s: %s\n", x.name, x.total.Failure)
		}
		if n := x.total.StoreFailures; n > 0 {
			fmt.Fprintf(out, "\nThe store failed %d of the replicas at times: %s\n", n, x.total.StoreFailure)
		}
	}
}

// release returns the sends per slot while the server is coming back.
func (s *server) release() string {
	slots := s.between(s.fault.ends, forever)
	for len(slots) > 0 && slots[0].sends == slots[0].refused {
		slots = slots[1:]
	}
	var list []string
	for _, t := range slots[:min(len(slots), 18)] {
		list = append(list, fmt.Sprint(t.sends))
	}
	return strings.Join(list, " ")
}

func orNone(d time.Duration, any bool) string {
	if !any {
		return "-"
	}
	return seconds(d)
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
