package holdoffotel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/go-holdoff/holdoff"
)

// points are the values of a metric by its attributes; of a histogram, the sum.
func points(m *metricdata.Metrics) map[string]float64 {
	got := map[string]float64{}
	put := func(set attribute.Set, v float64) {
		got[set.Encoded(attribute.DefaultEncoder())] = v
	}
	if m == nil {
		return got
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			put(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			put(p.Attributes, float64(p.Value))
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			put(p.Attributes, p.Sum)
		}
	}
	return got
}

func (r *rig) want(t *testing.T, name string, want map[string]float64) {
	t.Helper()
	if got := points(r.read(t)[name]); !maps.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", name, got, want)
	}
}

type values = map[string]float64

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const h = "server.address=h,server.port=80"
		r := newRig(t, Options{}, 503, 0, 429)
		r.Store = &holdoff.MemoryStore{}
		r.send(t.Context(), "http://h/")
		r.want(t, "holdoff.attempts", values{
			"error.type=503,http.response.status_code=503," + h: 1,
			"error.type=error," + h:                             1,
		})
		r.want(t, "holdoff.retries", values{h: 1})
		r.want(t, "holdoff.waits", values{"holdoff.reason=server error," + h: 1})
		r.want(t, "holdoff.wait.duration", values{h: 3})
		if got := r.read(t)["http.client.request.duration"].Data.(metricdata.Histogram[float64]); len(got.DataPoints) != 2 {
			t.Errorf("got %d points of http.client.request.duration, want one per outcome", len(got.DataPoints))
		}

		go r.send(t.Context(), "http://h/")
		time.Sleep(time.Second)
		r.want(t, "holdoff.holds", values{"holdoff.origin=own," + h: 1})
		r.want(t, "holdoff.keys", values{"holdoff.phase=held," + h: 1})
		r.want(t, "holdoff.waiters", values{h: 1})
		r.want(t, "holdoff.store.up", values{"": 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.send(ctx, "http://h/")
		r.want(t, "holdoff.gave_up", values{"holdoff.reason=held," + h: 1})

		time.Sleep(time.Minute)
		r.want(t, "holdoff.keys", values{})
		r.want(t, "holdoff.waiters", values{})
		r.telemetry.Observe(t.Context(), holdoff.Event{Kind: holdoff.StoreFailed, Key: "http://h", Err: errors.New("away")})
		r.want(t, "holdoff.store.up", values{"": 0})
		r.want(t, "holdoff.store.failures", values{"": 1})
		r.telemetry.Observe(t.Context(), holdoff.Event{Kind: holdoff.StoreBack})
		r.want(t, "holdoff.store.up", values{"": 1})
	})
}

// However many hosts, codes and reasons there are, the points are bounded.
func TestCardinality(t *testing.T) {
	r := newRig(t, Options{MaxKeys: 3})
	for i := range 5000 {
		key := fmt.Sprintf("http://h%d:8080", i)
		r.Observe(t.Context(), holdoff.Event{Kind: holdoff.Attempted, Key: key, Status: i % 1200, Reason: key, Attempt: 1})
		r.Observe(t.Context(), holdoff.Event{Kind: holdoff.Waiting, Key: key, Reason: key})
		r.Observe(t.Context(), holdoff.Event{Kind: holdoff.GaveUp, Key: key, Reason: key, Waited: time.Second})
		r.Observe(t.Context(), holdoff.Event{Kind: holdoff.HoldStarted, Key: key, Hold: time.Minute, Shared: true})
	}
	const keys, reasons, codes = 3 + 1, maxReasons + 1, 64
	metrics := r.read(t)
	for name, most := range map[string]int{
		"holdoff.attempts": keys*codes + reasons, "holdoff.retries": keys, "holdoff.waits": keys + reasons,
		"holdoff.gave_up": keys + reasons, "holdoff.wait.duration": keys, "holdoff.holds": keys,
	} {
		if got := len(points(metrics[name])); got > most || got < keys {
			t.Errorf("%s: got %d points, want %d to %d", name, got, keys, most)
		}
	}
	r.want(t, "holdoff.retries", values{
		"server.address=h0,server.port=8080": 1, "server.address=h1,server.port=8080": 1,
		"server.address=h2,server.port=8080": 1, "server.address=other": 4997,
	})
}

