package context_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/milter-go/milter/protocol"
)

// A vectorWire is a piece of a recorded stream. In JSON it is hexadecimal, or
// rle, or the beginning of a long packet and its size ("0001...65540"). The
// recorder dropped the rest of that, a piece of a body; its last byte stands in
// for it.
type vectorWire []byte

func (w *vectorWire) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		text, size, cut := strings.Cut(text, "...")
		b, err := hex.DecodeString(text)
		if n, sizeErr := strconv.Atoi(size); err == nil && cut {
			b, err = append(b, bytes.Repeat(b[len(b)-1:], n-len(b))...), sizeErr
		}
		*w = b
		return err
	}
	var packed struct {
		RLE   [][2]json.RawMessage
		Total int `json:"total_len"`
	}
	if err := json.Unmarshal(data, &packed); err != nil {
		return err
	}
	for _, pair := range packed.RLE {
		var piece vectorWire
		var count int
		if err := json.Unmarshal(pair[0], &piece); err != nil {
			return err
		}
		if err := json.Unmarshal(pair[1], &count); err != nil {
			return err
		}
		*w = append(*w, bytes.Repeat(piece, count)...)
	}
	if len(*w) != packed.Total {
		return fmt.Errorf("rle makes %d bytes, want %d", len(*w), packed.Total)
	}
	return nil
}

// packets splits w into its packets; an incomplete one is the last.
func (w vectorWire) packets() []vectorWire {
	var packets []vectorWire
	var b protocol.Buffer
	_, _ = b.Write(w)
	for {
		n := b.Len()
		_, ok, err := b.Next()
		if !ok || err != nil {
			break
		}
		n -= b.Len()
		packets, w = append(packets, w[:n]), w[n:]
	}
	if len(w) > 0 {
		packets = append(packets, w)
	}
	return packets
}

// describe returns w in hexadecimal, with runs of a byte as "61*9", and the name
// of its packet.
func (w vectorWire) describe(name func(letter byte) string) string {
	var b strings.Builder
	for i := 0; i < len(w); {
		run := 1
		for i+run < len(w) && w[i+run] == w[i] {
			run++
		}
		if run <= 8 {
			run = 1
			fmt.Fprintf(&b, "%02x", w[i])
		} else {
			fmt.Fprintf(&b, " %02x*%d ", w[i], run)
		}
		i += run
	}
	if len(w) >= 5 && len(w.packets()) == 1 {
		b.WriteString(" " + name(w[4]))
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func vectorCommand(letter byte) string { return protocol.Command(letter).String() }

func vectorReply(letter byte) string { return protocol.Reply(letter).String() }
