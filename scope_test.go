package holdoff_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// A visit is one request of a crowd, and where it stands.
type visit struct {
	replica, route, credential int
	at, took                   time.Duration
	served                     bool
}

// crowd is a fleet whose requests are spread over routes and credentials.
type crowd struct {
	replicas, routes, credentials int
	alone                         bool // nothing is shared
	rate                          int  // requests per second, of all
	lasts                         time.Duration
	debug                         bool
	path                          func(route int) string
	// server answers a request: a status, and a hint in seconds.
	server func(v visit) (status, hint int)
}

// result is what became of a crowd.
type result struct {
	visits  []visit
	refused int // sends that were not served
	mu      sync.Mutex
}

// served returns the share of the visits that were served, of those that are meant, and the
// time that 99 % of them took at most.
func (r *result) served(meant func(visit) bool) (share float64, p99 time.Duration) {
	var took []time.Duration
	n := 0
	for _, v := range r.visits {
		if !meant(v) {
			continue
		}
		n++
		if v.served {
			took = append(took, v.took)
		}
	}
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return float64(len(took)) / float64(n), took[len(took)*99/100]
}

const trip = 20 * time.Millisecond

func (c crowd) run(t *testing.T) *result {
	t.Helper()
	r := &result{}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		store := &holdoff.MemoryStore{}
		var wg sync.WaitGroup
		for replica := range c.replicas {
			tr := &holdoff.Transport{MaxWait: 10 * time.Second}
			if !c.alone {
				tr.Store = store
			}
			tr.Base = baseFunc(func(req *http.Request) (*http.Response, error) {
				v := visit{replica: replica, at: time.Since(start)}
				v.route, _ = strconv.Atoi(req.Header.Get("Route"))
				v.credential, _ = strconv.Atoi(req.Header.Get("Number"))
				time.Sleep(trip)
				status, hint := c.server(v)
				if status != http.StatusOK {
					r.mu.Lock()
					r.refused++
					r.mu.Unlock()
				}
				resp := answer(status)
				if hint > 0 {
					resp.Header.Set("Retry-After", strconv.Itoa(hint))
				}
				return resp, nil
			})
			if c.debug && replica == 0 {
				tr.Observe = func(_ context.Context, e holdoff.Event) {
					if e.Kind >= holdoff.HoldStarted {
						t.Log(time.Since(start), e.Kind, e.Scope, e.Phase, e.Hold, e.Shared)
					}
				}
			}
			random := rand.New(rand.NewPCG(7, uint64(replica)))
			wg.Go(func() {
				pause := time.Second * time.Duration(c.replicas) / time.Duration(c.rate)
				for at := time.Duration(random.Int64N(int64(pause))); at < c.lasts; at += pause {
					time.Sleep(time.Until(start.Add(at)))
					v := visit{replica: replica, route: random.IntN(c.routes), credential: random.IntN(max(c.credentials, 1)), at: at}
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						defer cancel()
						path := "/api/" + strings.Repeat("x", v.route+1)
						if c.path != nil {
							path = c.path(v.route)
						}
						req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://h"+path, nil)
						req.Header.Set("Route", strconv.Itoa(v.route))
						req.Header.Set("Number", strconv.Itoa(v.credential))
						if c.credentials > 0 {
							req.Header.Set("Authorization", fmt.Sprintf("Bearer %032d", v.credential))
						}
						resp, err := tr.RoundTrip(req)
						v.took = time.Since(start) - v.at
						v.served = err == nil && resp.StatusCode == http.StatusOK
						r.mu.Lock()
						r.visits = append(r.visits, v)
						r.mu.Unlock()
					})
				}
			})
		}
		wg.Wait()
	})
	return r
}

// inRoutes and inCredentials are parts of a crowd: the first n of each.
func inRoutes(n int) func(visit) bool      { return func(v visit) bool { return v.route < n } }
func inCredentials(n int) func(visit) bool { return func(v visit) bool { return v.credential < n } }

// always is a server that never takes a part of a crowd.
func always(refused func(visit) bool) func() func(visit) (int, int) {
	return func() func(visit) (int, int) {
		return func(v visit) (int, int) {
			if refused(v) {
				return 429, 30
			}
			return 200, 0
		}
	}
}

