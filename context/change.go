package context

import (
	"fmt"
	"math"
	"strings"

	"github.com/milter-go/milter/internal/block"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
	"github.com/milter-go/milter/reply"
)

// changes are the changes to a mail that wait for the reply. They leave in the
// order of the calls, but for the body: its packets leave in one run, because
// Postfix ends the replacement at any other packet (milter8.c).
type changes struct {
	buf       []byte // what leaves next: the changes before the body, the body, or a reply
	after     []byte // the changes after the body
	replacing bool   // there is a new body
	open      bool   // a part of the body is with the MTA, the run goes on
	written   bool   // some changes are with the MTA
}

// finish completes what is to leave before the reply, and reports whether there is
// anything.
func (m *mail) finish() bool {
	c := &m.out
	if len(c.after) > 0 {
		c.buf = block.Append(c.buf, c.after)
	}
	if m.quarantineReason != "" {
		c.buf = reply.Quarantine{Reason: m.quarantineReason}.Append(c.buf)
	}
	return len(c.buf) > 0
}

// reset drops what waits.
func (c *changes) reset() {
	block.Put(c.buf)
	block.Put(c.after)
	*c = changes{}
}

// flush writes what is in buf.
func (ctx *ClientContext) flush(c *changes) error {
	err := ctx.write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// AddHeader adds a header field, at the end of the header as a rule. (Sendmail
// puts it before the first field of the same name.)
//
// name must be an RFC 5322 field name. In value, lines of a folded field are
// separated by LF (CRLF counts as LF), and each must begin with a space or a
// tab; NUL and other CR are refused. With the leading space negotiated, value
// must bring the space after the colon itself.
//
// Like every change it is legal only while a reply to end-of-message is due, by
// any goroutine, and only if its action was negotiated. The error is
// ErrInvalidArgument, ErrInvalidState, ErrInvalidAction, ErrNoReplyDue or
// ErrFinished; then nothing was sent.
func (d due) AddHeader(name, value string) error {
	value, err := checkHeader(name, value)
	if err != nil {
		return fmt.Errorf("%w: add header: %s", ErrInvalidArgument, err)
	}
	m := reply.AddHeader{Name: name, Value: value}
	return changeHeader(d, "add header", option.ActionAddHeaders, m, headerChange{headerAdded, 0, name, value})
}

// InsertHeader adds a header field at a place: 0 is above all others, 1 below
// the first one, which is the MTA's own Received field; beyond the end is the
// end. See [ClientContext.AddHeader] for the rest.
func (d due) InsertHeader(index int, name, value string) error {
	value, err := checkHeader(name, value)
	if err == nil {
		err = checkIndex(index)
	}
	if err != nil {
		return fmt.Errorf("%w: insert header: %s", ErrInvalidArgument, err)
	}
	m := reply.InsertHeader{Index: uint32(index), Name: name, Value: value}
	return changeHeader(d, "insert header", option.ActionAddHeaders, m, headerChange{headerAdded, index, name, value})
}

// ChangeHeader replaces the value of a header field: the index-th one called
// name, in any case; 1 is the first, and 0 means 1. The empty value deletes the
// field. If there is no such field, it is added. See [ClientContext.AddHeader]
// for the rest.
func (d due) ChangeHeader(name string, index int, value string) error {
	value, err := checkHeader(name, value)
	if err == nil {
		err = checkIndex(index)
	}
	if err != nil {
		return fmt.Errorf("%w: change header: %s", ErrInvalidArgument, err)
	}
	m := reply.ChangeHeader{Index: uint32(index), Name: name, Value: value}
	return changeHeader(d, "change header", option.ActionChangeHeaders, m, headerChange{headerChanged, index, name, value})
}

// DeleteHeader deletes a header field, see [ClientContext.ChangeHeader]. To
// delete several of one name begin with the last: Postfix counts anew after each
// deletion, Sendmail does not.
func (d due) DeleteHeader(name string, index int) error {
	return d.ChangeHeader(name, index, "")
}

// ChangeFrom replaces the envelope sender, "<>" for the null sender. parameters
// are ESMTP parameters separated by blanks, or "": RET and ENVID are what Postfix
// takes. No CR, LF or NUL is allowed, nor a SIZE, BODY, RET, ENVID, AUTH or BY
// without a value.
// See [ClientContext.AddHeader] for when it may be called.
func (d due) ChangeFrom(from, parameters string) error {
	err := checkAddress(from, parameters)
	if err == nil && parameters != "" {
		err = checkFromParameters(parameters)
	}
	if err != nil {
		return fmt.Errorf("%w: change from: %s", ErrInvalidArgument, err)
	}
	return change(d, "change from", option.ActionChangeEnvelopeFrom, reply.ChangeFrom{Path: from, Parameters: parameters})
}

// AddRecipient adds an envelope recipient. parameters are ESMTP parameters
// separated by blanks, or "": NOTIFY and ORCPT (RFC 3461), nothing else. With them
// another action is needed (option.ActionAddEnvelopeRecipientParameters), and the
// recipient must be an address in ASCII. No CR, LF or NUL is allowed. See
// [ClientContext.AddHeader] for when it may be called.
func (d due) AddRecipient(recipient, parameters string) error {
	err := checkAddress(recipient, parameters)
	if err == nil && parameters != "" {
		err = checkRecipientParameters(recipient, parameters)
	}
	if err != nil {
		return fmt.Errorf("%w: add recipient: %s", ErrInvalidArgument, err)
	}
	action := option.ActionAddEnvelopeRecipient
	if parameters != "" {
		action = option.ActionAddEnvelopeRecipientParameters
	}
	return change(d, "add recipient", action, reply.AddRecipient{Path: recipient, Parameters: parameters})
}

// DeleteRecipient removes an envelope recipient. Both MTAs compare it with the
// recipient as the client gave it, case and all, with or without angle brackets.
// No CR, LF or NUL is allowed. See [ClientContext.AddHeader] for when it may be
// called.
func (d due) DeleteRecipient(recipient string) error {
	if err := checkAddress(recipient, ""); err != nil {
		return fmt.Errorf("%w: delete recipient: %s", ErrInvalidArgument, err)
	}
	return change(d, "delete recipient", option.ActionDeleteEnvelopeRecipient, reply.DeleteRecipient{Path: recipient})
}

// ReplaceBody replaces the body of the mail; several calls add up to one body.
// No bytes at all make the body empty. Lines should end in CRLF. body may be
// reused when the call has returned. See [ClientContext.AddHeader] for when it
// may be called.
func (d due) ReplaceBody(body []byte) error {
	ctx := d.ctx
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if err := d.checkChange("replace body", option.ActionChangeBody); err != nil {
		return err
	}
	out := &ctx.theMail().out
	out.replacing = true
	for {
		n := min(len(body), protocol.MaxChunk)
		out.buf = reply.ReplaceBody{Chunk: body[:n]}.Append(block.Grow(out.buf, n+packetOverhead))
		if err := ctx.flushAbove(ctx.packetBufferSize); err != nil {
			return err
		}
		if body = body[n:]; len(body) == 0 {
			return nil
		}
	}
}

// Quarantine puts the mail on hold in the MTA's queue, if the mail is accepted.
// It is sent just before the reply; a second call replaces the reason. reason
// must not be empty and must not contain CR, LF or NUL. See
// [ClientContext.AddHeader] for when it may be called.
func (d due) Quarantine(reason string) error {
	ctx := d.ctx
	err := checkText("reason", reason)
	if err == nil {
		err = checkSize(len(reason) + 1)
	}
	if err != nil {
		return fmt.Errorf("%w: quarantine: %s", ErrInvalidArgument, err)
	}
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if err := d.checkChange("quarantine", option.ActionQuarantine); err != nil {
		return err
	}
	ctx.theMail().quarantineReason = reason
	return nil
}

// QuarantineReason returns what Quarantine was given for the current mail.
func (ctx *ClientContext) QuarantineReason() string {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if ctx.mail == nil {
		return ""
	}
	return ctx.mail.quarantineReason
}

// SetQuarantineReason sets what QuarantineReason returns, and what is sent before
// the reply to end-of-message, without any check. It is for tests.
func (ctx *ClientContext) SetQuarantineReason(reason string) {
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	ctx.theMail().quarantineReason = reason
}

// Progress tells the MTA at once that the reply to end-of-message will take
// longer. It may be called by any goroutine, as often as needed, while that reply
// is due; elsewhere Sendmail would give up on the milter. See
// [Config.KeepAlive], which does it by itself.
func (d due) Progress() error {
	ctx := d.ctx
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if err := d.checkChange("progress", 0); err != nil {
		return err
	}
	return ctx.writeProgress()
}

func (ctx *ClientContext) writeProgress() error {
	if ctx.mail != nil && ctx.mail.out.open {
		// Within the body a progress would end the replacement; an empty piece of
		// body keeps the MTA waiting just as well.
		return ctx.write(reply.ReplaceBody{}.Append(ctx.small[:0]))
	}
	return ctx.write(reply.Bare(protocol.ReplyProgress).Append(ctx.small[:0]))
}

// packetOverhead is the length of an empty packet, in bytes.
const packetOverhead = 5

// A headerChange is what the message result says of a change to a header.
type headerChange struct {
	how         byte
	index       int
	name, value string
}

func changeHeader[M reply.Message](d due, operation string, action option.Action, m M, h headerChange) error {
	ctx := d.ctx
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	err := changeLocked(d, operation, action, m)
	if err == nil || ctx.wfail != nil && err == ctx.wfail {
		ctx.theMail().changed(h.how, h.index, h.name, h.value)
	}
	return err
}

// change sends a change that is neither of the body nor of a header: it waits for
// the reply, or for the packet buffer to be full.
func change[M reply.Message](d due, operation string, action option.Action, m M) error {
	d.ctx.mu.Lock()
	defer d.ctx.mu.Unlock()
	return changeLocked(d, operation, action, m)
}

func changeLocked[M reply.Message](d due, operation string, action option.Action, m M) error {
	ctx := d.ctx
	out := &ctx.theMail().out
	to := &out.buf
	if out.replacing {
		to = &out.after
	}
	if *to == nil {
		*to = block.Get(block.Small)[:0]
	}
	start := len(*to)
	*to = m.Append(*to)
	fault := checkSize(len(*to) - start - packetOverhead)
	if fault != nil {
		fault = fmt.Errorf("%w: %s: %s", ErrInvalidArgument, operation, fault)
	} else {
		fault = d.checkChange(operation, action)
	}
	if fault != nil {
		*to = (*to)[:start]
		return fault
	}
	return ctx.flushAbove(ctx.packetBufferSize)
}

// flushAbove writes the changes that wait when they are more than size bytes.
// Those that come after the body wait until the body is complete.
func (ctx *ClientContext) flushAbove(size int) error {
	out := &ctx.mail.out
	if len(out.buf) <= size {
		return nil
	}
	out.open = out.replacing
	out.written = true
	return ctx.flush(out)
}

// checkChange reports why a change is not legal now.
func (d due) checkChange(operation string, action option.Action) error {
	ctx := d.ctx
	if err := d.open(operation); err != nil {
		return err
	}
	if ctx.owed != protocol.CommandEndOfMessage {
		return fmt.Errorf("%w: %s: <%v>", ErrInvalidState, operation, ctx.state)
	}
	if !ctx.option.Actions.Has(action) {
		return fmt.Errorf("%w: %s can only be done with <%v>: <%v>", ErrInvalidAction, operation, action, ctx.option.Actions)
	}
	return nil
}

// checkHeader returns value with LF line ends, or says what is wrong with a
// header field.
func checkHeader(name, value string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("header name should not be empty: value=%q", value)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' { // RFC 5322 section 2.2, ftext
			return "", fmt.Errorf("header name should not contain %q: %q", c, name)
		}
	}
	value = strings.ReplaceAll(value, "\r\n", "\n")
	if i := strings.IndexAny(value, "\x00\r"); i >= 0 {
		return "", fmt.Errorf("header value should not contain %q: %q", value[i], value)
	}
	for rest := value; ; {
		_, next, ok := strings.Cut(rest, "\n")
		if !ok {
			return value, nil
		}
		if next == "" || next[0] != ' ' && next[0] != '\t' {
			return "", fmt.Errorf("each line of a header value after the first should begin with a space or tab: %q", value)
		}
		rest = next
	}
}

// checkSize refuses a payload that is too long for a packet.
func checkSize(size int) error {
	if size > protocol.MaxChunk {
		return fmt.Errorf("%d bytes do not fit a packet of %d", size, protocol.MaxChunk)
	}
	return nil
}

func checkIndex(index int) error {
	if index < 0 || index > math.MaxInt32 {
		return fmt.Errorf("header index should be from 0 to %d: %d", math.MaxInt32, index)
	}
	return nil
}

func checkAddress(address, parameters string) error {
	if err := checkText("address", address); err != nil {
		return err
	}
	if parameters == "" {
		return nil
	}
	return checkText("parameters", parameters)
}

func checkText(what, text string) error {
	if text == "" {
		return fmt.Errorf("%s should not be empty", what)
	}
	if i := strings.IndexAny(text, "\r\n\x00"); i >= 0 {
		return fmt.Errorf("%s should not contain %q: %q", what, text[i], text)
	}
	return nil
}
