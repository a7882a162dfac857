package holdoff_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/hold"
	"github.com/go-holdoff/holdoff/internal/quota"
)

// limiter is a host that takes so many requests per second, or per window, and
// refuses the rest.
type limiter struct {
	rate, burst float64       // of a token bucket, or
	limit       int           // of a quota
	window      time.Duration // that is refilled so often, and says so

	mu      sync.Mutex
	tokens  float64
	last    time.Time
	used    int
	served  int
	refused int
}

func (l *limiter) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(5 * ms)
	l.mu.Lock()
	ok, header := l.take(time.Now())
	if ok {
		l.served++
	} else {
		l.refused++
	}
	l.mu.Unlock()
	time.Sleep(5 * ms)
	if !ok {
		return answer(429, "Retry-After: 1", header), nil
	}
	return answer(200, header), nil
}

func (l *limiter) take(now time.Time) (ok bool, header string) {
	if l.limit > 0 {
		for now.Sub(l.last) >= l.window {
			if l.used = 0; l.last.IsZero() {
				l.last = now
				break
			}
			l.last = l.last.Add(l.window)
		}
		if ok = l.used < l.limit; ok {
			l.used++
		}
		return ok, field(l.limit-l.used, int((l.window-now.Sub(l.last)+time.Second-1)/time.Second))
	}
	if l.last.IsZero() {
		l.tokens = l.burst
	} else {
		l.tokens = min(l.tokens+now.Sub(l.last).Seconds()*l.rate, l.burst)
	}
	l.last = now
	if l.tokens < 1 {
		return false, "X-Nothing: 0"
	}
	l.tokens--
	return true, "X-Nothing: 0"
}

// offer sends n requests per second through the Transports in turn, for d, waits
// for all, and returns how many failed.
func offer(t *testing.T, trs []*holdoff.Transport, n int, d time.Duration) int {
	var failed atomic.Int64
	var wg sync.WaitGroup
	every := time.Second / time.Duration(n)
	for i := range int(d / every) {
		wg.Go(func() {
			if status, err := get(t, trs[i%len(trs)], fleetKey+"/"); err != nil || status != 200 {
				failed.Add(1)
			}
		})
		time.Sleep(every)
	}
	wg.Wait()
	return int(failed.Load())
}

// A server that says what it can take, in one way or another, is fed at that rate:
// nearly nothing refused, nearly all used, everybody served. By one process, by
// Transports that share a store, and by those whose store goes away in the middle,
// or comes and goes. Then the key is well again, and nothing goes on.
func TestServerIsFedAtItsOwnRate(t *testing.T) {
	bucket := func() *limiter { return &limiter{rate: 100, burst: 10} }
	quota := func() *limiter { return &limiter{limit: 400, window: 4 * time.Second} }
	for _, tt := range []struct {
		name       string
		server     func() *limiter
		processes  int
		store      bool
		goes       bool
		refused    int // at most
		atLeast    int // served of 1,200 in the 4 s
		mayNotFail bool
	}{
		{"a bucket, one process", bucket, 1, false, false, 180, 300, true},
		{"a bucket, one process with a store", bucket, 1, true, false, 180, 300, true},
		{"a bucket, four processes", bucket, 4, true, false, 180, 260, true},
		{"a bucket, four processes, store away", bucket, 4, true, true, 900, 250, false},
		{"a quota, one process", quota, 1, false, false, 5, 360, true},
		{"a quota, four processes", quota, 4, true, false, 150, 340, true},
		{"a quota, four processes, store away", quota, 4, true, true, 700, 300, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			type result struct{ served, refused, failed int }
			runs := fiveTimes(t, func(t *testing.T) result {
				server := tt.server()
				store := &odd{}
				trs := make([]*holdoff.Transport, tt.processes)
				for i := range trs {
					trs[i] = &holdoff.Transport{Base: server}
					if tt.store {
						trs[i].Store = store
					}
				}
				if tt.goes {
					go func() {
						time.Sleep(2 * time.Second)
						store.away.Store(true)
						time.Sleep(10 * time.Second)
						store.away.Store(false)
					}()
				}
				done := make(chan int)
				go func() { done <- offer(t, trs, 300, 4*time.Second) }()
				time.Sleep(4 * time.Second)
				server.mu.Lock()
				served := server.served
				server.mu.Unlock()
				r := result{served, server.refused, <-done}
				time.Sleep(time.Minute)
				for i, tr := range trs {
					// A quota that was used up last is awaited until somebody asks.
					h := keyAt(tr, fleetKey)
					if over := h.Phase == holdoff.Held && !time.Now().Before(h.Until); h.Phase != holdoff.Healthy && !over || h.Waiters != 0 {
						t.Errorf("a minute later, process %d: %v, %d waiting", i, h.Phase, h.Waiters)
					}
				}
				for i, tr := range trs {
					begun := time.Now()
					wants(t, tr, fleetKey+"/", 200)
					if d := time.Since(begun); d > 3*hold.Slot {
						t.Errorf("a minute later, process %d: served after %v", i, d)
					}
				}
				time.Sleep(time.Minute)
				for i, tr := range trs {
					if h := keyAt(tr, fleetKey); h.Phase != holdoff.Healthy {
						t.Errorf("two minutes later, process %d: %v", i, h.Phase)
					}
				}
				asked := store.asked.Load()
				time.Sleep(time.Hour)
				if n := store.asked.Load() - asked; n != 0 {
					t.Errorf("the store was asked %d times about a key that nobody uses", n)
				}
				return r
			})
			served := median(runs, func(r result) int { return r.served })
			refused := median(runs, func(r result) int { return r.refused })
			failed := median(runs, func(r result) int { return r.failed })
			if served < tt.atLeast || refused > tt.refused || failed > 0 && tt.mayNotFail {
				t.Errorf("%d served in the first 4 s, %d refused, %d failed; want %d or more, %d at most, and %v that none may fail; all runs: %+v",
					served, refused, failed, tt.atLeast, tt.refused, tt.mayNotFail, runs)
			}
		})
	}
}

