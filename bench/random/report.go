package random

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-holdoff/holdoff/bench/bubble"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// Options say what is drawn, and who runs.
type Options struct {
	Draws      int
	Seed       uint64 // of the first draw; the others follow
	Contenders string // a regular expression; all if empty
}

func (o Options) args() []string {
	return []string{fmt.Sprintf("-draws=%d", o.Draws), fmt.Sprintf("-seed=%d", o.Seed), "-contenders=" + o.Contenders}
}

// Report runs contenders on draws, in parallel, and returns a row for each.
func Report(ctx context.Context, o Options, progress io.Writer) (rows []Row, err error) {
	fmt.Fprintf(progress, "random: %d draws from seed %d on\n", o.Draws, o.Seed)
	err = bubble.Run(ctx, "random", &rows, progress, o.args()...)
	return rows, err
}

// Replay runs contenders on the draw of Options.Seed, and says what went on.
func Replay(ctx context.Context, o Options, progress io.Writer) (text string, err error) {
	o.Draws = 1
	err = bubble.Run(ctx, "random", &text, progress, append(o.args(), "-replay")...)
	return text, err
}

// Names returns the contenders of rows, in the order of Contenders.
func Names(rows []Row) []string {
	var names []string
	for _, c := range Contenders {
		if slices.ContainsFunc(rows, func(r Row) bool { _, ok := r.Scores[c.Name]; return ok }) {
			names = append(names, c.Name)
		}
	}
	return names
}

// Of returns a measure of all draws of a contender, the smallest first.
func Of(rows []Row, contender string, measure func(Score) float64) (all []float64) {
	for _, r := range rows {
		if s, ok := r.Scores[contender]; ok {
			all = append(all, measure(s))
		}
	}
	slices.Sort(all)
	return all
}

// Beaten returns the draws in which a peer serves 1 % more than a contender, the worst first.
func Beaten(rows []Row, contender string) []Row {
	margin := func(r Row) float64 { return r.best() - r.Scores[contender].Served }
	beaten := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return margin(r) <= tie })
	slices.SortStableFunc(beaten, func(a, b Row) int { return cmp.Compare(margin(b), margin(a)) })
	return beaten
}

// Worse returns how many draws there are in which sharing serves 1 % less than each replica
// alone.
func Worse(rows []Row) (n int) {
	for _, r := range rows {
		if r.Scores[virtual.Alone].Served-r.Scores[virtual.Shared].Served > tie {
			n++
		}
	}
	return n
}

// repeats is how often a close draw is run.
const repeats = 5

// close reports whether chance may have decided whether holdoff is beaten, or serves less
// shared than alone.
func (r Row) close() bool {
	for _, name := range []string{virtual.Shared, virtual.Alone} {
		s, ok := r.Scores[name]
		if !ok {
			continue
		}
		for _, other := range []float64{r.best(), r.Scores[virtual.Alone].Served} {
			if margin := other - s.Served; tie/2 < margin && margin < 2*tie {
				return true
			}
		}
	}
	return false
}

// tie is by what share one may serve less than another, and be as good.
const tie = 0.01

// median returns the score of which half of the others serve less.
func median(scores []Score) Score {
	sorted := slices.SortedFunc(slices.Values(scores), func(a, b Score) int { return cmp.Compare(a.Served, b.Served) })
	return sorted[(len(sorted)-1)/2]
}

// best is the most that any other than holdoff serves.
func (r Row) best() (most float64) {
	for name := range maps.Keys(r.Scores) {
		if name != virtual.Shared && name != virtual.Alone {
			most = max(most, r.Scores[name].Served)
		}
	}
	return most
}

// Check returns what is wrong with a few draws, whatever they are: bounds with room for
// chance.
func Check(rows []Row) error {
	served := Of(rows, virtual.Shared, func(s Score) float64 { return s.Served })
	if len(served) == 0 {
		return errors.New("random: nothing ran")
	}
	// leastMean is what ten draws serve on average at least.
	const leastMean = 0.6
	if mean := Mean(served); mean < leastMean {
		return fmt.Errorf("random: %d draws from seed %d on: %s served %.1f %% of what could be served on average, want at least %.0f %%",
			len(rows), rows[0].Seed, virtual.Shared, 100*mean, 100*leastMean)
	}
	return beyond(rows)
}

// beyond returns an error where a contender serves more than can be served.
func beyond(rows []Row) error {
	for _, r := range rows {
		for name, s := range r.Scores {
			if s.Served > 1 {
				return fmt.Errorf("random: seed %d: %s served %v of what can be served: the oracle is wrong", r.Seed, name, s.Served)
			}
		}
	}
	return nil
}
