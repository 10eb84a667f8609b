package context

import (
	"errors"
	"fmt"
	"slices"

	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// ErrHeadersUnknown is returned by DeleteHeaders when the session does not know
// which header fields the MTA would count. Nothing was sent.
var ErrHeadersUnknown = errors.New("context: the header fields are not known")

// DeleteHeaders deletes all header fields called name, in any case, whose value
// satisfies match, and returns how many it has deleted. A nil match stands for
// all. It is for what a sender forged, such as an Authentication-Results of one's
// own host:
//
//	n, err := ctx.DeleteHeaders("Authentication-Results", func(value string) bool {
//		return strings.HasPrefix(strings.TrimSpace(value), host)
//	})
//
// It begins with the last one: a loop from the first to the last deletes the wrong
// ones, because Postfix counts anew after each deletion and Sendmail does not.
//
// It is right behind another milter, too: neither MTA shows nor counts a field that
// an earlier milter deleted.
//
// match gets each value as an OnHeader handler does, and is called without a lock,
// before anything is sent.
//
// The fields are those that came, so it takes an OnHeader or WatchHeader handler.
// The error is ErrHeadersUnknown if the headers were negotiated away, if they and
// the envelope are more than 1 MiB, and after a change of this milter to fields of
// that name: the MTAs do not agree how to count then. So call it once for each name,
// and add fields afterwards. Nor must ResetMessageRelatedData be called before it in
// the same mail. The other errors are those of DeleteHeader; n tells how far it came.
func (d due) DeleteHeaders(name string, match func(value string) bool) (n int, err error) {
	if _, err := checkHeader(name, ""); err != nil {
		return 0, fmt.Errorf("%w: delete headers: %s", ErrInvalidArgument, err)
	}
	values, d, err := d.headersCalled(name)
	if err != nil {
		return 0, err
	}
	var indices []int
	for i, value := range values {
		if match == nil || match(value) {
			indices = append(indices, i+1)
		}
	}
	for _, index := range slices.Backward(indices) {
		if err := d.DeleteHeader(name, index); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// headersDeleted are the names that DeleteHeaders was called with in a mail.
type headersDeleted struct{ names []string }

// headersCalled returns the values of the header fields called name, as the MTA
// counts them now, and a hold on the mail they belong to.
func (d due) headersCalled(name string) (values []string, hold due, err error) {
	deleted := PerMessage[headersDeleted](d.ctx)
	ctx := d.ctx
	ctx.mu.Lock()
	defer ctx.mu.Unlock()
	if err := d.checkChange("delete headers", option.ActionChangeHeaders); err != nil {
		return nil, d, err
	}
	called := func(h protocol.Header) bool { return h.Is(name) }
	if ctx.mail == nil || !ctx.mail.known() { // a state set by a test
		return nil, d, fmt.Errorf("%w: delete headers: outside a mail: %q", ErrHeadersUnknown, name)
	}
	result := ctx.mail.message()
	switch {
	case ctx.option.Steps.Has(option.StepNoHeaders):
		return nil, d, fmt.Errorf("%w: delete headers: %v was negotiated: %q", ErrHeadersUnknown, option.StepNoHeaders, name)
	case result.Incomplete:
		return nil, d, fmt.Errorf("%w: delete headers: the header is too large: %q", ErrHeadersUnknown, name)
	case slices.ContainsFunc(result.AddedHeaders, called), slices.ContainsFunc(result.RemovedHeaders, called),
		slices.ContainsFunc(deleted.names, func(other string) bool { return protocol.Header{Name: other}.Is(name) }):
		return nil, d, fmt.Errorf("%w: delete headers: this milter has changed them already: %q", ErrHeadersUnknown, name)
	}
	deleted.names = append(deleted.names, name)
	for _, h := range result.Headers {
		if called(h) {
			values = append(values, h.Value)
		}
	}
	return values, due{ctx, ctx.debt}, nil
}
