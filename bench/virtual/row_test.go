package virtual

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-holdoff/holdoff/bench/fleet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestStatAsText(t *testing.T) {
	for s, want := range map[Stat]string{
		stat([]float64{3, 1, 2}):       `"2 (1 to 3)"`,
		stat([]float64{0.25, 0.25001}): `"0.25"`,
		stat([]float64{12000}):         `"12000"`,
	} {
		text, err := json.Marshal(s)
		if err != nil || string(text) != want {
			t.Errorf("got %s, %v, want %s", text, err, want)
		}
		var got Stat
		if err := json.Unmarshal(text, &got); err != nil || got != s {
			t.Errorf("got %v, %v, want %v", got, err, s)
		}
	}
	var s Stat
	if err := s.UnmarshalText([]byte("many")); err == nil {
		t.Error("many is a number")
	}
}

func TestCallers(t *testing.T) {
	got := callers([]fleet.Answer{
		{Asked: 10 * time.Millisecond, Took: 20 * time.Millisecond, Served: true},
		{Asked: 20 * time.Millisecond, Took: 200 * time.Millisecond, Served: true},
		{Asked: 120 * time.Millisecond, Took: time.Hour},
	})
	if want := (fleet.Slots{{Sent: 2, Served: 1}, {Sent: 1}, {Served: 1}}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Two runs of a server whose trouble ends: one recovers, the other never does.
func TestRow(t *testing.T) {
	s := fleet.Scenario{
		Name: "outage", Work: fleet.Work{Replicas: 2, Rate: 5, Sending: 4 * time.Second, Timeout: time.Second},
		Capacity: 10, Released: 2 * time.Second,
	}
	var good, bad []fleet.Answer
	for at := time.Duration(0); at < s.Work.Sending; at += 100 * time.Millisecond {
		good = append(good, fleet.Answer{Asked: at, Took: 50 * time.Millisecond, Served: true})
		bad = append(bad, fleet.Answer{Asked: at, Took: time.Second})
	}
	slots := slices.Repeat(fleet.Slots{{Sent: 1, Served: 1}}, 40)
	slots[30] = fleet.Count{Sent: 7, Served: 2}
	r := row(s, "one", []fleet.Result{fleet.NewResult(good, slots), fleet.NewResult(bad, slots)})
	if r.Use != (Stat{1, 0, 1}) || r.Failed != (Stat{40, 0, 40}) || r.Refused != (Stat{5, 5, 5}) {
		t.Errorf("got %+v", r)
	}
	if *r.Peak != (Stat{7, 7, 7}) || r.Recovered != 1 || *r.Recovery != (Stat{}) {
		t.Errorf("got a peak of %v, %d recovered after %v", r.Peak, r.Recovered, r.Recovery)
	}
}

func TestMarkdown(t *testing.T) {
	one := Stat{Median: 1, Min: 1, Max: 1}
	of := func(scenario, contender string, replicas int) Row {
		return Row{
			Scenario: scenario, Replicas: replicas, Contender: contender, Seeds: 5,
			Refused: Stat{1200, 1000, 1300}, InVain: one, PerRequest: Stat{1.01, 1, 1.02}, Use: Stat{0.95, 0.9, 0.951}, P99: Stat{8.8, 8.8, 8.8},
		}
	}
	outage := of("outage", Alone, 16)
	outage.Peak, outage.Recovered, outage.Recovery = &one, 3, &one
	got := Markdown([]Row{outage, of("bucket", Shared, 16), of("bucket", "bare", 16), of("bucket", Shared, 100)})
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
