package plots

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/go-holdoff/holdoff/bench/random"
)

// Distribution draws, for each contender, in what share of the draws it serves how much of
// what could be served, and returns the name of the picture.
func Distribution(dir string, rows []random.Row) (string, error) {
	const name = "random.svg"
	p := &picture{
		title:  fmt.Sprintf("%s random servers in trouble: the lower a curve, the more callers are served", total(len(rows))),
		height: 330, plots: [][]*plot.Plot{nil},
	}
	var names []string
	for _, c := range random.Names(rows) {
		if colours[c] != nil {
			names = append(names, c)
			p.legend = append(p.legend, entry{path.Base(c), colours[c], false})
		}
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%s: there are no draws", name)
	}
	for _, from := range []float64{0, 90} {
		panel := newPlot(fmt.Sprintf("from %.0f %% on", from), "% of the callers who could be served")
		panel.X.Min, panel.X.Max, panel.Y.Min, panel.Y.Max = from, 100, 0, 100
		panel.Y.Label.Text, panel.Y.Label.TextStyle = "% of the draws serve less", style(9, draw.XCenter)
		panel.X.Tick.Marker, panel.Y.Tick.Marker = every((100-from)/5), every(20)
		panel.Add(grid())
		for _, c := range names {
			served := random.Of(rows, c, func(s random.Score) float64 { return 100 * s.Served })
			if err := line(panel, cumulative(served, from), draw.LineStyle{Color: colours[c], Width: 1.4}); err != nil {
				return "", err
			}
		}
		p.plots[0] = append(p.plots[0], panel)
	}
	return name, os.WriteFile(filepath.Join(dir, name), p.svg(), 0o644)
}

// cumulative outlines what share of sorted values is less than each, from a value on.
func cumulative(sorted []float64, from float64) (at plotter.XYs) {
	share := func(i int) float64 { return 100 * float64(i) / float64(len(sorted)) }
	at = plotter.XYs{{X: from}}
	for i, v := range sorted {
		if v < from {
			at[0].Y = share(i + 1)
			continue
		}
		v = min(v, 100)
		at = append(at, plotter.XY{X: v, Y: share(i)}, plotter.XY{X: v, Y: share(i + 1)})
	}
	return append(at, plotter.XY{X: 100, Y: 100})
}
