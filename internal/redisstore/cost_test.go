package redisstore

import (
	"context"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
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

// BenchmarkReport shows what the report of a paced key costs Redis, where nothing else
// runs: of bursts of 100 reports in one pipeline, the fastest tenth and the median, by
// commandstats.
func BenchmarkReport(b *testing.B) {
	srv := redistest.Start(b)
	rdb := srv.Client()
	s := redisStore(b, rdb, Options{PollInterval: time.Hour})
	const key = "https://api.example.com"
	state := tell(b, s, key, hold.Report{Refusals: 1})
	eventually(b, "the key is paced", func() bool {
		state = tell(b, s, key, hold.Report{Generation: state.Generation, Good: 8, Refused: 2, Status: 429, Want: 1})
		return state.Phase == hold.Paced
	})
	keys := []string{s.name(idOf(key)), s.name("index"), s.name("meta")}
	pattern := regexp.MustCompile(`cmdstat_evalsha:calls=\d+,usec=\d+,usec_per_call=([\d.]+)`)
	var bursts []float64
	for b.Loop() {
		state = tell(b, s, key, hold.Report{Generation: state.Generation, Good: 8, Refused: 2, Status: 429, Want: 1}) // another slot begins
		rdb.ConfigResetStat(b.Context())
		_, err := rdb.Pipelined(b.Context(), func(p redis.Pipeliner) error {
			for range 100 {
				report := hold.Report{Replica: "a", Version: hold.Version, Generation: state.Generation, Good: 1, Want: 1}
				p.EvalSha(b.Context(), reportScript.Hash(), keys, s.reportArgs(idOf(key), key, report)...)
			}
			return nil
		})
		m := pattern.FindStringSubmatch(rdb.Info(b.Context(), "commandstats").Val())
		if err != nil || m == nil {
			b.Fatal("no burst: ", err)
		}
		burst, _ := strconv.ParseFloat(m[1], 64)
		bursts = append(bursts, burst)
	}
	if state.Phase != hold.Paced {
		b.Errorf("the key is %v, want paced", state.Phase)
	}
	slices.Sort(bursts)
	b.ReportMetric(bursts[len(bursts)/10], "µs/fastest-tenth")
	b.ReportMetric(bursts[len(bursts)/2], "µs/median")
}

// BenchmarkIdle shows what replicas at rest cost: the commands that they send, all that
// Redis runs (those within scripts as well), messages, and bytes.
func BenchmarkIdle(b *testing.B) {
	const lasts = 30 * time.Second
	for _, replicas := range []int{1, 16, 1000} {
		b.Run(strconv.Itoa(replicas), func(b *testing.B) {
			srv := redistest.Start(b)
			rdb := srv.Client() // one pool: each has a subscription of its own
			stores := make([]*Store, replicas)
			var wg sync.WaitGroup
			for i := range stores {
				wg.Go(func() {
					s, err := New(rdb, Options{})
					if err != nil {
						b.Error(err)
						return
					}
					stores[i] = s
				})
			}
			wg.Wait()
			defer func() {
				for _, s := range stores {
					go s.Close()
				}
			}()
			for _, s := range stores {
				eventually(b, "the subscription is trusted", func() bool { return trusts(s) })
			}
			time.Sleep(2 * restPolls * time.Second) // what the start cost is over
			for b.Loop() {
				before, begun := redisStats(b, rdb), time.Now()
				time.Sleep(lasts)
				per := time.Since(begun).Seconds() * float64(replicas)
				after := redisStats(b, rdb)
				for name, unit := range map[string]string{
					"sent": "sent/s", "total_commands_processed": "run/s", "total_net_output_bytes": "out-B/s", "total_net_input_bytes": "in-B/s", "used_cpu_main_thread": "cpu-µs/s",
				} {
					b.ReportMetric((after[name]-before[name])/per, unit)
				}
			}
		})
	}
}

// redisStats returns the numbers of INFO. CPU time is in µs. "sent" counts what clients
// sent, and not what scripts ran.
func redisStats(b *testing.B, rdb *redis.Client) map[string]float64 {
	info := rdb.Info(b.Context(), "everything").Val()
	stats := make(map[string]float64)
	for _, m := range regexp.MustCompile(`(?m)^(\w+):([\d.]+)\r$`).FindAllStringSubmatch(info, -1) {
		stats[m[1]], _ = strconv.ParseFloat(m[2], 64)
	}
	stats["used_cpu_main_thread"] = (stats["used_cpu_sys_main_thread"] + stats["used_cpu_user_main_thread"]) * 1e6
	for _, m := range regexp.MustCompile(`cmdstat_(evalsha|eval|ping|subscribe|unsubscribe|hello|client\|setinfo):calls=(\d+)`).FindAllStringSubmatch(info, -1) {
		n, _ := strconv.ParseFloat(m[2], 64)
		stats["sent"] += n
	}
	return stats
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
