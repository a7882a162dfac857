package plots

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gonum.org/v1/plot/plotter"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/random"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// some are rows of everything that is drawn.
func some() (rows []virtual.Row) {
	slots := fleet.Slots{{Sent: 40, Served: 40}, {Sent: 3000, Served: 7}, {Sent: 90, Served: 80}}
	for _, name := range virtual.Plotted {
		for _, c := range virtual.Contenders {
			r := virtual.Row{
				Scenario: name, Replicas: 16, Contender: c.Name, Requests: virtual.Stat{Median: 6000},
				Slots: fleet.Slots{{Sent: 40, Served: 30}, {Sent: 90, Served: 0}}, Callers: slots,
			}
			if c.Name == virtual.Shared {
				r.Slots = slots
			}
			rows = append(rows, r)
		}
	}
	for _, name := range virtual.Swept {
		for _, contender := range virtual.Sweepers {
			for i, n := range virtual.Sizes {
				refused := float64(100 * i)
				rows = append(rows, virtual.Row{
					Scenario: name, Replicas: n, Contender: contender, Refused: virtual.Stat{Median: refused, Min: refused / 2, Max: 2 * refused},
				})
			}
		}
	}
	return rows
}

func TestDraw(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	names, err := Draw(first, some())
	if err != nil || len(names) != 6 {
		t.Fatalf("drew %v, %v", names, err)
	}
	if _, err := Draw(second, some()); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		one, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Fatal(err)
		}
		other, _ := os.ReadFile(filepath.Join(second, name))
		if !bytes.Equal(one, other) {
			t.Errorf("%s: the same rows, another picture", name)
		}
		tokens := xml.NewDecoder(bytes.NewReader(one))
		for err == nil {
			_, err = tokens.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Contains(one, []byte("holdoff, shared")) {
			t.Errorf("%s does not show holdoff", name)
		}
	}
	throttle, _ := os.ReadFile(filepath.Join(first, "throttle.svg"))
	if !bytes.Contains(throttle, []byte(">up to 3 000<")) {
		t.Error("what is cut off is not told")
	}
}

func TestDrawOfNothing(t *testing.T) {
	if _, err := Draw(t.TempDir(), nil); err == nil {
		t.Error("nothing was drawn, and nobody told")
	}
}

func TestDistribution(t *testing.T) {
	var rows []random.Row
	for i := range 20 {
		scores := make(map[string]random.Score)
		for j, c := range random.Contenders {
			scores[c.Name] = random.Score{Served: 1 - float64(i*j)/400}
		}
		rows = append(rows, random.Row{Scores: scores})
	}
	dir := t.TempDir()
	name, err := Distribution(dir, rows)
	if err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || !bytes.Contains(svg, []byte("holdoff, shared")) || !bytes.Contains(svg, []byte("adaptive throttler")) {
		t.Errorf("does not show all contenders, %v", err)
	}
	if _, err := Distribution(dir, nil); err == nil {
		t.Error("nothing was drawn, and there is no error")
	}
}

func TestCumulative(t *testing.T) {
	got := cumulative([]float64{10, 95, 100, 100}, 90)
	want := plotter.XYs{{X: 90, Y: 25}, {X: 95, Y: 25}, {X: 95, Y: 50}, {X: 100, Y: 50}, {X: 100, Y: 75}, {X: 100, Y: 75}, {X: 100, Y: 100}, {X: 100, Y: 100}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
