package context

import (
	"fmt"
	"math"
)

// A due is what can be done about the answer to an event while it is due: set the
// SMTP reply, change the mail, tell progress, answer later. A [ClientContext] does
// it for the event that waits now, whichever that is; a [Late] for one event only.
// Both embed it, so that these methods are written once.
type due struct {
	ctx  *ClientContext
	debt uint64 // the one debt that counts; 0 for any
}

// overDebt is a debt that is never open.
const overDebt = math.MaxUint64

// open says why nothing can be done for the event of d.
func (d due) open(operation string) error {
	ctx := d.ctx
	switch {
	case ctx.cause != nil:
		return fmt.Errorf("%w: %s", ErrFinished, operation)
	case d.debt != 0 && (ctx.debt != d.debt || ctx.owed == 0):
		return fmt.Errorf("%w: %s in state %v", ErrNoReplyDue, operation, ctx.state)
	}
	return nil
}
