package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// A bucket of tokens that is always refilled. What exceeds it is refused, and asked to
// come back in a second.
type bucket struct {
	rate, burst float64

	mu     sync.Mutex
	tokens float64
	at     time.Time
	sent   int
}

func (b *bucket) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(5 * time.Millisecond)
	b.mu.Lock()
	now := time.Now()
	if b.at.IsZero() {
		b.tokens = b.burst
	} else {
		b.tokens = min(b.tokens+now.Sub(b.at).Seconds()*b.rate, b.burst)
	}
	b.at = now
	b.sent++
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	b.mu.Unlock()
	time.Sleep(5 * time.Millisecond)
	res := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}, Request: req}
	if !ok {
		res.StatusCode = http.StatusTooManyRequests
		res.Header.Set("Retry-After", "1")
	}
	return res, nil
}

// A caller's request, and what became of it.
type turn struct {
	replica  int
	at, took time.Duration
	patience time.Duration
	err      error
	held     *holdoff.HeldError
}

// lineUp has replicas ask a server for 20 s: each so many times per second, with
// patience that is drawn for each request.
func lineUp(t *testing.T, server http.RoundTripper, store holdoff.Store, rates []int, patience func(*rand.Rand) time.Duration) (turns []turn) {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, rate := range rates {
		client := &http.Client{Transport: &holdoff.Transport{Base: server, Store: store, MaxWait: time.Hour}}
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		wg.Go(func() {
			for range 20 * rate {
				time.Sleep(time.Duration(rng.ExpFloat64() / float64(rate) * float64(time.Second)))
				v := turn{replica: i, at: time.Since(start), patience: patience(rng)}
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), v.patience)
					defer cancel()
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example/", nil)
					res, err := client.Do(req)
					if err == nil && res.StatusCode != http.StatusOK {
						err = fmt.Errorf("status %d", res.StatusCode)
					}
					if err == nil {
						res.Body.Close()
					}
					v.err, v.took = err, time.Since(start)-v.at
					errors.As(err, &v.held)
					mu.Lock()
					turns = append(turns, v)
					mu.Unlock()
				})
			}
		})
	}
	wg.Wait()
	slices.SortFunc(turns, func(a, b turn) int { return int(a.at - b.at) })
	return turns
}

func TestZZHonest(t *testing.T) {
	for _, replicas := range []int{1, 4, 16} {
		for _, shared := range []bool{true, false} {
			if !shared && replicas > 1 {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				var store holdoff.Store
				if shared {
					store = &holdoff.MemoryStore{}
				}
				server := &bucket{rate: 200, burst: 20}
				turns := lineUp(t, server, store, slices.Repeat([]int{400 / replicas}, replicas), func(rng *rand.Rand) time.Duration {
					return []time.Duration{10 * time.Second, time.Minute}[rng.IntN(2)]
				})
				var b strings.Builder
				for _, p := range []time.Duration{10 * time.Second, time.Minute} {
					served, failed, late := 0, 0, 0
					var took []time.Duration
					for _, v := range turns {
						switch {
						case v.patience != p:
						case v.err == nil:
							served++
							took = append(took, v.took)
						default:
							failed++
							if v.took > time.Second {
								late++
							}
						}
					}
					slices.Sort(took)
					fmt.Fprintf(&b, " | patience %v: served %d (p50 %v p99 %v), failed %d, of them after more than 1 s %d", p, served, took[len(took)/2].Round(10*time.Millisecond), took[len(took)*99/100].Round(10*time.Millisecond), failed, late)
				}
				t.Logf("%d replicas, shared %v, sent %d%s", replicas, shared, server.sent, b.String())
			})
		}
	}
}
