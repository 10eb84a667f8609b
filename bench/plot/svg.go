// Package plot draws charts as SVG: bars, ranges on a logarithmic axis, and lines.
package plot

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// A Series is what one colour stands for.
type Series struct {
	Name  string
	Color string // as in CSS
}

// A Value is a median and its range. OK is false where nothing was measured.
type Value struct {
	Median, Low, High float64
	OK                bool
}

// The looks, in pixels and colours.
const (
	width      = 860
	left       = 165 // where the plot begins; labels stand before it
	right      = 70  // room behind it, for a number at the longest bar
	top        = 92  // title, subtitle and legend stand above it
	bottom     = 50  // the axis stands below it
	ink        = "#222222"
	faint      = "#666666"
	grid       = "#e3e3e3"
	fontFamily = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"
)

// halo keeps a text readable above lines.
const halo = `paint-order="stroke" stroke="#ffffff" stroke-width="3" stroke-linejoin="round"`

// A canvas is an SVG document that is being drawn.
type canvas struct{ strings.Builder }

// begin writes the frame of a chart of that height: background, title, subtitle and
// legend.
func (c *canvas) begin(height float64, title, subtitle string, series []Series) {
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" role="img" font-family="%s">`+"\n",
		width, height, width, height, html.EscapeString(fontFamily))
	fmt.Fprintf(c, "<title>%s</title>\n", html.EscapeString(title))
	c.rect(0, 0, width, height, "#ffffff")
	c.text(20, 28, 17, "start", ink, title, `font-weight="600"`)
	c.text(20, 48, 12.5, "start", faint, subtitle)
	x := 20.0
	for _, s := range series {
		c.rect(x, 62, 13, 13, s.Color)
		c.text(x+19, 73, 13, "start", ink, s.Name)
		x += 19 + 7.6*float64(len(s.Name)) + 26
	}
}

func (c *canvas) end() string {
	c.WriteString("</svg>\n")
	return c.String()
}

func (c *canvas) rect(x, y, w, h float64, fill string) {
	fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, w, h, fill)
}

func (c *canvas) line(x1, y1, x2, y2 float64, stroke string, thickness float64, more ...string) {
	fmt.Fprintf(c, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%.1f"%s/>`+"\n",
		x1, y1, x2, y2, stroke, thickness, attributes(more))
}

func (c *canvas) circle(x, y, r float64, fill, stroke string) {
	fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s" stroke="%s" stroke-width="2"/>`+"\n", x, y, r, fill, stroke)
}

func (c *canvas) text(x, y, size float64, anchor, fill, text string, more ...string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" font-size="%.1f" text-anchor="%s" fill="%s"%s>%s</text>`+"\n",
		x, y, size, anchor, fill, attributes(more), html.EscapeString(text))
}

func attributes(more []string) string {
	if len(more) == 0 {
		return ""
	}
	return " " + strings.Join(more, " ")
}

// ticks returns round numbers from 0 to the first one that is not below limit, about
// six of them.
func ticks(limit float64) []float64 {
	if !(limit > 0) || math.IsInf(limit, 0) {
		return []float64{0, 1}
	}
	power := math.Pow(10, math.Floor(math.Log10(limit/6)))
	step := power
	for _, factor := range []float64{1, 2, 2.5, 5, 10} {
		if step = factor * power; limit/step <= 6 {
			break
		}
	}
	var list []float64
	for i := 0; ; i++ {
		tick := float64(i) * step
		list = append(list, tick)
		if tick >= limit-step/1e6 {
			return list
		}
	}
}