// Keys that only other replicas have used take no place, and are counted.
func TestKeysOfOtherReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		elsewhere, here := newRig(t, Options{}, 429, 429, 429), newRig(t, Options{})
		elsewhere.MaxWait, elsewhere.Store = -1, &holdoff.MemoryStore{}
		here.Store = elsewhere.Store
		for i := range 3 {
			elsewhere.send(t.Context(), fmt.Sprintf("http://h%d/", i))
		}
		synctest.Wait()
		here.want(t, "holdoff.keys", values{"holdoff.phase=held,server.address=other": 3})
		here.send(t.Context(), "http://h1/")
		here.want(t, "holdoff.holds", values{"holdoff.origin=fleet,server.address=h1,server.port=80": 1})
	})
}

func TestServer(t *testing.T) {
	for key, want := range map[string]string{
		"https://api.example.com":      "server.address=api.example.com,server.port=443",
		"http://api.example.com":       "server.address=api.example.com,server.port=80",
		"http://[::1]:8080":            "server.address=::1,server.port=8080",
		"ftp://h":                      "server.address=h",
		"https://api.example.com acme": "server.address=https://api.example.com acme",
		"acme":                         "server.address=acme",
		"https://h/path":               "server.address=https://h/path",
		"a\xffb":                       "server.address=a\uFFFDb",
		"":                             "server.address=",
	} {
		set := attribute.NewSet(server(key)...)
		if got := set.Encoded(attribute.DefaultEncoder()); got != want {
			t.Errorf("%q: got %s, want %s", key, got, want)
		}
	}
}

// The table in the docs says what is exposed; and names and units are such as the
// semantic conventions ask for.
func TestTable(t *testing.T) {
	doc, err := os.ReadFile("../../docs/TELEMETRY.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(doc)) {
		if strings.HasPrefix(line, "| `holdoff.") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, 503, 500, 0, 429)
		r.Store = &holdoff.MemoryStore{}
		r.send(t.Context(), "http://h/")
		for range 2 {
			go r.send(t.Context(), "http://h/")
			time.Sleep(time.Second)
		}
		r.Observe(t.Context(), holdoff.Event{Kind: holdoff.GaveUp, Key: "http://h", Reason: "attempts"})
		r.Observe(t.Context(), holdoff.Event{Kind: holdoff.StoreFailed})
		var want []string
		for name, m := range r.read(t) {
			if strings.HasPrefix(name, "holdoff.") {
				want = append(want, row(t, m))
			}
		}
		slices.Sort(want)
		slices.Sort(rows)
		if !slices.Equal(rows, want) {
			t.Errorf("docs/TELEMETRY.md has\n%s\n\nand exposed is\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
		}
		time.Sleep(time.Minute)
	})
}

func row(t *testing.T, m *metricdata.Metrics) string {
	if !regexp.MustCompile(`^holdoff(\.[a-z]+(_[a-z]+)*)+$`).MatchString(m.Name) || strings.HasSuffix(m.Name, "total") {
		t.Errorf("%s is no name by the conventions", m.Name)
	}
	if !regexp.MustCompile(`^(s|1|\{[a-z]+\})$`).MatchString(m.Unit) {
		t.Errorf("%s: %q is no unit by the conventions", m.Name, m.Unit)
	}
	kind := "gauge"
	switch data := m.Data.(type) {
	case metricdata.Histogram[float64]:
		kind = "histogram"
	case metricdata.Sum[int64]:
		if kind = "updowncounter"; data.IsMonotonic {
			kind = "counter"
		}
	}
	names := map[string]bool{}
	for set := range points(m) {
		for pair := range strings.SplitSeq(set, ",") {
			if name, _, ok := strings.Cut(pair, "="); ok {
				names["`"+name+"`"] = true
			}
		}
	}
	return fmt.Sprintf("| `%s` | %s | `%s` | %s | %s |", m.Name, kind, m.Unit, strings.Join(slices.Sorted(maps.Keys(names)), " "), m.Description)
}
