package sim

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// HOLDOFF_EXPLORE is how many steps the exploration takes.
func TestExplore_TwoReplicasKeepTheInvariants(t *testing.T) {
	depth := 7
	if testing.Short() {
		depth = 5
	}
	if n, err := strconv.Atoi(os.Getenv("HOLDOFF_EXPLORE")); err == nil {
		depth = n
	}
	begin := time.Now()
	x := Explore(depth, Rules{})
	t.Logf("%d steps deep: %d states by %d steps in %v", depth, x.States, x.Steps, time.Since(begin).Round(time.Millisecond))
	if x.Err != nil {
		t.Error(x.Err)
	}
}
