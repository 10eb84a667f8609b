package context_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/protocol"
)

func TestChangeArguments(t *testing.T) {
	type cc = *context.ClientContext
	tests := []struct {
		name string
		call func(cc) error
		want string // a part of the error; "" for none
	}{
		{"name with colon", func(c cc) error { return c.AddHeader("X:Y", "v") }, `"X:Y"`},
		{"name with blank", func(c cc) error { return c.AddHeader("X Y", "v") }, `"X Y"`},
		{"name with tab", func(c cc) error { return c.InsertHeader(0, "X\tY", "v") }, `"X\tY"`},
		{"name with DEL", func(c cc) error { return c.AddHeader("X\x7f", "v") }, `"X\x7f"`},
		{"name with 8 bits", func(c cc) error { return c.ChangeHeader("Größe", 1, "v") }, `"Größe"`},
		{"name with LF", func(c cc) error { return c.DeleteHeader("X\nBcc", 1) }, `"X\nBcc"`},
		{"no name", func(c cc) error { return c.AddHeader("", "vvv") }, `"vvv"`},
		{"odd name", func(c cc) error { return c.AddHeader("!#$%&'*+-.^_`|~", "v") }, ""},
		{"value with NUL", func(c cc) error { return c.AddHeader("X", "a\x00b") }, `"a\x00b"`},
		{"value with CR", func(c cc) error { return c.AddHeader("X", "a\rb") }, `"a\rb"`},
		{"value with CR CR LF", func(c cc) error { return c.AddHeader("X", "a\r\r\n b") }, `"a\r\n b"`},
		{"value with CR at the end", func(c cc) error { return c.AddHeader("X", "a\r") }, `"a\r"`},
		{"injection", func(c cc) error { return c.AddHeader("X", "a\r\nBcc: evil@example.com\r\n\r\nbody") }, `"a\nBcc: evil@example.com`},
		{"injection by LF", func(c cc) error { return c.ChangeHeader("X", 1, "a\nBcc: x") }, `"a\nBcc: x"`},
		{"LF at the end", func(c cc) error { return c.AddHeader("X", "a\n") }, `"a\n"`},
		{"empty line", func(c cc) error { return c.AddHeader("X", "a\n\n b") }, `"a\n\n b"`},
		{"folded", func(c cc) error { return c.AddHeader("X", "a\n b\n\tc\r\n d") }, ""},
		{"8 bits", func(c cc) error { return c.AddHeader("X", "größe") }, ""},
		{"empty value", func(c cc) error { return c.AddHeader("X", "") }, ""},
		{"index -1", func(c cc) error { return c.InsertHeader(-1, "X", "v") }, "-1"},
		{"index 2^31", func(c cc) error { return c.ChangeHeader("X", beyondInt32(), "v") }, "2147483648"},
		{"index 2^31-1", func(c cc) error { return c.ChangeHeader("X", 1<<31-1, "v") }, ""},
		{"empty from", func(c cc) error { return c.ChangeFrom("", "X=Y") }, "empty"},
		{"from with CR", func(c cc) error { return c.ChangeFrom("<a\r>", "") }, `"<a\r>"`},
		{"from parameters with LF", func(c cc) error { return c.ChangeFrom("<a>", "X\nY") }, `"X\nY"`},
		{"empty recipient", func(c cc) error { return c.AddRecipient("", "") }, "empty"},
		{"recipient with NUL", func(c cc) error { return c.AddRecipient("<a>\x00", "") }, `"<a>\x00"`},
		{"deleted recipient with LF", func(c cc) error { return c.DeleteRecipient("<a>\n") }, `"<a>\n"`},
		{"empty reason", func(c cc) error { return c.Quarantine("") }, "empty"},
		{"reason with LF", func(c cc) error { return c.Quarantine("a\nb") }, `"a\nb"`},
		{"header of 65535 bytes", func(c cc) error { return c.AddHeader("X", strings.Repeat("v", 65535-3)) }, ""},
		{"header of 65536 bytes", func(c cc) error { return c.AddHeader("X", strings.Repeat("v", 65535-2)) }, "65536"},
		{"changed header of 65536 bytes", func(c cc) error { return c.ChangeHeader("X", 1, strings.Repeat("v", 65535-6)) }, "65536"},
		{"recipient of 65536 bytes", func(c cc) error { return c.AddRecipient(strings.Repeat("a", 65535), "") }, "65536"},
		{"reason of 65535 bytes", func(c cc) error { return c.Quarantine(strings.Repeat("a", 65534)) }, ""},
		{"reason of 65536 bytes", func(c cc) error { return c.Quarantine(strings.Repeat("a", 65535)) }, "65536"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, w := atEndOfMessage(t, context.Config{PacketBufferSize: 1 << 20})
			err := test.call(ctx)
			_ = ctx.EndOfMessageResponse(protocol.StatusContinue)
			packets := len(showAll(t, w.Bytes()))
			if test.want == "" {
				if err != nil || packets != 2 {
					t.Errorf("error %v, %d packets, want the change and the reply", err, packets)
				}
				return
			}
			if !errors.Is(err, context.ErrInvalidArgument) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want ErrInvalidArgument with %q in it", err, test.want)
			}
			if packets != 1 {
				t.Errorf("%d packets, want only the reply", packets)
			}
		})
	}
	// An argument that is too long is a fault of the argument in any state.
	f := feed(t, forever())
	mustBe(t, "too long, before the negotiation", f.ctx.AddHeader("X", strings.Repeat("v", 65535)), "ErrInvalidArgument")
}

func TestHeaderValueOnTheWire(t *testing.T) {
	ctx, w := atEndOfMessage(t, forever())
	_ = ctx.AddHeader("X", "a\r\n b\r\n\tc\n d")
	_ = ctx.EndOfMessageResponse(protocol.StatusContinue)
	if diff := cmp.Diff([]string{`h"X\x00a\n b\n\tc\n d\x00"`, "c"}, showAll(t, w.Bytes())); diff != "" {
		t.Errorf("CRLF counts as LF (-want +got):\n%s", diff)
	}
}

// beyondInt32 returns 2^31, which is negative where an int has 32 bits.
func beyondInt32() int {
	one := int64(1)
	return int(one << 31)
}
