package holdoff

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fleetRun is what a fleet cost its server.
type fleetRun struct {
	sends, refused, served, failed int
	lastServed                     time.Duration
	perSlot                        map[int]int // sends per 100 ms
}

// runFleet lets replicas send for as long as offer lasts, each at a rate per
// second, and returns when every caller has an answer.
func runFleet(t *testing.T, replicas int, rate float64, offer time.Duration, store Store, serve func(time.Duration) *http.Response) fleetRun {
	t.Helper()
	start := time.Now()
	run := fleetRun{perSlot: map[int]int{}}
	var mu sync.Mutex
	base := baseFunc(func(req *http.Request) (*http.Response, error) {
		mu.Lock()
		at := time.Since(start)
		run.sends++
		run.perSlot[int(at/slot)]++
		resp := serve(at)
		if resp.StatusCode != 200 {
			run.refused++
		}
		mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		return resp, nil
	})
	var wg sync.WaitGroup
	for range replicas {
		client := &http.Client{Transport: &Transport{Base: base, Store: store}}
		wg.Go(func() {
			for time.Since(start) < offer {
				time.Sleep(time.Duration(rand.ExpFloat64() / rate * float64(time.Second)))
				wg.Go(func() {
					resp, err := client.Get("https://api.example.com/")
					mu.Lock()
					defer mu.Unlock()
					if err != nil || resp.StatusCode != 200 {
						run.failed++
						return
					}
					run.served++
					run.lastServed = time.Since(start)
				})
			}
		})
	}
	wg.Wait()
	return run
}

func (r fleetRun) String() string {
	peak, at := 0, 0
	for k, n := range r.perSlot {
		if n > peak {
			peak, at = n, k
		}
	}
	return fmt.Sprintf("sends %d, refused %d, served %d, failed %d, last served %v, peak %d per 100 ms at %d",
		r.sends, r.refused, r.served, r.failed, r.lastServed, peak, at)
}

func TestFleetX(t *testing.T) {
	for name, serve := range map[string]func(time.Duration) *http.Response{
		"429": func(at time.Duration) *http.Response {
			if at > 2*time.Second && at < 10*time.Second {
				return answer(429, "Retry-After: 2")
			}
			return answer(200)
		},
		"503": func(at time.Duration) *http.Response {
			if at > 2*time.Second && at < 10*time.Second {
				return answer(503)
			}
			return answer(200)
		},
		"5pc": func(at time.Duration) *http.Response {
			if rand.IntN(20) == 0 {
				return answer(500)
			}
			return answer(200)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			t.Log(name, runFleet(t, 16, 25, 20*time.Second, &MemoryStore{}, serve))
		})
		synctest.Test(t, func(t *testing.T) {
			t.Log(name, "alone", runFleet(t, 16, 25, 20*time.Second, nil, serve))
		})
	}
}
