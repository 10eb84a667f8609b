package context_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A vectorConfig says what the recorded filter did.
type vectorConfig struct {
	Callbacks []string
	Flags     string
	Version   string
	Timeout   string
	Negotiate *struct {
		Ret, AFlags, PFlags string
		SymList             [][2]any // number of the stage, list
	}
	Actions map[string][][]string
	Returns map[string]vectorReturns
}

func (c *vectorConfig) UnmarshalJSON(data []byte) error {
	type plain vectorConfig
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(c))
}

// vectorReturns are what a callback returns; the last one repeats.
type vectorReturns []string

func (r *vectorReturns) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*r = vectorReturns{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(r))
}

// A vectorFilter does with our library what the recorded filter did with
// libmilter, and keeps the same log. What is given to OnError is in it as well,
// behind a "!".
type vectorFilter struct {
	t      *testing.T
	config vectorConfig
	answer []byte // see vectorTest
	calls  map[string]int
	log    []string
}

func newVectorFilter(t *testing.T, config vectorConfig, answer []byte) *vectorFilter {
	return &vectorFilter{t: t, config: config, answer: answer, calls: make(map[string]int)}
}

// has reports whether the filter has a callback. An old API version does not
// know the later ones.
func (f *vectorFilter) has(callback string) bool {
	version := 6
	if f.config.Version != "" {
		version = vectorNumber(f.t, f.config.Version)
	}
	switch {
	case callback == "unknown" && version <= 2, callback == "data" && version <= 3, callback == "negotiate" && version <= 4:
		return false
	case f.config.Callbacks == nil:
		return callback != "negotiate"
	}
	return slices.Contains(f.config.Callbacks, callback)
}

// register sets up the filter's session: a handler for each callback.
func (f *vectorFilter) register(ctx *context.ClientContext) {
	type (
		status = protocol.Status
		params = protocol.Parameters
		cc     = *context.ClientContext
	)
	ctx.OnNegotiate(f.negotiate)
	if f.has("connect") {
		ctx.OnConnect(func(ctx cc, host string, addr net.Addr) status {
			return f.called(ctx, "connect", "host="+vectorEscape(host)+" "+vectorAddr(addr))
		})
	}
	if f.has("helo") {
		ctx.OnHelo(func(ctx cc, name string) status { return f.called(ctx, "helo", vectorEscape(name)) })
	}
	if f.has("envfrom") {
		ctx.OnEnvelopeFrom(func(ctx cc, from string, p params) status { return f.called(ctx, "envfrom", vectorArgs(from, p)) })
	}
	if f.has("envrcpt") {
		ctx.OnEnvelopeRecipient(func(ctx cc, to string, p params) status { return f.called(ctx, "envrcpt", vectorArgs(to, p)) })
	}
	if f.has("data") {
		ctx.OnData(func(ctx cc) status { return f.called(ctx, "data", "") })
	}
	if f.has("unknown") {
		ctx.OnUnknown(func(ctx cc, line string) status { return f.called(ctx, "unknown", vectorEscape(line)) })
	}
	if f.has("header") {
		ctx.OnHeader(func(ctx cc, name, value string) status {
			return f.called(ctx, "header", vectorEscape(name)+": |"+vectorEscape(value)+"|")
		})
	}
	if f.has("eoh") {
		ctx.OnEndOfHeader(func(ctx cc) status { return f.called(ctx, "eoh", "") })
	}
	if f.has("body") {
		ctx.OnBody(func(ctx cc, chunk []byte) status { return f.called(ctx, "body", vectorChunk(chunk)) })
	}
	if f.has("eom") {
		ctx.OnEndOfMessage(func(ctx cc, chunk []byte) status {
			if chunk != nil {
				return f.called(ctx, "eom", vectorChunk(chunk))
			}
			return f.called(ctx, "eom", "")
		})
	}
	if f.has("abort") {
		ctx.OnAbort(func(ctx cc, _ context.State) status { return f.called(ctx, "abort", "") })
	}
	if f.has("close") {
		ctx.OnFinished(func(ctx cc) { f.called(ctx, "close", "") })
	}
	ctx.OnError(func(_ cc, err error) { f.log = append(f.log, "! "+err.Error()) })
}

