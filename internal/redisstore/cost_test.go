package redisstore

import (
	"context"
	"math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/jitter"
	"github.com/go-holdoff/holdoff/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// BenchmarkScripts shows what the scripts cost Redis, by its own commandstats, for a
// key that is paced.
func BenchmarkScripts(b *testing.B) {
	srv := redistest.Start(b)
	rdb := srv.Client()
	s, err := New(rdb, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	report := hold.Report{Refusals: 1, Lease: time.Second, Version: hold.Version}
	var generation uint64
	rdb.ConfigResetStat(b.Context())
	for b.Loop() {
		state, err := exchange(s, "https://api.example.com", report)
		if err != nil {
			b.Fatal(err)
		}
		generation = state.Generation
		report = hold.Report{Generation: generation, Good: 8, Refused: 2, Want: 4, Lease: time.Second}
	}
	b.StopTimer()
	stats := rdb.Info(b.Context(), "commandstats").Val()
	b.Log(regexp.MustCompile(`cmdstat_eval[^\r]*`).FindAllString(stats, -1))
}

// countingClient counts runs of scripts by their digests.
type countingClient struct {
	narrowClient
	runs *sync.Map // digest to *atomic.Int64
}

func (c countingClient) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	n, _ := c.runs.LoadOrStore(sha, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	return c.narrowClient.EvalSha(ctx, sha, keys, args...)
}

// BenchmarkReadsWhilePaced shows how often 128 replicas read records while a key is
// paced: they must not all read at each change. All replicas report five times a second.
func BenchmarkReadsWhilePaced(b *testing.B) {
	const replicas, period, lasts = 128, 200 * time.Millisecond, 5 * time.Second
	srv := redistest.Start(b)
	var runs sync.Map
	var stores []*Store
	for range replicas {
		stores = append(stores, redisStore(b, countingClient{narrowClient{srv.Client()}, &runs}, Options{}))
	}
	count := func(script *redis.Script) float64 {
		n, ok := runs.Load(script.Hash())
		if !ok {
			return 0
		}
		return float64(n.(*atomic.Int64).Load())
	}
	for b.Loop() {
		tell(b, stores[0], "k", hold.Report{Refusals: 1})
		time.Sleep(2 * time.Second) // each has read what it missed at the start
		reads, lists, reports, commits := count(readScript), count(indexScript), count(reportScript), count(commitScript)
		begun := time.Now()
		var paced atomic.Int64
		var wg sync.WaitGroup
		for _, s := range stores {
			wg.Go(func() {
				for time.Sleep(jitter.Uniform(period)); time.Since(begun) < lasts; time.Sleep(period) {
					state, err := exchange(s, "k", hold.Report{Refusals: 1, Want: 4})
					report := hold.Report{Generation: state.Generation, Good: state.Permits}
					if state.Phase == hold.Counted || (state.Permits > 0 && rand.IntN(4) == 0) {
						report.Good, report.Refused, report.Status = 1, 1, 429
					}
					if err == nil && state.Phase == hold.Paced {
						paced.Add(1)
					}
					exchange(s, "k", report)
				}
			})
		}
		wg.Wait()
		b.ReportMetric((count(readScript)-reads)/replicas, "reads/replica")
		b.ReportMetric((count(indexScript)-lists)/replicas, "lists/replica")
		b.ReportMetric(count(commitScript)-commits, "commits")
		b.ReportMetric(count(reportScript)-reports, "reports")
		b.ReportMetric(float64(paced.Load()), "paced")
	}
}
