package plots

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/go-holdoff/holdoff/bench/fleet"
	"github.com/go-holdoff/holdoff/bench/report"
	"github.com/go-holdoff/holdoff/bench/virtual"
)

// shown are the contenders of the timelines: ours, the one that fails fewest
// callers of the others, and those that are used the most.
var shown = []string{virtual.Shared, "google/go-containerregistry", "hashicorp/go-retryablehttp", "failsafe-go/failsafehttp"}

func throttle(rows []virtual.Row) (*picture, error) {
	return timeline(rows, "throttle", "What reaches a server that answers 429 with Retry-After: 2 for 8 s", 20)
}

func outage(rows []virtual.Row) (*picture, error) {
	return timeline(rows, "outage", "What reaches a server that answers 503 for 8 s", 20)
}

func quota(rows []virtual.Row) (*picture, error) {
	return timeline(rows, "quota", "What reaches a server with a quota of 400 per 2 s", 28)
}

func bucket(rows []virtual.Row) (*picture, error) {
	return timeline(rows, "bucket", "What reaches a server that takes 200 per second", 22)
}

// timeline draws what reaches the server until a time, slot by slot, a panel for
// each contender.
func timeline(rows []virtual.Row, scenario, title string, until float64) (*picture, error) {
	s, of, err := course(rows, scenario)
	if err != nil {
		return nil, err
	}
	perSlot := s.Work.Offered() * fleet.Slot.Seconds()
	p := &picture{
		title:  title,
		height: 480,
		legend: []entry{{"requests per 100 ms that are served", served, false}, {"refused", refused, false}, {"offered", offered, true}},
	}
	var highest float64
	for _, name := range shown[1:] {
		r, _ := virtual.Find(of, name)
		highest = max(highest, float64(fleet.Result{Slots: r.Slots}.Peak(0, math.MaxInt64)))
	}
	for i, name := range shown {
		r, ok := virtual.Find(of, name)
		if !ok || len(r.Slots) == 0 {
			return nil, fmt.Errorf("there is no run of %s", name)
		}
		panel := newPlot(fmt.Sprintf("%s: %s sends refused, %s of %s callers failed", name,
			total(r.Slots.Refused()), total(r.Callers.Refused()), total(int(r.Requests.Median))), "")
		panel.X.Min, panel.X.Max, panel.Y.Min, panel.Y.Max = 0, until, 0, math.Ceil(highest/20)*20+10
		panel.Y.Tick.Marker = every(niceStep(panel.Y.Max, 4))
		panel.X.Tick.Marker = unlabelled{every(2)}
		if i == len(shown)-1 {
			panel.X.Label.Text = "seconds"
			panel.X.Tick.Marker = every(2)
		}
		if err := fill(panel, r.Slots, perSlot, s.Work.Sending.Seconds()); err != nil {
			return nil, err
		}
		p.plots = append(p.plots, []*plot.Plot{panel})
	}
	return p, nil
}

// course returns a scenario, and its rows that were kept in full.
func course(rows []virtual.Row, scenario string) (fleet.Scenario, []virtual.Row, error) {
	i := slices.IndexFunc(fleet.Scenarios, func(s fleet.Scenario) bool { return s.Name == scenario })
	s := fleet.Scenarios[i]
	of := virtual.Select(rows, scenario, s.Work.Replicas)
	if len(of) == 0 {
		return s, nil, fmt.Errorf("there are no runs of %s", scenario)
	}
	return s, of, nil
}

// fill draws what was refused upon what was served, and says where that does not
// fit the panel.
func fill(p *plot.Plot, slots fleet.Slots, perSlot, sending float64) error {
	base, top := make([]float64, len(slots)), make([]float64, len(slots))
	highest := 0
	for i, c := range slots {
		base[i], top[i] = min(float64(c.Served), p.Y.Max), min(float64(c.Sent), p.Y.Max)
		if c.Sent > slots[highest].Sent {
			highest = i
		}
	}
	for _, area := range []struct {
		values []float64
		refuse bool
	}{{top, true}, {base, false}} {
		polygon, err := plotter.NewPolygon(steps(area.values, p.X.Max))
		if err != nil {
			return err
		}
		polygon.Color, polygon.LineStyle.Width = served, 0
		if area.refuse {
			polygon.Color = refused
		}
		p.Add(polygon)
	}
	line, err := plotter.NewLine(plotter.XYs{{X: 0, Y: perSlot}, {X: sending, Y: perSlot}, {X: sending, Y: 0}})
	if err != nil {
		return err
	}
	line.LineStyle = draw.LineStyle{Color: offered, Width: 0.8, Dashes: dashes}
	p.Add(line)
	if sent := slots[highest].Sent; float64(sent) > p.Y.Max {
		at := (float64(highest) + 1.5) * fleet.Slot.Seconds()
		labels, err := plotter.NewLabels(plotter.XYLabels{
			XYs:    plotter.XYs{{X: at, Y: 0.88 * p.Y.Max}},
			Labels: []string{"up to " + total(sent)},
		})
		if err != nil {
			return err
		}
		labels.TextStyle[0] = style(8.5, draw.XLeft)
		p.Add(labels)
	}
	return nil
}

// steps outlines the values of slots, from zero up and back to it.
func steps(values []float64, until float64) plotter.XYs {
	at := plotter.XYs{{X: 0, Y: 0}}
	for i, v := range values {
		from, to := float64(i)*fleet.Slot.Seconds(), float64(i+1)*fleet.Slot.Seconds()
		if to > until {
			break
		}
		at = append(at, plotter.XY{X: from, Y: v}, plotter.XY{X: to, Y: v})
	}
	return append(at, plotter.XY{X: at[len(at)-1].X, Y: 0})
}

func total(n int) string { return report.Count(n) }

// every ticks at multiples of a step.
type every float64

func (step every) Ticks(from, to float64) (ticks []plot.Tick) {
	for at := math.Ceil(from / float64(step)); at*float64(step) <= to; at++ {
		v := at * float64(step)
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
	}
	return ticks
}

// niceStep is a round number by which at most so many steps reach highest.
func niceStep(highest float64, steps int) float64 {
	for unit := 1.0; ; unit *= 10 {
		for _, step := range []float64{1, 2, 5} {
			if highest/(step*unit) <= float64(steps) {
				return step * unit
			}
		}
	}
}

// unlabelled are ticks without words: those of the panel below have them.
type unlabelled struct{ plot.Ticker }

func (u unlabelled) Ticks(from, to float64) []plot.Tick {
	ticks := u.Ticker.Ticks(from, to)
	for i := range ticks {
		ticks[i].Label = " "
	}
	return ticks
}
