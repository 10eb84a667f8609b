package interop_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/protocol"
)

// flowDir has the flows, one file each.
const flowDir = "testdata/flows"

// A flow is what an MTA and a milter of ours said to each other in one SMTP
// session, as a proxy between them saw it. Its file is text:
//
//	session: what the SMTP client did
//	mta: the MTA and its version
//	milter: the name of the milter, in flowMilters
//	volatile: what is different in every recording: KIND=QUOTED ...
//
//	connection
//	> H helo "client.test\x00"
//	< c continue
//
// A line for each packet: > goes to the milter, < comes from it; the letter, its
// name, and the payload, quoted as in Go. Where a long one repeats itself, that
// part has "*" and a number behind it. Several connections follow each other.
type flow struct {
	session, mta, milter string
	volatile             []flowValue
	connections          [][]flowPacket
}

// A flowValue is a text that is different in every recording.
type flowValue struct{ kind, text string }

// A flowPacket is one packet.
type flowPacket struct {
	toMilter bool
	letter   byte
	payload  []byte
}

func (p flowPacket) wire() []byte { return protocol.AppendPacket(nil, p.letter, p.payload) }

func (p flowPacket) String() string {
	arrow, name := "<", protocol.Reply(p.letter).String()
	if p.toMilter {
		arrow, name = ">", protocol.Command(p.letter).String()
	}
	line := fmt.Sprintf("%s %c %s", arrow, p.letter, name)
	if len(p.payload) > 0 {
		line += " " + quotePayload(p.payload)
	}
	return line
}

// Only what is longer than this is looked through for repetitions, and what
// repeats itself must make up half of it.
const flowLong = 512

// quotePayload returns p as quoted strings; "*" and a number say how often one
// stands there.
func quotePayload(p []byte) string {
	if len(p) < flowLong {
		return strconv.QuoteToASCII(string(p))
	}
	var parts []string
	literal := 0 // where the text begins that is not written yet
	flush := func(end int) {
		if literal < end {
			parts = append(parts, strconv.QuoteToASCII(string(p[literal:end])))
		}
	}
	for i := 0; i < len(p); {
		size, count := repetition(p[i:])
		if size*count < flowLong/2 {
			i++
			continue
		}
		flush(i)
		parts = append(parts, strconv.QuoteToASCII(string(p[i:i+size]))+"*"+strconv.Itoa(count))
		i += size * count
		literal = i
	}
	flush(len(p))
	return strings.Join(parts, " ")
}

// repetition returns the size of the piece at the beginning of p that repeats
// itself over most of it, and how often it stands there.
func repetition(p []byte) (size, count int) {
	const longest = 100
	for n := 1; n <= min(longest, len(p)/2); n++ {
		c := 1
		for (c+1)*n <= len(p) && bytes.Equal(p[:n], p[c*n:(c+1)*n]) {
			c++
		}
		if c > 1 && c*n > size*count {
			size, count = n, c
		}
	}
	return size, count
}

// unquotePayload is the reverse of quotePayload.
func unquotePayload(text string) (p []byte, err error) {
	for text != "" {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return nil, fmt.Errorf("not a quoted string: %.40s", text)
		}
		piece, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		text = text[len(quoted):]
		count := 1
		if rest, ok := strings.CutPrefix(text, "*"); ok {
			number, _, _ := strings.Cut(rest, " ")
			if count, err = strconv.Atoi(number); err != nil || count < 1 || count*len(piece) > 1<<24 {
				return nil, fmt.Errorf("not a number of repetitions: %q", number)
			}
			text = rest[len(number):]
		}
		p = append(p, bytes.Repeat([]byte(piece), count)...)
		text = strings.TrimPrefix(text, " ")
	}
	return p, nil
}

// String returns the content of the file.
func (f *flow) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "session: %s\nmta: %s\nmilter: %s\nvolatile:", f.session, f.mta, f.milter)
	for _, v := range f.volatile {
		fmt.Fprintf(&b, " %s=%s", v.kind, strconv.QuoteToASCII(v.text))
	}
	b.WriteString("\n")
	for _, packets := range f.connections {
		b.WriteString("\nconnection\n")
		for _, p := range packets {
			fmt.Fprintln(&b, p)
		}
	}
	return b.String()
}

var flowLines = regexp.MustCompile(`^([<>]) (\S) (\S+)(?: (".*))?$`)

