package faults

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

// waiting is a Transport as it must not be: it waits for Redis on a request's
// path.
type waiting struct {
	http.RoundTripper
	rdb redis.UniversalClient
}

func (w waiting) RoundTrip(req *http.Request) (*http.Response, error) {
	w.rdb.Ping(req.Context())
	return w.RoundTripper.RoundTrip(req)
}

// Neither the client nor the store gives up within a minute here, so that who
// waits for a server that is stopped comes back when it goes on, and not before.
func TestNoRequestWaitsForRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("faults: it starts a server")
	}
	t.Parallel()
	begin(t)
	srv := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr, ReadTimeout: -1, WriteTimeout: -1})
	t.Cleanup(func() { rdb.Close() })
	store, err := holdoff.NewRedisStore(rdb, holdoff.RedisOptions{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	tr := &holdoff.Transport{Route: oneScope, Base: byName{}, Store: store, MaxAttempts: 1}

	if late := notBefore(t, srv, tr, 30*time.Second); len(late) > 0 {
		t.Errorf("these have waited for Redis: %q", late)
	}
	if late := notBefore(t, srv, waiting{tr, rdb}, time.Second); len(late) == 0 {
		t.Error("a Transport that waits for Redis was not found")
	}
}

// byName answers as the host's name says.
type byName struct{}

func (byName) RoundTrip(req *http.Request) (*http.Response, error) {
	status, retryAfter := http.StatusOK, ""
	switch {
	case strings.HasPrefix(req.URL.Host, "refuses-long."):
		status, retryAfter = http.StatusTooManyRequests, "240"
	case strings.HasPrefix(req.URL.Host, "refuses."):
		status, retryAfter = http.StatusTooManyRequests, "1"
	case strings.HasPrefix(req.URL.Host, "fails.") && req.URL.Path != "/well":
		status = http.StatusInternalServerError
	}
	resp := &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: req}
	if retryAfter != "" {
		resp.Header.Set("Retry-After", retryAfter)
	}
	return resp, nil
}

// notBefore stops the server, has requests of every kind made, each again and
// again, and returns those kinds that were not done before it goes on.
func notBefore(t *testing.T, srv *redistest.Server, rt http.RoundTripper, patience time.Duration) []string {
	kinds := map[string][]string{ // what is asked for, in a row
		"healthy":           {"well.example/"},
		"refused for long":  {"refuses-long.example/"}, // and held from the second on
		"refused for short": {"refuses.example/"},
		"failed":            {"fails.example/"}, // and the fleet is told of the third
		"well again":        {"fails.first.example/", "fails.first.example/", "fails.first.example/", "fails.first.example/well"},
	}
	var mu sync.Mutex
	late := slices.Sorted(maps.Keys(kinds)) // guarded by mu
	var all sync.WaitGroup
	srv.Pause()
	for kind, row := range kinds {
		all.Go(func() {
			for _, url := range slices.Repeat(row, 5) {
				req, err := http.NewRequestWithContext(context.Background(), "GET", "http://"+url, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if resp, err := rt.RoundTrip(req); err == nil {
					resp.Body.Close()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			late = slices.DeleteFunc(late, func(k string) bool { return k == kind })
		})
	}
	left := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(late)
	}
	for end := time.Now().Add(patience); len(left()) > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	found := left()
	srv.Continue()
	all.Wait()
	return found
}

// The latencies that the whole suite compares show it as well.
func TestTransportThatWaitsIsSlower(t *testing.T) {
	wanted(t)
	t.Parallel()
	begin(t)
	srv := redistest.Start(t)
	r := newIdleRig(t, 2, func(int) redis.UniversalClient { return redis.NewClient(&redis.Options{Addr: srv.Addr}) })
	for _, rep := range r.replicas {
		rep.asks = waiting{rep.tr, rep.rdb}
	}
	r.start()
	time.Sleep(time.Second)
	before := r.measure()
	srv.Pause()
	time.Sleep(2 * time.Second)
	srv.Continue()
	time.Sleep(500 * time.Millisecond)
	if what := slower(before, r.measure()); len(what) == 0 {
		t.Error("a Transport that waits for Redis was not found")
	}
}

// What counts as slower, and what does not.
func TestSlower(t *testing.T) {
	requests := func(n int, total, own time.Duration) *window {
		return &window{total: slices.Repeat([]time.Duration{total}, n), own: slices.Repeat([]time.Duration{own}, n)}
	}
	const ms = time.Millisecond
	before := requests(100, ms, 0)
	before.hiccup = 5 * ms
	for _, c := range []struct {
		name   string
		w      *window
		total  time.Duration // of a few more requests
		own    time.Duration
		hiccup time.Duration
		want   string // what is said begins with it
	}{
		{name: "as before", w: requests(100, ms, 0)},
		{name: "the server is slower", w: requests(100, 60*ms, 0)},
		{name: "all are slower in the Transport, a little", w: requests(100, 40*ms, 40*ms)},
		{name: "all are slower in the Transport", w: requests(100, 60*ms, 60*ms), want: "p99"},
		{name: "the server was slow for a few", w: requests(100, ms, 0), total: 300 * ms},
		{name: "a few are slow in the Transport", w: requests(10_000, ms, 0), total: 251 * ms, own: 250 * ms, want: "a healthy request spent 250ms"},
		{name: "the machine slept", w: requests(100, ms, 0), total: 300 * ms, own: 300 * ms, hiccup: 80 * ms},
		{name: "nobody came through", w: requests(10, ms, 0), want: "only 10 requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.total > 0 {
				c.w.total = append(c.w.total, c.total, c.total)
				c.w.own = append(c.w.own, c.own, c.own)
			}
			c.w.hiccup = c.hiccup
			what := strings.Join(slower(before, c.w), "; ")
			if !strings.HasPrefix(what, c.want) || (what != "") != (c.want != "") {
				t.Errorf("got %q, want %q", what, c.want)
			}
		})
	}
}
