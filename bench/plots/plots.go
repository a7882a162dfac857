// Package plots draws what the runs have found, as SVG: the same rows make the same
// files, byte by byte.
package plots

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/go-holdoff/holdoff/bench/virtual"
)

// Draw makes all plots of rows in dir, and returns their names.
func Draw(dir string, rows []virtual.Row) ([]string, error) {
	var names []string
	for _, p := range []struct {
		name string
		draw func([]virtual.Row) (*picture, error)
	}{
		{"throttle.svg", throttle}, {"outage.svg", outage}, {"quota.svg", quota}, {"bucket.svg", bucket},
		{"size.svg", size}, {"recovery.svg", recovery},
	} {
		drawn, err := p.draw(rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, p.name), drawn.svg(), 0o644); err != nil {
			return nil, err
		}
		names = append(names, p.name)
	}
	return names, nil
}

var (
	served  = color.RGBA{0x2b, 0x7b, 0xba, 0xff}
	refused = color.RGBA{0xe3, 0x4a, 0x33, 0xff}
	offered = color.RGBA{0x55, 0x55, 0x55, 0xff}
	faint   = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}
)

// colours are those of contenders, which colour-blind readers can tell apart.
var colours = map[string]color.Color{
	virtual.Shared:                     color.RGBA{0x00, 0x72, 0xb2, 0xff},
	virtual.Alone:                      color.RGBA{0x56, 0xb4, 0xe9, 0xff},
	"hashicorp/go-retryablehttp":       color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	"google/go-containerregistry":      color.RGBA{0x00, 0x9e, 0x73, 0xff},
	"failsafe-go/failsafehttp":         color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	"PuerkitoBio/rehttp":               color.RGBA{0xb8, 0x8a, 0x00, 0xff},
	"failsafehttp, adaptive limiter":   color.RGBA{0x8d, 0x3f, 0x6e, 0xff},
	"failsafehttp, adaptive throttler": color.RGBA{0xf0, 0xe4, 0x42, 0xff},
	"bare":                             color.RGBA{0x77, 0x77, 0x77, 0xff},
}

// picture is a canvas with a title, a legend and plots in rows and columns.
type picture struct {
	title  string
	legend []entry
	height vg.Length
	plots  [][]*plot.Plot
}

// entry is a line of a legend: a square of a colour, or a dash.
type entry struct {
	text   string
	colour color.Color
	dash   bool
}

const (
	width  = 620
	margin = 10
	head   = 50 // title and a line of legend

	legendLine = 13
)

// svg draws the picture. It has a white ground, since readers may have a dark one.
func (p *picture) svg() []byte {
	canvas := vgsvg.New(width, p.height)
	c := draw.New(canvas)
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	more := p.header(draw.Crop(c, margin, -margin, 0, -margin))
	body := draw.Crop(c, margin, -margin-6, margin, -head-more)
	tiles := draw.Tiles{Rows: len(p.plots), Cols: len(p.plots[0]), PadX: 14, PadY: 8}
	for i, line := range plot.Align(p.plots, tiles, body) {
		for j, at := range line {
			p.plots[i][j].Draw(at)
		}
	}
	var b bytes.Buffer
	canvas.WriteTo(&b) // a Buffer takes everything
	return portable(b.Bytes())
}

// portable names the fonts that have the metrics of the one that was measured: few
// readers have Liberation.
func portable(svg []byte) []byte {
	return bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
}

// header draws the title and the legend, and returns the height of all lines of the legend
// but the first.
func (p *picture) header(c draw.Canvas) (more vg.Length) {
	title := style(12, draw.XLeft)
	title.Font.Weight = 2 // medium
	c.FillText(title, vg.Point{X: c.Min.X, Y: c.Max.Y - 10}, p.title)
	label := style(9, draw.XLeft)
	at := vg.Point{X: c.Min.X, Y: c.Max.Y - 27}
	for _, e := range p.legend {
		length := 18 + 1.15*label.Width(e.text) // another font may be wider
		if at.X+length > c.Max.X {
			at.X, at.Y, more = c.Min.X, at.Y-legendLine, more+legendLine
		}
		c.SetColor(e.colour)
		if e.dash {
			c.StrokeLine2(draw.LineStyle{Color: e.colour, Width: 1, Dashes: dashes}, at.X, at.Y+3, at.X+14, at.Y+3)
		} else {
			c.Fill(vg.Rectangle{Min: at, Max: vg.Point{X: at.X + 14, Y: at.Y + 7}}.Path())
		}
		c.FillText(label, vg.Point{X: at.X + 18, Y: at.Y}, e.text)
		at.X += length + 12
	}
	return more
}

var dashes = []vg.Length{4, 3}

var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

func style(size font.Length, align text.XAlignment) text.Style {
	f := sans
	f.Size = size
	return text.Style{Color: color.Black, Font: f, XAlign: align, Handler: plot.DefaultTextHandler}
}

// newPlot is an empty plot in the house style.
func newPlot(title, x string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, x
	p.Title.TextStyle = style(9.5, draw.XCenter)
	p.Title.TextStyle.YAlign = draw.YTop
	p.Title.Padding = 4
	p.X.Label.TextStyle = style(9, draw.XCenter)
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.LineStyle.Width, axis.Tick.LineStyle.Width = 0.5, 0.5
		axis.Padding, axis.Tick.Length = 0, 4
	}
	p.X.Tick.Label = style(8.5, draw.XCenter)
	p.X.Tick.Label.YAlign = draw.YTop
	p.Y.Tick.Label = style(8.5, draw.XRight)
	p.Y.Tick.Label.YAlign = draw.YCenter
	return p
}