// parseFlow reads the content of a file.
func parseFlow(text string) (*flow, error) {
	f := new(flow)
	number := 0
	for line := range strings.Lines(text) {
		number++
		if err := f.parseLine(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return f, nil
}

func (f *flow) parseLine(line string) (err error) {
	last := len(f.connections) - 1
	if last >= 0 && line != "" && line != "connection" {
		p, err := parseFlowPacket(line)
		f.connections[last] = append(f.connections[last], p)
		return err
	}
	name, value, _ := strings.Cut(line, ": ")
	switch name {
	case "", "volatile:":
	case "connection":
		f.connections = append(f.connections, nil)
	case "session":
		f.session = value
	case "mta":
		f.mta = value
	case "milter":
		f.milter = value
	case "volatile":
		f.volatile, err = parseFlowValues(value)
	default:
		return fmt.Errorf("unknown: %q", line)
	}
	return err
}

func parseFlowValues(text string) (values []flowValue, err error) {
	for text != "" {
		kind, rest, _ := strings.Cut(text, "=")
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("not a quoted string: %.40s", rest)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		values = append(values, flowValue{kind, value})
		text = strings.TrimPrefix(rest[len(quoted):], " ")
	}
	return values, nil
}

func parseFlowPacket(line string) (p flowPacket, err error) {
	m := flowLines.FindStringSubmatch(line)
	if m == nil {
		return p, fmt.Errorf("not a packet: %q", line)
	}
	p.toMilter, p.letter = m[1] == ">", m[2][0]
	if p.payload, err = unquotePayload(m[4]); err != nil {
		return p, err
	}
	if want := p.String(); want != line {
		return p, fmt.Errorf("should be written as %s", want)
	}
	return p, nil
}

// readFlow reads the flow of that name.
func readFlow(t *testing.T, name string) *flow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(flowDir, name+".flow"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFlow(string(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// TestFlowFile writes payloads as text and reads them again: nothing may be lost.
func TestFlowFile(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, tt := range []struct {
		name    string
		payload string
		want    string
	}{
		{"short", "a\x00b\r\n\"\\\xff", `"a\x00b\r\n\"\\\xff"`},
		{"UTF-8", "caf\u00e9 \ufffd \U0001f4e7", `"caf\u00e9 \ufffd \U0001f4e7"`},
		{"every byte", string(all), ""},
		{"repeated, but short", strings.Repeat("x", 100), `"` + strings.Repeat("x", 100) + `"`},
		{"one byte", strings.Repeat("x", 65535), `"x"*65535`},
		{"lines", strings.Repeat("a line\r\n", 1000), `"a line\r\n"*1000`},
		{"cut lines", "ine\r\n" + strings.Repeat("a line\r\n", 1000) + "a li", `"ine\r\na l"*1001 "i"`},
		{"head, lines, tail", "Head \x00" + strings.Repeat("ab", 400) + "tail", `"Head \x00" "ab"*400 "tail"`},
		{"long, and no two pieces the same", noRepetition(2000), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := flowPacket{toMilter: true, letter: 'B', payload: []byte(tt.payload)}
			got, err := parseFlowPacket(p.String())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.payload, p.payload) {
				t.Errorf("got %q, want %q", got.payload, p.payload)
			}
			if tt.want != "" && p.String() != "> B body "+tt.want {
				t.Errorf("written as %.200s\nwant > B body %.200s", p, tt.want)
			}
		})
	}
	want := &flow{"a session", "an MTA 1.0", "plain", []flowValue{{"queue-id", "A 1"}, {"port", "\x12\""}},
		[][]flowPacket{{{true, 'H', []byte("name\x00")}, {false, 'c', nil}}, {{true, 'Q', nil}}}}
	got, err := parseFlow(want.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("a flow, written and read (-want +got):\n%s", diff)
	}
	for _, wrong := range []string{
		"connection\n> H helo name", "connection\n> H connect \"x\"", "connection\n= H helo", "connection\n> H helo \"x\"*0",
		"connection\n> H helo \"x", "colour: blue", "volatile: id=x", "connection\n> H helo \"\\x6e\"",
	} {
		if f, err := parseFlow(wrong); err == nil {
			t.Errorf("%q was read as %+v, want an error", wrong, f)
		}
	}
}

// noRepetition returns n bytes in which no short piece stands twice in a row for
// long.
func noRepetition(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i*i)
	}
	return b.String()[:n]
}