// The worst property of the first version: whatever one endpoint, one credential or one
// replica was told, the whole host obeyed.
func TestScope_LimitOfAPartHoldsNobodyElse(t *testing.T) {
	bucketHint := func(hint int) func(v visit) (int, int) {
		var mu sync.Mutex
		tokens, last := 5.0, time.Duration(0)
		return func(v visit) (int, int) {
			mu.Lock()
			defer mu.Unlock()
			if v.route != 0 {
				return 200, 0
			}
			tokens, last = min(tokens+5*(v.at-last).Seconds(), 5), v.at
			if tokens < 1 {
				return 429, hint
			}
			tokens--
			return 200, 0
		}
	}
	bucket := func() func(v visit) (int, int) { return bucketHint(3) }
	for _, tt := range []struct {
		name    string
		crowd   crowd
		server  func() func(visit) (int, int)
		limited func(visit) bool
	}{
		{"route", crowd{routes: 20, credentials: 1}, func() func(visit) (int, int) {
			return func(v visit) (int, int) {
				if v.route == 0 {
					return 429, 30
				}
				return 200, 0
			}
		}, func(v visit) bool { return v.route == 0 }},
		{"credential", crowd{routes: 20, credentials: 8}, func() func(visit) (int, int) {
			return func(v visit) (int, int) {
				if v.credential == 0 {
					return 429, 30
				}
				return 200, 0
			}
		}, func(v visit) bool { return v.credential == 0 }},
		{"bucket of a route", crowd{routes: 8, credentials: 1}, bucket, func(v visit) bool { return v.route == 0 }},
		{"bucket of a route without a hint", crowd{routes: 8, credentials: 1}, func() func(v visit) (int, int) { return bucketHint(0) }, inRoutes(1)},
		{"replica", crowd{routes: 20, credentials: 1}, func() func(visit) (int, int) {
			return func(v visit) (int, int) {
				if v.replica == 0 {
					return 429, 30
				}
				return 200, 0
			}
		}, func(v visit) bool { return v.replica == 0 }},
		{"two routes, then a third", crowd{routes: 20, credentials: 1}, func() func(visit) (int, int) {
			return func(v visit) (int, int) {
				if v.route < 2 || v.route == 2 && v.at > 5*time.Second {
					return 429, 30
				}
				return 200, 0
			}
		}, func(v visit) bool { return v.route < 3 }},
		{"2 routes", crowd{routes: 20, credentials: 1}, always(inRoutes(2)), inRoutes(2)},
		{"3 routes", crowd{routes: 20, credentials: 1}, always(inRoutes(3)), inRoutes(3)},
		{"5 routes", crowd{routes: 20, credentials: 1}, always(inRoutes(5)), inRoutes(5)},
		{"2 credentials of 8", crowd{routes: 20, credentials: 8}, always(inCredentials(2)), inCredentials(2)},
		{"3 credentials of 20", crowd{routes: 20, credentials: 20}, always(inCredentials(3)), inCredentials(3)},
		{"3 credentials of 8", crowd{routes: 20, credentials: 8}, always(inCredentials(3)), inCredentials(3)},
		{"5 credentials of 20", crowd{routes: 20, credentials: 20}, always(inCredentials(5)), inCredentials(5)},
		{"5 credentials of 8", crowd{routes: 20, credentials: 8}, always(inCredentials(5)), inCredentials(5)},
	} {
		for _, n := range []int{-1, 1, 2, 16, 128} {
			name := fmt.Sprintf("%s, %d replicas", tt.name, n)
			c := tt.crowd
			if c.replicas = n; n < 0 {
				c.replicas, c.alone = 16, true
				name = tt.name + ", alone"
			}
			if n == 1 && tt.name == "replica" {
				continue // it has no others
			}
			t.Run(name, func(t *testing.T) {
				c.rate, c.lasts, c.server = 400, 20*time.Second, tt.server()
				r := c.run(t)
				share, p99 := r.served(func(v visit) bool { return !tt.limited(v) })
				own, _ := r.served(tt.limited)
				t.Logf("others: %.2f %% served, p99 %v; limited: %.1f %%; %d sends refused", 100*share, p99, 100*own, r.refused)
				if share < 0.999 {
					t.Errorf("%.2f %% of the others were served, want 99.9 %%", 100*share)
				}
				if _, several := strconv.Atoi(tt.name[:1]); p99 > 3*trip && several != nil {
					t.Errorf("99 %% of the others were served in %v, want 3 round trips", p99)
				}
			})
		}
	}
}

