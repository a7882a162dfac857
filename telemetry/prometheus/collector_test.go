package holdoffprom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/go-holdoff/holdoff"
)

// script answers with statuses in turn, then with 200: 0 is an error, and a
// 429 asks for silence of 5 s.
type script struct {
	mu       sync.Mutex
	statuses []int
}

func (s *script) RoundTrip(*http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := httptest.NewRecorder()
	if len(s.statuses) > 0 {
		status := s.statuses[0]
		s.statuses = s.statuses[1:]
		if status == 0 {
			return nil, errors.New("broken")
		}
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "5")
		}
		w.WriteHeader(status)
	}
	return w.Result(), nil
}

// watched returns a Transport with a Collector.
func watched(statuses ...int) (*holdoff.Transport, *Collector) {
	transport := &holdoff.Transport{
		Route:   oneScope,
		Base:    &script{statuses: statuses},
		Backoff: holdoff.Exponential{Base: 3 * time.Second, Jitter: holdoff.NoJitter},
	}
	collector := &Collector{Transport: transport}
	transport.Observe = collector.Observe
	return transport, collector
}

func send(ctx context.Context, transport *holdoff.Transport, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// exposed is what a scrape gets.
func exposed(t *testing.T, collector prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).
		ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// want checks that a scrape has the lines, and no other series of their metrics.
func want(t *testing.T, collector prometheus.Collector, lines ...string) {
	t.Helper()
	text := exposed(t, collector)
	got := map[string]bool{}
	for line := range strings.Lines(text) {
		got[strings.TrimSpace(line)] = true
	}
	named := map[string]int{}
	for _, line := range lines {
		if !got[line] {
			t.Errorf("the scrape has no %s", line)
		}
		name, _, _ := strings.Cut(line, "{")
		named[name]++
	}
	for name, n := range named {
		if series := strings.Count(text, "\n"+name+"{"); series > n {
			t.Errorf("%s: got %d series, want %d", name, series, n)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, collector := watched(503, 0, 200)
		send(t.Context(), transport, "http://h/path")
		send(t.Context(), transport, "http://h/path")
		want(t, collector,
			`holdoff_attempts_total{code="200",key="http://h"} 1`,
			`holdoff_attempts_total{code="503",key="http://h"} 1`,
			`holdoff_attempts_total{code="error",key="http://h"} 1`,
			`holdoff_retries_total{key="http://h"} 1`,
			`holdoff_waits_total{key="http://h",reason="server error"} 1`,
			`holdoff_wait_seconds_count{key="http://h"} 1`,
			`holdoff_wait_seconds_sum{key="http://h"} 3`,
		)
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, collector := watched(429)
		go send(t.Context(), transport, "http://h/")
		time.Sleep(2 * time.Second)
		want(t, collector,
			`holdoff_holds_total{key="http://h",origin="own",scope="key"} 1`,
			`holdoff_keys{key="http://h",phase="held",scope="key"} 1`,
			`holdoff_waiters{key="http://h"} 1`,
			`holdoff_held_seconds_total{key="http://h",scope="key"} 2`,
			`holdoff_waits_total{key="http://h",reason="held"} 1`,
		)
		time.Sleep(time.Minute)
		want(t, collector,
			`holdoff_held_seconds_total{key="http://h",scope="key"} 5`,
			`holdoff_wait_seconds_sum{key="http://h"} 5`,
			`holdoff_wait_seconds_count{key="http://h"} 1`,
			`holdoff_attempts_total{code="200",key="http://h"} 1`,
			`holdoff_attempts_total{code="429",key="http://h"} 1`,
		)
		if text := exposed(t, collector); strings.Contains(text, "holdoff_keys{") || strings.Contains(text, "holdoff_waiters{") {
			t.Errorf("a key that is well is shown:\n%s", text)
		}
	})
}

func TestGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, collector := watched(500, 500, 500, 500, 429)
		send(t.Context(), transport, "http://h/") // all attempts
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		send(ctx, transport, "http://h/") // the hint is past the deadline
		send(ctx, transport, "http://h/") // and so is the hold
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		send(ctx, transport, "http://h/") // it leaves the line
		want(t, collector,
			`holdoff_gave_up_total{key="http://h",reason="attempts"} 1`,
			`holdoff_gave_up_total{key="http://h",reason="wait too long"} 1`,
			`holdoff_gave_up_total{key="http://h",reason="held"} 1`,
			`holdoff_gave_up_total{key="http://h",reason="context"} 1`,
		)
	})
}

// A key that has failed now and then, and is not held, is not shown.
func TestFailingKeyIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, collector := watched(500, 500, 500, 500)
		send(t.Context(), transport, "http://h/")
		if text := exposed(t, collector); strings.Contains(text, "holdoff_keys{") {
			t.Errorf("a key that is not held is shown:\n%s", text)
		}
	})
}

// A key that is counted or paced is not held.
func TestOtherPhasesAreNoHolds(t *testing.T) {
	collector := &Collector{}
	for _, phase := range []holdoff.Phase{holdoff.Counted, holdoff.Paced, holdoff.Rationed, holdoff.Held} {
		collector.Observe(t.Context(), holdoff.Event{Kind: holdoff.HoldStarted, Key: "http://h", Phase: phase})
	}
	want(t, collector, `holdoff_holds_total{key="http://h",origin="own",scope="key"} 1`)
}

