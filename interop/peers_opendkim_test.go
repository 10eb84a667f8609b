//go:build interop

package interop_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/milter-go/milter/client/miltertest"
	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A dkim is a pair of opendkim, one that signs and one that verifies.
type dkim struct {
	dir              string
	signer, verifier *process
}

// The client of miltertest.Session.Send is one of those whose mail is signed.
const signConf = `Mode s
Domain example.org
Selector test
KeyFile %[1]s/key
RequireSafeKeys no
Canonicalization %[2]s
SignHeaders From,Subject,X-Two,X-Tight,X-Tab,X-Empty
InternalHosts 192.0.2.1,192.168.123.123
`

const verifyConf = `Mode v
TestPublicKeys %[1]s/public
AlwaysAddARHeader yes
AuthservID mta.example.net
`

// newKey writes a key, and its public half as a file that stands for the DNS.
func newKey(t *testing.T, dir string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(filepath.Join(dir, "key"), private, 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "public"),
		"test._domainkey.example.org v=DKIM1; k=rsa; p="+base64.StdEncoding.EncodeToString(public)+"\n")
}

func startDKIM(t *testing.T, dir, canonicalization string) *dkim {
	t.Helper()
	d := &dkim{dir: dir}
	start := func(name, conf string, args ...any) *process {
		path := filepath.Join(dir, name)
		_ = os.Remove(path)
		writeFile(t, path+".conf", "Syslog no\nBackground no\n"+fmt.Sprintf(conf, args...))
		return launch(t, "opendkim", "-f", "-x", path+".conf", "-p", "local:"+path)
	}
	d.signer = start("sign", signConf, dir, canonicalization)
	d.verifier = start("verify", verifyConf, dir)
	return d
}

func (d *dkim) signSpec() string   { return "unix:" + filepath.Join(d.dir, "sign") }
func (d *dkim) verifySpec() string { return "unix:" + filepath.Join(d.dir, "verify") }

// added plays a mail to a filter, which must only add a field at the top, called
// name: of the rest every byte must be the same. It returns the mail with the
// field.
func added(t *testing.T, s *miltertest.Session, mail miltertest.Mail, name string) miltertest.Mail {
	t.Helper()
	r, err := s.Deliver(mail)
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != protocol.StatusAccept || len(r.Mail.Headers) == 0 || r.Mail.Headers[0].Name != name {
		t.Fatalf("got %v and the header %.200q; want accept, and %s at the top", r, r.Mail.Headers, name)
	}
	rest := r.Mail
	rest.Headers = rest.Headers[1:]
	same(t, "the mail below "+name, letter(mail), letter(rest))
	return r.Mail
}

func (d *dkim) sign(t *testing.T, mail miltertest.Mail) miltertest.Mail {
	t.Helper()
	return added(t, d.signer.meet(d.signSpec()), mail, "DKIM-Signature")
}

// verify returns what opendkim says of the signature: pass, fail or none.
func (d *dkim) verify(t *testing.T, mail miltertest.Mail) string {
	t.Helper()
	got := added(t, d.verifier.meet(d.verifySpec()), mail, "Authentication-Results")
	m := regexp.MustCompile(`^ mta\.example\.net;\s+dkim=(\w+)`).FindStringSubmatch(got.Headers[0].Value)
	if m == nil {
		t.Fatalf("not a result: %q", got.Headers[0].Value)
	}
	return m[1]
}

// dkimMails are mails whose bytes are easily disturbed.
func dkimMails() map[string]miltertest.Mail {
	body := func(text string) miltertest.Mail {
		m := sampleMail()
		m.Body = []byte(text)
		return m
	}
	long := sampleMail()
	long.Headers[1].Value = strings.Repeat(" word", 300) + strings.Repeat("\n  folded \twith blanks ", 100)
	return map[string]miltertest.Mail{
		"sample":                      sampleMail(),
		"empty body":                  body(""),
		"one empty line":              body("\r\n"),
		"empty lines at the end":      body("text\r\n\r\n\r\n\r\n"),
		"blanks in the lines":         body(" two  blanks \r\n\ttab\t\t\r\n \r\n"),
		"dots":                        body(".\r\n..\r\n...\r\n"),
		"every byte but NUL, CR, LF":  body(everyByte() + "\r\n"),
		"more than a chunk":           body(strings.Repeat("0123456789abcd\r\n", 10_000)),
		"CRLF on the edge of a chunk": body(strings.Repeat("x", 65534) + "\r\nnext\r\n"),
		"long folded header":          long,
	}
}

