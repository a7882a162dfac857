package holdoff_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// countingStore counts how often a limit is drawn on, and takes a while for it.
type countingStore struct {
	holdoff.MemoryStore
	draws atomic.Int64
}

func (s *countingStore) Draw(ctx context.Context, name string, c holdoff.LimitClaim) (holdoff.LimitGrant, error) {
	s.draws.Add(1)
	time.Sleep(time.Millisecond)
	return s.MemoryStore.Draw(ctx, name, c)
}

func TestLimits_OfAnLLM_AreSharedOutByAStore(t *testing.T) {
	const d = 5 * time.Minute
	for _, tt := range []struct {
		name           string
		server         *llm
		replicas       int
		cost           func(float64) holdoff.Cost
		refused, share float64
	}{
		{"2 replicas", &llm{max: 10000, rate: 2000}, 2, exact, 0.3, 0.9},
		{"16 replicas", &llm{max: 10000, rate: 2000}, 16, exact, 0.3, 0.9},
		{"16 replicas, costs with an error", &llm{max: 10000, rate: 2000}, 16, about, 0.4, 0.85},
		{"16 replicas, costs unknown", &llm{max: 10000, rate: 2000}, 16, nil, 1, 0.5},
		{"16 replicas, a large bucket", &llm{max: 150000, rate: 20000}, 16, about, 0.4, 0.85},
		{"128 replicas, a large bucket", &llm{max: 600000, rate: 20000}, 128, about, 0.4, 0.85},
		{"16 replicas, a window", &llm{max: 120000, window: time.Minute}, 16, exact, 0.5, 0.9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runs := fiveTimes(t, func(t *testing.T) llmRun {
				s := llm{max: tt.server.max, rate: tt.server.rate, window: tt.server.window, latency: 100 * time.Millisecond}
				store := &countingStore{}
				var fleet []*holdoff.Transport
				for range tt.replicas {
					fleet = append(fleet, &holdoff.Transport{Base: &s, Store: store})
				}
				failed := askLLM(&s, fleet, max(12, tt.replicas), d, tt.cost)
				slices.Sort(s.waits)
				t.Logf("%.2f scripts per request, p50 %v, p99 %v", float64(store.draws.Load())/float64(s.served+s.refused), s.waits[len(s.waits)/2], s.waits[len(s.waits)*99/100])
				return outcomeOf(&s, failed, d)
			})
			wantLLM(t, runs, tt.refused, tt.share)
		})
	}
}

func TestLimits_OfTheUser_BoundTheRateOfAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sent []time.Time
		base := answering(func(*http.Request) *http.Response {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, time.Now())
			return says(200, "")
		})
		store := &countingStore{}
		var all sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for range 16 {
			tr := &holdoff.Transport{Base: base, Store: store, Limits: []holdoff.Limit{{Name: "requests", Max: 50, Per: time.Second}}}
			for range 8 {
				all.Go(func() {
					for ctx.Err() == nil {
						if _, err := ask(ctx, tr, "/"); err != nil && ctx.Err() == nil {
							t.Error(err)
						}
					}
				})
			}
		}
		time.Sleep(30 * time.Second)
		cancel()
		all.Wait()
		time.Sleep(time.Second)
		slices.SortFunc(sent, time.Time.Compare)
		most := 0
		for i := range sent {
			j, _ := slices.BinarySearchFunc(sent, sent[i].Add(time.Second), time.Time.Compare)
			most = max(most, j-i)
		}
		t.Logf("%d sent in 30 s, %d at most in a second, %.2f scripts per request", len(sent), most, float64(store.draws.Load())/float64(len(sent)))
		if most > 55 {
			t.Errorf("%d in a second, want 55 at most", most)
		}
		if len(sent) < 1455 {
			t.Errorf("%d sent in 30 s, want 97 %% of 1500", len(sent))
		}
	})
}