// A hold that no request looks at ends in time, and one that is extended
// counts once.
func TestHeldSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		collector := &Collector{MaxKeys: 1}
		tell := func(kind holdoff.EventKind, key string, hold time.Duration) {
			collector.Observe(t.Context(), holdoff.Event{Kind: kind, Key: key, Hold: hold})
		}
		tell(holdoff.HoldStarted, "a", 10*time.Second)
		tell(holdoff.HoldStarted, "b", 10*time.Second)
		time.Sleep(5 * time.Second)
		tell(holdoff.HoldChanged, "a", 10*time.Second)
		tell(holdoff.HoldStarted, "c", 2*time.Second)
		time.Sleep(time.Second)
		tell(holdoff.HoldEnded, "c", 0)
		want(t, collector, `holdoff_held_seconds_total{key="a",scope="key"} 6`, `holdoff_held_seconds_total{key="other",scope="key"} 6`)
		time.Sleep(time.Hour)
		want(t, collector, `holdoff_held_seconds_total{key="a",scope="key"} 15`, `holdoff_held_seconds_total{key="other",scope="key"} 10`)
		tell(holdoff.HoldStarted, "a", time.Minute)
		time.Sleep(time.Second)
		tell(holdoff.HoldEnded, "a", 0) // the store says so, before its time
		time.Sleep(time.Hour)
		want(t, collector, `holdoff_held_seconds_total{key="a",scope="key"} 16`, `holdoff_held_seconds_total{key="other",scope="key"} 10`)
	})
}

// However many hosts, codes and reasons there are, the series are bounded.
func TestCardinality(t *testing.T) {
	collector := &Collector{MaxKeys: 3}
	for i := range 10_000 {
		key := fmt.Sprintf("http://h%d", i)
		collector.Observe(t.Context(), holdoff.Event{Kind: holdoff.Attempted, Key: key, Status: i % 1200, Attempt: 1})
		collector.Observe(t.Context(), holdoff.Event{Kind: holdoff.Waiting, Key: key, Reason: key})
		collector.Observe(t.Context(), holdoff.Event{Kind: holdoff.GaveUp, Key: key, Reason: key, Waited: time.Second})
		collector.Observe(t.Context(), holdoff.Event{Kind: holdoff.HoldStarted, Phase: holdoff.Held, Key: key, Hold: time.Minute})
	}
	const keys, reasons, codes = 3 + 1, maxReasons + 1, 64
	for name, most := range map[string]int{
		"holdoff_attempts_total":     keys * codes,
		"holdoff_retries_total":      keys,
		"holdoff_waits_total":        keys + reasons,
		"holdoff_gave_up_total":      keys + reasons,
		"holdoff_wait_seconds":       keys,
		"holdoff_holds_total":        keys,
		"holdoff_held_seconds_total": keys,
	} {
		if got := testutil.CollectAndCount(collector, name); got > most || got < keys {
			t.Errorf("%s: got %d series, want %d to %d", name, got, keys, most)
		}
	}
	want(t, collector, `holdoff_retries_total{key="http://h0"} 1`, `holdoff_retries_total{key="http://h1"} 1`,
		`holdoff_retries_total{key="http://h2"} 1`, `holdoff_retries_total{key="other"} 9997`)
}

// Keys that only other replicas have used take no place, and are counted.
func TestKeysOfOtherReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &holdoff.MemoryStore{}
		elsewhere, _ := watched(429, 429, 429)
		elsewhere.Store, elsewhere.MaxWait = store, -1
		here, collector := watched()
		here.Store = store
		for i := range 3 {
			send(t.Context(), elsewhere, fmt.Sprintf("http://h%d/", i))
		}
		synctest.Wait()
		want(t, collector, `holdoff_keys{key="other",phase="held",scope="key"} 3`)
		send(t.Context(), here, "http://h1/")
		want(t, collector, `holdoff_holds_total{key="http://h1",origin="fleet",scope="key"} 1`, `holdoff_store_up 1`)
	})
}

func TestMadeUpCodes(t *testing.T) {
	for status, want := range map[int]string{0: "error", 200: "200", 429: "429", 299: "200", 499: "400", 599: "500", 99: "500", 999: "500"} {
		if got := code(holdoff.Event{Status: status}); got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}

// Where Transport.Key makes no valid text, its bytes are escaped, and a scrape works.
func TestKeyThatIsNoText(t *testing.T) {
	transport, collector := watched(429)
	transport.Key, transport.MaxWait = func(*http.Request) string { return "a\xffb\"\n" }, -1
	send(t.Context(), transport, "http://h/")
	want(t, collector, `holdoff_keys{key="a%ffb\"%0a",phase="held",scope="key"} 1`, `holdoff_attempts_total{code="429",key="a%ffb\"%0a"} 1`)
}

// Scrapes while everything happens, for the race detector.
func TestConcurrentScrapes(t *testing.T) {
	transport, collector := watched(503, 429)
	transport.MaxWait = 10 * time.Millisecond
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				send(t.Context(), transport, fmt.Sprintf("http://h%d/", i%3))
				exposed(t, collector)
			}
		})
	}
	wg.Wait()
}
