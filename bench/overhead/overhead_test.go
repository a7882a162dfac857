package overhead

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/bench/measure"
	"github.com/go-holdoff/holdoff/bench/peers"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Every contender is measured at every case that it can do, and noted at others.
func TestRun(t *testing.T) {
	var brief []Case
	for _, c := range cases() {
		// Over a socket, one of the peers resends with a reader that the attempt
		// before is still reading, which the race detector finds as well.
		resends := c.Site == onLoopback && c.Work != workGet && c.Sends == 2
		if c.Goroutines == 2 && !resends {
			brief = append(brief, c)
		}
	}
	rows, err := run(t.Context(), Options{Time: time.Microsecond, Repetitions: 1, Progress: io.Discard}, brief)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(brief) * (len(peers.All) + 1); len(rows) != want {
		t.Errorf("got %d rows, want %d", len(rows), want)
	}
	for _, r := range rows {
		if (r.Note == "") != (r.NS > 0) {
			t.Errorf("got %+v, want figures or a note", r)
		}
	}
	if data, err := json.Marshal(rows); err != nil || !strings.Contains(string(data), `"ns":`) {
		t.Errorf("got %s, %v", data, err)
	}
}

func TestWhoCanNot(t *testing.T) {
	var got []string
	for _, c := range contenders(nil) {
		for _, work := range works {
			if c.make != nil && c.obstacle(Case{onStub, work, 2, 1}) != "" {
				got = append(got, c.name+": "+work)
			}
		}
		if first := c.obstacle(Case{onStub, workStream, 1, 1}); c.make != nil && first != "" {
			t.Errorf("%s can't make a first attempt: %s", c.name, first)
		}
	}
	want := []string{
		"holdoff: " + workStream,
		"oras-go/retry: " + workStream,
		"google/go-containerregistry: " + workPut,
		"google/go-containerregistry: " + workStream,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMarkdown(t *testing.T) {
	row := func(peer, site string, sends, goroutines int, ns, ratio float64) Row {
		return Row{
			Peer: peer, Case: Case{site, workPut, sends, goroutines}, Ratio: ratio,
			Summary: measure.Summary{NS: ns, Bytes: 1234.5, Allocs: 2, Spread: 0.031},
		}
	}
	noted := func(peer string, goroutines int) Row {
		return Row{Peer: peer, Case: Case{onLoopback, workPut, 2, goroutines}, Note: "can't"}
	}
	got := Markdown([]Row{
		row("bare", onStub, 1, 1, 320, 1), row("bare", onStub, 1, 2, 160, 1), row("bare", onStub, 1, 16, 161, 1),
		row("one", onStub, 1, 1, 420, 1.3125), row("one", onStub, 1, 2, 99.4, 0.62), row("one", onStub, 1, 16, 12345, 76.7),
		row("bare", onLoopback, 2, 1, 4567, 1), row("bare", onLoopback, 2, 2, 3000, 1), row("bare", onLoopback, 2, 16, 3000, 1),
		noted("one", 1), noted("one", 2), noted("one", 16), noted("two", 1), noted("two", 2), noted("two", 16),
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
