package context_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

const forgedName = "Authentication-Results"

func isForged(value string) bool { return strings.Contains(value, "mx.example.com") }

// withHeaders returns a session in which the reply to end-of-message of a mail
// with the given header fields is due.
func withHeaders(t testing.TB, steps option.Step, headers []protocol.Header) *fed {
	t.Helper()
	f := negotiated(t, option.AllActions, steps, func(event string) protocol.Status {
		if event == "end-of-message" {
			return protocol.StatusProgress
		}
		return protocol.StatusContinue
	})
	messages := []protocol.Message{connectMsg, heloMsg, mailMsg, rcptMsg, dataMsg}
	if !steps.Has(option.StepNoHeaders) {
		for _, h := range headers {
			messages = append(messages, h)
		}
	}
	if err := f.feed(append(messages, eohMsg, eomMsg)...); err != nil {
		t.Fatal(err)
	}
	f.out.Reset()
	f.take()
	return f
}

// changesOnWire returns the changes of a mail that were written, after the answer.
func (f *fed) changesOnWire() []reply.Message {
	f.t.Helper()
	_ = f.ctx.EndOfMessageResponse(protocol.StatusContinue)
	var in protocol.Buffer
	_, _ = in.Write(f.out.Bytes())
	f.out.Reset()
	var list []reply.Message
	for {
		p, ok, err := in.Next()
		if err != nil {
			f.t.Fatal(err)
		}
		if !ok {
			return list[:len(list)-1] // without the answer
		}
		m, err := reply.Decode(p)
		if err != nil {
			f.t.Fatal(err)
		}
		list = append(list, m)
	}
}

// asPostfix counts a field that is deleted no more, see miltertest.
func asPostfix(t testing.TB, headers []protocol.Header, changes []reply.Message) []protocol.Header {
	t.Helper()
	mail := miltertest.Mail{Headers: headers}
	if err := mail.Apply(changes, option.StepHeaderValueWithLeadingSpace); err != nil {
		t.Fatal(err)
	}
	return mail.Headers
}

// asSendmail goes on counting a field that is deleted (headers.c, milter.c), and
// adds before the first field of the name.
func asSendmail(headers []protocol.Header, changes []reply.Message) []protocol.Header {
	type field struct {
		protocol.Header
		deleted bool
	}
	var list []field
	for _, h := range headers {
		list = append(list, field{h, false})
	}
	for _, change := range changes {
		switch c := change.(type) {
		case reply.ChangeHeader:
			left := max(int(c.Index), 1)
			for i := range list {
				if asciiFold(list[i].Name) == asciiFold(c.Name) {
					if left--; left == 0 {
						list[i].deleted = true
					}
				}
			}
		case reply.AddHeader:
			at := slices.IndexFunc(list, func(f field) bool { return asciiFold(f.Name) == asciiFold(c.Name) })
			if at < 0 {
				at = len(list)
			}
			list = slices.Insert(list, at, field{protocol.Header{Name: c.Name, Value: c.Value}, false})
		}
	}
	var left []protocol.Header
	for _, f := range list {
		if !f.deleted {
			left = append(left, f.Header)
		}
	}
	return left
}

// asciiFold is what strcasecmp compares, in the C locale.
func asciiFold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// TestDeleteHeaders: what is forged is gone in either MTA, and nothing else is.
// (CVE-2022-48521: a loop from the first to the last left some in Postfix.)
func TestDeleteHeaders(t *testing.T) {
	forged := func(name string) protocol.Header {
		return protocol.Header{Name: name, Value: "mx.example.com; dkim=pass"}
	}
	other := protocol.Header{Name: forgedName, Value: "elsewhere.example.net; dkim=fail"}
	subject := protocol.Header{Name: "Subject", Value: "about mx.example.com"}
	for _, test := range []struct {
		name    string
		headers []protocol.Header
		want    int
	}{
		{"none at all", nil, 0},
		{"none of that name", []protocol.Header{subject}, 0},
		{"none that matches", []protocol.Header{other, subject, other}, 0},
		{"one", []protocol.Header{forged(forgedName)}, 1},
		{"neighbours", []protocol.Header{forged(forgedName), forged(forgedName), forged(forgedName)}, 3},
		{"among others", []protocol.Header{other, forged(forgedName), subject, other, forged(forgedName), forged(forgedName), other}, 3},
		{"in any case", []protocol.Header{forged("AUTHENTICATION-RESULTS"), other, forged("authentication-results")}, 2},
		{"a longer name is another", []protocol.Header{forged(forgedName + "-X"), forged(forgedName)}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := withHeaders(t, 0, test.headers)
			n, err := f.ctx.DeleteHeaders(forgedName, isForged)
			if n != test.want || err != nil {
				t.Errorf("DeleteHeaders = %d, %v, want %d", n, err, test.want)
			}
			mustBe(t, "adding one afterwards", f.ctx.AddHeader(forgedName, "mx.example.com; ours"), "none")
			if got := len(f.ctx.MessageResult().RemovedHeaders); got != test.want {
				t.Errorf("the result tells of %d removed fields, want %d", got, test.want)
			}
			checkForged(t, test.headers, f.changesOnWire())
		})
	}
}

