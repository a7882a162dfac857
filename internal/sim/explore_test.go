package sim

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
)

// HOLDOFF_EXPLORE is how many steps the exploration takes.
func TestExplore_TwoReplicasKeepTheInvariants(t *testing.T) {
	depth := 6
	if testing.Short() {
		depth = 5
	}
	if n, err := strconv.Atoi(os.Getenv("HOLDOFF_EXPLORE")); err == nil {
		depth = n
	}
	for from, name := range []string{"fresh", "hold over", "probe out"} {
		begin := time.Now()
		x := Explore(Start(from), depth, Rules{})
		t.Logf("%s, %d steps deep: %d states by %d steps in %v", name, depth, x.States, x.Steps, time.Since(begin).Round(time.Millisecond))
		if x.Err != nil {
			t.Error(x.Err)
		}
	}
}

func TestExplore_FindsMutations(t *testing.T) {
	undecided := Rules{Add: func(r *hold.Record, rep hold.Report, now time.Time, longest time.Duration) hold.Reply {
		reply := r.Add(rep, now, longest)
		reply.Decide = reply.Decide && r.Rev == 0
		return reply
	}}
	for _, m := range []struct {
		name  string
		rules Rules
		from  Start
		depth int
	}{
		{"a report drops the hint", mutated("a report drops the hint"), Fresh, 2},
		{"a claim never ends", mutated("a claim never ends"), HoldOver, 2},
		{"no replica decides after the end of a round", undecided, ProbeOut, 1},
		{"a commit drops a hint that it has not seen", mutated("a commit drops a hint that it has not seen"), HoldOver, 6},
		{"a grant ignores what was granted", mutated("a grant ignores what was granted"), ProbeOut, 2},
		{"a commit ignores the revision", mutated("a commit ignores the revision"), HoldOver, 8},
	} {
		t.Run(m.name, func(t *testing.T) {
			x := Explore(m.from, m.depth, m.rules)
			t.Logf("%d states: %v", x.States, x.Err)
			if x.Err == nil {
				t.Error("not found")
			}
		})
	}
}

func mutated(name string) Rules {
	for _, m := range mutations {
		if m.name == name {
			return m.rules
		}
	}
	panic("there is no mutation " + name)
}