// A throttle of the whole host is found to be one, whatever its paths are.
func TestScope_LimitOfTheHostHoldsAll(t *testing.T) {
	for _, tt := range []struct {
		routes int
		path   func(int) string
	}{{1, nil}, {5, nil}, {20, nil}, {500, func(r int) string {
		return "/" + string(rune('a'+r%26)) + "/" + string(rune('a'+r/26))
	}}, {500, func(r int) string { return fmt.Sprintf("/users/%d", r) }}} {
		for _, alone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d routes, %v, alone %v", tt.routes, tt.path != nil, alone), func(t *testing.T) {
				c := crowd{replicas: 16, routes: tt.routes, credentials: 1, alone: alone, rate: 400, lasts: 15 * time.Second, path: tt.path}
				c.server = func(v visit) (int, int) {
					if v.at > 2*time.Second && v.at < 10*time.Second {
						return 429, 2
					}
					return 200, 0
				}
				r := c.run(t)
				share, p99 := r.served(func(visit) bool { return true })
				t.Logf("%.2f %% served, p99 %v; %d sends refused", 100*share, p99, r.refused)
				if share < 1 {
					t.Errorf("%.2f %% were served, want all", 100*share)
				}
			})
		}
	}
}

// A limit moves from one route to the whole host and back: each is found for what it is.
func TestScope_LimitThatMovesIsFollowed(t *testing.T) {
	for _, alone := range []bool{false, true} {
		c := crowd{replicas: 16, routes: 20, credentials: 1, alone: alone, rate: 400, lasts: 40 * time.Second}
		route := func(v visit) bool {
			return v.route == 0 && (v.at < 10*time.Second || 24*time.Second < v.at && v.at < 34*time.Second)
		}
		c.server = func(v visit) (int, int) {
			if route(v) || 12*time.Second < v.at && v.at < 20*time.Second {
				return 429, 2
			}
			return 200, 0
		}
		r := c.run(t)
		beside, p99 := r.served(func(v visit) bool {
			return v.route != 0 && (v.at < 10*time.Second || 24*time.Second < v.at)
		})
		all, _ := r.served(func(v visit) bool { return true })
		t.Logf("alone %v: %.2f %% of all served; beside the route %.2f %%, p99 %v; %d refused", alone, 100*all, 100*beside, p99, r.refused)
		if all < 0.97 || beside < 0.999 || p99 > 3*trip {
			t.Errorf("alone %v: %.2f %% of all were served, and beside the route %.2f %%, p99 %v", alone, 100*all, 100*beside, p99)
		}
	}
}

// Of 1,000 routes one is limited; and where each path is a route of its own, what is
// remembered is bounded, and a throttled host is found to be one.
func TestScope_ManyRoutes(t *testing.T) {
	word := func(r int) string {
		return "/users/" + string([]rune{rune('a' + r%26), rune('a' + r/26%26), rune('a' + r/676%26)})
	}
	for _, tt := range []struct {
		name    string
		server  func(v visit) (int, int)
		others  func(v visit) bool
		refused int
	}{
		{"one of 1,000 is limited", func(v visit) (int, int) {
			if v.route == 0 {
				return 429, 30
			}
			return 200, 0
		}, func(v visit) bool { return v.route != 0 }, 20},
		{"all are throttled", func(v visit) (int, int) {
			if 2*time.Second < v.at && v.at < 10*time.Second {
				return 429, 2
			}
			return 200, 0
		}, func(visit) bool { return true }, 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := crowd{replicas: 16, routes: 1000, credentials: 8, rate: 400, lasts: 15 * time.Second, path: word, server: tt.server}
			r := c.run(t)
			share, _ := r.served(tt.others)
			t.Logf("%.2f %% served; %d refused", 100*share, r.refused)
			if share < 0.999 || r.refused > tt.refused {
				t.Errorf("%.2f %% were served, and %d sends refused; want 99.9 %%, and %d at most", 100*share, r.refused, tt.refused)
			}
		})
	}
}
