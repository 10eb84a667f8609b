package console_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"testing"

	"github.com/milter-go/milter/client/cli"
	"github.com/milter-go/milter/cmd/internal/console"
)

func TestPlain(t *testing.T) {
	tests := []struct{ name, err, want string }{
		{"of a package", `client: spec doesn't have colon: "x"`, `spec doesn't have colon: "x"`},
		{"only the first", "context: reading a command: protocol: bad length", "reading a command: protocol: bad length"},
		{"of none", "open /x: no such file", "open /x: no such file"},
		{"of another module", "json: invalid", "json: invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := console.Plain(errors.New(tt.err)).Error(); got != tt.want {
				t.Errorf("Plain(%q) = %q, want %q", tt.err, got, tt.want)
			}
		})
	}
	if err := console.Plain(nil); err != nil {
		t.Errorf("Plain(nil) = %v", err)
	}
}

func TestParsed(t *testing.T) {
	n := 7
	c := &cli.Command{Name: "x", Groups: []cli.Group{{Options: []cli.Option{
		{Long: "number", Arg: "N", Value: console.Parsed(&n, func(text string) (int, error) {
			v, err := strconv.Atoi(text)
			if err != nil {
				return -1, errors.New("option: no number")
			}
			return v, nil
		})},
	}}}}
	_, err := c.Parse([]string{"--number=x"})
	if want := `invalid value "x" for '--number': no number`; err == nil || err.Error() != want || n != 7 {
		t.Errorf("error %v, want %s; the number is %d, want 7", err, want, n)
	}
	if _, err := c.Parse([]string{"--number=8"}); err != nil || n != 8 {
		t.Errorf("error %v; the number is %d, want 8", err, n)
	}
}

func TestPlural(t *testing.T) {
	for _, tt := range []struct {
		n    int
		want string
	}{{0, "0 changes"}, {1, "1 change"}, {2, "2 changes"}} {
		if got := console.Plural(tt.n, "change"); got != tt.want {
			t.Errorf("Plural(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device, err := os.Open(os.DevNull) // a device for characters, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	tests := []struct {
		name string
		w    io.Writer
		term string
		want bool
	}{
		{"no file", new(bytes.Buffer), "xterm", false},
		{"file", file, "xterm", false},
		{"device", device, "xterm", true},
		{"dumb", device, "dumb", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", tt.term)
			if got := console.IsTerminal(tt.w); got != tt.want {
				t.Errorf("IsTerminal = %v, want %v", got, tt.want)
			}
		})
	}
}
