package holdoffprom

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/go-holdoff/holdoff"
)

// somePaced is a store that says of one key that it is paced.
type somePaced struct{ holdoff.Store }

func (s somePaced) Watch(key string, changed func(string, holdoff.State)) (stop func()) {
	if key == "http://paced" {
		changed("", holdoff.State{Phase: holdoff.Paced, Rate: 0.01, Until: time.Now().Add(time.Hour), Generation: 1, Attempts: 1, Status: 429, Version: 1 << 50})
	}
	return s.Store.Watch(key, changed)
}

// everything calls check while a Collector has something in each of its metrics.
func everything(t *testing.T, check func(*Collector)) {
	synctest.Test(t, func(t *testing.T) {
		transport, collector := watched(500, 500, 429, 500)
		transport.Store = somePaced{&holdoff.MemoryStore{}}
		transport.MaxAttempts = 3
		collector.Observe(t.Context(), holdoff.Event{Kind: holdoff.StoreFailed})
		go send(t.Context(), transport, "http://paced/")
		go send(t.Context(), transport, "http://h/")
		go send(t.Context(), transport, "http://h/")
		time.Sleep(4 * time.Second)
		collector.Observe(t.Context(), holdoff.Event{Kind: holdoff.GaveUp, Key: "http://h", Reason: string(holdoff.EndBudget)})
		check(collector)
		time.Sleep(time.Minute)
	})
}

func TestLint(t *testing.T) {
	everything(t, func(collector *Collector) {
		problems, err := testutil.CollectAndLint(collector)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	})
}

// The table in the docs says what is exposed: name, type, labels and help.
func TestTable(t *testing.T) {
	doc, err := os.ReadFile("../../docs/TELEMETRY.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(doc)) {
		if strings.HasPrefix(line, "| `holdoff_") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	slices.Sort(rows)
	everything(t, func(collector *Collector) {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(collector)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, f := range families {
			labels := map[string]bool{}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					labels["`"+l.GetName()+"`"] = true
				}
			}
			want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()),
				strings.Join(slices.Sorted(maps.Keys(labels)), " "), f.GetHelp()))
		}
		slices.Sort(want)
		if !slices.Equal(rows, want) {
			t.Errorf("docs/TELEMETRY.md has\n%s\n\nand exposed is\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
		}
	})
}
