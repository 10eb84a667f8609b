package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/milter-go/milter/client"
	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

// TestTLS: a listener of another kind works, only without what plain sockets have.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	newBody := strings.Repeat("new\r\n", 50_000)
	c := client.New()
	c.OnConnectionEstablished(func(ctx *context.ClientContext) {
		ctx.OnHeader(func(*context.ClientContext, string, string) protocol.Status { return protocol.StatusContinue })
		ctx.OnBody(func(*context.ClientContext, []byte) protocol.Status { return protocol.StatusContinue })
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			return ctx.Check(ctx.AddHeader("X-Seen", "yes"), ctx.ReplaceBody([]byte(newBody)))
		})
	})
	c.SetListener(l)
	wait := run(t, c)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	conn, err := tls.Dial("tcp4", l.Addr().String(), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	mta := miltertest.New(conn)
	mail := miltertest.Mail{
		From: "<a@example.com>", Recipients: []miltertest.Recipient{{Path: "<b@example.com>"}},
		Headers: []protocol.Header{{Name: "Subject", Value: "hello"}}, Body: []byte(strings.Repeat("old\r\n", 50_000)),
	}
	for range 2 {
		result, err := mta.Send(mail)
		if err != nil || !result.IsDelivered() {
			t.Fatalf("result %v, %v", result, err)
		}
		if got := string(result.Mail.Body); got != newBody {
			t.Errorf("a body of %d bytes, want the new one of %d", len(got), len(newBody))
		}
		if got := result.Mail.HeaderValues("X-Seen"); len(got) != 1 || got[0] != "yes" {
			t.Errorf("X-Seen %q, want yes", got)
		}
	}
	mta.Close()
	c.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
}
