package context

import (
	"slices"
	"time"

	"github.com/milter-go/milter/protocol"
)

// A MessageResult is what a session knows of one mail transaction: what came of
// the mail and what became of it. Events that were negotiated away leave their
// fields empty.
type MessageResult struct {
	From           string // the envelope sender, as sent
	FromParameters protocol.Parameters

	// Recipients are the envelope recipients that this milter did not refuse.
	Recipients                []string
	TemporaryFailedRecipients []string
	RejectedRecipients        []string
	Headers                   []protocol.Header // as received
	AddedHeaders              []protocol.Header // also the new values of changed ones
	RemovedHeaders            []protocol.Header // also the old values of changed ones
	BodySize                  int64             // bytes of the body that came
	State                     State             // the event that was answered, or where the session was when the mail was aborted
	Status                    protocol.Status   // the answer; StatusAbort for an aborted mail
	// Incomplete says that the mail had more than 1 MiB of envelope and header
	// fields: those above it are not in here.
	Incomplete       bool
	Quarantine       bool
	QuarantineReason string
	Start, End       time.Time // of the transaction
}

// ElapsedTime returns how long the mail transaction took, or has taken so far.
func (r *MessageResult) ElapsedTime() time.Duration {
	if r.End.IsZero() {
		return time.Since(r.Start)
	}
	return r.End.Sub(r.Start)
}

func (r *MessageResult) end(state State, status protocol.Status, quarantineReason string) {
	r.End = time.Now()
	r.State = state
	r.Status = status
	r.Quarantine = quarantineReason != ""
	r.QuarantineReason = quarantineReason
}

// addRecipient files a recipient by the answer it got.
func (r *MessageResult) addRecipient(recipient string, status protocol.Status) {
	list := &r.Recipients
	switch status {
	case protocol.StatusReject:
		list = &r.RejectedRecipients
	case protocol.StatusTemporaryFailure:
		list = &r.TemporaryFailedRecipients
	}
	*list = append(*list, recipient)
}

// header returns the index-th header called name as it came; without a value if
// it did not.
func (r *MessageResult) header(name string, index int) protocol.Header {
	n := max(index, 1)
	for _, h := range r.Headers {
		if h.Is(name) {
			if n--; n == 0 {
				return h
			}
		}
	}
	return protocol.Header{Name: name}
}

// changed records a change to a header.
func (r *MessageResult) changed(how byte, index int, name, value string) {
	if how == headerChanged {
		r.RemovedHeaders = append(r.RemovedHeaders, r.header(name, index))
		if value == "" {
			return
		}
	}
	r.AddedHeaders = append(r.AddedHeaders, protocol.Header{Name: name, Value: value})
}

func (r *MessageResult) clone() *MessageResult {
	if r == nil {
		return nil
	}
	c := *r
	c.FromParameters = slices.Clone(r.FromParameters)
	c.Recipients = slices.Clone(r.Recipients)
	c.TemporaryFailedRecipients = slices.Clone(r.TemporaryFailedRecipients)
	c.RejectedRecipients = slices.Clone(r.RejectedRecipients)
	c.Headers = slices.Clone(r.Headers)
	c.AddedHeaders = slices.Clone(r.AddedHeaders)
	c.RemovedHeaders = slices.Clone(r.RemovedHeaders)
	return &c
}
