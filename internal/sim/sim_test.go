package sim

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// seeds returns how many seeds a test runs: HOLDOFF_SIM, if it is set.
func seeds(t *testing.T) uint64 {
	if n, err := strconv.ParseUint(os.Getenv("HOLDOFF_SIM"), 10, 64); err == nil {
		return n
	}
	if testing.Short() {
		return 500
	}
	return 10_000
}

// forEachSeed runs the seeds below n, several runs at a time, and passes on each result.
func forEachSeed(n uint64, rules Rules, done func(Result) (more bool)) {
	var next atomic.Uint64
	var mu sync.Mutex // guards calls of done
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1) - 1; seed < n; seed = next.Add(1) - 1 {
				r := Run(seed, rules, false)
				mu.Lock()
				if !done(r) {
					next.Store(n)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
}

const replay = "HOLDOFF_SIM_SEED=%d go test ./internal/sim -run TestReplay -v"

func TestFleet_KeepsItsInvariantsUnderFaults(t *testing.T) {
	begin, n := time.Now(), seeds(t)
	var worst Result
	var events uint64
	var done, sends, rounds, failed int
	forEachSeed(n, Rules{}, func(r Result) bool {
		events, sends, rounds = events+r.Events, sends+r.Sends, rounds+r.Rounds
		worst.Recovery, worst.Gap, worst.Stuck = max(worst.Recovery, r.Recovery), max(worst.Gap, r.Gap), max(worst.Stuck, r.Stuck)
		if r.Err != nil {
			failed++
			t.Errorf("seed %d: %v\nreplay: "+replay, r.Seed, r.Err, r.Seed)
		}
		if done++; done%100_000 == 0 {
			t.Logf("%d seeds in %v", done, time.Since(begin).Round(time.Second))
		}
		return failed < 20
	})
	t.Logf("%d seeds in %v (%.0f/s): %d events, %d sends, %d rounds; longest recovery %v, silence %v, wait for a decision %v",
		n, time.Since(begin).Round(time.Millisecond), float64(n)/time.Since(begin).Seconds(), events, sends, rounds, worst.Recovery, worst.Gap, worst.Stuck)
}

func TestRun_ReproducesASeed(t *testing.T) {
	for seed := range uint64(20) {
		a, b := Run(seed, Rules{}, true), Run(seed, Rules{}, true)
		if a.Trace != b.Trace || a.Events != b.Events {
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}
