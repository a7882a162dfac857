package holdoff_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// resources is a host that counts like GitHub: by resource and token, and says so.
type resources struct {
	limits map[string]int // by resource and token: requests per window
	window time.Duration
	silent bool // it gives the resource no name

	mu      sync.Mutex
	start   time.Time
	used    map[string]int
	refused map[string]int // by token
}

// resourceOf is the first segment of a path.
func resourceOf(req *http.Request) string { return strings.Split(req.URL.Path, "/")[1] }

func (s *resources) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(trip / 2)
	s.mu.Lock()
	now := time.Now()
	if now.Sub(s.start) >= s.window {
		s.start, s.used = now, map[string]int{}
	}
	resource, token := resourceOf(req), req.Header.Get("Authorization")
	counter := resource + " " + token[len(token)-1:]
	s.used[counter]++
	left, status := s.limits[counter]-s.used[counter], 200
	if left < 0 {
		left, status = 0, 403
		if s.refused == nil {
			s.refused = map[string]int{}
		}
		s.refused[token[len(token)-1:]]++
	}
	header := []string{
		fmt.Sprint("X-RateLimit-Remaining: ", left),
		fmt.Sprint("X-RateLimit-Reset: ", s.start.Add(s.window).Unix()),
		"Date: " + now.UTC().Format(http.TimeFormat),
	}
	if !s.silent {
		header = append(header, "X-RateLimit-Resource: "+resource)
	}
	s.mu.Unlock()
	time.Sleep(trip / 2)
	return answer(status, header...), nil
}

// A flow is a stream of requests of one token to one resource.
type flow struct {
	resource, token string
	paths           int // of the resource
	rate            int // requests per second, of all replicas

	mu     sync.Mutex
	took   []time.Duration // of those that were served
	failed int
}

// requestOf returns a request that a token sends.
func requestOf(ctx context.Context, path, token string) *http.Request {
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://h"+path, nil)
	req.Header.Set("Authorization", "Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4"+token)
	return req
}

// run sends the flow's requests for so long, by the Transports in turn.
func (f *flow) run(ctx context.Context, trs []*holdoff.Transport, lasts time.Duration) {
	var wg sync.WaitGroup
	for i := range int(lasts.Seconds() * float64(f.rate)) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			path := fmt.Sprintf("/%s/%s", f.resource, strings.Repeat("x", 1+i/len(trs)%f.paths))
			begun := time.Now()
			resp, err := trs[i%len(trs)].RoundTrip(requestOf(ctx, path, f.token))
			f.mu.Lock()
			defer f.mu.Unlock()
			if err != nil || resp.StatusCode != http.StatusOK {
				f.failed++
				return
			}
			f.took = append(f.took, time.Since(begun))
		})
		time.Sleep(time.Second / time.Duration(f.rate))
	}
	wg.Wait()
}

// late returns the longest time that a request took that was served.
func (f *flow) late() time.Duration { return slices.Max(f.took) }

// inMemory returns so many Transports with one store; alone ones where there are 0: one
// process.
func inMemory(replicas int, base http.RoundTripper) (trs []*holdoff.Transport) {
	store := &holdoff.MemoryStore{}
	for range max(replicas, 1) {
		tr := &holdoff.Transport{Base: base, MaxWait: 10 * time.Second}
		if replicas > 0 {
			tr.Store = store
		}
		trs = append(trs, tr)
	}
	return trs
}

