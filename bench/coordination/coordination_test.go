package coordination

import (
	"flag"
	"io"
	"os"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/bench/measure"
	"github.com/go-holdoff/holdoff/internal/redistest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// How often Redis is asked is no question of speed.
func TestRun(t *testing.T) {
	srv := redistest.Start(t)
	rows, err := Run(t.Context(), Options{Addr: srv.Addr, Time: 20 * time.Millisecond, Repetitions: 1, Progress: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(contenders)*len(goroutines) {
		t.Errorf("got %d rows", len(rows))
	}
	sends := map[string]float64{"go-redis/redis_rate": 1, "sony/gobreaker, distributed": 4}
	for _, r := range rows {
		if r.Goroutines > 1 {
			continue // the breaker's callers may wait for its lock until they fail
		}
		if r.Note != "" {
			t.Errorf("%s %s", r.Peer, r.Note)
		}
		if want := sends[r.Peer]; r.Sent < want || r.Sent > want+0.5 {
			t.Errorf("%s sent %v commands per request, want %v", r.Peer, r.Sent, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	row := func(peer string, n int, ns, sent float64) Row {
		return Row{
			Peer: peer, Goroutines: n, Summary: measure.Summary{NS: ns, Allocs: 3, Spread: 0.02},
			Sent: sent, Executed: 2 * sent, PerSecond: 1234,
		}
	}
	got := Markdown([]Row{
		row("bare", 1, 8, 0), row("bare", 2, 7.5, 0), row("bare", 16, 7, 0),
		row("other", 1, 30000, 1), row("other", 2, 15000, 1), {Peer: "other", Goroutines: 16, Note: "fails: late"},
	})
	const golden = "testdata/markdown.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
