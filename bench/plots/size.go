package plots

import (
	"fmt"
	"image/color"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/go-holdoff/holdoff/bench/virtual"
)

// size draws how many sends are refused where the same work is done by ever more
// replicas.
func size(rows []virtual.Row) (*picture, error) {
	p := &picture{title: "Refused sends, where more replicas share the same work", height: 290, plots: [][]*plot.Plot{nil}}
	for _, name := range virtual.Sweepers {
		p.legend = append(p.legend, entry{name, colours[name], false})
	}
	for _, scenario := range virtual.Swept {
		panel := newPlot(scenario, "replicas")
		panel.X.Scale, panel.Y.Scale = plot.LogScale{}, plot.LogScale{}
		panel.X.Min, panel.X.Max, panel.Y.Min, panel.Y.Max = 0.7, 1400, 1, 30000
		panel.X.Tick.Marker, panel.Y.Tick.Marker = decades{}, decades{}
		panel.Add(grid())
		for _, name := range virtual.Sweepers {
			if err := curve(panel, rows, scenario, name); err != nil {
				return nil, err
			}
		}
		p.plots[0] = append(p.plots[0], panel)
	}
	return p, nil
}

// curve draws the medians of one contender, with their ranges.
func curve(p *plot.Plot, rows []virtual.Row, scenario, name string) error {
	var points struct {
		plotter.XYs
		plotter.YErrors
	}
	for _, n := range virtual.Sizes {
		r, ok := virtual.Find(virtual.Select(rows, scenario, n), name)
		if !ok {
			continue // a brief run has few sizes
		}
		// A logarithm has no place for none.
		median, low, high := max(r.Refused.Median, 1), max(r.Refused.Min, 1), max(r.Refused.Max, 1)
		points.XYs = append(points.XYs, plotter.XY{X: float64(n), Y: median})
		points.YErrors = append(points.YErrors, struct{ Low, High float64 }{median - low, high - median})
	}
	if len(points.XYs) == 0 {
		return fmt.Errorf("there are no sizes of %s with %s", scenario, name)
	}
	line, marks, err := plotter.NewLinePoints(points.XYs)
	if err != nil {
		return err
	}
	bars, err := plotter.NewYErrorBars(points)
	if err != nil {
		return err
	}
	line.LineStyle.Color, line.LineStyle.Width = colours[name], 1.6
	marks.GlyphStyle = draw.GlyphStyle{Color: colours[name], Radius: 2.6, Shape: draw.CircleGlyph{}}
	bars.LineStyle.Color = colours[name]
	p.Add(bars, line, marks)
	return nil
}

// grid is faint.
func grid() *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical = draw.LineStyle{Color: color.Transparent}
	g.Horizontal = draw.LineStyle{Color: faint, Width: 0.5}
	return g
}

// decades ticks at powers of ten.
type decades struct{}

func (decades) Ticks(from, to float64) (ticks []plot.Tick) {
	for v := 1.; v <= to; v *= 10 {
		label := total(int(v))
		if v >= 10000 {
			label = strconv.Itoa(int(v)/1000) + "k"
		}
		if v >= from {
			ticks = append(ticks, plot.Tick{Value: v, Label: label})
		}
	}
	return ticks
}
