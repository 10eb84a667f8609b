package miltertest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// Apply makes the changes in m, in order. Of the negotiated steps it looks at
// header-value-with-leading-space only: without it, header values get a space
// behind the colon. A message that is no change is an error; then m is as it was
// before.
//
// The MTAs are not of one mind in all of it. Apply does what both do:
//
//   - InsertHeader counts all header fields from 0. The first is the Received
//     field that the MTA has put on top, and that m does not have: 0 is above it
//     and 1 below it. An index beyond the end appends.
//   - ChangeHeader counts the fields of that name, in any case, from 1; 0 is 1. A
//     field that is not there is added at the end, if the value is not empty. An
//     empty value deletes.
//   - Addresses are compared with or without angle brackets, in their case. A
//     recipient that is not there is not deleted.
//   - Quarantine leaves the mail as it is.
//
// Where they differ, it does this:
//
//   - AddHeader adds at the end, as Postfix does. Sendmail puts the field before
//     the first one of the same name, and replaces a Date or Message-Id of its
//     own making.
//   - A deleted header field is not counted any more, as in Postfix. In Sendmail
//     it is, so a milter does best to delete the last ones first.
//   - A changed header field takes the new spelling of its name, as in Postfix.
//   - A line of a header value that does not begin with white space gets a tab,
//     as in Postfix; in Sendmail it is a blank.
//   - A new body gets CRLF line ends, the last line as well, as in Postfix.
//
// And it keeps to what is simplest where that is the MTA's own affair: new
// addresses get angle brackets, a recipient that is there already is not added a
// second time, and ChangeFrom without parameters leaves those of the sender.
func (m *Mail) Apply(changes []reply.Message, steps option.Step) error {
	edited := m.clone()
	// The empty name stands for the MTA's Received field: it is no other's.
	edited.Headers = slices.Insert(edited.Headers, 0, protocol.Header{})
	var body []byte
	newBody := false
	for _, change := range changes {
		switch c := change.(type) {
		case reply.AddHeader:
			edited.insertHeader(len(edited.Headers), c.Name, headerValue(c.Value, steps))
		case reply.InsertHeader:
			// As 64-bit numbers: the index may be above a 32-bit int.
			at := min(int64(c.Index), int64(len(edited.Headers)))
			edited.insertHeader(int(at), c.Name, headerValue(c.Value, steps))
		case reply.ChangeHeader:
			edited.changeHeader(c, steps)
		case reply.ChangeFrom:
			edited.From = inBrackets(c.Path)
			if c.Parameters != "" {
				edited.FromParameters = strings.Fields(c.Parameters)
			}
		case reply.AddRecipient:
			if edited.recipient(c.Path) < 0 {
				recipient := Recipient{Path: inBrackets(c.Path)}
				if c.Parameters != "" {
					recipient.Parameters = strings.Fields(c.Parameters)
				}
				edited.Recipients = append(edited.Recipients, recipient)
			}
		case reply.DeleteRecipient:
			for i := edited.recipient(c.Path); i >= 0; i = edited.recipient(c.Path) {
				edited.Recipients = slices.Delete(edited.Recipients, i, i+1)
			}
		case reply.ReplaceBody:
			body, newBody = append(body, c.Chunk...), true
		case reply.Quarantine:
		default:
			return fmt.Errorf("miltertest: %v is no change of a mail", change.Reply())
		}
	}
	edited.Headers = slices.DeleteFunc(edited.Headers, func(h protocol.Header) bool { return h.Name == "" })
	if newBody {
		edited.Body = crlfLines(body)
	}
	*m = edited
	return nil
}

func (m *Mail) insertHeader(at int, name, value string) {
	m.Headers = slices.Insert(m.Headers, at, protocol.Header{Name: name, Value: value})
}

func (m *Mail) changeHeader(c reply.ChangeHeader, steps option.Step) {
	left := max(c.Index, 1)
	for i, h := range m.Headers {
		if !h.Is(c.Name) {
			continue
		}
		if left--; left > 0 {
			continue
		}
		if c.Value == "" {
			m.Headers = slices.Delete(m.Headers, i, i+1)
		} else {
			m.Headers[i] = protocol.Header{Name: c.Name, Value: headerValue(c.Value, steps)}
		}
		return
	}
	if c.Value != "" {
		m.insertHeader(len(m.Headers), c.Name, headerValue(c.Value, steps))
	}
}

// recipient returns the place of the recipient with that path, or -1.
func (m *Mail) recipient(path string) int {
	return slices.IndexFunc(m.Recipients, func(r Recipient) bool {
		return inBrackets(r.Path) == inBrackets(path)
	})
}

// headerValue returns value as it stands behind the colon.
func headerValue(value string, steps option.Step) string {
	lines := strings.Split(strings.ReplaceAll(value, "\r\n", "\n"), "\n")
	for i, line := range lines[1:] {
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			lines[i+1] = "\t" + line
		}
	}
	value = strings.Join(lines, "\n")
	if steps.Has(option.StepHeaderValueWithLeadingSpace) {
		return value
	}
	return " " + value
}

func inBrackets(path string) string {
	if strings.HasPrefix(path, "<") {
		return path
	}
	return "<" + path + ">"
}
