package plot

import "math"

// Ranges is a chart of two numbers for each value, Low and High, on a logarithmic
// axis, with a line between them.
type Ranges struct {
	Title, Subtitle string
	Axis            string
	Series          []Series
	Rows            []Row
	Format          func(float64) string
}

const rangeHeight = 20

// SVG draws the chart.
func (r Ranges) SVG() string {
	group := float64(len(r.Series)) * rangeHeight
	height := top + float64(len(r.Rows))*(group+rowGap) + bottom
	first, last := r.decades()
	x := func(v float64) float64 {
		return left + (math.Log10(v)-first)/(last-first)*(width-left-right)
	}

	var c canvas
	c.begin(height, r.Title, r.Subtitle, r.Series)
	floor := height - bottom
	for decade := first; decade <= last; decade++ {
		for digit := 1; digit <= 9 && (digit == 1 || decade < last); digit++ {
			at := float64(digit) * math.Pow(10, decade)
			if digit != 1 {
				c.line(x(at), top, x(at), floor, "#f2f2f2", 1)
				continue
			}
			c.line(x(at), top, x(at), floor, "#cccccc", 1)
			c.text(x(at), floor+18, 12, "middle", faint, r.Format(at))
		}
	}
	c.text((left+width-right)/2, floor+40, 13, "middle", ink, r.Axis)
	y := top + rowGap/2.0
	for i, row := range r.Rows {
		if i > 0 {
			c.line(20, y-rowGap/2.0, width-20, y-rowGap/2.0, grid, 1)
		}
		c.text(left-10, y+group/2+4.5, 13, "end", ink, row.Label)
		for j, v := range row.Values {
			middle := y + (float64(j)+0.5)*rangeHeight
			if !v.OK {
				c.text(left+6, middle+4, 11.5, "start", faint, "not measured")
				continue
			}
			color := r.Series[j].Color
			c.line(x(v.Low), middle, x(v.High), middle, color, 3)
			c.circle(x(v.Low), middle, 5, color, color)
			c.circle(x(v.High), middle, 5, "#ffffff", color)
			c.text(x(v.Low)-10, middle+4.5, 11.5, "end", ink, r.Format(v.Low))
			c.text(x(v.High)+10, middle+4.5, 11.5, "start", ink, r.Format(v.High))
		}
		y += group + rowGap
	}
	return c.end()
}

// decades returns the powers of ten that the axis begins and ends with. There is room
// for a number before the lowest value.
func (r Ranges) decades() (first, last float64) {
	low, high := math.Inf(1), 0.0
	for _, row := range r.Rows {
		for _, v := range row.Values {
			if v.OK {
				low, high = min(low, v.Low), max(high, v.High)
			}
		}
	}
	if high == 0 {
		return 0, 1
	}
	first, last = math.Floor(math.Log10(low/1.5)), math.Ceil(math.Log10(high))
	return first, max(last, first+1)
}
