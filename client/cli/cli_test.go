package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/cli"
)

// values is where the options of the sample command go.
type values struct {
	Spec     string
	Headers  []string
	Threads  int
	Count    int
	Timeout  time.Duration
	Verbose  bool
	Quiet    bool
	Color    string
	Squares  []int
	Operands []string
}

func sample(v *values) *cli.Command {
	*v = values{Spec: "inet:1", Headers: []string{"A", "B"}, Threads: 1, Timeout: 5 * time.Minute}
	return &cli.Command{
		Name:    "sample",
		Usage:   "[OPTION]... [FILE]...",
		Summary: "Shows what a command line can be.",
		Groups: []cli.Group{
			{Title: "First", Options: []cli.Option{
				{Long: "spec", Short: 's', Arg: "SPEC", Value: cli.String(&v.Spec), Help: "listen at SPEC"},
				{Long: "header", Arg: "NAME", Value: cli.Strings(&v.Headers), Help: "a header field; may be repeated"},
				{Long: "threads", Short: 't', Arg: "N", Value: cli.Int(&v.Threads, 1, 100), Help: "how many"},
				{Long: "count", Arg: "N", Value: cli.Int(&v.Count, 0, math.MaxInt), Help: "no default is said of zero"},
				{Long: "a-rather-long-name", Arg: "TIME", Value: cli.Duration(&v.Timeout),
					Help: "a text that is so long that it does not fit one line and has to go on below"},
			}},
			{Title: "Second", Options: []cli.Option{
				{Long: "verbose", Short: 'v', Value: cli.Bool(&v.Verbose), Help: "say more"},
				{Long: "quiet", Short: 'q', Value: cli.Bool(&v.Quiet), Help: "say less"},
				{Long: "color", Short: 'c', Arg: "WHEN", Value: cli.String(&v.Color), Implied: "yes", Help: "in color"},
				{Long: "square", Arg: "N", Value: cli.Func(func(text string) error {
					var n int
					if _, err := fmt.Sscan(text, &n); err != nil {
						return errors.New("not a number")
					}
					v.Squares = append(v.Squares, n*n)
					return nil
				}), Help: "a function"},
				{Long: "secret", Short: 'x', Value: cli.Bool(&v.Verbose), Hidden: true},
			}},
		},
		Notes:       []cli.Note{{Title: "Note", Text: "A paragraph whose lines are\nput together.\n\n  kept  as it is\nAnother one."}},
		MaxOperands: -1,
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want func(v *values)
	}{
		{"nothing", nil, func(v *values) {}},
		{"long, next word", []string{"--spec", "x"}, func(v *values) { v.Spec = "x" }},
		{"long, equals sign", []string{"--spec=x=y"}, func(v *values) { v.Spec = "x=y" }},
		{"long, empty value", []string{"--spec="}, func(v *values) { v.Spec = "" }},
		{"a value that looks like an option", []string{"--spec", "--quiet", "-s", "-v"}, func(v *values) { v.Spec = "-v" }},
		{"beginning of a name", []string{"--th", "3", "--verb"}, func(v *values) { v.Threads, v.Verbose = 3, true }},
		{"short, next word", []string{"-s", "x"}, func(v *values) { v.Spec = "x" }},
		{"short, same word", []string{"-sx", "-t10"}, func(v *values) { v.Spec, v.Threads = "x", 10 }},
		{"bundle", []string{"-vqt", "7"}, func(v *values) { v.Verbose, v.Quiet, v.Threads = true, true, 7 }},
		{"bundle with value", []string{"-vqs=x"}, func(v *values) { v.Verbose, v.Quiet, v.Spec = true, true, "=x" }},
		{"repeated", []string{"--spec=x", "-sy"}, func(v *values) { v.Spec = "y" }},
		{"list replaces its default", []string{"--header", "x", "--header=y"}, func(v *values) { v.Headers = []string{"x", "y"} }},
		{"optional value left out", []string{"--color", "x"}, func(v *values) { v.Color, v.Operands = "yes", []string{"x"} }},
		{"optional value", []string{"--color=no"}, func(v *values) { v.Color = "no" }},
		{"optional value, short", []string{"-c", "-vcnever"}, func(v *values) { v.Color, v.Verbose = "never", true }},
		{"seconds", []string{"--a-rather=10"}, func(v *values) { v.Timeout = 10 * time.Second }},
		{"parts of a second", []string{"--a-rather=0.25"}, func(v *values) { v.Timeout = 250 * time.Millisecond }},
		{"unit", []string{"--a-rather=1h30m"}, func(v *values) { v.Timeout = 90 * time.Minute }},
		{"function", []string{"--square", "3", "--square=4"}, func(v *values) { v.Squares = []int{9, 16} }},
		{"hidden", []string{"--secret"}, func(v *values) { v.Verbose = true }},
		{"mixed with operands", []string{"a", "-v", "b", "--", "-q", "c"}, func(v *values) {
			v.Verbose, v.Operands = true, []string{"a", "b", "-q", "c"}
		}},
		{"a dash is an operand", []string{"-", "-v"}, func(v *values) { v.Verbose, v.Operands = true, []string{"-"} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got, want values
			operands, err := sample(&got).Parse(tt.args)
			if err != nil {
				t.Fatal(err)
			}
			got.Operands = operands
			sample(&want)
			tt.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"unknown", []string{"--foo"}, "unrecognized option '--foo'"},
		{"unknown with value", []string{"--foo=x"}, "unrecognized option '--foo'"},
		{"unknown, short", []string{"-vz"}, "invalid option -- 'z'"},
		{"ambiguous", []string{"--ver"}, "option '--ver' is ambiguous; possibilities: '--verbose' '--version'"},
		{"beginning of a hidden one", []string{"--sec"}, "unrecognized option '--sec'"},
		{"no value", []string{"-v", "--spec"}, "option '--spec' requires an argument"},
		{"no value, short", []string{"-vs"}, "option requires an argument -- 's'"},
		{"a value too many", []string{"--quiet=yes"}, "option '--quiet' doesn't allow an argument"},
		{"no number", []string{"--threads=x"}, `invalid value "x" for '--threads': not a whole number`},
		{"no number, short", []string{"-t", "1.5"}, `invalid value "1.5" for '-t': not a whole number`},
		{"number out of range", []string{"-t0"}, `invalid value "0" for '-t': must be from 1 to 100`},
		{"number far out of range", []string{"-t99999999999999999999"}, `invalid value "99999999999999999999" for '-t': must be from 1 to 100`},
		{"number too small", []string{"--count=-1"}, `invalid value "-1" for '--count': must be at least 0`},
		{"number too large", []string{"--count=99999999999999999999"}, `invalid value "99999999999999999999" for '--count': too large a number`},
		{"no duration", []string{"--a-rather-long-name=soon"},
			`invalid value "soon" for '--a-rather-long-name': not a duration, such as "10" (seconds), "100ms" or "5m"`},
		{"infinite duration", []string{"--a-rather-long-name=inf"},
			`invalid value "inf" for '--a-rather-long-name': not a duration, such as "10" (seconds), "100ms" or "5m"`},
		{"negative duration", []string{"--a-rather-long-name=-1"}, `invalid value "-1" for '--a-rather-long-name': must not be negative`},
		{"error of a function", []string{"--square=\x1b"}, `invalid value "\x1b" for '--square': not a number`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := sample(new(values))
			_, err := c.Parse(tt.args)
			var usage *cli.UsageError
			if !errors.As(err, &usage) || usage.Text != tt.want {
				t.Fatalf("error %q, want a UsageError %q", err, tt.want)
			}
			var stdout, stderr bytes.Buffer
			if status := c.Exit(err, &stdout, &stderr); status != cli.StatusUsage {
				t.Errorf("exit status %d, want %d", status, cli.StatusUsage)
			}
			want := "sample: " + tt.want + "\nTry 'sample --help' for more information.\n"
			if diff := cmp.Diff(want, stderr.String()); diff != "" || stdout.Len() > 0 {
				t.Errorf("stdout %q, stderr (-want +got):\n%s", stdout.String(), diff)
			}
		})
	}
}

