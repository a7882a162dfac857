package redisstore

import (
	"regexp"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/redistest"
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
