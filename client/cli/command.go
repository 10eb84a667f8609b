package cli

import (
	"errors"
	"fmt"
	"io"
)

// The exit statuses of a program.
const (
	// StatusOK says that all went well.
	StatusOK = 0
	// StatusFailure says that the program could not do what it was told to.
	StatusFailure = 1
	// StatusUsage says that the command line is wrong.
	StatusUsage = 2
)

var (
	// ErrHelp is returned by Parse for --help.
	ErrHelp = errors.New("cli: help was asked for")
	// ErrVersion is returned by Parse for --version.
	ErrVersion = errors.New("cli: the version was asked for")
)

// A Command is the command line of a program.
type Command struct {
	// Name is the name of the program, in messages and in the help.
	Name string
	// Usage is what follows the name in the first line of the help. Empty means
	// "[OPTION]...".
	Usage string
	// Summary says in a sentence or two what the program does.
	Summary string
	// Groups are the options, in the order of the help.
	Groups []Group
	// Notes stand at the end of the help.
	Notes []Note
	// MaxOperands is how many words may be given that are no options; below zero
	// there is no limit. Default: none.
	MaxOperands int
	// Version is what --version prints behind the name. Empty means the version
	// of the module that the program was built from, see [Version].
	Version string

	defaults map[string]string // by long name, from before Parse changed anything
}

// A Group is a part of the options, with a title in the help.
type Group struct {
	Title   string
	Options []Option
}

// An Option is one option.
type Option struct {
	// Long is the name behind "--". It must not be empty.
	Long string
	// Short is the letter behind "-"; zero for none.
	Short byte
	// Arg is the name of the value in the help, such as "FILE".
	Arg string
	// Value says where the value goes.
	Value Value
	// Implied is the value that the option has when it is given without one. If
	// it is not empty the value may be left out; it is then never the next word.
	Implied string
	// Help is a sentence for the help. The default value is added to it, if the
	// option has one that is not empty, zero or false.
	Help string
	// Hidden leaves the option out of the help, and its name cannot be shortened.
	Hidden bool
}

// A Note is a section of the help. Its text is wrapped; lines that begin with a
// blank stay as they are.
type Note struct{ Title, Text string }

// A UsageError says what is wrong with a command line.
type UsageError struct{ Text string }

// Error returns the text.
func (e *UsageError) Error() string { return e.Text }

// Usagef returns a *UsageError, for what a program finds wrong after Parse.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// Exit prints what err asks for and returns the exit status of the program: the
// help or the version to stdout and StatusOK; a *UsageError with a hint to stderr
// and StatusUsage; any other error to stderr and StatusFailure. Without an error
// it prints nothing and returns StatusOK.
func (c *Command) Exit(err error, stdout, stderr io.Writer) int {
	var usage *UsageError
	switch {
	case err == nil:
		return StatusOK
	case errors.Is(err, ErrHelp):
		return printed(io.WriteString(stdout, c.Help()))
	case errors.Is(err, ErrVersion):
		version := c.Version
		if version == "" {
			version = Version()
		}
		return printed(fmt.Fprintf(stdout, "%s %s\n", c.Name, version))
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v\nTry '%s --help' for more information.\n", c.Name, err, c.Name)
		return StatusUsage
	}
	fmt.Fprintf(stderr, "%s: %v\n", c.Name, err)
	return StatusFailure
}

func printed(_ int, err error) int {
	if err != nil {
		return StatusFailure
	}
	return StatusOK
}

// options returns all options, with the built-in ones last.
func (c *Command) options() []Option {
	var all []Option
	for _, g := range c.Groups {
		all = append(all, g.Options...)
	}
	return append(all, c.builtin()...)
}

func (c *Command) builtin() []Option {
	help := Option{Long: "help", Short: '?', Value: flag(func() error { return ErrHelp }), Help: "print this help and exit"}
	version := Option{Long: "version", Value: flag(func() error { return ErrVersion }), Help: "print the version and exit"}
	if !c.taken('h') {
		help.Short = 'h'
	}
	if !c.taken('V') {
		version.Short = 'V'
	}
	return []Option{help, version}
}

func (c *Command) taken(short byte) bool {
	for _, g := range c.Groups {
		for _, o := range g.Options {
			if o.Short == short {
				return true
			}
		}
	}
	return false
}
