package sim

import (
	"os"
	"strconv"
	"testing"
)

// A seed that failed is replayed with a trace by
//
//	HOLDOFF_SIM_SEED=17 go test ./internal/sim -run TestReplay -v
func TestReplay_PrintsTheTraceOfASeed(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("HOLDOFF_SIM_SEED"), 10, 64)
	if err != nil {
		t.Skip("HOLDOFF_SIM_SEED is not set")
	}
	r := Run(seed, Rules{}, true)
	t.Logf("%v\n%s", configOf(seed), r.Trace)
	if r.Err != nil {
		t.Error(r.Err)
	}
}
