package random

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

var update = flag.Bool("update", false, "rewrite the golden file")

func rowsOf(shared, alone, peer, bare []float64) (rows []Row) {
	for i := range shared {
		score := func(served float64) Score {
			return Score{Served: served, Wasted: 0.25, P50: 1, P99: 10, Peak: 3, Late: float64(i - 1)}
		}
		rows = append(rows, Row{
			Seed: uint64(7 + i), About: "a server", Requests: 1000, Oracle: 900, Queue: 890,
			Scores: map[string]Score{virtual.Shared: score(shared[i]), virtual.Alone: score(alone[i]), "PuerkitoBio/rehttp": score(peer[i]), "bare": score(bare[i])},
		})
	}
	return rows
}

func TestMarkdown(t *testing.T) {
	const name = "testdata/markdown.golden"
	got := Markdown(rowsOf([]float64{0.9, 1, 0.5}, []float64{0.95, 1, 0.505}, []float64{0.89, 1, 0.8}, []float64{0.1, 0.2, 0.3}))
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBeaten_PeerServesMore_WorstFirst(t *testing.T) {
	rows := rowsOf([]float64{0.9, 0.99, 0.5}, []float64{0.92, 0.995, 0.5}, []float64{0.92, 0.995, 0.8}, []float64{0, 0, 0.9})
	beaten := Beaten(rows, virtual.Shared)
	if len(beaten) != 2 || beaten[0].Seed != 9 || beaten[1].Seed != 7 {
		t.Errorf("beaten in %v, want seeds 9 and 7", beaten)
	}
	if n := Worse(rows); n != 1 {
		t.Errorf("worse than alone in %d draws, want 1", n)
	}
	if worst := Worst(rows, virtual.Shared, 2); len(worst) != 2 || worst[0].Seed != 9 || worst[1].Seed != 7 {
		t.Errorf("the worst are %v, want seeds 9 and 7", worst)
	}
	if worst := Worst(rows, "oras-go/retry", 2); len(worst) != 0 {
		t.Errorf("the worst of a contender that did not run are %v", worst)
	}
}

func TestClose_MarginNearTie_IsRunAgain(t *testing.T) {
	for _, c := range []struct {
		shared, alone, peer float64
		want                bool
	}{
		{1, 1, 1, false}, {1, 0.999, 1, false}, {0.5, 0.5, 0.9, false}, {0.99, 1, 1, true}, {1, 0.985, 1, true}, {0.985, 1, 0.9, true}, {0.9, 0.9, 0.8, false},
	} {
		if got := rowsOf([]float64{c.shared}, []float64{c.alone}, []float64{c.peer}, []float64{0})[0].close(); got != c.want {
			t.Errorf("%+v: close: %v", c, got)
		}
	}
	if got := median([]Score{{Served: 0.3}, {Served: 0.1}, {Served: 0.2}}); got.Served != 0.2 {
		t.Errorf("median %v, want 0.2", got)
	}
}

func TestCheck(t *testing.T) {
	one := []float64{1}
	for want, rows := range map[string][]Row{
		"":                 rowsOf(one, one, one, one),
		"nothing ran":      nil,
		"on average":       rowsOf([]float64{0.2}, one, one, one),
		"oracle is wrong":  rowsOf(one, one, []float64{1.01}, one),
		"from seed 7 on: ": rowsOf([]float64{0.2}, one, one, one),
	} {
		err := Check(rows)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestScoreAsText(t *testing.T) {
	want := Score{0.9876, 0.125, 0.01, 12.5, 3.25, -1, 0.5}
	text, err := json.Marshal(want)
	if err != nil || string(text) != `"0.9876 0.125 0.010 12.500 3.25 -1.0 0.50"` {
		t.Errorf("got %s, %v", text, err)
	}
	var got Score
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if err := got.UnmarshalText([]byte("1 2")); err == nil {
		t.Error("two numbers are a score")
	}
}

func TestScore_BrokenReplicas_DoNotCount(t *testing.T) {
	second := time.Second
	d := Draw{Work: fleet.Work{Replicas: 2, Rate: 5, Sending: 4 * second, Timeout: second}, Unreachable: 1}
	r := fleet.NewResult([]fleet.Answer{
		{Served: true, Took: second, Replica: 1}, {Took: second, Replica: 0}, {Took: second, Replica: 1}, {Took: second, Replica: 0},
	}, fleet.Slots{{Sent: 4, Served: 1}})
	s := d.score(r, 2, fleet.Result{})
	if s.Served != 0.5 || s.Wasted != 0.75 || s.Peak != 4 || s.P50 != 1 || s.Late != 0 {
		t.Errorf("got %+v", s)
	}
}

// A line for each half second, with what was asked, sent, answered and refused in it.
func TestTimeline(t *testing.T) {
	l := timeline{states: []state{{3, 12.5, "2 paced"}}}
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	text := l.table([]fleet.Ask{{At: at(100)}, {At: at(600)}}, fleet.NewResult(
		[]fleet.Answer{{Asked: at(100), Took: at(10), Served: true}, {Asked: at(600), Took: at(10)}},
		fleet.Slots{{}, {Sent: 5, Served: 2}, {}, {}, {}, {}, {Sent: 1}},
	))
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"until asked sent good refused served failed line rate replicas", "0.5 1 5 2 3 1 0 3 12.5 2 paced", "1.0 1 1 0 1 0 1 0 0.0"}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", text)
	}
}
