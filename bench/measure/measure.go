// Package measure makes and sums up measurements of what a call costs.
package measure

import (
	"cmp"
	"flag"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// Sample is one measurement: what a call cost on average. NS is time on the clock:
// where goroutines call at once, it is less than a call takes.
type Sample struct{ NS, Bytes, Allocs float64 }

// Calls makes each of the functions that prepare returns be called on a goroutine
// of its own, again and again, for about as long as d in all. It ends at the first
// error.
func Calls(d time.Duration, prepare func() ([]func() error, error)) (Sample, error) {
	testing.Init()
	if err := flag.Set("test.benchtime", d.String()); err != nil {
		return Sample{}, err
	}
	var failure error
	result := testing.Benchmark(func(b *testing.B) {
		fail := func(err error) {
			failure = err
			b.FailNow()
		}
		calls, err := prepare()
		if err != nil {
			fail(err)
		}
		errs := make([]error, len(calls))
		b.ReportAllocs()
		b.ResetTimer()
		// b.Loop is for one goroutine, and b.RunParallel has as many as GOMAXPROCS
		// says: each has its share of the work instead.
		var all sync.WaitGroup
		for i, call := range calls {
			share := (b.N + i) / len(calls)
			all.Go(func() {
				for n := 0; n < share && errs[i] == nil; n++ {
					errs[i] = call()
				}
			})
		}
		all.Wait()
		for _, err := range errs {
			if err != nil {
				fail(err)
			}
		}
	})
	if failure != nil {
		return Sample{}, failure
	}
	n := float64(result.N)
	return Sample{float64(result.T.Nanoseconds()) / n, float64(result.MemBytes) / n, float64(result.MemAllocs) / n}, nil
}

// Summary is what repetitions of a measurement come to: medians, and the spread of
// NS.
type Summary struct {
	NS     float64 `json:"ns"`
	Bytes  float64 `json:"bytes"`
	Allocs float64 `json:"allocs"`
	// Spread is half of the range of the middle half of NS, relative to NS.
	Spread float64 `json:"spread"`
}

// Summarise returns the summary of at least one sample.
func Summarise(samples []Sample) Summary {
	column := func(of func(Sample) float64) []float64 {
		var values []float64
		for _, s := range samples {
			values = append(values, of(s))
		}
		return values
	}
	ns := column(func(s Sample) float64 { return s.NS })
	s := Summary{
		NS:     Median(ns),
		Bytes:  Median(column(func(s Sample) float64 { return s.Bytes })),
		Allocs: Median(column(func(s Sample) float64 { return s.Allocs })),
	}
	s.Spread = (Quantile(ns, 0.75) - Quantile(ns, 0.25)) / 2 / s.NS
	return s
}

// Median returns the median of at least one value.
func Median(values []float64) float64 { return Quantile(values, 0.5) }

// Quantile interpolates between values.
func Quantile(values []float64, q float64) float64 {
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare)
	whole, part := math.Modf(q * float64(len(sorted)-1))
	i := int(whole)
	if part == 0 {
		return sorted[i]
	}
	return sorted[i] + part*(sorted[i+1]-sorted[i])
}
