package context_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

var allStatuses = []protocol.Status{
	protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusContinue, protocol.StatusReject, protocol.StatusDiscard,
	protocol.StatusAccept, protocol.StatusTemporaryFailure, protocol.StatusNoReply, protocol.StatusSkip, protocol.StatusAllOptions,
	protocol.StatusAbort, protocol.StatusQuarantine, protocol.StatusStop, protocol.StatusError, protocol.Status(-1), protocol.Status(99),
}

// A verdict is what the table of design.md section 4 says about a status.
type verdict struct {
	wire  string // without any no-reply step
	fault bool   // OnError is told
	final bool   // the mail transaction ends
}

// verdictOn is written from design.md, not from the code.
func verdictOn(e event, status protocol.Status, code int, skip bool) verdict {
	decides := e.inMessage() && e.command != 'R'
	switch status {
	case protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusContinue:
		return verdict{wire: "c"}
	case protocol.StatusReject:
		wire := "r"
		if code/100 == 5 {
			wire = fmt.Sprintf(`y"%d 5.7.1 text\x00"`, code)
		}
		return verdict{wire: wire, final: decides}
	case protocol.StatusTemporaryFailure:
		wire := "t"
		if code/100 == 4 {
			wire = fmt.Sprintf(`y"%d 4.7.1 text\x00"`, code)
		}
		return verdict{wire: wire, final: decides}
	case protocol.StatusAccept:
		if e.command != 'U' {
			return verdict{wire: "a", final: e.inMessage()}
		}
	case protocol.StatusDiscard:
		if e.inMessage() {
			return verdict{wire: "d", final: true}
		}
	case protocol.StatusSkip:
		if e.command == 'B' && skip {
			return verdict{wire: "s"}
		}
		if e.command == 'B' {
			return verdict{wire: "c"}
		}
	case protocol.StatusNoReply:
		return verdict{wire: "c"}
	}
	return verdict{wire: "c", fault: true}
}

func TestStatus(t *testing.T) {
	for _, e := range events() {
		for _, status := range allStatuses {
			for _, code := range []int{0, 450, 550} {
				for _, noReply := range []bool{false, true} {
					for _, skip := range []bool{false, true} {
						if noReply && e.noReply == 0 {
							continue
						}
						t.Run(fmt.Sprintf("%s/%v/%d/noreply=%v/skip=%v", e.name, status, code, noReply, skip), func(t *testing.T) {
							testStatus(t, e, status, code, noReply, skip)
						})
					}
				}
			}
		}
	}
}

func testStatus(t *testing.T, e event, status protocol.Status, code int, noReply, skip bool) {
	var steps option.Step
	if noReply {
		steps |= e.noReply
	}
	if skip {
		steps |= option.StepSkip
	}
	var f *fed
	f = negotiated(t, option.AllActions, steps, func(event string) protocol.Status {
		if event != e.name {
			return protocol.StatusContinue
		}
		if code != 0 {
			if err := f.ctx.SetReply(code, fmt.Sprintf("%d.7.1", code/100), "text"); err != nil {
				t.Error(err)
			}
		}
		return status
	})
	if err := f.feed(e.lead...); err != nil {
		t.Fatal(err)
	}
	f.replies()
	f.take()
	if err := f.feed(e.message); err != nil {
		t.Fatal(err)
	}
	want := verdictOn(e, status, code, skip)
	final := want.final || e.command == 'E'
	switch {
	case !noReply:
		f.expect("the reply", want.wire)
	case want.final:
		f.expect("no reply: the decision has to wait for an event that has one")
	default:
		f.expect("no reply")
	}
	if got := f.ctx.State(); got != e.state+1 {
		t.Errorf("state = %v, want %v: the debt is paid in any case", got, e.state+1)
	}
	if got := f.ctx.FormatReply(); got != "" {
		t.Errorf("the reply code %q is still there after its event", got)
	}
	lines := f.take()
	fault := want.fault || noReply && !want.final && slices.Contains([]protocol.Status{
		protocol.StatusReject, protocol.StatusTemporaryFailure, protocol.StatusAccept, protocol.StatusDiscard}, status)
	if got := count(lines, "error ErrInvalidStatus") == 1; got != fault {
		t.Errorf("OnError was told = %v, want %v: %q", got, fault, lines)
	}
	processed := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "processed") })
	if processed != final {
		t.Errorf("the mail has ended = %v, want %v: %q", processed, final, lines)
	}
	if want.final && e.command != 'E' {
		restOfDecided(t, f, e, want.wire)
	}
}

