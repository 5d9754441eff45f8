package bench

import (
	"fmt"
	"strconv"
	"time"
)

// template makes messages of one size that differ in their sequence number.
type template struct {
	event string
	head  string // of the argument, up to the number
	tail  string // after the number; then the filler, and the end
	size  int
}

func newTemplate(event, boot, room string, size int) *template {
	return &template{
		event: strconv.Quote(event),
		head:  fmt.Sprintf(`{"source":"bench","boot":%q,"seq":`, boot),
		tail:  fmt.Sprintf(`,"time":%q,"room":%q,"packet":{`, time.Now().UTC().Format(time.RFC3339Nano), room),
		size:  size,
	}
}

// append appends the message as a client's frame. It has numbers in it like a packet of telemetry,
// since some servers read and write it anew. With an id it asks for an acknowledgement.
func (t *template) append(dst, scratch []byte, seq uint64, ack bool) (frame, space []byte) {
	b := append(scratch[:0], "42"...) //nolint:gocritic // the caller gets it back
	if ack {
		b = strconv.AppendUint(b, seq, 10)
	}
	b = append(append(append(b, '['), t.event...), ',')
	start := len(b)
	b = append(b, t.head...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, t.tail...)
	const field, end = len(`"c00":1234.56,`), len(`"pad":""}}`)
	for i := 0; len(b)-start+field+end <= t.size; i++ {
		b = append(b, `"c00":1234.56,`...)
		n := len(b)
		b[n-field+2] += byte(i / 10 % 10)
		b[n-field+3] += byte(i % 10)
	}
	b = append(b, `"pad":"`...)
	for len(b)-start+len(`"}}`) < t.size {
		b = append(b, 'x')
	}
	b = append(b, `"}}]`...)
	return appendFrame(dst, opText, b), b
}
