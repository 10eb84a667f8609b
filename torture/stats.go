package main

import (
	"math"
	"slices"
	"time"
)

// A line is a straight line through points, by least squares.
type line struct {
	slope  float64
	margin float64 // the slope is within slope ± margin with a confidence of 99 %
}

// fit returns the line through the points (x[i], y[i]). With fewer than three
// points, or all at one x, the margin is infinite.
func fit(x, y []float64) line {
	n := float64(len(x))
	var meanX, meanY float64
	for i := range x {
		meanX += x[i] / n
		meanY += y[i] / n
	}
	var xx, xy float64
	for i := range x {
		xx += (x[i] - meanX) * (x[i] - meanX)
		xy += (x[i] - meanX) * (y[i] - meanY)
	}
	if xx == 0 || len(x) < 3 {
		return line{0, math.Inf(1)}
	}
	slope := xy / xx
	var rest float64
	for i := range x {
		d := y[i] - meanY - slope*(x[i]-meanX)
		rest += d * d
	}
	return line{slope, student99(len(x)-2) * math.Sqrt(rest/(n-2)/xx)}
}

// grows reports whether the slope is limit or more, and not by chance.
func (l line) grows(limit float64) bool { return l.slope >= limit && l.slope-l.margin > 0 }

// student99 returns the two-sided 99 % quantile of Student's t distribution, from
// the table in every book on statistics; between its entries that of the lower
// degree, which is larger.
func student99(degrees int) float64 {
	table := []struct {
		degrees int
		t       float64
	}{{1, 63.66}, {2, 9.925}, {3, 5.841}, {4, 4.604}, {5, 4.032}, {6, 3.707}, {8, 3.355}, {10, 3.169},
		{15, 2.947}, {20, 2.845}, {30, 2.750}, {60, 2.660}, {120, 2.617}}
	t := math.Inf(1)
	for _, e := range table {
		if degrees >= e.degrees {
			t = e.t
		}
	}
	return t
}

// percentile returns the p-th percentile of d by the nearest rank, 0 of nothing.
// It sorts d.
func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	rank := int(math.Ceil(p / 100 * float64(len(d))))
	return d[max(rank, 1)-1]
}

// median returns the middle of f, the upper one of two, 0 of nothing. It sorts f.
func median(f []float64) float64 {
	if len(f) == 0 {
		return 0
	}
	slices.Sort(f)
	return f[len(f)/2]
}