// TestCombine: several handlers of one event.
func TestCombine(t *testing.T) {
	const (
		def, not, cont = protocol.StatusDefault, protocol.StatusNotChange, protocol.StatusContinue
		rej, acc, temp = protocol.StatusReject, protocol.StatusAccept, protocol.StatusTemporaryFailure
		all, prog, nor = protocol.StatusAllOptions, protocol.StatusProgress, protocol.StatusNoReply
	)
	tests := []struct {
		returns []protocol.Status
		asked   int // how many handlers are asked
		want    []string
	}{
		{[]protocol.Status{not, not}, 2, []string{"c"}},
		{[]protocol.Status{cont, not}, 2, []string{"c"}},
		{[]protocol.Status{def, rej}, 2, []string{"r"}},
		{[]protocol.Status{cont, rej}, 2, []string{"r"}},
		{[]protocol.Status{not, rej}, 2, []string{"r"}},
		{[]protocol.Status{rej, acc}, 1, []string{"r"}},
		{[]protocol.Status{acc, rej}, 1, []string{"a"}},
		{[]protocol.Status{temp, rej}, 1, []string{"t"}},
		{[]protocol.Status{prog, rej}, 1, nil},
		{[]protocol.Status{cont, prog, rej}, 2, nil},
		{[]protocol.Status{nor, rej}, 1, []string{"c"}},
		{[]protocol.Status{cont, def, cont, acc, rej}, 4, []string{"a"}},
		{[]protocol.Status{all, rej}, 2, []string{"r"}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.returns), func(t *testing.T) {
			f := feed(t, forever())
			asked, watched := 0, 0
			f.ctx.WatchConnect(func(*context.ClientContext, string, netAddr) { watched++ })
			for _, status := range test.returns {
				f.ctx.OnConnect(func(*context.ClientContext, string, netAddr) protocol.Status { asked++; return status })
				f.ctx.WatchConnect(func(*context.ClientContext, string, netAddr) { watched++ })
			}
			_ = f.feed(negotiateMsg)
			f.replies()
			_ = f.feed(connectMsg)
			f.expect("the combined answer", test.want...)
			if asked != test.asked {
				t.Errorf("%d handlers were asked, want %d", asked, test.asked)
			}
			if watched != len(test.returns)+1 {
				t.Errorf("%d watchers saw it, want all %d", watched, len(test.returns)+1)
			}
		})
	}
}

// TestHandlersRunInOrder: those of one event run in the order of registration,
// also one that was registered by a handler, from the next event on.
func TestHandlersRunInOrder(t *testing.T) {
	f := feed(t, forever())
	for i := range 3 {
		f.ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
			f.add("on %d", i)
			if i == 2 {
				ctx.OnHelo(func(*context.ClientContext, string) protocol.Status { f.add("new"); return protocol.StatusContinue })
			}
			return protocol.StatusContinue
		})
		f.ctx.WatchHelo(func(*context.ClientContext, string) { f.add("watch %d", i) })
	}
	_ = f.feed(negotiateMsg, heloMsg)
	f.happened("first", "on 0", "watch 0", "on 1", "watch 1", "on 2", "watch 2")
	_ = f.feed(heloMsg)
	f.happened("second", "on 0", "watch 0", "on 1", "watch 1", "on 2", "watch 2", "new")
}

