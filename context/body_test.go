package context_test

import (
	"testing"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// TestEnough: a handler that has had enough of the body gets no more of it. The
// others do; the MTA is told to skip when nobody wants the rest.
func TestEnough(t *testing.T) {
	type handler struct {
		watch  bool
		answer []protocol.Status // to the first piece, the second ...; then continue
	}
	const (
		enough = protocol.StatusSkip
		more   = protocol.StatusContinue
		reject = protocol.StatusReject
	)
	for _, tt := range []struct {
		name     string
		handlers []handler
		replies  []string // to three pieces
		got      []string // by each handler: the numbers of the pieces
	}{
		{"both at once", []handler{{answer: []protocol.Status{enough}}, {answer: []protocol.Status{enough}}},
			[]string{"s", "c", "c"}, []string{"1", "1"}},
		{"one after the other", []handler{{answer: []protocol.Status{enough}}, {answer: []protocol.Status{more, enough}}},
			[]string{"c", "s", "c"}, []string{"1", "12"}},
		{"the last one first", []handler{{answer: []protocol.Status{more, more, enough}}, {answer: []protocol.Status{enough}}},
			[]string{"c", "c", "s"}, []string{"123", "1"}},
		{"a watcher wants all", []handler{{answer: []protocol.Status{enough}}, {watch: true}},
			[]string{"c", "c", "c"}, []string{"1", "123"}},
		{"a decision counts", []handler{{answer: []protocol.Status{enough}}, {answer: []protocol.Status{more, reject}}},
			[]string{"c", "r", "r"}, []string{"1", "12"}},
		{"not after a decision", []handler{{answer: []protocol.Status{reject}}, {answer: []protocol.Status{enough}}},
			[]string{"r", "r", "r"}, []string{"1", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := feed(t, forever())
			got := make([]string, len(tt.handlers))
			piece := ""
			for i, h := range tt.handlers {
				if h.watch {
					f.ctx.WatchBody(func(*context.ClientContext, []byte) { got[i] += piece })
					continue
				}
				f.ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status {
					got[i] += piece
					if n := len(got[i]); n <= len(h.answer) {
						return h.answer[n-1]
					}
					return more
				})
			}
			f.negotiate(0, option.StepSkip)
			for range 2 { // the next mail begins anew
				clear(got)
				_ = f.feed(mailMsg, rcptMsg, eohMsg)
				f.replies()
				for i, want := range tt.replies {
					piece = string(rune('1' + i))
					_ = f.feed(bodyMsg)
					f.expect("piece "+piece, want)
				}
				_ = f.feed(eomMsg)
				f.replies()
				for i, want := range tt.got {
					if got[i] != want {
						t.Errorf("handler %d got the pieces %q, want %q", i, got[i], want)
					}
				}
			}
		})
	}
}

// TestEnoughLate: a late StatusSkip is the answer of the handler that ran last.
func TestEnoughLate(t *testing.T) {
	f := feed(t, forever())
	pieces := 0
	f.ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusProgress })
	f.ctx.WatchBody(func(*context.ClientContext, []byte) { pieces++ })
	f.negotiate(0, option.StepSkip)
	_ = f.feed(mailMsg, rcptMsg, eohMsg)
	f.replies()
	_ = f.feed(bodyMsg)
	mustBe(t, "skip", f.ctx.BodyResponse(protocol.StatusSkip), "none")
	f.expect("somebody watches", "c")
	_ = f.feed(bodyMsg)
	f.expect("the handler that skipped is not asked again", "c")
	if pieces != 2 {
		t.Errorf("the watcher got %d pieces, want 2", pieces)
	}
}
