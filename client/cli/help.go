package cli

import (
	"strings"
	"unicode/utf8"
)

const (
	lineWidth  = 79
	helpColumn = 30 // where the text of an option begins
)

// Help returns the help, in lines of at most 79 columns: how the program is
// called, what it does, the options with their defaults, the notes. When Parse
// has changed the values, the defaults are those from before it.
func (c *Command) Help() string {
	c.keepDefaults()
	usage := c.Usage
	if usage == "" {
		usage = "[OPTION]..."
	}
	var b strings.Builder
	b.WriteString("Usage: " + c.Name + " " + usage + "\n")
	writeText(&b, c.Summary)
	for _, g := range c.Groups {
		c.writeGroup(&b, g)
	}
	c.writeGroup(&b, Group{Title: "Help", Options: c.builtin()})
	for _, n := range c.Notes {
		b.WriteString("\n" + n.Title + ":\n")
		writeText(&b, n.Text)
	}
	return b.String()
}

func (c *Command) writeGroup(b *strings.Builder, g Group) {
	b.WriteString("\n" + g.Title + ":\n")
	for _, o := range g.Options {
		if o.Hidden {
			continue
		}
		text := o.Help
		if d := c.defaults[o.Long]; d != "" {
			text += " (default: " + d + ")"
		}
		writeOption(b, o.label(), text)
	}
}

// label returns the left column: "  -s, --connection-spec=SPEC".
func (o Option) label() string {
	label := "      --" + o.Long
	if o.Short != 0 {
		label = "  -" + string(rune(o.Short)) + ", --" + o.Long
	}
	switch {
	case o.Value.flag:
		return label
	case o.Implied != "":
		return label + "[=" + o.Arg + "]"
	}
	return label + "=" + o.Arg
}

// writeOption writes both columns, the right one from the next line on where the
// left one is too wide.
func writeOption(b *strings.Builder, label, text string) {
	b.WriteString(label)
	column := utf8.RuneCountInString(label)
	if column+2 > helpColumn {
		b.WriteString("\n")
		column = 0
	}
	for _, line := range wrap(text, lineWidth-helpColumn) {
		b.WriteString(strings.Repeat(" ", helpColumn-column) + line + "\n")
		column = 0
	}
}

// writeText writes paragraphs, which an empty line separates; lines that begin
// with a blank stay as they are.
func writeText(b *strings.Builder, text string) {
	var paragraph []string
	flush := func() {
		for _, line := range wrap(strings.Join(paragraph, " "), lineWidth) {
			b.WriteString(line + "\n")
		}
		paragraph = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == ' ' {
			flush()
			b.WriteString(line + "\n")
			continue
		}
		paragraph = append(paragraph, line)
	}
	flush()
}

// wrap breaks text at blanks into lines of at most width, where that is possible.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
