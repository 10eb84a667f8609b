package main

import (
	"bytes"
	stdcontext "context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/protocol"
)

func mailWith(body string) miltertest.Mail {
	return miltertest.Mail{
		From:       "<alice@example.org>",
		Recipients: []miltertest.Recipient{{Path: "<bob@example.com>"}},
		Headers:    []protocol.Header{{Name: "Subject", Value: " hello"}},
		Body:       []byte(body),
	}
}

func TestScan(t *testing.T) {
	const clean, virus, late = "continue", "reject [554]<5.7.1>(There is a virus in this mail)", "temporary-failure"
	tests := []struct {
		name     string
		takes    time.Duration
		body     string
		want     string
		header   string
		after    time.Duration
		progress int
	}{
		{"clean", time.Second, "Hello\r\n", clean, "clean", time.Second, 0},
		{"empty", time.Second, "", clean, "clean", time.Second, 0},
		{"virus", time.Second, "Look:\r\n" + eicar + "\r\n", virus, "", time.Second, 0},
		{"virus over two chunks", time.Second, strings.Repeat("x", protocol.MaxChunk-10) + eicar, virus, "", time.Second, 0},
		{"a long scan", 33 * time.Second, "Hello\r\n", clean, "clean", 33 * time.Second, 4},
		{"too long a scan", time.Hour, eicar, late, "", 2 * time.Minute, 17},
		{"too large", time.Second, strings.Repeat("x", limit) + eicar, clean, "skipped, the mail is too large", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // an hour passes in no time
				c := newClient(pretend(eicar, tt.takes))
				c.Logger = slog.New(slog.DiscardHandler)
				mta := miltertest.Start(c)
				defer mta.Close()
				before := mailWith(tt.body)
				result, err := mta.Deliver(before)
				if err != nil {
					t.Fatal(err)
				}
				if result.String() != tt.want || result.Elapsed != tt.after || result.Progress != tt.progress {
					t.Errorf("got %v after %v with %d times progress, want %v after %v with %d",
						result, result.Elapsed, result.Progress, tt.want, tt.after, tt.progress)
				}
				var want miltertest.Mail
				if tt.header != "" {
					want = before
					want.Headers = append(want.Headers, protocol.Header{Name: "X-Scan", Value: " " + tt.header})
				}
				if diff := cmp.Diff(want, result.Mail, cmp.Comparer(bytes.Equal)); diff != "" {
					t.Errorf("delivered (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestBrokenScanner(t *testing.T) {
	broken := func(stdcontext.Context, []byte) (bool, error) { return false, errors.New("no signatures") }
	c := newClient(broken)
	c.Logger = slog.New(slog.DiscardHandler)
	mta := miltertest.Start(c)
	defer mta.Close()
	result, err := mta.Deliver(mailWith("Hello\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "temporary-failure [451]<4.7.1>(The virus scanner is out of order, try again later)"; result.String() != want {
		t.Errorf("got %v, want %s", result, want)
	}
}

// A scan ends at once when its result is not wanted any more, and the answer that
// it gives all the same is not taken for the one to the next mail.
func TestNotWanted(t *testing.T) {
	tests := []struct {
		name string
		end  func(*miltertest.Session) error
		next bool // a mail may follow
	}{
		{"hang-up", (*miltertest.Session).Cut, false},
		{"abort", func(s *miltertest.Session) error {
			return s.SendRaw(protocol.Bare(protocol.CommandAbort).Append(nil))
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ends []time.Duration
				var errs []error
				start := time.Now()
				mta := miltertest.Start(newClient(func(ctx stdcontext.Context, body []byte) (bool, error) {
					found, err := pretend(eicar, 5*time.Second)(ctx, body)
					ends, errs = append(ends, time.Since(start)), append(errs, err)
					return found, err
				}))
				defer mta.Close()
				if _, err := mta.Negotiate(); err != nil {
					t.Fatal(err)
				}
				if _, err := mta.EnvelopeFrom("<alice@example.org>"); err != nil {
					t.Fatal(err)
				}
				if err := mta.SendRaw(protocol.EndOfMessage{}.Append(nil)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if err := tt.end(mta); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if len(ends) != 1 || ends[0] != 2*time.Second || errs[0] == nil {
					t.Fatalf("scans ended after %v with %v, want one after 2s with an error", ends, errs)
				}
				if !tt.next {
					return
				}
				result, err := mta.Deliver(mailWith("Hello\r\n"))
				if err != nil || result.Status != protocol.StatusContinue || result.Elapsed != 5*time.Second {
					t.Errorf("next mail: %v, %v after %v; want continue after its own scan of 5s", result, err, result.Elapsed)
				}
			})
		})
	}
}

// A scan that does not heed its context outlives the mail it was for. By the time
// it ends, the next mail is being scanned in the same session: neither its mark,
// its reply nor its answer may go to that one.
func TestOutlivedMail(t *testing.T) {
	type scanned struct {
		takes time.Duration
		found bool
		err   error
	}
	mark := []protocol.Header{{Name: "X-Scan", Value: " clean"}}
	tests := []struct {
		name     string
		outlived scanned
		next     scanned
		want     string
		header   []protocol.Header // besides that of the mail
		after    time.Duration
	}{
		{"marks, next clean", scanned{}, scanned{takes: 5 * time.Second}, "continue", mark, 5 * time.Second},
		{"rejects, next clean", scanned{found: true}, scanned{takes: 5 * time.Second}, "continue", mark, 5 * time.Second},
		// The answer of the reply timeout has no SMTP reply. One that was set for
		// another mail would go with it.
		{"rejects, next takes too long", scanned{found: true}, scanned{takes: time.Hour}, "reject", nil, 2 * time.Minute},
		{
			"refuses for now, next takes too long", scanned{err: errors.New("no signatures")}, scanned{takes: time.Hour},
			"temporary-failure", nil, 2 * time.Minute,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.outlived.takes = 3 * time.Second
				c := newClient(func(_ stdcontext.Context, body []byte) (bool, error) {
					s := tt.next
					if string(body) == "outlived" {
						s = tt.outlived
					}
					time.Sleep(s.takes)
					return s.found, s.err
				})
				if tt.want == "reject" {
					c.ReplyTimeoutStatus = protocol.StatusReject
				}
				c.Logger = slog.New(slog.DiscardHandler)
				mta := miltertest.Start(c)
				defer mta.Close()
				if _, err := mta.Negotiate(); err != nil {
					t.Fatal(err)
				}
				if _, err := mta.EnvelopeFrom("<alice@example.org>"); err != nil {
					t.Fatal(err)
				}
				if err := mta.SendRaw(protocol.EndOfMessage{Chunk: []byte("outlived")}.Append(nil)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if err := mta.Abort(); err != nil {
					t.Fatal(err)
				}
				before := mailWith("Hello\r\n")
				result, err := mta.Deliver(before)
				if err != nil {
					t.Fatal(err)
				}
				if result.String() != tt.want || result.Elapsed != tt.after {
					t.Errorf("next mail: %v after %v, want %s after %v", result, result.Elapsed, tt.want, tt.after)
				}
				var want miltertest.Mail
				if tt.header != nil {
					want = before
					want.Headers = append(want.Headers, tt.header...)
				}
				if diff := cmp.Diff(want, result.Mail, cmp.Comparer(bytes.Equal)); diff != "" {
					t.Errorf("next mail, delivered (-want +got):\n%s", diff)
				}
				time.Sleep(time.Hour) // until all scans have ended
			})
		})
	}
}
