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
	"go.opentelemetry.io/otel/sdk/metric"
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
		r.want(t, "holdoff.holds", values{"holdoff.origin=own,holdoff.scope=key," + h: 1})
		r.want(t, "holdoff.key.count", values{"holdoff.phase=held,holdoff.scope=key," + h: 1})
		r.want(t, "holdoff.waiter.count", values{h: 1})
		r.want(t, "holdoff.store.up", values{"": 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r.send(ctx, "http://h/")
		r.want(t, "holdoff.gave_up", values{"holdoff.reason=held," + h: 1})

		time.Sleep(time.Minute)
		r.want(t, "holdoff.key.count", values{})
		r.want(t, "holdoff.waiter.count", values{})
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
		r.Observe(t.Context(), holdoff.Event{Kind: holdoff.HoldStarted, Phase: holdoff.Held, Key: key, Hold: time.Minute, Shared: true})
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
		here.want(t, "holdoff.key.count", values{"holdoff.phase=held,holdoff.scope=key,server.address=other": 3})
		here.send(t.Context(), "http://h1/")
		here.want(t, "holdoff.holds", values{"holdoff.origin=fleet,holdoff.scope=key,server.address=h1,server.port=80": 1})
	})
}

// A key that has failed now and then, and is not held, is not shown.
func TestFailingKeyIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{}, 500, 500, 500, 500)
		r.send(t.Context(), "http://h/")
		for state := range r.Keys() {
			if state.Phase != holdoff.Healthy {
				t.Errorf("got %v, want it to be failing", state)
			}
		}
		r.want(t, "holdoff.key.count", values{})
	})
}

// A key that is counted or paced is not held.
func TestOtherPhasesAreNoHolds(t *testing.T) {
	r := newRig(t, Options{})
	for _, phase := range []holdoff.Phase{holdoff.Counted, holdoff.Paced, holdoff.Rationed, holdoff.Held} {
		r.Observe(t.Context(), holdoff.Event{Kind: holdoff.HoldStarted, Key: "http://h", Phase: phase})
	}
	r.want(t, "holdoff.holds", values{"holdoff.origin=own,holdoff.scope=key,server.address=h,server.port=80": 1})
}

// The Transports of a process are told apart by attributes of the user's.
func TestSeveralTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		meters := metric.NewMeterProvider(metric.WithReader(reader))
		var last *rig
		for _, name := range []string{"billing", "mail"} {
			r := newRig(t, Options{MeterProvider: meters, Attributes: []attribute.KeyValue{attribute.String("client", name)}}, 429)
			r.MaxWait, r.Store, r.reader = -1, &holdoff.MemoryStore{}, reader
			r.send(t.Context(), "http://h/")
			r.Observe(t.Context(), holdoff.Event{Kind: holdoff.StoreFailed})
			last = r
		}
		const billing, mail = "client=billing", "client=mail"
		const held, h = ",holdoff.phase=held,holdoff.scope=key,server.address=h,server.port=80", ",server.address=h,server.port=80"
		last.want(t, "holdoff.key.count", values{billing + held: 1, mail + held: 1})
		last.want(t, "holdoff.attempts", values{
			billing + ",error.type=429,http.response.status_code=429" + h: 1,
			mail + ",error.type=429,http.response.status_code=429" + h:    1,
		})
		last.want(t, "holdoff.store.up", values{billing: 0, mail: 0})
		last.want(t, "holdoff.store.failures", values{billing: 1, mail: 1})
	})
}

func TestMadeUpCodes(t *testing.T) {
	r := newRig(t, Options{})
	for status, want := range map[int]string{
		0:   "error.type=dial",
		200: "http.response.status_code=200",
		299: "http.response.status_code=200",
		499: "error.type=400,http.response.status_code=400",
		599: "error.type=500,http.response.status_code=500",
		99:  "error.type=500,http.response.status_code=500",
		999: "error.type=500,http.response.status_code=500",
	} {
		set := attribute.NewSet(r.telemetry.result(holdoff.Event{Status: status, Reason: "dial"})...)
		if got := set.Encoded(attribute.DefaultEncoder()); got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
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
