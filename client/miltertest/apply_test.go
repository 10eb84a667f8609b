package miltertest_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// message is the mail that the tests change.
func message() miltertest.Mail {
	return miltertest.Mail{
		From:           "<a@example.com>",
		FromParameters: protocol.Parameters{"BODY=8BITMIME"},
		Recipients:     []miltertest.Recipient{{Path: "<b@example.com>"}, {Path: "c@example.com", Parameters: protocol.Parameters{"NOTIFY=NEVER"}}},
		Headers:        []protocol.Header{header("X", " 1"), header("Y", " 2"), header("x", " 3")},
		Body:           []byte("text\r\n"),
	}
}

func TestApplyHeaders(t *testing.T) {
	tests := []struct {
		name    string
		changes []reply.Message
		want    string // the fields, separated by blanks
	}{
		{"nothing", nil, "X:1 Y:2 x:3"},
		{"add at the end", []reply.Message{add("X", "4"), add("Y", "5")}, "X:1 Y:2 x:3 X:4 Y:5"},
		{"insert at the top", []reply.Message{insert(0, "Z", "4")}, "Z:4 X:1 Y:2 x:3"},
		{"insert below Received", []reply.Message{insert(1, "Z", "4")}, "Z:4 X:1 Y:2 x:3"},
		{"insert below the first", []reply.Message{insert(2, "Z", "4")}, "X:1 Z:4 Y:2 x:3"},
		{"insert below the last", []reply.Message{insert(4, "Z", "4")}, "X:1 Y:2 x:3 Z:4"},
		{"insert beyond the end", []reply.Message{insert(5, "Z", "4"), insert(math.MaxUint32, "Z", "5")}, "X:1 Y:2 x:3 Z:4 Z:5"},
		{"insert counts what was inserted", []reply.Message{insert(0, "A", "a"), insert(1, "B", "b"), insert(3, "C", "c")}, "A:a B:b C:c X:1 Y:2 x:3"},
		{"change the first", []reply.Message{change("X", 1, "4")}, "X:4 Y:2 x:3"},
		{"index 0 is 1", []reply.Message{change("X", 0, "4")}, "X:4 Y:2 x:3"},
		{"the name in any case, the new one is taken", []reply.Message{change("x", 2, "4"), change("y", 1, "5")}, "X:1 y:5 x:4"},
		{"index too large", []reply.Message{change("X", 3, "4"), change("X", math.MaxUint32, "5")}, "X:1 Y:2 x:3 X:4 X:5"},
		{"no such field", []reply.Message{change("Z", 1, "4")}, "X:1 Y:2 x:3 Z:4"},
		{"delete", []reply.Message{change("X", 1, "")}, "Y:2 x:3"},
		{"deleted fields are not counted", []reply.Message{change("X", 1, ""), change("X", 1, "")}, "Y:2"},
		{"delete what is not there", []reply.Message{change("X", 3, ""), change("Z", 1, "")}, "X:1 Y:2 x:3"},
		{"delete and add", []reply.Message{change("X", 2, ""), add("X", "4")}, "X:1 Y:2 X:4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message()
			if err := m.Apply(tt.changes, option.NoSteps); err != nil {
				t.Fatal(err)
			}
			got := ""
			for i, h := range m.Headers {
				if i > 0 {
					got += " "
				}
				got += h.Name + ":" + h.Value[1:]
			}
			if got != tt.want {
				t.Errorf("header = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestApplyHeaderValue(t *testing.T) {
	tests := []struct {
		name  string
		steps option.Step
		value string
		want  string
	}{
		{"plain", option.NoSteps, "v", " v"},
		{"its own space", option.NoSteps, " v", "  v"},
		{"leading space negotiated", option.StepHeaderValueWithLeadingSpace, "v", "v"},
		{"leading space negotiated and there", option.StepHeaderValueWithLeadingSpace, " v", " v"},
		{"folded", option.NoSteps, "a\n b\n\tc", " a\n b\n\tc"},
		{"folded with CRLF", option.NoSteps, "a\r\n b", " a\n b"},
		{"a line that would be a field", option.NoSteps, "a\nBcc: x", " a\n\tBcc: x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range []reply.Message{add("N", tt.value), insert(9, "N", tt.value), change("X", 1, tt.value)} {
				m := miltertest.Mail{}
				if err := m.Apply([]reply.Message{c}, tt.steps); err != nil {
					t.Fatal(err)
				}
				if got := m.Headers[0].Value; got != tt.want {
					t.Errorf("%v gives %q, want %q", c.Reply(), got, tt.want)
				}
			}
		})
	}
}

func TestApplyEnvelopeAndBody(t *testing.T) {
	b, c := message().Recipients[0], message().Recipients[1]
	tests := []struct {
		name    string
		changes []reply.Message
		want    func(m *miltertest.Mail)
	}{
		{"new sender keeps the parameters", []reply.Message{reply.ChangeFrom{Path: "<z@example.com>"}},
			func(m *miltertest.Mail) { m.From = "<z@example.com>" }},
		{"new sender with parameters, without brackets", []reply.Message{reply.ChangeFrom{Path: "z@example.com", Parameters: "RET=HDRS ENVID=1"}},
			func(m *miltertest.Mail) {
				m.From, m.FromParameters = "<z@example.com>", protocol.Parameters{"RET=HDRS", "ENVID=1"}
			}},
		{"null sender", []reply.Message{reply.ChangeFrom{Path: "<>"}}, func(m *miltertest.Mail) { m.From = "<>" }},
		{"new recipients", []reply.Message{addTo("<d@example.com>", ""), addTo("e@example.com", "NOTIFY=NEVER ORCPT=rfc822;x")},
			func(m *miltertest.Mail) {
				m.Recipients = []miltertest.Recipient{b, c, {Path: "<d@example.com>"},
					{Path: "<e@example.com>", Parameters: protocol.Parameters{"NOTIFY=NEVER", "ORCPT=rfc822;x"}}}
			}},
		{"recipients that are there", []reply.Message{addTo("b@example.com", ""), addTo("<c@example.com>", "NOTIFY=DELAY")}, func(*miltertest.Mail) {}},
		{"another case is another recipient", []reply.Message{addTo("<B@example.com>", ""), deleteTo("<C@example.com>")},
			func(m *miltertest.Mail) {
				m.Recipients = []miltertest.Recipient{b, c, {Path: "<B@example.com>"}}
			}},
		{"delete recipients", []reply.Message{deleteTo("b@example.com"), deleteTo("<c@example.com>")},
			func(m *miltertest.Mail) { m.Recipients = []miltertest.Recipient{} }},
		{"delete a recipient that is not there", []reply.Message{deleteTo("<z@example.com>")}, func(*miltertest.Mail) {}},
		{"delete and add again", []reply.Message{deleteTo("<b@example.com>"), addTo("<b@example.com>", "")},
			func(m *miltertest.Mail) { m.Recipients = []miltertest.Recipient{c, b} }},
		{"new body in pieces, within a CRLF too", []reply.Message{body("one\r"), body("\ntw"), body("o\nthree")},
			func(m *miltertest.Mail) { m.Body = []byte("one\r\ntwo\r\nthree\r\n") }},
		{"empty body", []reply.Message{body("")}, func(m *miltertest.Mail) { m.Body = nil }},
		{"quarantine", []reply.Message{quarantine("why")}, func(*miltertest.Mail) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := message()
			tt.want(&want)
			before := message()
			got := before
			if err := got.Apply(tt.changes, option.NoSteps); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Mail (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(message(), before); diff != "" {
				t.Errorf("a copy made before has changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestApplyNoChange(t *testing.T) {
	for _, r := range []protocol.Reply{protocol.ReplyContinue, protocol.ReplyProgress} {
		m := message()
		if err := m.Apply([]reply.Message{add("Z", "1"), reply.Bare(r)}, option.NoSteps); err == nil {
			t.Errorf("%v was applied", r)
		}
		if diff := cmp.Diff(message(), m); diff != "" {
			t.Errorf("Mail after an error (-want +got):\n%s", diff)
		}
	}
}
