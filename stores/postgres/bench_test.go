package postgres

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
)

// What a report costs, with its two round trips.
func BenchmarkStore_Report(b *testing.B) {
	s := join(b, startServer(b).pool(), Options{})
	report(b, s, "k", hint)
	for b.Loop() {
		report(b, s, "k", holdoff.Report{Replica: "a", Refusals: 1, Hint: time.Millisecond})
	}
}

// How long after a report began the last of 8 other processes is told.
func BenchmarkStore_Propagation(b *testing.B) {
	srv := startServer(b)
	s := join(b, srv.pool(), Options{})
	told := make(chan time.Time, 8)
	var others []*Store
	for range cap(told) {
		others = append(others, join(b, srv.pool(), Options{}))
	}
	report(b, s, "warm", hint)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		key := fmt.Sprint("k", i)
		var stops []func()
		for _, o := range others {
			stops = append(stops, o.Watch(key, func(string, holdoff.State) { told <- time.Now() }))
		}
		begun := time.Now()
		report(b, s, key, hint)
		last := begun
		for range others {
			last = <-told
		}
		took = append(took, last.Sub(begun))
		for _, stop := range stops {
			stop()
		}
		time.Sleep(10 * time.Millisecond) // hints of real servers do not follow at once
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
}