// called logs a callback, makes its calls, and returns what it returns.
func (f *vectorFilter) called(ctx *context.ClientContext, callback, args string) protocol.Status {
	f.log = append(f.log, strings.TrimSuffix(callback+" "+args, " "))
	for _, action := range f.config.Actions[callback] {
		f.act(ctx, action[0], action[1:])
	}
	values := f.config.Returns[callback]
	if len(values) == 0 {
		return protocol.StatusContinue
	}
	value := values[min(f.calls[callback], len(values)-1)]
	f.calls[callback]++
	return f.status(value)
}

func (f *vectorFilter) status(value string) protocol.Status {
	switch value {
	case "CONTINUE":
		return protocol.StatusContinue
	case "REJECT":
		return protocol.StatusReject
	case "DISCARD":
		return protocol.StatusDiscard
	case "ACCEPT":
		return protocol.StatusAccept
	case "TEMPFAIL":
		return protocol.StatusTemporaryFailure
	case "NOREPLY":
		return protocol.StatusNoReply
	case "SKIP":
		return protocol.StatusSkip
	case "ALL_OPTS":
		return protocol.StatusAllOptions
	}
	return protocol.Status(vectorNumber(f.t, value)) // one that does not exist
}

// negotiate stands for libmilter's own answer to an offer, or for the filter's
// negotiate callback.
func (f *vectorFilter) negotiate(ctx *context.ClientContext, offer *option.Option, macros *option.MacroRequests) protocol.Status {
	preset := ctx.DefaultOption(*offer).Steps // as libmilter presets the output
	n := f.config.Negotiate
	switch {
	case f.answer != nil:
		var answer protocol.Negotiate // has the layout of the reply
		if err := answer.Decode(f.answer[5:]); err != nil {
			f.t.Error(err)
		}
		*offer = answer.Option
		return protocol.StatusContinue
	case !f.has("negotiate"):
		offer.Actions, offer.Steps = option.AllActions, preset&^option.StepSkip
		if f.config.Flags != "" {
			offer.Actions = option.Action(vectorNumber(f.t, f.config.Flags))
		}
		return protocol.StatusContinue
	}
	f.log = append(f.log, fmt.Sprintf("negotiate actions=%#x steps=%#x f2=0x0 f3=0x0 def_actions=%#x def_steps=%#x",
		uint32(offer.Actions), uint32(offer.Steps|option.NoReplySteps), uint32(offer.Actions), uint32(preset)))
	offer.Steps = preset
	if n.AFlags != "" {
		offer.Actions = option.Action(vectorNumber(f.t, n.AFlags))
	}
	if n.PFlags != "" {
		offer.Steps = option.Step(vectorNumber(f.t, n.PFlags))
	}
	for _, s := range n.SymList {
		stage, list := int(s[0].(float64)), vectorUnescape(f.t, s[1].(string))
		err := macros.Set(option.MacroStage(stage), strings.Fields(list.text)...)
		f.log = append(f.log, fmt.Sprintf("  setsymlist(%d,%v) -> %d", stage, list, vectorResult(err)))
	}
	for _, action := range f.config.Actions["negotiate"] {
		f.act(ctx, action[0], action[1:])
	}
	return f.status(n.Ret)
}

// act makes one call and logs its result, 0 or -1.
func (f *vectorFilter) act(ctx *context.ClientContext, name string, rawArgs []string) {
	args := make([]vectorArgument, len(rawArgs))
	for i, raw := range rawArgs {
		args[i] = vectorUnescape(f.t, raw)
	}
	switch name {
	case "sleep":
		time.Sleep(time.Duration(vectorNumber(f.t, args[0].text)) * time.Millisecond)
		return
	case "getsym":
		value, ok := ctx.LookupMacro(args[0].text)
		f.log = append(f.log, fmt.Sprintf("  getsymval(%s)=%v", args[0].text, vectorArgument{value, !ok}))
		return
	}
	f.log = append(f.log, fmt.Sprintf("  %s -> %d", name, vectorResult(f.call(ctx, name, args))))
}