// Who waits at a paced or rationed key may leave, all of them at once as well:
// nothing is left behind, and who comes next is served.
func TestWaitersOfAPacedKeyMayAllLeave(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprint("shared ", shared), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &limiter{rate: 20, burst: 2}
				tr := &holdoff.Transport{Base: server}
				if shared {
					tr.Store = &holdoff.MemoryStore{}
				}
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range 200 {
					wg.Go(func() {
						_, err := statusOf(tr, newRequest(t, "GET", fleetKey+"/", "").WithContext(ctx))
						if err != nil && !errors.Is(err, context.Canceled) {
							t.Errorf("got %v", err)
						}
					})
					time.Sleep(10 * ms)
				}
				if h := keyAt(tr, fleetKey); h.Phase != holdoff.Paced || keyAt(tr, fleetKey).Waiters < 50 {
					t.Errorf("%v, %d waiting; want a paced key with a line", h.Phase, keyAt(tr, fleetKey).Waiters)
				}
				cancel()
				wg.Wait()
				if n := keyAt(tr, fleetKey).Waiters; n != 0 {
					t.Errorf("%d are waiting whose context has ended", n)
				}
				begun := time.Now()
				wants(t, tr, fleetKey+"/", 200)
				if d := time.Since(begun); d > 3*time.Second {
					t.Errorf("the next was served after %v, want a hold.Slot or so", d)
				}
				time.Sleep(time.Minute)
				if h := keyAt(tr, fleetKey); h.Phase != holdoff.Healthy {
					t.Errorf("%v a minute later", h.Phase)
				}
			})
		})
	}
}

// Where the store goes away, a line at a paced key is not let go all at once.
func TestLineOfAPacedKeyIsNotReleasedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &odd{}
		server := &limiter{rate: 100, burst: 10}
		tr := &holdoff.Transport{Base: server, Store: store}
		done := make(chan int)
		go func() { done <- offer(t, []*holdoff.Transport{tr}, 300, 4*time.Second) }()
		time.Sleep(3 * time.Second)
		if n := keyAt(tr, fleetKey).Waiters; n < 200 {
			t.Fatalf("%d are waiting, want a line", n)
		}
		server.mu.Lock()
		before := server.refused
		server.mu.Unlock()
		store.away.Store(true)
		time.Sleep(time.Second)
		server.mu.Lock()
		refused := server.refused - before
		server.mu.Unlock()
		t.Logf("%d refused in the second after the store went away", refused)
		if refused > 150 {
			t.Errorf("%d refused in the second after the store went away, and hundreds were waiting", refused)
		}
		<-done
		time.Sleep(time.Minute)
	})
}

