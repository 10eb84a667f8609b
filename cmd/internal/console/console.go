// Package console is how the commands speak with their user: values of options
// that have a parser of their own, errors, numbers, terminals.
package console

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/milter-go/milter/client/cli"
)

// Parsed returns the value of an option whose argument parse makes into *p. Its
// errors are shown as [Plain] ones.
func Parsed[T any](p *T, parse func(text string) (T, error)) cli.Value {
	return cli.Func(func(text string) error {
		v, err := parse(text)
		if err == nil {
			*p = v
		}
		return Plain(err)
	})
}

// Plain returns err without the name of the package of this module that it begins
// with: the user knows a command. It wraps nothing. Of nil it is nil.
func Plain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, prefix := range []string{"client: ", "context: ", "miltertest: ", "option: ", "protocol: ", "reply: "} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return errors.New(rest)
		}
	}
	return errors.New(text)
}

// Plural returns n with its noun, such as "1 session" or "2 sessions".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// IsTerminal reports whether w is a terminal that understands more than lines:
// the environment variable TERM is not "dumb".
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
