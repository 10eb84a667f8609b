package context_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// TestNegotiateOffers: what is not offered is not asked for.
func TestNegotiateOffers(t *testing.T) {
	v4 := option.Step(0x37f) // Postfix with milter_protocol=4
	v2 := option.Step(0x7f)  // and 2
	tests := []struct {
		name  string
		offer protocol.Negotiate
		want  string // the answer of a milter that watches headers and nothing else
	}{
		{"everything", negotiateMsg, describe(option.Option{Version: 6, Actions: 0x1ff, Steps: noEvents&^option.StepNoHeaders | skip | option.StepNoReplyHeader}, "")},
		{"version 2", offer(2, 0x1ff, v2), "2 0x1ff 0x5f"},
		{"version 3", offer(3, 0x1ff, 0x17f), "3 0x1ff 0x15f"},
		{"version 4", offer(4, 0x1ff, v4), "4 0x1ff 0x35f"},
		{"version 4 with no-reply headers", offer(4, 0x1ff, v4|0x80), "4 0x1ff 0x3df"},
		{"version 5", offer(5, 0x1ff, v4), "5 0x1ff 0x35f"},
		{"version 7", offer(7, 0x1ff, option.AllSteps), "6 0x1ff 0x7df"},
		{"version 99", offer(99, 0xfffff, 0xffffffff), "6 0x1ff 0x7df"},
		{"few actions", offer(6, 0x21, option.AllSteps), "6 0x21 0x7df"},
		{"zero masks are those of version 1", offer(2, 0, 0), "2 0xf 0x1f"},
		{"zero actions", offer(6, 0, option.AllSteps), "6 0xf 0x7df"},
		{"zero steps", offer(6, 0x1ff, 0), "6 0x1ff 0x1f"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := feed(t, forever())
			f.ctx.WatchHeader(func(*context.ClientContext, string, string) {})
			if err := f.feed(test.offer); err != nil {
				t.Fatal(err)
			}
			if got := f.answer(); got != test.want {
				t.Errorf("answered %s, want %s", got, test.want)
			}
			_ = f.feed(headerMsg)
			want := []string{"c"} // nobody decides: the library answers
			if f.ctx.Option().Steps.Has(option.StepNoReplyHeader) {
				want = nil
			}
			f.expect("the reply to a header", want...)
		})
	}
}

func TestNegotiateOldVersions(t *testing.T) {
	for version := range uint32(2) {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			f := feed(t, forever())
			recordEnds(f.ctx, f.journal)
			onNegotiate(f.ctx, protocol.StatusContinue)
			err := f.feed(offer(version, 0x1ff, 0x3f))
			mustBe(t, "an offer below 2", err, "ErrProtocol")
			if !strings.Contains(fmt.Sprint(err), fmt.Sprintf("version %d", version)) {
				t.Errorf("error %q does not name the version", err)
			}
			f.expect("it is refused by closing")
			f.happened("the end", "error ErrProtocol", "finished ErrProtocol")
		})
	}
}

// TestNegotiateMacros: they are asked for only if SET_SYMBOL_LIST is offered, and
// a list for end-of-message brings one for end-of-header (Sendmail 8.17.1 tests
// the wrong index).
func TestNegotiateMacros(t *testing.T) {
	tests := []struct {
		name    string
		actions option.Action
		set     map[option.MacroStage][]string
		want    string
	}{
		{"offered", option.AllActions, map[option.MacroStage][]string{option.MacroStageConnect: {"j", "{daemon_name}"}}, `connect="j {daemon_name}"`},
		{"not offered", 0x0ff, map[option.MacroStage][]string{option.MacroStageConnect: {"j"}}, ``},
		{"end of message alone", option.AllActions, map[option.MacroStage][]string{option.MacroStageEndOfMessage: {"i"}}, `end-of-message="i" end-of-header=""`},
		{"both", option.AllActions, map[option.MacroStage][]string{option.MacroStageEndOfMessage: {"i"}, option.MacroStageEndOfHeader: {"x"}}, `end-of-message="i" end-of-header="x"`},
		{"end of header alone", option.AllActions, map[option.MacroStage][]string{option.MacroStageEndOfHeader: {"x"}}, `end-of-header="x"`},
		{"empty list", option.AllActions, map[option.MacroStage][]string{option.MacroStageHelo: {}}, `helo=""`},
	}
	for _, test := range tests {
		for _, status := range []protocol.Status{protocol.StatusContinue, protocol.StatusDefault, protocol.StatusAccept} {
			t.Run(fmt.Sprintf("%s %v", test.name, status), func(t *testing.T) {
				f := feed(t, forever())
				f.ctx.OnNegotiate(func(_ *context.ClientContext, _ *option.Option, m *option.MacroRequests) protocol.Status {
					for stage, names := range test.set {
						if err := m.Set(stage, names...); err != nil {
							t.Error(err)
						}
					}
					return status
				})
				_ = f.feed(offer(6, test.actions, option.AllSteps))
				got := strings.SplitN(f.answer(), " ", 4)
				if diff := cmp.Diff(test.want, strings.Join(got[3:], "")); diff != "" {
					t.Errorf("macros (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestNegotiateTwice(t *testing.T) {
	f := feed(t, forever())
	recordEnds(f.ctx, f.journal)
	mustBe(t, "second negotiation", f.feed(negotiateMsg, mailMsg, negotiateMsg), "ErrProtocol")
	f.happened("the mail is aborted", "error ErrProtocol", "abort envelope-from-replied", "processed abort at envelope-from-replied", "finished ErrProtocol")
}

// TestNegotiatePanic: a session whose negotiation panics is refused, and told of.
func TestNegotiatePanic(t *testing.T) {
	for _, test := range []struct {
		status protocol.Status
		want   []string
		cause  string
	}{
		{protocol.StatusDefault, []string{"t"}, "ErrFinished"},
		{protocol.StatusReject, []string{"r"}, "ErrFinished"},
		{protocol.StatusAbort, nil, "ErrPanic"},
	} {
		t.Run(test.status.String(), func(t *testing.T) {
			config := forever()
			config.PanicStatus = test.status
			f := feed(t, config)
			recordEnds(f.ctx, f.journal)
			f.ctx.OnNegotiate(func(*context.ClientContext, *option.Option, *option.MacroRequests) protocol.Status { panic("oops") })
			_ = f.feed(negotiateMsg)
			f.expect("the answer", test.want...)
			f.happened("OnError is told", "error ErrPanic", "finished "+test.cause)
		})
	}
}

func TestNegotiateShort(t *testing.T) {
	full := binary.BigEndian.AppendUint32(nil, 6)
	full = append(full, 0, 0, 1, 0xff, 0, 0x1f, 0xff, 0xff)
	for n := range len(full) {
		f := feed(t, forever())
		recordEnds(f.ctx, f.journal)
		mustBe(t, fmt.Sprintf("%d bytes", n), f.feed(packet('O', string(full[:n]))), "ErrProtocol")
		f.expect("no answer")
		f.happened("the end", "error ErrProtocol", "finished ErrProtocol")
	}
	f := feed(t, forever())
	mustBe(t, "too many bytes", f.feed(packet('O', string(full)+"more")), "none")
	if got := f.answer(); got != "6 0x1ff 0x77f" {
		t.Errorf("bytes after the first twelve count: %s", got)
	}
}
