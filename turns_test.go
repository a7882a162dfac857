package holdoff_test

import (
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

// stores are a fleet's store, and none, for a process alone.
func stores(replicas int) []holdoff.Store {
	if replicas == 1 {
		return []holdoff.Store{&holdoff.MemoryStore{}, nil}
	}
	return []holdoff.Store{&holdoff.MemoryStore{}}
}

// Twice of what a server takes is asked of it. Of those that can't be served, many fail at
// once, and say when a request would be sent: most of a lone process, fewer of a fleet, whose
// replicas know less of the line.
func TestTurns_RequestThatWouldNotMakeItFailsAtOnce(t *testing.T) {
	for _, replicas := range []int{1, 16} {
		for _, store := range stores(replicas) {
			synctest.Test(t, func(t *testing.T) {
				server := &bucket{rate: 200, burst: 20}
				turns := lineUp(server, store, slices.Repeat([]int{400 / replicas}, replicas), patienceOf(3*time.Second))
				served, failed, late, _ := outcome(turns, anyTurn)
				told := 0
				for _, v := range turns {
					if v.err != nil && v.took < time.Second && v.told >= v.patience {
						told++
					}
				}
				t.Logf("%d replicas, store %v: %d served, %d failed, %d of them after more than a second, %d sent", replicas, store != nil, served, failed, late, server.sent)
				if served < 3900 || told == 0 || (replicas == 1 && late > failed/2) {
					t.Errorf("%d replicas, store %v: %d of 4,600 served, %d failed: %d of them late, and %d told when to come back", replicas, store != nil, served, failed, late, told)
				}
			})
		}
	}
}

// Requests with 10 s and with a minute stand in one line. Where the oldest goes first,
// those with 10 s can't be served behind the patient ones.
func TestTurns_LeastPatientGoFirst(t *testing.T) {
	for _, replicas := range []int{1, 16} {
		for _, store := range stores(replicas) {
			synctest.Test(t, func(t *testing.T) {
				turns := lineUp(&bucket{rate: 200, burst: 20}, store, slices.Repeat([]int{400 / replicas}, replicas), patienceOf(10*time.Second, time.Minute))
				for _, patience := range []time.Duration{10 * time.Second, time.Minute} {
					served, failed, _, p50 := outcome(turns, func(v turn) bool { return v.patience == patience })
					t.Logf("%d replicas, store %v, %v: %d served, %d failed, p50 %v", replicas, store != nil, patience, served, failed, p50)
					if failed > 400 { // a pace that ends in a hold costs some their turn
						t.Errorf("%d replicas, store %v: %d of 4,000 of those that wait %v failed", replicas, store != nil, failed, patience)
					}
				}
			})
		}
	}
}

// A replica's share follows its demand, and all wait equally long.
func TestTurns_FleetIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rates := []int{2, 4, 8, 16, 32, 64, 128, 146}
		turns := lineUp(&bucket{rate: 200, burst: 20}, &holdoff.MemoryStore{}, rates, patienceOf(time.Hour))
		var waits []time.Duration
		for i, rate := range rates {
			served, failed, _, p50 := outcome(turns, func(v turn) bool { return v.replica == i && v.at > 10*time.Second })
			t.Logf("%d per second: %d served, %d failed, p50 %v", rate, served, failed, p50)
			if failed > 0 {
				t.Errorf("%d of the replica with %d per second failed", failed, rate)
			}
			if rate >= 8 { // of fewer requests, the median says little
				waits = append(waits, p50)
			}
		}
		if least, most := slices.Min(waits), slices.Max(waits); most > least*2 {
			t.Errorf("the medians of the replicas' waits are %v, want none to be twice another", waits)
		}
	})
}

// What a replica had when it died is lost, but the rate grows into the hole.
func TestTurns_OfADeadReplicaCostLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, start := &holdoff.MemoryStore{}, time.Now()
		go func() {
			time.Sleep(5 * time.Second)
			for range 10 { // a tenth of the line of the next ten seconds
				store.Report(context.Background(), "http://api.example", holdoff.Report{Replica: "dead", Call: 1, Want: 20, Patience: time.Hour})
				time.Sleep(time.Second)
			}
		}()
		server := &bucket{rate: 200, burst: 20}
		turns := lineUp(server, store, slices.Repeat([]int{50}, 8), patienceOf(time.Hour))
		_, failed, _, _ := outcome(turns, anyTurn)
		took := time.Since(start)
		t.Logf("8,000 requests took %v, %d were sent", took, server.sent)
		if failed > 0 || took > 46*time.Second {
			t.Errorf("%d failed; all took %v, want 40 s and a little", failed, took)
		}
	})
}