// A limit that has a name is one of a token: where one token has used it up, the others are
// served, and so are other limits of that token, whether they were seen before or not.
func TestName_OneIsUsedUp_OthersAreServed(t *testing.T) {
	for _, other := range []struct{ resource, token string }{{"core", "b"}, {"search", "a"}} {
		for _, begins := range []time.Duration{0, 4 * time.Second} {
			for _, replicas := range []int{0, 3, 16, 128} {
				t.Run(fmt.Sprintf("%s of %s after %v, %d replicas", other.resource, other.token, begins, replicas), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						time.Sleep(time.Until(serverNow))
						limit := max(200, 16*replicas) // each replica sees some answers before
						server := &resources{window: time.Minute, limits: map[string]int{"core a": limit, "core b": 100 * limit, "search a": 100 * limit}}
						trs := inMemory(replicas, server)
						greedy := &flow{resource: "core", token: "a", paths: 4, rate: limit / 4}
						well := &flow{resource: other.resource, token: other.token, paths: 4, rate: 50}
						var wg sync.WaitGroup
						wg.Go(func() { greedy.run(t.Context(), trs, 20*time.Second) })
						time.Sleep(begins)
						well.run(t.Context(), trs, 20*time.Second-begins)
						wg.Wait()
						t.Logf("used up: %d served, %d refused; other: %d served, %d failed, at most %v",
							len(greedy.took), server.refused["a"], len(well.took), well.failed, well.late())
						if well.failed > 0 || well.late() > 3*trip {
							t.Errorf("the other: %d failed, one took %v; want none, and 3 round trips at most", well.failed, well.late())
						}
						if n := server.refused["a"]; n > 40 {
							t.Errorf("%d were refused, want 40 at most", n)
						}
					})
				})
			}
		}
	}
}

// A quota is not believed of routes whose answers have not spoken of it: four answers of
// one path held the host in the first version.
func TestQuota_OfOneRoute_HoldsNoOther(t *testing.T) {
	for _, replicas := range []int{0, 3} {
		t.Run(fmt.Sprint(replicas, " replicas"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				left := 8
				trs := inMemory(replicas, baseFunc(func(req *http.Request) (*http.Response, error) {
					if resourceOf(req) != "counted" {
						return answer(200), nil
					}
					left--
					return answer(200, field(max(left, 0), 60)), nil
				}))
				for left > 1 {
					wants(t, trs[0], "http://h/counted", 200)
					time.Sleep(100 * ms)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if status, err := statusOf(trs[0], newRequest(t, "GET", "http://h/counted", "").WithContext(ctx)); err == nil {
					t.Errorf("a request of the route got %d, want it held", status)
				}
				for _, tr := range trs {
					begun := time.Now()
					wants(t, tr, "http://h/other", 200)
					if d := time.Since(begun); d > 0 {
						t.Errorf("a request of another route was served after %v", d)
					}
				}
			})
		})
	}
}

// The same with a real Redis: the replicas share what one token has used up, and nothing
// of the others.
func TestName_OneIsUsedUp_OthersAreServedWithRedis(t *testing.T) {
	srv := redistest.Start(t)
	server := &resources{window: time.Hour, limits: map[string]int{"core a": 40, "core b": 5000}}
	trs := inMemory(3, server)
	for _, tr := range trs {
		tr.Store = redisStore(t, srv.Client(), holdoff.RedisOptions{})
	}
	greedy := &flow{resource: "core", token: "a", paths: 2, rate: 200}
	greedy.run(t.Context(), trs, 500*ms)
	if len(greedy.took) > 40 {
		t.Errorf("%d were served, of 40", len(greedy.took))
	}
	for i, tr := range trs {
		held := func() bool {
			for s := range tr.Keys() {
				if s.Scope.Route == "=core" && s.Scope.Replica == "" && s.Phase == holdoff.Held {
					return true
				}
			}
			return false
		}
		eventually(t, fmt.Sprint("replica ", i, " knows that a token is used up"), held)
	}
	other := &flow{resource: "core", token: "b", paths: 2, rate: 200}
	other.run(t.Context(), trs, 500*ms)
	if other.failed > 0 {
		t.Errorf("%d requests of the other token failed, and %d were served", other.failed, len(other.took))
	}
}

// Where the caller says what draws on one limit, a name says nothing more: Discord's
// buckets have one for all channels.
func TestName_RouteOfTheCallerWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(serverNow))
		server := &resources{window: time.Minute, limits: map[string]int{"core a": 30}}
		tr := inMemory(0, server)[0]
		tr.MaxWait = -1
		tr.Route = func(req *http.Request) string { return req.URL.Query().Get("channel") }
		get := func(channel string) error {
			_, err := tr.RoundTrip(requestOf(t.Context(), "/core/x?channel="+channel, "a"))
			time.Sleep(100 * ms)
			return err
		}
		var held error
		for range 31 {
			held = cmp.Or(held, get("1"))
		}
		if held == nil {
			t.Fatal("the channel that has used up its bucket is not held")
		}
		server.limits["core a"] = 1000
		if err := get("2"); err != nil {
			t.Errorf("another channel: %v", err)
		}
	})
}
