package cli

import (
	"errors"
	"fmt"
	"strings"
)

// Parse reads args, the command line without the program's name, and sets the
// values of the options in their order. It returns the words that are no options.
//
// The error is ErrHelp, ErrVersion or a *UsageError; options before it have been
// set. [Command.Exit] prints it.
func (c *Command) Parse(args []string) (operands []string, err error) {
	c.keepDefaults()
	p := parser{options: c.options(), rest: args}
	for len(p.rest) > 0 {
		word := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case word == "--":
			operands = append(operands, p.rest...)
			p.rest = nil
		case strings.HasPrefix(word, "--"):
			err = p.long(word)
		case strings.HasPrefix(word, "-") && word != "-":
			err = p.shorts(word[1:])
		default:
			operands = append(operands, word)
		}
		if err != nil {
			return nil, err
		}
	}
	if c.MaxOperands >= 0 && len(operands) > c.MaxOperands {
		return nil, Usagef("extra operand %q", operands[c.MaxOperands])
	}
	return operands, nil
}

type parser struct {
	options []Option
	rest    []string // of the command line
}

// long reads --NAME or --NAME=VALUE.
func (p *parser) long(word string) error {
	name, value, hasValue := strings.Cut(word[2:], "=")
	o, err := p.find(name)
	if err != nil {
		return err
	}
	label := "--" + o.Long
	switch {
	case hasValue && o.Value.flag:
		return Usagef("option '%s' doesn't allow an argument", label)
	case hasValue, o.Value.flag:
	case o.Implied != "":
		value = o.Implied
	case len(p.rest) == 0:
		return Usagef("option '%s' requires an argument", label)
	default:
		value, p.rest = p.rest[0], p.rest[1:]
	}
	return set(o, label, value)
}

// find returns the option with that long name, or the only one that begins with
// it.
func (p *parser) find(name string) (Option, error) {
	var fitting []Option
	for _, o := range p.options {
		if o.Long == name {
			return o, nil
		}
		if !o.Hidden && strings.HasPrefix(o.Long, name) {
			fitting = append(fitting, o)
		}
	}
	switch len(fitting) {
	case 0:
		return Option{}, Usagef("unrecognized option '--%s'", name)
	case 1:
		return fitting[0], nil
	}
	var b strings.Builder
	for _, o := range fitting {
		fmt.Fprintf(&b, " '--%s'", o.Long)
	}
	return Option{}, Usagef("option '--%s' is ambiguous; possibilities:%s", name, b.String())
}

// shorts reads the letters behind a "-".
func (p *parser) shorts(letters string) error {
	for letters != "" {
		letter := letters[0]
		letters = letters[1:]
		o, ok := p.findShort(letter)
		if !ok {
			return Usagef("invalid option -- %q", letter)
		}
		label := "-" + string(rune(letter))
		value := ""
		switch {
		case o.Value.flag:
		case letters != "":
			value, letters = letters, ""
		case o.Implied != "":
			value = o.Implied
		case len(p.rest) == 0:
			return Usagef("option requires an argument -- %q", letter)
		default:
			value, p.rest = p.rest[0], p.rest[1:]
		}
		if err := set(o, label, value); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) findShort(letter byte) (Option, bool) {
	for _, o := range p.options {
		if o.Short == letter || o.Long == "help" && letter == '?' {
			return o, true
		}
	}
	return Option{}, false
}

func set(o Option, label, value string) error {
	err := o.Value.set(value)
	if err == nil || errors.Is(err, ErrHelp) || errors.Is(err, ErrVersion) {
		return err
	}
	return Usagef("invalid value %q for '%s': %v", value, label, err)
}

// keepDefaults notes the default values before anything changes them.
func (c *Command) keepDefaults() {
	if c.defaults != nil {
		return
	}
	c.defaults = make(map[string]string)
	for _, o := range c.options() {
		if o.Value.initial != nil {
			c.defaults[o.Long] = o.Value.initial()
		}
	}
}
