package main

import (
	"math"
	"testing"
	"time"
)

func TestFit(t *testing.T) {
	inf := math.Inf(1)
	tests := []struct {
		name   string
		x, y   []float64
		grows  bool // by 1 or more
		slope  float64
		margin float64
	}{
		{"exact", []float64{0, 1, 2, 3}, []float64{5, 7, 9, 11}, true, 2, 0},
		{"flat", []float64{0, 1, 2, 3}, []float64{5, 5, 5, 5}, false, 0, 0},
		{"below the limit", []float64{0, 10, 20, 30}, []float64{0, 9, 18, 27}, false, 0.9, 0},
		{"shrinks", []float64{0, 1, 2}, []float64{9, 6, 3}, false, -3, 0},
		// By hand: residuals -1, 2, -1 (twice), sum of squares 12, sxx 17.5,
		// so the standard error is sqrt(12/4/17.5) = 0.41404 and t(4) = 4.604.
		{"by chance perhaps", []float64{1, 2, 3, 4, 5, 6}, []float64{0, 4, 2, 3, 7, 5}, false, 1, 1.9062},
		{"noisy, and surely", []float64{1, 2, 3, 4, 5, 6}, []float64{19, 43, 61, 79, 103, 119}, true, 19.9429, 2.4160},
		{"two points", []float64{0, 1}, []float64{0, 100}, false, 0, inf},
		{"one place", []float64{1, 1, 1}, []float64{0, 1, 2}, false, 0, inf},
		{"nothing", nil, nil, false, 0, inf},
	}
	near := func(a, b float64) bool { return a == b || math.Abs(a-b) < 1e-3 }
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := fit(tt.x, tt.y)
			if !near(got.slope, tt.slope) || !near(got.margin, tt.margin) {
				t.Errorf("fit = %+v, want %v ± %v", got, tt.slope, tt.margin)
			}
			if got.grows(1) != tt.grows {
				t.Errorf("grows(1) = %v, want %v", !tt.grows, tt.grows)
			}
		})
	}
}

func TestStudent99(t *testing.T) {
	tests := []struct {
		degrees int
		want    float64
	}{{0, math.Inf(1)}, {1, 63.66}, {4, 4.604}, {7, 3.707}, {30, 2.750}, {59, 2.750}, {1000, 2.617}}
	for _, tt := range tests {
		if got := student99(tt.degrees); got != tt.want {
			t.Errorf("student99(%d) = %v, want %v", tt.degrees, got, tt.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i))
	}
	tests := []struct {
		name string
		d    []time.Duration
		p    float64
		want time.Duration
	}{
		{"nothing", nil, 99, 0},
		{"one", []time.Duration{7}, 50, 7},
		{"the least", hundred, 0, 1},
		{"the middle", hundred, 50, 50},
		{"p99", hundred, 99, 99},
		{"the most", hundred, 100, 100},
		{"p99 of few is the most", []time.Duration{3, 1, 2}, 99, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := percentile(tt.d, tt.p); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMedian(t *testing.T) {
	tests := []struct {
		f    []float64
		want float64
	}{{nil, 0}, {[]float64{5}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 3, 2, 1}, 3}}
	for _, tt := range tests {
		if got := median(tt.f); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.f, got, tt.want)
		}
	}
}
