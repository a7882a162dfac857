package plots

import (
	"fmt"
	"math"
	"path"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// recovering are the contenders of the picture.
var recovering = []string{
	virtual.Shared, virtual.Alone, "google/go-containerregistry", "hashicorp/go-retryablehttp", "failsafe-go/failsafehttp", "bare",
}

// recovery draws how many callers have been served by when, of those who asked:
// what a curve does not catch up with are callers who failed.
func recovery(rows []virtual.Row) (*picture, error) {
	p := &picture{
		title: "How many callers have been served by when; the server is well again after 10 s", height: 330,
		legend: []entry{{"asked", offered, true}}, plots: [][]*plot.Plot{nil},
	}
	for _, name := range recovering {
		p.legend = append(p.legend, entry{path.Base(name), colours[name], false})
	}
	for _, scenario := range []string{"outage", "brown-out"} {
		s, of, err := course(rows, scenario)
		if err != nil {
			return nil, err
		}
		panel := newPlot(scenario, "seconds")
		until := s.Work.Sending * 5 / 3
		panel.X.Min, panel.X.Max, panel.Y.Min = 0, until.Seconds(), 0
		panel.X.Tick.Marker = every(5)
		panel.Add(grid())
		for _, name := range recovering {
			r, ok := virtual.Find(of, name)
			if !ok || len(r.Callers) == 0 {
				return nil, fmt.Errorf("%s: there is no run of %s", scenario, name)
			}
			if name == virtual.Shared {
				asked := sum(r.Callers, until.Seconds(), func(c fleet.Count) int { return c.Sent })
				if err := line(panel, asked, draw.LineStyle{Color: offered, Width: 1, Dashes: dashes}); err != nil {
					return nil, err
				}
				step := niceStep(asked[len(asked)-1].Y, 6)
				panel.Y.Tick.Marker = every(step)
				panel.Y.Max = math.Ceil(asked[len(asked)-1].Y/step) * step
				released := s.Released.Seconds()
				if err := line(panel, plotter.XYs{{X: released}, {X: released, Y: panel.Y.Max}}, draw.LineStyle{Color: offered, Width: 0.5}); err != nil {
					return nil, err
				}
			}
			answered := sum(r.Callers, until.Seconds(), func(c fleet.Count) int { return c.Served })
			if err := line(panel, answered, draw.LineStyle{Color: colours[name], Width: 1.4}); err != nil {
				return nil, err
			}
		}
		p.plots[0] = append(p.plots[0], panel)
	}
	return p, nil
}

// sum adds up slots, from the first on.
func sum(slots fleet.Slots, until float64, of func(fleet.Count) int) plotter.XYs {
	at := plotter.XYs{{}}
	for i := 0; float64(i+1)*fleet.Slot.Seconds() <= until; i++ {
		y := at[i].Y
		if i < len(slots) {
			y += float64(of(slots[i]))
		}
		at = append(at, plotter.XY{X: float64(i+1) * fleet.Slot.Seconds(), Y: y})
	}
	return at
}

func line(p *plot.Plot, at plotter.XYs, look draw.LineStyle) error {
	l, err := plotter.NewLine(at)
	if err != nil {
		return err
	}
	l.LineStyle = look
	p.Add(l)
	return nil
}
