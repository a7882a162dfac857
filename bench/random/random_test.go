package random

import (
	"context"
	"flag"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-holdoff/holdoff/bench/bubble"
	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

var (
	draws  = flag.Int("draws", 10, "how many servers TestReport draws")
	seed   = flag.Uint64("seed", 1, "the seed of the first draw; the others follow")
	replay = flag.Bool("replay", false, "let TestReport say what goes on in the first draw")
	only   = flag.String("contenders", "", "a regular expression: the contenders that run")
)

// inBubble makes a draw's requests through a contender.
func inBubble(t *testing.T, d Draw, c virtual.Contender) (r fleet.Result) {
	synctest.Test(t, func(t *testing.T) { r = d.run(context.WithoutCancel(t.Context()), c, nil) })
	return r
}

// rowOf runs all chosen contenders on a draw; where the first time does not say who serves
// more, so often.
func rowOf(t *testing.T, seed uint64, chosen *regexp.Regexp, often int) Row {
	d := New(seed)
	row, ideal := d.row(d.Asks())
	scores := make(map[string][]Score)
	for range often {
		for _, c := range Contenders {
			if chosen.MatchString(c.Name) {
				scores[c.Name] = append(scores[c.Name], d.score(inBubble(t, d, c), row.Oracle, ideal))
			}
		}
		for name, all := range scores {
			row.Scores[name] = median(all)
		}
		if !row.close() {
			break
		}
	}
	return row
}

// replayed runs all chosen contenders on a draw, and tells what went on.
func replayed(t *testing.T, seed uint64, chosen *regexp.Regexp) string {
	var b strings.Builder
	d := New(seed)
	asks := d.Asks()
	row, ideal := d.row(asks)
	for _, c := range Contenders {
		if !chosen.MatchString(c.Name) {
			continue
		}
		var l timeline
		synctest.Test(t, func(t *testing.T) {
			r := d.run(context.WithoutCancel(t.Context()), c, l.see)
			row.Scores[c.Name] = d.score(r, row.Oracle, ideal)
			fmt.Fprintf(&b, "%s\n%s\n", header(row, c.Name, r, d.Impatient), l.table(asks, r))
		})
	}
	return b.String()
}

// TestReport is what Report runs.
func TestReport(t *testing.T) {
	bubble.Report(t, func() any {
		chosen := regexp.MustCompile(*only)
		if *replay {
			return replayed(t, *seed, chosen)
		}
		rows := make([]Row, *draws)
		t.Run("draws", func(t *testing.T) {
			for i := range rows {
				t.Run(fmt.Sprint(*seed+uint64(i)), func(t *testing.T) {
					t.Parallel()
					rows[i] = rowOf(t, *seed+uint64(i), chosen, repeats)
				})
			}
		})
		return rows
	})
}

func TestNew_SameSeed_DrawsTheSame(t *testing.T) {
	for seed := range uint64(100) {
		if a, b := New(seed), New(seed); !reflect.DeepEqual(a, b) || !reflect.DeepEqual(a.Asks(), b.Asks()) {
			t.Errorf("seed %d: %v and %v", seed, a, b)
		}
		if reflect.DeepEqual(New(seed), New(seed+1000)) {
			t.Errorf("seeds %d and %d draw the same", seed, seed+1000)
		}
	}
}

// No contender serves more than the oracle says can be served.
func TestOracle_NoContenderBeatsIt(t *testing.T) {
	for _, seed := range seeds(12, 4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rowOf(t, seed, regexp.MustCompile(""), 1)
			if len(r.Scores) != len(Contenders) {
				t.Errorf("%d contenders ran, want %d", len(r.Scores), len(Contenders))
			}
			if err := beyond([]Row{r}); err != nil {
				t.Error(err)
			}
		})
	}
}

func seeds(n, short int) (all []uint64) {
	if testing.Short() {
		n = short
	}
	for i := range n {
		all = append(all, 1000+uint64(i))
	}
	return all
}
