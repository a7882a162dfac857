package figures

import (
	"os"
	"strings"
	"testing"

	"github.com/go-holdoff/holdoff/bench/random"
	"github.com/go-holdoff/holdoff/bench/report"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// The README's figures are those of the last run, whoever has edited it since.
func TestReadme(t *testing.T) {
	var fleets []virtual.Row
	run, err := report.Read("../results", "virtual", &fleets)
	if err != nil {
		t.Fatal(err)
	}
	var draws []random.Row
	if _, err := report.Read("../results", "random", &draws); err != nil {
		t.Fatal(err)
	}
	const name = "../../README.md"
	readme, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for section, text := range map[string]string{"figures": Markdown(fleets, run), "random": Random(draws)} {
		want, err := report.Splice(string(readme), section, text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if string(readme) != want {
			t.Errorf("the %s of %s are not those of bench/results; they should be\n%s", section, name, text)
		}
	}
}

func TestBestPeer(t *testing.T) {
	row := func(name string, failed, vain float64) virtual.Row {
		return virtual.Row{
			Scenario: "throttle", Replicas: 16, Contender: name, Seeds: 3,
			Failed: virtual.Stat{Median: failed}, InVain: virtual.Stat{Median: vain},
		}
	}
	rows := []virtual.Row{
		row(virtual.Shared, 0, 7), row(virtual.Alone, 0, 65), row("bare", 0, 1),
		row("one", 5, 100), row("another", 1, 3000), row("third", 1, 2000),
	}
	got := Markdown(rows, report.Run{})
	if want := "| 2 000 wasted, 1 failed: third | 65 wasted, 0 failed | 7 wasted, 0 failed |"; !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant a row with\n%s", got, want)
	}
}