// checkForged judges what becomes of the header in the MTAs. Only the field that
// the milter added itself may look like a forged one.
func checkForged(t testing.TB, headers []protocol.Header, changes []reply.Message) {
	t.Helper()
	want := []protocol.Header{}
	for _, h := range headers {
		if asciiFold(h.Name) != asciiFold(forgedName) || !isForged(h.Value) {
			want = append(want, h)
		}
	}
	const ours = "mx.example.com; ours"
	isOurs := func(h protocol.Header) bool { return h.Value == ours }
	for mta, got := range map[string][]protocol.Header{"Postfix": asPostfix(t, headers, changes), "Sendmail": asSendmail(headers, changes)} {
		if diff := cmp.Diff(want, slices.DeleteFunc(append([]protocol.Header{}, got...), isOurs)); diff != "" {
			t.Errorf("%s: header (-want +got):\n%s", mta, diff)
		}
		if !slices.ContainsFunc(got, isOurs) {
			t.Errorf("%s: the milter's own field is gone", mta)
		}
	}
}

// TestDeleteHeadersCount: names that an MTA does not count as the same do not
// shift the count, though Unicode calls them the same (ſ is a small s).
func TestDeleteHeadersCount(t *testing.T) {
	for _, name := range []string{"Authentication-Reſults", "Authentication-Results\x80", "Authentication Results", "Authentication_Results"} {
		t.Run(name, func(t *testing.T) {
			f := withHeaders(t, 0, []protocol.Header{{Name: name, Value: "bait"}, {Name: forgedName, Value: "mx.example.com"}})
			if n, err := f.ctx.DeleteHeaders(strings.ToLower(forgedName), isForged); n != 1 || err != nil {
				t.Errorf("DeleteHeaders = %d, %v, want 1", n, err)
			}
			want := []reply.Message{reply.ChangeHeader{Index: 1, Name: strings.ToLower(forgedName)}}
			if diff := cmp.Diff(want, f.changesOnWire()); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("white space before the colon", func(t *testing.T) {
		f := withHeaders(t, 0, []protocol.Header{{Name: forgedName + " \t", Value: "mx.example.com"}, {Name: forgedName, Value: "mx.example.com"}})
		if n, err := f.ctx.DeleteHeaders(forgedName, nil); n != 2 || err != nil {
			t.Errorf("DeleteHeaders = %d, %v, want 2", n, err)
		}
	})
}

// TestDeleteHeadersRandom: random headers, of a few names and values.
func TestDeleteHeadersRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	names := []string{forgedName, "authentication-results", "AUTHENTICATION-Results", "Subject", "Received"}
	for range 400 {
		headers := make([]protocol.Header, r.IntN(12))
		for i := range headers {
			headers[i] = protocol.Header{Name: names[r.IntN(len(names))], Value: []string{"mx.example.com; a", "else; b", "", "mx.example.com"}[r.IntN(4)] + fmt.Sprint(i)}
		}
		f := withHeaders(t, option.StepNoReplyHeader*option.Step(r.IntN(2)), headers)
		if _, err := f.ctx.DeleteHeaders(forgedName, isForged); err != nil {
			t.Fatal(err)
		}
		_ = f.ctx.InsertHeader(1, "X-Ours", "mx.example.com; ours")
		_ = f.ctx.AddHeader("X-Ours", "mx.example.com; ours")
		if checkForged(t, headers, f.changesOnWire()); t.Failed() {
			t.Fatalf("headers %q", headers)
		}
	}
}

// TestDeleteHeadersErrors: what cannot be done right is an error, whether or not
// there is a field to delete, and nothing is sent.
func TestDeleteHeadersErrors(t *testing.T) {
	one := []protocol.Header{{Name: forgedName, Value: "mx.example.com"}, {Name: forgedName, Value: "else"}}
	type cc = *context.ClientContext
	for _, test := range []struct {
		name   string
		field  string
		steps  option.Step
		before func(cc)
		want   string
	}{
		{"no name", "", 0, nil, "ErrInvalidArgument"},
		{"a bad name", "X:", 0, nil, "ErrInvalidArgument"},
		{"headers were negotiated away", forgedName, option.StepNoHeaders, nil, "unknown"},
		{"action was not negotiated", forgedName, 0, func(c cc) { c.SetOption(option.Option{Actions: option.ActionAddHeaders}) }, "ErrInvalidAction"},
		{"added one", forgedName, 0, func(c cc) { _ = c.AddHeader("AUTHENTICATION-RESULTS", "x") }, "unknown"},
		{"inserted one", forgedName, 0, func(c cc) { _ = c.InsertHeader(0, forgedName, "x") }, "unknown"},
		{"changed one", forgedName, 0, func(c cc) { _ = c.ChangeHeader(forgedName, 2, "x") }, "unknown"},
		{"deleted one", forgedName, 0, func(c cc) { _ = c.DeleteHeader(forgedName, 1) }, "unknown"},
		{"called before", forgedName, 0, func(c cc) { _, _ = c.DeleteHeaders(strings.ToUpper(forgedName), func(string) bool { return false }) }, "unknown"},
		{"other fields were changed", forgedName, 0, func(c cc) {
			_ = c.AddHeader("X-Other", "x")
			_ = c.DeleteHeader("Subject", 1)
			_, _ = c.DeleteHeaders("X-Third", nil)
		}, "none"},
		{"no mail", forgedName, 0, func(c cc) { _ = c.EndOfMessageResponse(protocol.StatusContinue); c.SetState(context.StateEndOfMessage) }, "unknown"},
		{"answered", forgedName, 0, func(c cc) { _ = c.EndOfMessageResponse(protocol.StatusContinue) }, "ErrInvalidState"},
		{"closed", forgedName, 0, func(c cc) { _ = c.Close() }, "ErrFinished"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := withHeaders(t, test.steps, one)
			if test.before != nil {
				test.before(f.ctx)
			}
			before := f.ctx.MessageResult()
			n, err := f.ctx.DeleteHeaders(test.field, nil)
			if test.want == "none" {
				if n != 2 || err != nil {
					t.Errorf("DeleteHeaders = %d, %v, want 2", n, err)
				}
				return
			}
			if test.want == "unknown" {
				if !strings.HasPrefix(fmt.Sprint(err), context.ErrHeadersUnknown.Error()+": delete headers: ") {
					t.Errorf("error %v, want ErrHeadersUnknown", err)
				}
			} else {
				mustBe(t, "DeleteHeaders", err, test.want)
			}
			if n != 0 {
				t.Errorf("%d were deleted", n)
			}
			if diff := cmp.Diff(before, f.ctx.MessageResult()); diff != "" {
				t.Errorf("the result has changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestDeleteHeadersOfOneMail: a match that takes its time deletes nothing of the
// mail that has come in the meantime, and its panic nothing at all.
func TestDeleteHeadersOfOneMail(t *testing.T) {
	one := []protocol.Header{{Name: forgedName, Value: "first mail"}}
	f := withHeaders(t, 0, one)
	n, err := f.ctx.DeleteHeaders(forgedName, func(value string) bool {
		if err := f.feed(abortMsg, mailMsg, rcptMsg, protocol.Header{Name: forgedName, Value: "second mail"}, eohMsg, eomMsg); err != nil {
			t.Error(err)
		}
		return true
	})
	if mustBe(t, "DeleteHeaders of a mail that is over", err, "ErrNoReplyDue"); n != 0 {
		t.Errorf("%d were deleted", n)
	}
	for _, m := range f.changesOnWire() { // and the answers to the second mail
		if _, bare := m.(reply.Bare); !bare {
			t.Errorf("change %v of the second mail", m)
		}
	}

	f = withHeaders(t, 0, append(one, one...))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic of match did not reach the caller")
			}
		}()
		_, _ = f.ctx.DeleteHeaders(forgedName, func(string) bool { panic("match") })
	}()
	if got := f.changesOnWire(); len(got) > 0 {
		t.Errorf("changes %v, want none", got)
	}

	f = withHeaders(t, 0, one)
	late := f.ctx.Late()
	if n, err := late.DeleteHeaders(forgedName, nil); n != 1 || err != nil {
		t.Errorf("by a Late: %d, %v", n, err)
	}
	if got := f.changesOnWire(); len(got) != 1 {
		t.Errorf("changes %v, want one", got)
	}
	_, err = late.DeleteHeaders(forgedName, nil)
	mustBe(t, "by a Late that is over", err, "ErrNoReplyDue")
}

// TestDeleteHeadersHalf: the error of a deletion in the middle tells how far it
// came.
func TestDeleteHeadersHalf(t *testing.T) {
	w := &breaking{after: 5} // four replies and a deletion
	ctx := context.New(w, context.Config{Logger: slog.New(slog.DiscardHandler)})
	ctx.WatchHeader(func(*context.ClientContext, string, string) {})
	var n int
	var err error
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		n, err = ctx.DeleteHeaders(forgedName, nil)
		return ctx.Check(err)
	})
	field := protocol.Header{Name: forgedName, Value: "x"}
	var b []byte
	for _, m := range []protocol.Message{negotiateMsg, connectMsg, mailMsg, rcptMsg, field, field, field, eomMsg} {
		b = m.Append(b)
	}
	_ = ctx.Feed(b)
	if n != 1 || !errors.Is(err, errBroken) {
		t.Errorf("DeleteHeaders = %d, %v, want 1 and the write error", n, err)
	}
	const wantWire = "m\"\\x00\\x00\\x00\\x03Authentication-Results\\x00\\x00\""
	if list := showAll(t, w.Bytes()); list[len(list)-1] != wantWire {
		t.Errorf("wire %q, want the last one deleted first", list)
	}
}

// A breaking writer fails after some writes.
type breaking struct {
	bytes.Buffer
	after int
}

func (w *breaking) Write(b []byte) (int, error) {
	if w.after--; w.after < 0 {
		return 0, errBroken
	}
	return w.Buffer.Write(b)
}