// TestReplyCodeIsDropped: the reply code belongs to the answer to its event, used
// or not. (libmilter and milter manager send an old 450 for a later reject.)
func TestReplyCodeIsDropped(t *testing.T) {
	for _, set := range events() {
		if set.command == 'E' || set.command == 'U' {
			continue
		}
		t.Run(set.name, func(t *testing.T) {
			var f *fed
			f = negotiated(t, option.AllActions, 0, func(event string) protocol.Status {
				switch event {
				case set.name:
					_ = f.ctx.SetReply(550, "5.7.1", "of "+set.name)
				case "unknown":
					return protocol.StatusReject
				}
				return protocol.StatusContinue
			})
			_ = f.feed(set.lead...)
			_ = f.feed(set.message)
			f.replies()
			_ = f.feed(unknownMsg)
			f.expect("without the reply of the event before", "r")
		})
	}
}

func TestReplyHelpers(t *testing.T) {
	long := strings.Repeat("x", 981)
	tests := []struct {
		name   string
		reject bool
		code   int
		ext    string
		text   string
		want   string
		fault  bool
	}{
		{"reject", true, 550, "5.1.1", "Nobody is not here", `y"550 5.1.1 Nobody is not here\x00"`, false},
		{"reject without extended code", true, 550, "", "no", `y"550 no\x00"`, false},
		{"reject with two lines", true, 550, "5.7.1", "go\naway", `y"550-5.7.1 go\r\n550 5.7.1 away\x00"`, false},
		{"reject with percent", true, 550, "5.7.1", "100%", `y"550 5.7.1 100%%\x00"`, false},
		{"reject with 4xx", true, 450, "4.7.1", "later", "t", true},
		{"reject with 2xx", true, 250, "", "fine", "t", true},
		{"reject with the class of another code", true, 550, "4.7.1", "x", "t", true},
		{"reject with NUL", true, 550, "", "a\x00b", "t", true},
		{"reject with CR", true, 550, "", "a\rb", "t", true},
		{"reject with a long line", true, 550, "", long, "t", true},
		{"reject with 33 lines", true, 550, "", strings.Repeat("x\n", 33), "t", true},
		{"temporary failure", false, 451, "4.7.1", "greylisted", `y"451 4.7.1 greylisted\x00"`, false},
		{"temporary failure with 5xx", false, 550, "5.7.1", "no", "t", true},
		{"temporary failure with NUL", false, 451, "4.7.1", "\x00", "t", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := feed(t, forever())
			recordEnds(f.ctx, f.journal)
			f.ctx.OnHelo(func(ctx *context.ClientContext, _ string) protocol.Status {
				if test.reject {
					return ctx.Reject(test.code, test.ext, test.text)
				}
				return ctx.TemporaryFailure(test.code, test.ext, test.text)
			})
			_ = f.feed(negotiateMsg)
			f.replies()
			_ = f.feed(heloMsg)
			f.expect("the answer", test.want)
			if test.fault {
				f.happened("the fault is told", "error ErrInvalidArgument")
			} else {
				f.happened("no fault")
			}
		})
	}
}

func TestSetReply(t *testing.T) {
	f := feed(t, forever())
	if got := f.ctx.FormatReply(); got != "" {
		t.Errorf("FormatReply = %q before SetReply", got)
	}
	if err := f.ctx.SetReply(451, "4.7.1", "a\nb 100%"); err != nil {
		t.Fatal(err)
	}
	const want = "451-4.7.1 a\r\n451 4.7.1 b 100%"
	err := f.ctx.SetReply(399, "", "x")
	mustBe(t, "code 399", err, "ErrInvalidArgument")
	if err == nil || !strings.Contains(err.Error(), "399") {
		t.Errorf("error %q does not quote the code", err)
	}
	if got := f.ctx.FormatReply(); got != want {
		t.Errorf("FormatReply = %q, want the earlier %q", got, want)
	}
}
