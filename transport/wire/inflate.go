package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"

	"tbmsock/transport"
)

// inflateTail ends a message's stream: the flush that was left out on the wire, and a last block, so
// that a reader comes to an end (RFC 7692 section 7.2.2).
const inflateTail = syncTail + "\x01\x00\x00\xff\xff"

var errDeflate = errors.New("compressed message is corrupt")

// inflater decompresses messages one by one. It takes about 40 KB and the space of a message; it is
// kept between uses, so that a connection on which nothing comes holds none.
type inflater struct {
	flate io.ReadCloser
	in    bytes.Reader
	src   []byte // a message and its tail
	out   []byte
}

var inflaters = sync.Pool{New: func() any {
	i := new(inflater)
	i.flate = flate.NewReader(&i.in)
	return i
}}

func (i *inflater) release() {
	if cap(i.src) > keptSpace {
		i.src = nil
	}
	if cap(i.out) > keptSpace {
		i.out = nil
	}
	i.in.Reset(nil)
	inflaters.Put(i)
}

// inflate returns what was compressed. It takes no more than limit bytes, however many the message
// would become: then the error names [transport.ReasonPayloadTooLarge]. One of a message that is
// none is errDeflate.
func inflate(message []byte, limit int64) ([]byte, error) {
	i := inflaters.Get().(*inflater)
	defer i.release()
	i.src = append(append(i.src[:0], message...), inflateTail...)
	i.in.Reset(i.src)
	if err := i.flate.(flate.Resetter).Reset(&i.in, nil); err != nil {
		return nil, fmt.Errorf("%w: %w", errDeflate, err)
	}
	i.out = i.out[:0]
	for {
		if len(i.out) == cap(i.out) {
			size := min(int64(max(2*cap(i.out), 4096)), limit+1)
			i.out = append(make([]byte, 0, size), i.out...)
		}
		n, err := i.flate.Read(i.out[len(i.out):cap(i.out)])
		i.out = i.out[:len(i.out)+n]
		if int64(len(i.out)) > limit {
			return nil, &transport.DisconnectError{Reason: transport.ReasonPayloadTooLarge,
				Err: fmt.Errorf("message of %d bytes that becomes more than %d", len(message), limit)}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errDeflate, err)
		}
	}
	// A sender may end its stream with a last block of its own, and the byte that begins the flush
	// behind it (section 7.2.3.4). The stream ends there, and nothing may follow.
	switch left := i.in.Len(); {
	case left == 0, left == len(inflateTail), left == len(inflateTail)+1 && message[len(message)-1] == 0:
	default:
		return nil, fmt.Errorf("%w: %d bytes behind its last block", errDeflate, left)
	}
	return bytes.Clone(i.out), nil
}

// unpack decompresses a message that has come. If it cannot be read the peer is told so, since the
// reason alone would tell it of a broken protocol in general.
func (s *Socket) unpack(message []byte) ([]byte, error) {
	data, err := inflate(message, s.reader.limit)
	if errors.Is(err, errDeflate) {
		s.closeFrame(ws.StatusInvalidFramePayloadData, errDeflate.Error())
		return nil, &transport.DisconnectError{Reason: transport.ReasonParseError, Err: err}
	}
	return data, err
}
