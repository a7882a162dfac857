package holdoff_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// What a request of a healthy key costs where there is a RedisStore, over a Base
// that does nothing: target 0 allocations.
func BenchmarkHealthyWithRedisStore(b *testing.B) {
	srv := redistest.Start(b)
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	base := baseFunc(func(*http.Request) (*http.Response, error) { return resp, nil })
	tr := &holdoff.Transport{Base: base, Store: redisStore(b, srv.Client(), holdoff.RedisOptions{})}
	req := newRequest(b, "GET", "https://api.example.com/", "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
}

// How long it is from the call of one store to the last word that each of the
// others has, all in one process, with one redis-server beside it. Target: p99
// below 5 ms at 32, below 10 ms at 128.
func BenchmarkPropagation(b *testing.B) {
	for _, n := range []int{2, 8, 32, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			srv := redistest.Start(b)
			var stores []*holdoff.RedisStore
			for range n {
				stores = append(stores, redisStore(b, srv.Client(), holdoff.RedisOptions{}))
			}
			time.Sleep(200 * time.Millisecond) // all have subscribed
			var mu sync.Mutex
			var took []time.Duration
			i := 0
			for b.Loop() {
				i++
				key := fmt.Sprint("https://", i, ".example.com")
				var wg sync.WaitGroup
				var begun time.Time
				var stops []func()
				for _, s := range stores {
					wg.Add(1)
					told := false
					stops = append(stops, s.Watch(key, func(string, holdoff.State) {
						d := time.Since(begun)
						mu.Lock()
						defer mu.Unlock()
						if !told {
							told = true
							took = append(took, d)
							wg.Done()
						}
					}))
				}
				begun = time.Now()
				if _, err := stores[0].Report(context.Background(), key, heldFor(time.Minute)); err != nil {
					b.Fatal(err)
				}
				wg.Wait()
				for _, stop := range stops {
					stop()
				}
			}
			slices.Sort(took)
			ms := func(p int) float64 { return float64(took[len(took)*p/100].Microseconds()) / 1000 }
			b.ReportMetric(ms(50), "p50-ms")
			b.ReportMetric(ms(99), "p99-ms")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
		})
	}
}

// How many scripts Redis runs for a request, polls included: while the key is
// healthy, while it is held (the requests fail at once), and when eight replicas
// with 50 waiters each are released. Target: 0, 0 and less than one.
func BenchmarkCommandsPerRequest(b *testing.B) {
	const replicas, waiters = 8, 50
	for _, phase := range []string{"healthy", "held", "released"} {
		b.Run(phase, func(b *testing.B) {
			srv := redistest.Start(b)
			rdb := srv.Client()
			var mu sync.Mutex
			refuse := false
			base := baseFunc(func(*http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				if refuse {
					return answer(429, "Retry-After: 2"), nil
				}
				return answer(200), nil
			})
			set := func(r bool) {
				mu.Lock()
				defer mu.Unlock()
				refuse = r
			}
			var fleet []*holdoff.Transport
			for range replicas {
				tr := &holdoff.Transport{Base: base, Store: redisStore(b, srv.Client(), holdoff.RedisOptions{})}
				fetch(b, tr, "https://api.example.com")
				fleet = append(fleet, tr)
			}
			hold := func() {
				set(true)
				ctx, cancel := context.WithTimeout(b.Context(), time.Second) // shorter than the hint
				defer cancel()
				resp, err := fleet[0].RoundTrip(newRequest(b, "GET", "https://api.example.com", "").WithContext(ctx))
				if err == nil {
					resp.Body.Close()
				}
				for _, tr := range fleet {
					eventually(b, "all are held", func() bool { return keyIs(tr).Phase == holdoff.Held })
				}
				set(false)
			}
			ctx, cancel := context.WithTimeout(b.Context(), time.Second)
			defer cancel()
			if phase == "held" {
				hold()
			}
			requests, before := 0, commands(b, rdb)
			for b.Loop() {
				switch phase {
				case "released":
					b.StopTimer()
					hold()
					before = commands(b, rdb)
					b.StartTimer()
					var wg sync.WaitGroup
					for _, tr := range fleet {
						for range waiters {
							wg.Go(func() { fetch(b, tr, "https://api.example.com") })
						}
					}
					wg.Wait()
					requests = replicas * waiters
				default:
					resp, err := fleet[requests%replicas].RoundTrip(newRequest(b, "GET", "https://api.example.com", "").WithContext(ctx))
					if err == nil {
						resp.Body.Close()
					}
					requests++
				}
			}
			b.ReportMetric(float64(scripts(before, commands(b, rdb)))/float64(requests), "commands/req")
		})
	}
}
