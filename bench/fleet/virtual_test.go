package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-holdoff/holdoff"
)

// network carries requests to a server in this process, in virtual time.
type network struct {
	server http.Handler
	delay  time.Duration // of each way at least; at most half as much more
}

func (n network) RoundTrip(req *http.Request) (*http.Response, error) {
	answered := make(chan *http.Response, 1)
	go func() { // goes on when the client has given up, as a server does
		n.travel()
		w := httptest.NewRecorder()
		n.server.ServeHTTP(w, req)
		answered <- w.Result()
	}()
	select {
	case resp := <-answered:
		n.travel()
		resp.Request = req
		return resp, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func (n network) travel() { time.Sleep(n.delay + time.Duration(rand.Int64N(int64(n.delay/2+1)))) }

// counted counts exchanges with a store, and delays them as a network would.
type counted struct {
	holdoff.Store
	exchanges *atomic.Int64
}

func (c counted) Exchange(ctx context.Context, key string, n holdoff.News) (holdoff.State, error) {
	c.exchanges.Add(1)
	time.Sleep(time.Millisecond)
	return c.Store.Exchange(ctx, key, n)
}

type scenario struct {
	name     string
	server   func() http.Handler
	work     Work
	capacity float64
}

type slow struct{ http.Handler }

func (s slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Handler.ServeHTTP(w, r)
	time.Sleep(500 * time.Millisecond)
}

var errNetwork = errors.New("no route")

var scenarios = []scenario{
	{"throttle", func() http.Handler {
		return &Phased{Bad: Between(2*time.Second, 10*time.Second), Status: 429, Header: http.Header{"Retry-After": {"2"}}}
	}, Work{16, 25, 15 * time.Second, 30 * time.Second, 20}, 0},
	{"outage", func() http.Handler {
		return &Phased{Bad: Between(2*time.Second, 10*time.Second), Status: 503}
	}, Work{16, 25, 15 * time.Second, 30 * time.Second, 20}, 0},
	{"quota", func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second} }, Work{16, 40, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"quota-floor", func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second, Floor: true} }, Work{16, 40, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"bucket", func() http.Handler { return &Bucket{Rate: 200, Burst: 20, Hint: 1} }, Work{16, 25, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"bucket-nohint", func() http.Handler { return &Bucket{Rate: 200, Burst: 20} }, Work{16, 25, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"bucket-60s", func() http.Handler { return &Bucket{Rate: 400, Burst: 20, Hint: 1} }, Work{16, 26, 60 * time.Second, 60 * time.Second, 20}, 400},
	{"scarce", func() http.Handler { return &Bucket{Rate: 5, Burst: 5, Hint: 1} }, Work{10, 1, 20 * time.Second, 60 * time.Second, 20}, 5},
	{"rich", func() http.Handler { return &Bucket{Rate: 2000, Burst: 200, Hint: 1} }, Work{16, 250, 8 * time.Second, 60 * time.Second, 20}, 2000},
	{"slightly", func() http.Handler { return &Bucket{Rate: 400, Burst: 40, Hint: 1} }, Work{16, 26, 20 * time.Second, 60 * time.Second, 20}, 400},
	{"noise", func() http.Handler { return &Random{0.02, 429, 1} }, Work{16, 25, 10 * time.Second, 60 * time.Second, 20}, 400},
	{"refused-path", func() http.Handler { return Paths{"/0": &Random{1, 429, 1}} }, Work{16, 25, 20 * time.Second, 60 * time.Second, 20}, 380},
	{"refused-3%", func() http.Handler { return Paths{"/0": &Random{1, 429, 1}} }, Work{16, 25, 20 * time.Second, 60 * time.Second, 33}, 388},
	{"refused-40%", func() http.Handler { return Paths{"/0": &Random{1, 429, 1}, "/1": &Random{1, 429, 1}} }, Work{16, 25, 20 * time.Second, 60 * time.Second, 5}, 240},
	{"partial", func() http.Handler { return BrokenPath("/0") }, Work{16, 25, 10 * time.Second, 60 * time.Second, 20}, 400},
	{"flapping", func() http.Handler {
		return &Phased{Bad: func(t time.Duration) bool { return t < 20*time.Second && int(t/time.Second)%2 == 1 }, Status: 503}
	}, Work{16, 25, 20 * time.Second, 30 * time.Second, 20}, 400},
	{"brownout", func() http.Handler {
		return &Queue{Workers: 4, Room: 100, Work: 10 * time.Millisecond, Slower: 4, Bad: Between(3*time.Second, 10*time.Second)}
	}, Work{16, 18, 20 * time.Second, 30 * time.Second, 20}, 0},
	{"alone-bucket", func() http.Handler { return &Bucket{Rate: 200, Burst: 20, Hint: 1} }, Work{1, 400, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"alone-quota", func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second} }, Work{1, 640, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"bucket-1000", func() http.Handler { return &Bucket{Rate: 200, Burst: 20, Hint: 1} }, Work{1000, 0.4, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"quota-1000", func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second} }, Work{1000, 0.64, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"demand-60%", func() http.Handler { return &Bucket{Rate: 200, Burst: 20, Hint: 1} }, Work{16, 7.5, 30 * time.Second, 60 * time.Second, 20}, 120},
	{"spike", func() http.Handler { return &Bucket{Rate: 250, Burst: 25, Hint: 1} }, Work{16, 12.5, 30 * time.Second, 60 * time.Second, 20}, 200},
	{"slow", func() http.Handler { return slow{&Bucket{Rate: 200, Burst: 20, Hint: 1}} }, Work{16, 25, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"perpath", func() http.Handler {
		return Paths{"/0": &Bucket{Rate: 2, Burst: 2, Hint: 1}, "/1": &Bucket{Rate: 2, Burst: 2, Hint: 1}}
	}, Work{16, 25, 20 * time.Second, 60 * time.Second, 10}, 400},
	{"bucket-100", func() http.Handler { return &Bucket{Rate: 200, Burst: 20, Hint: 1} }, Work{100, 4, 8 * time.Second, 60 * time.Second, 20}, 200},
	{"quota-100", func() http.Handler { return &Quota{Limit: 400, Window: 2 * time.Second} }, Work{100, 6.4, 8 * time.Second, 60 * time.Second, 20}, 200},
}

func TestSketch(t *testing.T) {
	only := os.Getenv("ONLY")
	for _, s := range scenarios {
		if only != "" && only != s.name {
			continue
		}
		for seed := range seeds() {
			synctest.Test(t, func(t *testing.T) {
				server := &tally{server: s.server(), start: time.Now()}
				base := network{server, 4 * time.Millisecond}
				var exchanges atomic.Int64
				store := counted{&holdoff.MemoryStore{}, &exchanges}
				clients := make([]*http.Client, s.work.Replicas)
				for i := range clients {
					clients[i] = &http.Client{Transport: &holdoff.Transport{Base: base, Store: store, PerAttemptTimeout: 5 * time.Second}}
					if i == 0 && os.Getenv("EVENTS") != "" {
						begun := time.Now()
						clients[i].Transport.(*holdoff.Transport).Observe = func(_ context.Context, e holdoff.Event) {
							switch e.Kind {
							case holdoff.HoldStarted, holdoff.HoldChanged, holdoff.HoldEnded:
								t.Log(time.Since(begun).Round(time.Millisecond), e.Kind, e.Phase, e.Hold.Round(time.Millisecond), e.Level, e.Shared)
							}
						}
					}
				}
				answers := s.work.Run(t.Context(), "http://api.example", func(i int) *http.Client { return clients[i] }, seed)
				r := result(answers, server.slots)
				use := 0.0
				if s.capacity > 0 {
					use = r.Goodput(0, s.work.Sending) / s.capacity
				}
				t.Logf("%-14s requests %5d served %5d failed %4d refused %5d (%4.1f%%) use %3.0f%% p50 %6v p99 %6v last %6v exchanges %d", s.name, r.Requests, r.Served, r.Failed, r.Refused, 100*float64(r.Refused)/float64(r.Served), 100*use, r.P50.Round(time.Millisecond), r.P99.Round(time.Millisecond), r.Last.Round(time.Millisecond), exchanges.Load())
				if os.Getenv("SLOTS") != "" {
					t.Log(r.Slots)
				}
				time.Sleep(2 * time.Minute)
			})
		}
	}
}

func seeds() uint64 {
	n, _ := strconv.ParseUint(os.Getenv("SEEDS"), 10, 64)
	return max(n, 2)
}
