package miltertest

import (
	"slices"
	"strings"
)

// A Line is one line of a [Dump].
type Line struct {
	// Mark is ' ' for a line that is the same before and after, '-' for one that
	// is gone, '+' for a new one, and 0 for the title of a section.
	Mark byte
	Text string
}

// String returns the mark, a blank and the text; the text alone for a title.
func (l Line) String() string {
	if l.Mark == 0 {
		return l.Text
	}
	return string(l.Mark) + " " + l.Text
}

// A Dump shows a mail and what has changed in it.
type Dump []Line

// String returns the lines, each with an LF behind it.
func (d Dump) String() string {
	var b strings.Builder
	for _, line := range d {
		b.WriteString(line.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Changed reports whether a line is gone or new.
func (d Dump) Changed() bool {
	return slices.ContainsFunc(d, func(l Line) bool { return l.Mark == '-' || l.Mark == '+' })
}

// Diff returns the whole mail, in the sections Envelope, Header and Body, with
// marks at the lines that differ between before and after. The new value of a
// header field stands right behind the old one.
func Diff(before, after Mail) Dump {
	dump := Dump{title("Envelope:")}
	dump = appendDiff(dump, []string{before.envelopeFrom()}, []string{after.envelopeFrom()}, nil)
	dump = appendDiff(dump, before.envelopeRecipients(), after.envelopeRecipients(), nil)
	dump = append(dump, title("Header:"))
	dump = appendDiff(dump, before.headerTexts(), after.headerTexts(), headerKey)
	dump = append(dump, title("Body:"))
	return appendDiff(dump, bodyLines(before), bodyLines(after), nil)
}

func title(name string) Line {
	const width = 39 // as in milter manager
	return Line{Text: name + strings.Repeat("-", width-len(name))}
}

func (m Mail) envelopeFrom() string {
	return withParameters("MAIL FROM:"+m.From, m.FromParameters.String())
}

func (m Mail) envelopeRecipients() []string {
	var texts []string
	for _, r := range m.Recipients {
		texts = append(texts, withParameters("RCPT TO:"+r.Path, r.Parameters.String()))
	}
	return texts
}

func withParameters(command, parameters string) string {
	if parameters == "" {
		return command
	}
	return command + " " + parameters
}

func (m Mail) headerTexts() []string {
	var texts []string
	for _, h := range m.Headers {
		texts = append(texts, h.Name+":"+h.Value)
	}
	return texts
}

func headerKey(text string) string {
	name, _, _ := strings.Cut(text, ":")
	return strings.ToLower(name)
}

func bodyLines(m Mail) []string { return slices.Collect(strings.Lines(string(m.Body))) }

// appendDiff appends the lines of before and after to dump, in as many common
// ones as there can be. Of a run of lines that differ, a new one stands behind
// an old one of the same key; without keys all new ones stand behind the old.
func appendDiff(dump Dump, before, after []string, key func(string) string) Dump {
	i, j := 0, 0
	differ := func(toI, toJ int) {
		for ; i < toI; i++ {
			dump = dump.add('-', before[i])
			if key == nil {
				continue
			}
			partner := slices.IndexFunc(after[j:toJ], func(s string) bool { return key(s) == key(before[i]) })
			for ; partner >= 0; partner-- {
				dump = dump.add('+', after[j])
				j++
			}
		}
		for ; j < toJ; j++ {
			dump = dump.add('+', after[j])
		}
	}
	for _, pair := range commonLines(before, after) {
		differ(pair[0], pair[1])
		dump = dump.add(' ', before[i])
		i, j = i+1, j+1
	}
	differ(len(before), len(after))
	return dump
}

// add appends text, which may be of several lines.
func (d Dump) add(mark byte, text string) Dump {
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		d = append(d, Line{mark, strings.TrimSuffix(line, "\r")})
	}
	return d
}

// commonLines returns the places of the lines that a and b have in common, in
// order.
func commonLines(a, b []string) (pairs [][2]int) {
	start := 0
	for start < min(len(a), len(b)) && a[start] == b[start] {
		pairs = append(pairs, [2]int{start, start})
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && a[endA-1] == b[endB-1] {
		endA, endB = endA-1, endB-1
	}
	for _, p := range longestCommon(a[start:endA], b[start:endB]) {
		pairs = append(pairs, [2]int{start + p[0], start + p[1]})
	}
	for i := range len(a) - endA {
		pairs = append(pairs, [2]int{endA + i, endB + i})
	}
	return pairs
}

// longestCommon finds the longest common subsequence, from a table with the
// length of that of all tails. Where the table would be too large, it finds
// nothing in common.
func longestCommon(a, b []string) (pairs [][2]int) {
	const limit = 1 << 22 // cells of 4 bytes
	if len(a) == 0 || len(b) == 0 || len(a) > limit/len(b) {
		return nil
	}
	width := len(b) + 1
	length := make([]int32, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				length[i*width+j] = length[(i+1)*width+j+1] + 1
			} else {
				length[i*width+j] = max(length[(i+1)*width+j], length[i*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case length[(i+1)*width+j] >= length[i*width+j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}