func everyByte() string {
	var b strings.Builder
	for c := 1; c < 256; c++ {
		if c != '\r' && c != '\n' {
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}

// TestOpenDKIM lets opendkim sign and verify: a signature holds only if not one
// byte of the mail is lost on the way to the milter and back.
func TestOpenDKIM(t *testing.T) {
	skip := missing("INTEROP_SKIP_OPENDKIM", "opendkim")
	var release string
	if skip == "" {
		release = strings.TrimPrefix(version("opendkim", "-V"), "opendkim: OpenDKIM Filter v")
	}
	j := newJudge(t, "opendkim", release, skip)
	dir := shortDir(t)
	newKey(t, dir)
	for _, canonicalization := range []string{"simple/simple", "relaxed/relaxed"} {
		t.Run(canonicalization, func(t *testing.T) {
			d := startDKIM(t, dir, canonicalization)
			for name, mail := range dkimMails() {
				j.run(t, name, func(t *testing.T) {
					signed := d.sign(t, mail)
					if got := d.verify(t, signed); got != "pass" {
						t.Errorf("the signature: %s, want pass", got)
					}
					// As text and back, as a queue file would be.
					again, err := miltertest.ParseMail(strings.NewReader(signed.String()))
					if err != nil {
						t.Fatal(err)
					}
					again.From, again.Recipients = signed.From, signed.Recipients
					if got := d.verify(t, again); got != "pass" {
						t.Errorf("the signature, after the mail was written and read: %s, want pass", got)
					}
				})
			}
			j.run(t, "one byte changed", func(t *testing.T) {
				// Or else a pass would mean nothing.
				signed := d.sign(t, sampleMail())
				body, header := signed, signed
				body.Body = bytes.Replace(body.Body, []byte("Hello"), []byte("hello"), 1)
				header.Headers = append([]protocol.Header(nil), signed.Headers...)
				header.Headers[2].Value += "!"
				if a, b := d.verify(t, body), d.verify(t, header); a != "fail" || b != "fail" {
					t.Errorf("after a change of the body: %s, of the header: %s; want fail, fail", a, b)
				}
				if got := d.verify(t, sampleMail()); got != "none" {
					t.Errorf("without a signature: %s, want none", got)
				}
			})
			j.run(t, "changed by our milter, then signed", func(t *testing.T) { dkimAfterOurs(t, d) })
		})
	}
	t.Run("commands", func(t *testing.T) {
		d, server := startDKIM(t, dir, "simple/simple"), build(t, "milter-test-server")
		j.run(t, "signed by one milter-test-server, verified by another", func(t *testing.T) {
			mail := sampleMail()
			mail.Body = []byte("text that can be printed\r\n") // the others can't
			d.signer.meet(d.signSpec()).Close()
			d.verifier.meet(d.verifySpec()).Close()
			_, printed, _ := strings.Cut(printedOutcome(t, playServer(t, server, d.signSpec(), mail)), "RCPT TO:<carol@example.net>\n")
			signed, err := miltertest.ParseMail(strings.NewReader(printed))
			if err != nil {
				t.Fatal(err)
			}
			signed.From, signed.Recipients = mail.From, mail.Recipients
			got := playServer(t, server, d.verifySpec(), signed)
			if !strings.Contains(got, "\n+ Authentication-Results: mta.example.net;\n+ \tdkim=pass ") {
				t.Errorf("no pass in the output:\n%s", got)
			}
		})
	})
	t.Run("without leading spaces", func(t *testing.T) {
		d := startDKIM(t, dir, "simple/simple")
		j.run(t, "usual header", func(t *testing.T) {
			s := d.signer.meet(d.signSpec())
			s.Offer.Steps &^= option.StepHeaderValueWithLeadingSpace
			mail := sampleMail()
			mail.Headers = mail.Headers[:3] // all of them with one blank
			if got := d.verify(t, added(t, s, mail, "DKIM-Signature")); got != "pass" {
				t.Errorf("the signature: %s, want pass", got)
			}
		})
		j.run(t, "header without blanks", func(t *testing.T) {
			// What stands behind the colon is lost without the step, and a simple
			// signature with it: that is why opendkim asks for the step.
			s := d.signer.meet(d.signSpec())
			s.Offer.Steps &^= option.StepHeaderValueWithLeadingSpace
			if got := d.verify(t, added(t, s, sampleMail(), "DKIM-Signature")); got != "fail" {
				t.Errorf("the signature: %s, want fail", got)
			}
		})
	})
}

// dkimAfterOurs lets a milter of ours change all it can, then signs the result.
func dkimAfterOurs(t *testing.T, d *dkim) {
	s := miltertest.Serve(func(ctx *context.ClientContext) {
		ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
			for _, err := range []error{
				ctx.ReplaceBody([]byte("new text\n\n" + strings.Repeat("and more of it \t\r\n", 10_000))),
				ctx.ChangeHeader("Subject", 1, "changed\n\t and folded  "),
				ctx.ChangeHeader("X-Two", 2, ""),
				ctx.DeleteHeader("X-Empty", 1),
				ctx.InsertHeader(0, "X-Top", "top"),
				ctx.AddHeader("X-Two", "  third"),
				ctx.AddHeader("X-Tab", "last\x7f\xff"),
			} {
				if err != nil {
					t.Error(err)
				}
			}
			return protocol.StatusAccept
		})
	})
	defer s.Close()
	r, err := s.Deliver(sampleMail())
	if err != nil {
		t.Fatal(err)
	}
	want := "MAIL FROM:<alice@example.org> SIZE=1000 BODY=8BITMIME\n" + sampleRecipients + "\n" +
		"X-Top: top\nFrom: Alice <alice@example.org>\nSubject: changed\n\t and folded  \nX-Two: first\n" +
		"X-Tight:no blank\nX-Tab:\ttab\nX-Two:   third\nX-Tab: last\x7f\xff\n\n" +
		"new text\n\n" + strings.Repeat("and more of it \t\n", 10_000)
	same(t, "what our milter made of it", want, letter(r.Mail))
	if got := d.verify(t, d.sign(t, r.Mail)); got != "pass" {
		t.Errorf("the signature: %s, want pass", got)
	}
}
