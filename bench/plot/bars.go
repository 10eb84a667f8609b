package plot

import "math"

// A Row is a group of bars, a value for each series.
type Row struct {
	Label  string
	Values []Value
}

// Bars is a chart of horizontal bars in groups, with a whisker from the lowest to the
// highest value.
type Bars struct {
	Title, Subtitle string
	Axis            string // what the numbers are, with their unit
	Series          []Series
	Rows            []Row
	Reference       float64              // a line that the eye compares with; zero for none
	Limit           float64              // where the axis ends at the latest, bars beyond it are cut; zero for no limit
	Format          func(float64) string // of the axis
	Number          func(float64) string // of a bar; nil for Format
}

const (
	barHeight = 15
	barGap    = 3
	rowGap    = 16
)

// SVG draws the chart.
func (b Bars) SVG() string {
	group := float64(len(b.Series))*(barHeight+barGap) - barGap
	height := top + float64(len(b.Rows))*(group+rowGap) + bottom
	marks := ticks(b.highest())
	limit := marks[len(marks)-1]
	x := func(v float64) float64 { return left + min(v, limit)/limit*(width-left-right) }

	var c canvas
	if b.Number == nil {
		b.Number = b.Format
	}
	c.begin(height, b.Title, b.Subtitle, b.Series)
	floor := height - bottom
	for _, mark := range marks {
		c.line(x(mark), top, x(mark), floor, grid, 1)
		c.text(x(mark), floor+18, 12, "middle", faint, b.Format(mark))
	}
	c.text((left+width-right)/2, floor+40, 13, "middle", ink, b.Axis)
	var numbers canvas // above all that is drawn
	y := top + rowGap/2.0
	for _, row := range b.Rows {
		c.text(left-10, y+group/2+4.5, 13, "end", ink, row.Label)
		for i, v := range row.Values {
			b.bar(&c, &numbers, x, y+float64(i)*(barHeight+barGap), v, b.Series[i].Color, v.Median > limit)
		}
		y += group + rowGap
	}
	if b.Reference > 0 {
		c.line(x(b.Reference), top-4, x(b.Reference), floor, ink, 1.4, `stroke-dasharray="5 4"`)
	}
	c.line(left, top, left, floor, faint, 1)
	c.WriteString(numbers.String())
	return c.end()
}

// bar draws one bar and its whisker, and its number to a canvas that comes later. A
// bar that was cut has a gap.
func (b Bars) bar(c, numbers *canvas, x func(float64) float64, y float64, v Value, color string, cut bool) {
	middle := y + barHeight/2.0
	if !v.OK {
		c.text(left+6, middle+4, 11.5, "start", faint, "not measured")
		return
	}
	c.rect(left, y, max(x(v.Median)-left, 1), barHeight, color)
	behind := x(v.Median)
	if cut {
		at := x(v.Median) - 24
		c.line(at, y+barHeight+2, at+8, y-2, "#ffffff", 3)
		c.line(at+6, y+barHeight+2, at+14, y-2, "#ffffff", 3)
	} else if v.High > v.Low {
		low, high := x(v.Low), x(v.High)
		behind = max(behind, high)
		c.line(low, middle, high, middle, ink, 1.2)
		c.line(low, middle-3.5, low, middle+3.5, ink, 1.2)
		c.line(high, middle-3.5, high, middle+3.5, ink, 1.2)
	}
	numbers.text(behind+6, middle+4.5, 12, "start", ink, b.Number(v.Median), halo)
}

// highest is where the axis should end.
func (b Bars) highest() float64 {
	high := b.Reference
	for _, row := range b.Rows {
		for _, v := range row.Values {
			if v.OK {
				high = max(high, v.Median, v.High)
			}
		}
	}
	if b.Limit > 0 {
		high = math.Min(high, b.Limit)
	}
	return high
}
