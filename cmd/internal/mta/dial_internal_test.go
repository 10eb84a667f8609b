package mta

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
)

func TestCanPass(t *testing.T) {
	tests := []struct {
		name    string
		network string
		reached bool
		err     error
		want    bool
	}{
		{"full backlog on Linux", "unix", false, syscall.EAGAIN, true},
		{"full backlog on BSD", "unix", true, syscall.ECONNREFUSED, true},
		{"dead socket", "unix", false, syscall.ECONNREFUSED, false},
		{"closed port", "tcp4", true, syscall.ECONNREFUSED, false},
		{"out of local ports", "tcp4", true, syscall.EADDRNOTAVAIL, true},
		{"not a local address", "tcp4", false, syscall.EADDRNOTAVAIL, false},
		{"no permission", "unix", true, syscall.EACCES, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &Dialer{Target: Target{Spec: client.Spec{Network: tt.network}}}
			d.reached.Store(tt.reached)
			if got := d.canPass(dialError(tt.err)); got != tt.want {
				t.Errorf("canPass = %v, want %v", got, tt.want)
			}
		})
	}
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE} {
		for _, wait := range []bool{false, true} {
			d := &Dialer{WaitForFiles: wait}
			if got := d.canPass(dialError(err)); got != wait {
				t.Errorf("canPass(%v) = %v with WaitForFiles %v", err, got, wait)
			}
		}
	}
}

// One connection that was made says that the milter is there.
func TestReached(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := &Dialer{Target: Target{Spec: client.Spec{Network: "tcp4", Address: l.Addr().String()}}}
	conn, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if !d.reached.Load() {
		t.Error("not noted")
	}
}

func dialError(err error) error {
	return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)}
}

// What a session that cannot connect fails with does not tell it from others.
func TestFailure(t *testing.T) {
	d := &Dialer{Target: Target{Text: "inet:1@host"}, Timeout: 3 * time.Second}
	tests := []struct {
		name string
		err  error
		is   error
		want string
	}{
		{"of the system", dialError(syscall.EACCES), syscall.EACCES, "failed to connect to inet:1@host: permission denied"},
		{"timeout", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, os.ErrDeadlineExceeded,
			"failed to connect to inet:1@host: no answer within 3s: i/o timeout"},
		{"name", &net.DNSError{Err: "no such host", Name: "host"}, nil, "failed to connect to inet:1@host: lookup host: no such host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := d.failure(tt.err)
			if got.Error() != tt.want || tt.is != nil && !errors.Is(got, tt.is) {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
}
