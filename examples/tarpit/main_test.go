package main

import (
	stdcontext "context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

var mail = miltertest.Mail{
	From:       "<alice@example.org>",
	Recipients: []miltertest.Recipient{{Path: "<bob@example.com>"}},
	Headers:    []protocol.Header{{Name: "Subject", Value: " hello"}},
	Body:       []byte("Hello\r\n"),
}

// The time of a synctest bubble stands still while there is something to do.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mta := miltertest.Start(newClient(5 * time.Second))
		defer mta.Close()
		mta.Timeout = 3 * time.Second // what holds it off is progress
		result, err := mta.Deliver(mail)
		if err != nil {
			t.Fatal(err)
		}
		if result.Status != protocol.StatusAccept || result.Elapsed != 5*time.Second || result.Progress != 2 {
			t.Errorf("got %v after %v with %d times progress, want accept after 5s with 2", result, result.Elapsed, result.Progress)
		}
		if diff := miltertest.Diff(mail, result.Mail); diff.Changed() {
			t.Errorf("the mail was changed:\n%s", diff)
		}
	})
}

// An MTA that hangs up while its mail waits leaves nothing behind: the session
// ends at once, and synctest would complain about a goroutine that stays.
func TestHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(time.Hour)
		var state context.State
		c.OnConnectionEstablished(func(ctx *context.ClientContext) {
			ctx.OnAbort(func(_ *context.ClientContext, s context.State) protocol.Status {
				state = s
				return protocol.StatusContinue
			})
		})
		mta := miltertest.Start(c)
		defer mta.Close()
		start := time.Now()
		time.AfterFunc(10*time.Second, func() { mta.Cut() })
		if result, err := mta.Send(mail); err == nil {
			t.Errorf("got %v, want an error after the hang-up", result)
		}
		_ = mta.Close() // waits until the session has ended
		if elapsed := time.Since(start); elapsed != 10*time.Second || state != context.StateEndOfMessage {
			t.Errorf("aborted after %v in %v, want after 10s in end-of-message", elapsed, state)
		}
	})
}

// A shutdown lets the mail that waits end as it should.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(5 * time.Second)
		mta := miltertest.Start(c)
		defer mta.Close()
		down := make(chan error, 1)
		time.AfterFunc(time.Second, func() { down <- c.Shutdown(stdcontext.Background()) })
		result, err := mta.Send(mail)
		if err != nil || result.Status != protocol.StatusAccept {
			t.Errorf("got %v, %v; want accept", result, err)
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
}