func TestOperands(t *testing.T) {
	c := cli.Command{Name: "none"}
	if _, err := c.Parse([]string{"x"}); err == nil || err.Error() != `extra operand "x"` {
		t.Errorf("error %v, want one about the operand", err)
	}
	c.MaxOperands = 1
	if got, err := c.Parse([]string{"x"}); err != nil || !slices.Equal(got, []string{"x"}) {
		t.Errorf("Parse = %q, %v; one operand is allowed", got, err)
	}
}

func TestHelp(t *testing.T) {
	const want = `Usage: sample [OPTION]... [FILE]...
Shows what a command line can be.

First:
  -s, --spec=SPEC             listen at SPEC (default: inet:1)
      --header=NAME           a header field; may be repeated (default: A, B)
  -t, --threads=N             how many (default: 1)
      --count=N               no default is said of zero
      --a-rather-long-name=TIME
                              a text that is so long that it does not fit one
                              line and has to go on below (default: 5m)

Second:
  -v, --verbose               say more
  -q, --quiet                 say less
  -c, --color[=WHEN]          in color
      --square=N              a function

Help:
  -h, --help                  print this help and exit
  -V, --version               print the version and exit

Note:
A paragraph whose lines are put together.

  kept  as it is
Another one.
`
	for _, args := range [][]string{{"--help"}, {"-h"}, {"-?"}, {"-v", "--hel", "--unknown"}, {"--spec=changed", "-vh"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			c := sample(new(values))
			_, err := c.Parse(args)
			if err != cli.ErrHelp {
				t.Fatalf("error %v, want ErrHelp", err)
			}
			var stdout, stderr bytes.Buffer
			if status := c.Exit(err, &stdout, &stderr); status != cli.StatusOK || stderr.Len() > 0 {
				t.Errorf("exit status %d, stderr %q", status, stderr.String())
			}
			if diff := cmp.Diff(want, stdout.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An option may take the letters that the built-in ones have otherwise.
func TestTakenLetters(t *testing.T) {
	var header, volume string
	c := cli.Command{Name: "taken", Groups: []cli.Group{{Title: "Options", Options: []cli.Option{
		{Long: "header", Short: 'h', Arg: "NAME", Value: cli.String(&header)},
		{Long: "volume", Short: 'V', Arg: "N", Value: cli.String(&volume)},
	}}}}
	if _, err := c.Parse([]string{"-hx", "-V", "y"}); err != nil || header != "x" || volume != "y" {
		t.Errorf("error %v, header %q, volume %q", err, header, volume)
	}
	if _, err := c.Parse([]string{"-?"}); err != cli.ErrHelp {
		t.Errorf("error %v for -?, want ErrHelp", err)
	}
	if help := c.Help(); !strings.Contains(help, "  -?, --help ") || !strings.Contains(help, "      --version ") {
		t.Errorf("the help does not say which letters are left:\n%s", help)
	}
}

func TestExit(t *testing.T) {
	tests := []struct {
		name    string
		err     error
		version string
		status  int
		stdout  string
		stderr  string
	}{
		{"no error", nil, "", 0, "", ""},
		{"version", cli.ErrVersion, "v1.2.3", 0, "sample v1.2.3\n", ""},
		{"version of the module", cli.ErrVersion, "", 0, "sample " + cli.Version() + "\n", ""},
		{"failure", errors.New("it broke"), "", 1, "", "sample: it broke\n"},
		{"usage", cli.Usagef("%s and %s", "-a", "-b"), "", 2, "", "sample: -a and -b\nTry 'sample --help' for more information.\n"},
		{"wrapped usage", fmt.Errorf("config: %w", cli.Usagef("bad")), "", 2, "", "sample: config: bad\nTry 'sample --help' for more information.\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := cli.Command{Name: "sample", Version: tt.version}
			var stdout, stderr bytes.Buffer
			if got := c.Exit(tt.err, &stdout, &stderr); got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
			if diff := cmp.Diff([]string{tt.stdout, tt.stderr}, []string{stdout.String(), stderr.String()}); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
	if status := new(cli.Command).Exit(cli.ErrHelp, brokenWriter{}, &bytes.Buffer{}); status != cli.StatusFailure {
		t.Errorf("status %d when the help cannot be written, want %d", status, cli.StatusFailure)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestVersion(t *testing.T) {
	if got := cli.Version(); got == "" {
		t.Error("no version")
	}
}