// perPath is a host with a quota for each path, of which it says what remains. All
// are refilled on the minute.
type perPath struct {
	limits map[string]int

	mu      sync.Mutex
	used    map[string]int
	minute  time.Time
	refused int
}

func (l *perPath) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(5 * ms)
	l.mu.Lock()
	now, path := time.Now(), req.URL.Path
	if minute := now.Truncate(time.Minute); minute.After(l.minute) {
		l.minute, l.used = minute, map[string]int{}
	}
	l.used[path]++
	left, status := l.limits[path]-l.used[path], 200
	if left < 0 {
		left, status = 0, 429
		l.refused++
	}
	header := field(left, int((l.minute.Add(time.Minute).Sub(now)+time.Second-1)/time.Second))
	l.mu.Unlock()
	time.Sleep(5 * ms)
	return answer(status, header), nil
}

// A host with several quotas, none of which is used up, is sent all there is,
// though they end as one: the smallest is not taken for that of all.
func TestQuotasOfSeveralPathsHoldNobody(t *testing.T) {
	for _, processes := range []int{0, 1, 4} {
		for _, rate := range []int{5, 20, 100} {
			for _, share := range []int{2, 5, 20} {
				t.Run(fmt.Sprint(processes, " processes, ", rate, "/s, 1 in ", share), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						server := &perPath{limits: map[string]int{"/much": 60 * rate, "/little": 60*rate/share + 20}}
						trs := []*holdoff.Transport{{Base: server}}
						if store := (&holdoff.MemoryStore{}); processes > 0 {
							trs = nil
							for range processes {
								trs = append(trs, &holdoff.Transport{Base: server, Store: store})
							}
						}
						var wg sync.WaitGroup
						var late atomic.Int64
						for i := range 90 * rate {
							path := "/much"
							if i%share == 0 {
								path = "/little"
							}
							wg.Go(func() {
								begun := time.Now()
								status, err := get(t, trs[i/3%len(trs)], fleetKey+path)
								if err != nil || status != 200 || time.Since(begun) > time.Second {
									late.Add(1)
								}
							})
							time.Sleep(time.Second / time.Duration(rate))
						}
						wg.Wait()
						if n := late.Load(); n > 0 || server.refused > 0 {
							t.Errorf("%d of %d failed or were late, %d were refused", n, 90*rate, server.refused)
						}
						time.Sleep(time.Hour)
					})
				})
			}
		}
	}
}

// A healthy request against a host that says what remains allocates nothing of
// ours, in whatever family it says so.
func TestHealthyPathWithQuotaHeadersDoesNotAllocate(t *testing.T) {
	for _, headers := range [][]string{
		nil,
		{`RateLimit: "default";r=50;t=30, "hour";r=400;t=3000`},
		{"RateLimit: limit=100, remaining=50, reset=30"},
		{"X-RateLimit-Remaining: 4999", "X-RateLimit-Reset: 4070908800", "Date: Thu, 01 Jan 2026 12:00:00 GMT"},
		{"X-RateLimit-Remaining: 594.0", "X-RateLimit-Reset: 123", "Age: 0"},
		{"X-RateLimit-Remaining: 4999", "X-RateLimit-Reset: 30", "X-RateLimit-Resource: core"},
	} {
		resp := &http.Response{StatusCode: 200, Header: answer(200, headers...).Header, Body: http.NoBody}
		tr := &holdoff.Transport{Base: roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })}
		req := newRequest(t, "GET", "https://api.example.com/p/42?q=1", "")
		req.Header.Set("Authorization", "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a")
		got := testing.AllocsPerRun(1000, func() {
			if r, err := tr.RoundTrip(req); r != resp || err != nil {
				t.Fatalf("got %v, %v; want Base's response", r, err)
			}
		})
		var counters quota.Counters
		counters.Read(resp.Header, func() uint64 { return 0 }, 0, time.Now(), time.Minute)
		if used := counters.Used(); used != (headers != nil) {
			t.Errorf("%q: it has numbers of a quota: %t", headers, used)
		}
		if got != 0 {
			t.Errorf("%q: got %v allocations per request, want 0", headers, got)
		}
	}
}

// field is a RateLimit field.
func field(left, seconds int) string {
	return fmt.Sprintf(`RateLimit: "default";r=%d;t=%d`, left, seconds)
}
