package random

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// timeline tells what went on in the run of a contender, Moment by Moment.
type timeline struct {
	states []state
}

// state is how the replicas of a fleet stood at the end of a Moment.
type state struct {
	line int     // requests that wait
	rate float64 // that is granted, where keys are paced
	text string
}

// see takes in how the fleet stands, where its replicas are Transports.
func (l *timeline) see(fleet []http.RoundTripper) {
	var now state
	var shared float64
	phases := make(map[string]int)
	for _, rt := range fleet {
		t, ok := rt.(*holdoff.Transport)
		if !ok {
			continue
		}
		for k := range t.Keys() {
			now.line += k.Waiters
			phase := k.Phase.String()
			switch {
			case k.Phase == holdoff.Healthy:
				phase = "failing" // else it is not there
			case k.Phase == holdoff.Held:
				phase += fmt.Sprintf(" L%d", k.Level)
			}
			if part := k.Scope.Words(); part != "" {
				phase += " (" + part + ")"
			}
			phases[phase]++
			if k.Phase == holdoff.Paced || k.Phase == holdoff.Rationed {
				if k.Shared {
					shared = max(shared, k.Rate)
				} else {
					now.rate += k.Rate
				}
			}
		}
	}
	now.rate += shared
	names := slices.SortedFunc(maps.Keys(phases), func(a, b string) int { return cmp.Or(phases[b]-phases[a], cmp.Compare(a, b)) })
	for i, name := range names {
		if i == 6 {
			now.text += fmt.Sprintf(" and %d more", len(names)-i)
			break
		}
		now.text += fmt.Sprintf(" %d %s,", phases[name], name)
	}
	now.text = strings.Trim(now.text, " ,")
	l.states = append(l.states, now)
}

// table writes a line for each Moment of a run.
func (l *timeline) table(asks []fleet.Ask, r fleet.Result) string {
	type line struct{ asked, sent, good, served, failed int }
	var lines []line
	at := func(t time.Duration) *line {
		i := int(t / virtual.Moment)
		for len(lines) <= i {
			lines = append(lines, line{})
		}
		return &lines[i]
	}
	for _, a := range asks {
		at(a.At).asked++
	}
	for i, c := range r.Slots {
		at := at(time.Duration(i) * fleet.Slot)
		at.sent, at.good = at.sent+c.Sent, at.good+c.Served
	}
	for _, a := range r.Answers {
		if at := at(a.Asked + a.Took); a.Served {
			at.served++
		} else {
			at.failed++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%5s %6s %6s %6s %7s %7s %7s %6s %7s  %s\n", "until", "asked", "sent", "good", "refused", "served", "failed", "line", "rate", "replicas")
	for i, c := range lines {
		var now state
		if i < len(l.states) {
			now = l.states[i]
		}
		fmt.Fprintf(&b, "%5.1f %6d %6d %6d %7d %7d %7d %6d %7.1f  %s\n",
			(time.Duration(i+1) * virtual.Moment).Seconds(), c.asked, c.sent, c.good, c.sent-c.good, c.served, c.failed, now.line, now.rate, now.text)
	}
	return b.String()
}

// header says what a draw is, and what came of it.
func header(row Row, contender string, r fleet.Result, impatient time.Duration) string {
	s := row.Scores[contender]
	early := 0
	for _, a := range r.Answers {
		if !a.Served && a.Took < impatient-time.Millisecond {
			early++
		}
	}
	return fmt.Sprintf("draw %d, %s: %s\n%d requests, of which %d can be served. Served %.1f %% of those, %.2f sends wasted per request, p50 %.2f s, p99 %.1f s, peak %.1f times the offered rate, recovers %.1f s late. %d of %d failed callers got an answer before their patience was over.\n",
		row.Seed, contender, row.About, row.Requests, row.Oracle, 100*s.Served, s.Wasted, s.P50, s.P99, s.Peak, s.Late, early, r.Failed)
}
