package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Value is where an option puts what it was given. It is made by [String],
// [Strings], [Int], [Duration], [Bool] or [Func].
type Value struct {
	set     func(text string) error
	initial func() string // the default as text; nil if it is not worth saying
	flag    bool          // there is no value on the command line
}

// String puts the value into *p.
func String(p *string) Value {
	return Value{
		set:     func(text string) error { *p = text; return nil },
		initial: func() string { return *p },
	}
}

// Strings adds the value to *p. The first one that is given replaces those that
// were there by default.
func Strings(p *[]string) Value {
	given := false
	return Value{
		set: func(text string) error {
			if !given {
				*p, given = nil, true
			}
			*p = append(*p, text)
			return nil
		},
		initial: func() string { return strings.Join(*p, ", ") },
	}
}

// Int puts the value, a decimal number from least to most, into *p.
func Int(p *int, least, most int) Value {
	return Value{
		set: func(text string) error {
			n, err := strconv.Atoi(text)
			switch {
			case errors.Is(err, strconv.ErrSyntax):
				return errors.New("not a whole number")
			case err == nil && least <= n && n <= most:
				*p = n
				return nil
			case most == math.MaxInt && !strings.HasPrefix(text, "-") && n >= least:
				return errors.New("too large a number")
			case most == math.MaxInt:
				return fmt.Errorf("must be at least %d", least)
			}
			return fmt.Errorf("must be from %d to %d", least, most)
		},
		initial: func() string {
			if *p == 0 {
				return ""
			}
			return strconv.Itoa(*p)
		},
	}
}

// Duration puts the value into *p: "10" and "0.5" are seconds, "100ms" and
// "1h30m" are read by time.ParseDuration. It must not be negative.
func Duration(p *time.Duration) Value {
	return Value{
		set: func(text string) error {
			d, err := ParseDuration(text)
			if err == nil {
				*p = d
			}
			return err
		},
		initial: func() string {
			if *p == 0 {
				return ""
			}
			return formatDuration(*p)
		},
	}
}

// ParseDuration reads a value as [Duration] does.
func ParseDuration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		text += "s" // "inf" and "0x1p3" are no durations with it either
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, errors.New(`not a duration, such as "10" (seconds), "100ms" or "5m"`)
	case d < 0:
		return 0, errors.New("must not be negative")
	}
	return d, nil
}

// formatDuration returns d without the zeros of time.Duration.String: "5m".
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Bool sets *p to true. The option takes no value.
func Bool(p *bool) Value {
	return flag(func() error { *p = true; return nil })
}

// Func calls f with the value each time the option is given. The error of f
// becomes part of a message that quotes the value.
func Func(f func(text string) error) Value { return Value{set: f} }

func flag(f func() error) Value {
	return Value{set: func(string) error { return f() }, flag: true}
}
