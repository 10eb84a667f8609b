package plot

import (
	"fmt"
	"strings"
)

// Lines is a chart of a line for each series over the same places of the x axis.
type Lines struct {
	Title, Subtitle string
	XAxis, YAxis    string
	Series          []Series
	X               []string  // the labels of the places
	Values          [][]Value // for each series, one for each place
	Format          func(float64) string
}

const linesHeight = 420

// SVG draws the chart.
func (l Lines) SVG() string {
	const from, to = 90.0, width - 30.0
	high := 0.0
	for _, values := range l.Values {
		for _, v := range values {
			if v.OK {
				high = max(high, v.High, v.Median)
			}
		}
	}
	marks := ticks(high)
	floor := linesHeight - bottom - 10.0
	x := func(i int) float64 { return from + (float64(i)+0.5)/float64(len(l.X))*(to-from) }
	y := func(v float64) float64 { return floor - v/marks[len(marks)-1]*(floor-top) }

	var c canvas
	c.begin(linesHeight, l.Title, l.Subtitle, l.Series)
	for _, mark := range marks {
		c.line(from, y(mark), to, y(mark), grid, 1)
		c.text(from-8, y(mark)+4, 12, "end", faint, l.Format(mark))
	}
	for i, label := range l.X {
		c.line(x(i), floor, x(i), floor+4, faint, 1)
		c.text(x(i), floor+20, 12.5, "middle", faint, label)
	}
	c.line(from, floor, to, floor, faint, 1)
	c.text((from+to)/2, floor+42, 13, "middle", ink, l.XAxis)
	c.text(22, (top+floor)/2, 13, "middle", ink, l.YAxis, fmt.Sprintf(`transform="rotate(-90 22 %.1f)"`, (top+floor)/2))
	for i, values := range l.Values {
		l.one(&c, values, l.Series[i], x, y)
	}
	return c.end()
}

// one draws one line, with its ranges.
func (l Lines) one(c *canvas, values []Value, s Series, x func(int) float64, y func(float64) float64) {
	var points []string
	for i, v := range values {
		if !v.OK {
			continue
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), y(v.Median)))
		if v.High > v.Low {
			c.line(x(i), y(v.Low), x(i), y(v.High), s.Color, 1.4)
			c.line(x(i)-4, y(v.Low), x(i)+4, y(v.Low), s.Color, 1.4)
			c.line(x(i)-4, y(v.High), x(i)+4, y(v.High), s.Color, 1.4)
		}
	}
	fmt.Fprintf(c, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2.5" stroke-linejoin="round"/>`+"\n", strings.Join(points, " "), s.Color)
	for i, v := range values {
		if v.OK {
			c.circle(x(i), y(v.Median), 4, s.Color, "#ffffff")
		}
	}
}
