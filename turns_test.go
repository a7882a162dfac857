package holdoff_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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
	told     time.Duration // after how long it may be sent, as a HeldError says
}

// lineUp has replicas ask a server for 20 s: each so many times per second, with
// patience that is drawn for each request.
func lineUp(server http.RoundTripper, store holdoff.Store, rates []int, patience func(*rand.Rand) time.Duration) (turns []turn) {
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
					if held := (*holdoff.HeldError)(nil); errors.As(err, &held) {
						v.told = held.Until.Sub(start) - v.at
					}
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

// outcome is what became of the requests that are meant.
func outcome(turns []turn, meant func(turn) bool) (served, failed, late int, p50 time.Duration) {
	var took []time.Duration
	for _, v := range turns {
		switch {
		case !meant(v):
		case v.err == nil:
			took = append(took, v.took)
		default:
			failed++
			if v.took > time.Second {
				late++
			}
		}
	}
	if slices.Sort(took); len(took) > 0 {
		p50 = took[len(took)/2]
	}
	return len(took), failed, late, p50
}

func anyTurn(turn) bool { return true }

func patienceOf(d ...time.Duration) func(*rand.Rand) time.Duration {
	return func(rng *rand.Rand) time.Duration { return d[rng.IntN(len(d))] }
}

// stores make a fleet's store, and none, for a process alone.
func stores(replicas int) []func() holdoff.Store {
	shared := func() holdoff.Store { return &holdoff.MemoryStore{} }
	if replicas == 1 {
		return []func() holdoff.Store{shared, func() holdoff.Store { return nil }}
	}
	return []func() holdoff.Store{shared}
}

// fiveTimes runs a simulation in five bubbles of its own. Jitter makes each differ, and what
// is promised is promised of the median.
func fiveTimes[T any](t *testing.T, run func(*testing.T) T) []T {
	all := make([]T, 5)
	for i := range all {
		synctest.Test(t, func(t *testing.T) { all[i] = run(t) })
	}
	return all
}

// median is the middle one of what each of an odd number of runs has.
func median[T any, N cmp.Ordered](runs []T, of func(T) N) N {
	values := make([]N, len(runs))
	for i, run := range runs {
		values[i] = of(run)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// Twice of what a server takes is asked of it. Of those that can't be served, many fail at
// once, and say when a request would be sent: most of a lone process, fewer of a fleet, whose
// replicas know less of the line.
func TestTurns_RequestThatWouldNotMakeItFailsAtOnce(t *testing.T) {
	type result struct{ served, failed, late, told int }
	for _, replicas := range []int{1, 16} {
		for _, store := range stores(replicas) {
			runs := fiveTimes(t, func(*testing.T) (r result) {
				turns := lineUp(&bucket{rate: 200, burst: 20}, store(), slices.Repeat([]int{400 / replicas}, replicas), patienceOf(3*time.Second))
				r.served, r.failed, r.late, _ = outcome(turns, anyTurn)
				for _, v := range turns {
					if v.err != nil && v.took < time.Second && v.told >= v.patience {
						r.told++
					}
				}
				return r
			})
			served := median(runs, func(r result) int { return r.served })
			told := median(runs, func(r result) int { return r.told })
			late := median(runs, func(r result) float64 { return float64(r.late) / float64(max(r.failed, 1)) })
			if served < 3900 || told == 0 || (replicas == 1 && late > 0.5) {
				t.Errorf("%d replicas: %d of 4,600 served, %d told when to come back, %.2f of the failures were late; all runs: %+v", replicas, served, told, late, runs)
			}
		}
	}
}

// Requests with 10 s and with a minute stand in one line. Where the oldest goes first,
// those with 10 s can't be served behind the patient ones.
func TestTurns_LeastPatientGoFirst(t *testing.T) {
	type result struct{ hasty, patient int }
	for _, replicas := range []int{1, 16} {
		for _, store := range stores(replicas) {
			runs := fiveTimes(t, func(*testing.T) (r result) {
				turns := lineUp(&bucket{rate: 200, burst: 20}, store(), slices.Repeat([]int{400 / replicas}, replicas), patienceOf(10*time.Second, time.Minute))
				_, r.hasty, _, _ = outcome(turns, func(v turn) bool { return v.patience == 10*time.Second })
				_, r.patient, _, _ = outcome(turns, func(v turn) bool { return v.patience == time.Minute })
				return r
			})
			hasty := median(runs, func(r result) int { return r.hasty })
			patient := median(runs, func(r result) int { return r.patient })
			if hasty > 400 || patient > 400 { // a pace that ends in a hold costs some their turn
				t.Errorf("%d replicas: %d of 4,000 that wait 10 s failed, and %d of those that wait a minute; all runs: %+v", replicas, hasty, patient, runs)
			}
		}
	}
}

// A replica's share follows its demand, and all wait equally long.
func TestTurns_FleetIsFirstComeFirstServed(t *testing.T) {
	type result struct {
		failed      int
		least, most time.Duration // medians of what the requests of a replica waited
	}
	rates := []int{2, 4, 8, 16, 32, 64, 128, 146}
	runs := fiveTimes(t, func(*testing.T) (r result) {
		turns := lineUp(&bucket{rate: 200, burst: 20}, &holdoff.MemoryStore{}, rates, patienceOf(time.Hour))
		r.least = time.Hour
		for i, rate := range rates {
			_, failed, _, p50 := outcome(turns, func(v turn) bool { return v.replica == i && v.at > 10*time.Second })
			r.failed += failed
			if rate >= 8 { // of fewer requests, the median says little
				r.least, r.most = min(r.least, p50), max(r.most, p50)
			}
		}
		return r
	})
	ratio := median(runs, func(r result) float64 { return r.most.Seconds() / r.least.Seconds() })
	if failed := median(runs, func(r result) int { return r.failed }); failed > 0 || ratio > 2 {
		t.Errorf("%d failed, and one replica waited %.1f times as long as another, want none and 2 at most; all runs: %+v", failed, ratio, runs)
	}
}

// What a replica had when it died is lost, but the rate grows into the hole.
func TestTurns_OfADeadReplicaCostLittle(t *testing.T) {
	type result struct {
		failed int
		took   time.Duration
	}
	runs := fiveTimes(t, func(*testing.T) (r result) {
		store, start := &holdoff.MemoryStore{}, time.Now()
		go func() {
			time.Sleep(5 * time.Second)
			for range 10 { // a tenth of the line of the next ten seconds
				store.Report(context.Background(), "http://api.example", holdoff.Report{Replica: "dead", Call: 1, Want: 20, Patience: time.Hour})
				time.Sleep(time.Second)
			}
		}()
		turns := lineUp(&bucket{rate: 200, burst: 20}, store, slices.Repeat([]int{50}, 8), patienceOf(time.Hour))
		_, r.failed, _, _ = outcome(turns, anyTurn)
		r.took = time.Since(start)
		return r
	})
	failed := median(runs, func(r result) int { return r.failed })
	if took := median(runs, func(r result) time.Duration { return r.took }); failed > 0 || took > 46*time.Second {
		t.Errorf("%d of 8,000 failed, and all took %v, want none and 40 s and a little; all runs: %+v", failed, took, runs)
	}
}
