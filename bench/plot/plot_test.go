package plot_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/bench/plot"
)

// An element is what a chart draws.
type element struct {
	name       string
	attributes map[string]string
	text       string
}

// number returns an attribute as a number.
func (e element) number(t *testing.T, name string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(e.attributes[name], 64)
	if err != nil {
		t.Fatalf("%s of %s: %v", name, e.name, err)
	}
	return v
}

// parse reads an SVG, which has to be well-formed, and checks that all of it is
// inside the picture.
func parse(t *testing.T, svg string) []element {
	t.Helper()
	var list []element
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attributes: make(map[string]string)}
			for _, a := range token.Attr {
				e.attributes[a.Name.Local] = a.Value
			}
			list = append(list, e)
		case xml.CharData:
			if len(list) > 0 {
				list[len(list)-1].text += strings.TrimSpace(string(token))
			}
		}
	}
	width, height := list[0].number(t, "width"), list[0].number(t, "height")
	for _, e := range list[1:] {
		for name, limit := range map[string]float64{"x": width, "x1": width, "x2": width, "cx": width, "y": height, "y1": height, "y2": height, "cy": height} {
			if e.attributes[name] == "" {
				continue
			}
			if v := e.number(t, name); v < 0 || v > limit {
				t.Errorf("%s: %s is %v, outside of the picture", e.name, name, v)
			}
		}
	}
	return list
}

// texts returns all texts of that kind.
func texts(list []element) []string {
	var all []string
	for _, e := range list {
		if e.name == "text" {
			all = append(all, e.text)
		}
	}
	return all
}

func format(x float64) string { return fmt.Sprintf("%.4gu", x) }

func value(low, median, high float64) plot.Value {
	return plot.Value{Low: low, Median: median, High: high, OK: true}
}

func TestBars(t *testing.T) {
	list := parse(t, plot.Bars{
		Title: "A & B", Subtitle: "less <is> better", Axis: "units",
		Series: []plot.Series{{Name: "one", Color: "red"}, {Name: "two", Color: "blue"}},
		Rows: []plot.Row{
			{Label: "first", Values: []plot.Value{value(1.5, 2, 2.5), value(4, 4, 4)}},
			{Label: "second", Values: []plot.Value{value(90, 100, 110), {}}},
		},
		Reference: 1, Limit: 5, Format: format,
	}.SVG())
	var red, blue []float64 // the widths of the bars; the first rectangle is the legend's
	for _, e := range list {
		switch e.attributes["fill"] {
		case "red":
			red = append(red, e.number(t, "width"))
		case "blue":
			blue = append(blue, e.number(t, "width"))
		}
	}
	if len(red) != 3 || len(blue) != 2 {
		t.Fatalf("%d red and %d blue rectangles, want 3 and 2", len(red), len(blue))
	}
	if ratio := blue[1] / red[1]; ratio < 1.99 || ratio > 2.01 {
		t.Errorf("the bar of 4 is %.2f times as long as the one of 2", ratio)
	}
	if ratio := red[2] / red[1]; ratio < 2.49 || ratio > 2.51 {
		t.Errorf("the bar of 100, cut at 5, is %.2f times as long as the one of 2", ratio)
	}
	want := []string{
		"A & B", "less <is> better", "one", "two", // the head
		"0u", "1u", "2u", "3u", "4u", "5u", "units", // the axis
		"first", "second", "not measured", // the rows
		"2u", "4u", "100u", // the numbers, above all else
	}
	if diff := cmp.Diff(want, texts(list)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestTicks: an axis has round numbers, few of them, and does not end before the
// longest bar.
func TestTicks(t *testing.T) {
	for _, test := range []struct {
		name    string
		longest float64
		want    string
	}{
		{"nothing", 0, "0 1"},
		{"whole numbers", 5, "0 1 2 3 4 5"},
		{"beyond the last one", 5.1, "0 1 2 3 4 5 6"},
		{"large", 73.8, "0 20 40 60 80"},
		{"quarters", 13, "0 2.5 5 7.5 10 12.5 15"},
		{"small", 0.012, "0 0.002 0.004 0.006 0.008 0.01 0.012"},
	} {
		t.Run(test.name, func(t *testing.T) {
			list := parse(t, plot.Bars{
				Series: []plot.Series{{Name: "s", Color: "red"}},
				Rows:   []plot.Row{{Label: "row", Values: []plot.Value{value(test.longest, test.longest, test.longest)}}},
				Format: func(x float64) string { return fmt.Sprintf("%.4g", x) },
				Number: func(float64) string { return "" },
				Axis:   "axis",
			}.SVG())
			got, _, _ := strings.Cut(strings.Join(texts(list)[3:], " "), " axis")
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestRanges(t *testing.T) {
	list := parse(t, plot.Ranges{
		Title: "t", Axis: "axis", Format: format,
		Series: []plot.Series{{Name: "s", Color: "red"}},
		Rows: []plot.Row{
			{Label: "a", Values: []plot.Value{value(0.002, 0, 0.02)}},
			{Label: "b", Values: []plot.Value{value(0.2, 0, 2)}},
			{Label: "c", Values: []plot.Value{{}}},
		},
	}.SVG())
	var x []float64
	for _, e := range list {
		if e.name == "circle" {
			x = append(x, e.number(t, "cx"))
		}
	}
	if len(x) != 4 {
		t.Fatalf("%d dots, want 4", len(x))
	}
	if a, b := x[1]-x[0], x[3]-x[2]; a < 1 || a-b > 0.2 || b-a > 0.2 {
		t.Errorf("a factor of ten is %.1f wide in one row and %.1f in the other", a, b)
	}
	want := []string{
		"t", "", "s",
		"0.001u", "0.01u", "0.1u", "1u", "10u", "axis",
		"a", "0.002u", "0.02u", "b", "0.2u", "2u", "c", "not measured",
	}
	if diff := cmp.Diff(want, texts(list)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestLines(t *testing.T) {
	list := parse(t, plot.Lines{
		Title: "t", XAxis: "x", YAxis: "y", Format: format,
		Series: []plot.Series{{Name: "s", Color: "red"}},
		X:      []string{"1", "16", "256"},
		Values: [][]plot.Value{{value(10, 10, 10), {}, value(15, 20, 25)}},
	}.SVG())
	var dots []element
	lines := 0
	for _, e := range list {
		switch {
		case e.name == "circle":
			dots = append(dots, e)
		case e.name == "polyline":
			if n := len(strings.Fields(e.attributes["points"])); n != 2 {
				t.Errorf("a line of %d points, want 2: nothing was measured at 16", n)
			}
		case e.attributes["stroke"] == "red":
			lines++
		}
	}
	if len(dots) != 2 {
		t.Fatalf("%d dots, want 2", len(dots))
	}
	if dots[0].number(t, "cy") <= dots[1].number(t, "cy") {
		t.Error("10 is not below 20")
	}
	if lines != 3 {
		t.Errorf("a whisker of %d lines, want 3", lines)
	}
}

// TestNothing: a chart of nothing is still one.
func TestNothing(t *testing.T) {
	parse(t, plot.Bars{Format: format}.SVG())
	parse(t, plot.Ranges{Format: format}.SVG())
	parse(t, plot.Lines{Format: format}.SVG())
}