// call makes one call. Go has no NULL: it stands for the empty string.
func (f *vectorFilter) call(ctx *context.ClientContext, name string, args []vectorArgument) error {
	text := func(i int) string { return args[i].text }
	switch name {
	case "addheader":
		return ctx.AddHeader(text(0), text(1))
	case "insheader":
		return ctx.InsertHeader(vectorNumber(f.t, text(0)), text(1), text(2))
	case "chgheader":
		return ctx.ChangeHeader(text(0), vectorNumber(f.t, text(1)), text(2))
	case "addrcpt":
		return ctx.AddRecipient(text(0), "")
	case "addrcpt_par":
		return ctx.AddRecipient(text(0), text(1))
	case "delrcpt":
		return ctx.DeleteRecipient(text(0))
	case "chgfrom":
		return ctx.ChangeFrom(text(0), text(1))
	case "quarantine":
		return ctx.Quarantine(text(0))
	case "progress":
		return ctx.Progress()
	case "replacebody":
		if len(args) > 1 && vectorNumber(f.t, text(1)) != len(text(0)) {
			return errors.New("a slice always has as many bytes as it says")
		}
		return ctx.ReplaceBody([]byte(text(0)))
	case "setreply", "setmlreply":
		var lines []string
		for _, line := range args[2:] {
			// Here a percent sign stands for itself; a libmilter filter has to double it.
			lines = append(lines, strings.ReplaceAll(line.text, "%%", "%"))
		}
		code, err := strconv.Atoi(text(0))
		if err != nil || len(text(0)) != 3 {
			return fmt.Errorf("code %q is no number of three digits", text(0))
		}
		return ctx.SetReply(code, text(1), strings.Join(lines, "\n"))
	}
	f.t.Errorf("the recorded filter called %s, which is not known here", name)
	return nil
}

func vectorResult(err error) int {
	if err != nil {
		return -1
	}
	return 0
}

// A vectorArgument is one of a recorded call.
type vectorArgument struct {
	text string
	null bool
}

func (a vectorArgument) String() string {
	if a.null {
		return "(null)"
	}
	return a.text
}

// vectorUnescape reads an argument as the recordings write it.
func vectorUnescape(t *testing.T, raw string) vectorArgument {
	if raw == "@NULL" {
		return vectorArgument{null: true}
	}
	if rep, ok := strings.CutPrefix(raw, "@REP:"); ok {
		c, n, _ := strings.Cut(rep, ":")
		return vectorArgument{text: strings.Repeat(c, vectorNumber(t, n))}
	}
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(raw, `"`, `\"`) + `"`)
	if err != nil {
		t.Errorf("argument %q: %v", raw, err)
	}
	return vectorArgument{text: text}
}

// vectorNumber reads a number in decimal, or in hexadecimal behind 0x.
func vectorNumber(t *testing.T, s string) int {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		t.Errorf("number: %v", err)
	}
	return int(n)
}

// vectorEscape writes a string as the log of the recorded filter does. Long runs
// of one character were shortened.
func vectorEscape(s string) string {
	if len(s) > 1000 {
		for i := range min(len(s), 2) {
			if rest := s[i:]; rest == strings.Repeat(rest[:1], len(rest)) {
				return fmt.Sprintf("%s<%s*%d>", s[:i], rest[:1], len(rest))
			}
		}
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\n':
			b.WriteString(`\n`)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func vectorArgs(path string, params protocol.Parameters) string {
	var b strings.Builder
	for i, arg := range append([]string{path}, params...) {
		fmt.Fprintf(&b, "[%d]=%s ", i, vectorEscape(arg))
	}
	return strings.TrimSuffix(b.String(), " ")
}

func vectorChunk(chunk []byte) string {
	if len(chunk) > 1000 {
		return fmt.Sprintf("len=%d first=%s", len(chunk), chunk[:16])
	}
	return fmt.Sprintf("len=%d |%s|", len(chunk), vectorEscape(string(chunk)))
}

func vectorAddr(addr net.Addr) string {
	switch a := addr.(type) {
	case *net.TCPAddr:
		ip, _ := netip.AddrFromSlice(a.IP)
		family := "inet"
		if ip.Is6() {
			family = "inet6"
		}
		return fmt.Sprintf("addr=%v family=%s port=%d", ip, family, a.Port)
	case *net.UnixAddr:
		return fmt.Sprintf("addr=%s family=unix port=0", vectorEscape(a.Name))
	}
	return "addr=(null) family=NULL port=0"
}
