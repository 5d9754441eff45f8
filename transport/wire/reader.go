package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"tbmsock/transport"
)

// frameReader reads the frames of one peer (RFC 6455 section 5). It borrows a buffer while there are
// bytes in hand, large enough that one system call reads what a busy peer has sent, and gives it back
// before it waits: a connection on which nothing comes holds none.
type frameReader struct {
	conn   net.Conn
	raw    syscall.RawConn // nil: the connection has none, or the system waits in another way
	take   func(fd uintptr) bool
	masked bool  // the peer is a client
	packed bool  // messages may be compressed: RFC 7692 has been agreed to
	limit  int64 // of a message

	buf  *readBuffer
	have []byte // not yet read, part of buf or of head
	head [ws.MaxHeaderSize]byte
	n    int // of take
	err  error
	lean bool // the next read goes into head: a new goroutine that waits shall not need more stack for a buffer
}

// readSpace is what is read at once, in bytes.
const readSpace = 16 << 10

type readBuffer [readSpace]byte

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

// newFrameReader reads early, which came with the handshake, and then what conn gives.
func newFrameReader(conn net.Conn, early []byte, masked bool, limit int64) *frameReader {
	r := &frameReader{conn: conn, have: early, masked: masked, limit: limit}
	if sc, ok := conn.(syscall.Conn); ok && canReadRaw {
		if raw, err := sc.SyscallConn(); err == nil {
			r.raw, r.take = raw, r.takeRaw
		}
	}
	return r
}

// frameHeader is what stands before a payload.
type frameHeader struct {
	fin    bool
	packed bool // begins a compressed message
	op     ws.OpCode
	mask   [4]byte
	size   int64
}

var errLength = ws.ProtocolError("frame length with its highest bit set")

// fill waits until there is more in hand. io.EOF means that the peer has ended the stream.
func (r *frameReader) fill() error {
	if r.raw == nil {
		r.borrow()
		n, err := r.conn.Read(r.buf[len(r.have):])
		r.have = r.buf[:len(r.have)+n]
		if n > 0 {
			return nil // the error comes again
		}
		return err
	}
	if err := r.raw.Read(r.take); err != nil {
		return err
	}
	if r.err != nil {
		return r.err
	}
	if r.n == 0 {
		return io.EOF
	}
	if r.lean {
		r.lean = false
		r.have = r.head[:r.n]
		return nil
	}
	r.have = r.buf[:len(r.have)+r.n]
	return nil
}

// rest makes ready for a long wait; false if there is more in hand, or may well be.
func (r *frameReader) rest() bool {
	if r.raw == nil || len(r.have) > 0 || r.n == readSpace {
		return false
	}
	r.release()
	r.lean = true
	return true
}

// borrow makes have the beginning of buf.
func (r *frameReader) borrow() {
	if r.buf == nil {
		r.buf = readBuffers.Get().(*readBuffer)
	}
	if len(r.have) > 0 && &r.have[0] != &r.buf[0] {
		r.have = r.buf[:copy(r.buf[:], r.have)]
	}
}

// release gives the buffer back. What is in hand, less than a header, is kept.
func (r *frameReader) release() {
	if r.buf != nil {
		r.have = r.head[:copy(r.head[:], r.have)]
		readBuffers.Put(r.buf)
		r.buf = nil
	}
}

// next reads a frame's header, and checks what can be seen there.
func (r *frameReader) next() (h frameHeader, err error) {
	size := 2
	for {
		if len(r.have) >= 2 {
			size = 2
			switch r.have[1] & 0x7f {
			case 126:
				size += 2
			case 127:
				size += 8
			}
			if r.have[1]&0x80 != 0 {
				size += 4
			}
		}
		if len(r.have) >= size {
			break
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && len(r.have) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return h, err
		}
	}
	b := r.have[:size]
	r.have = r.have[size:]
	h.fin, h.packed, h.op = b[0]&0x80 != 0, b[0]&rsv1 != 0, ws.OpCode(b[0]&0xf)
	switch n := b[1] & 0x7f; n {
	case 126:
		h.size = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		n := binary.BigEndian.Uint64(b[2:])
		if n>>63 != 0 {
			return h, errLength
		}
		h.size = int64(n)
	default:
		h.size = int64(n)
	}
	masked := b[1]&0x80 != 0
	switch {
	case b[0]&(0x70&^rsv1) != 0, h.packed && !r.packed:
		return h, ws.ErrProtocolNonZeroRsv
	case h.packed && (h.op.IsControl() || h.op == ws.OpContinuation):
		return h, wsflate.ErrUnexpectedCompressionBit
	case h.op.IsReserved():
		return h, ws.ErrProtocolOpCodeReserved
	case h.op.IsControl() && h.size > ws.MaxControlFramePayloadSize:
		return h, ws.ErrProtocolControlPayloadOverflow
	case h.op.IsControl() && !h.fin:
		return h, ws.ErrProtocolControlNotFinal
	case masked && !r.masked:
		return h, ws.ErrProtocolMaskUnexpected
	case !masked && r.masked:
		return h, ws.ErrProtocolMaskRequired
	}
	if masked {
		copy(h.mask[:], b[size-4:])
	}
	return h, nil
}

// payload appends a frame's payload to dst, unmasked.
func (r *frameReader) payload(dst []byte, h frameHeader) ([]byte, error) {
	if h.size > r.limit-int64(len(dst)) && !h.op.IsControl() {
		return dst, &transport.DisconnectError{Reason: transport.ReasonPayloadTooLarge,
			Err: fmt.Errorf("message of more than %d bytes", r.limit)}
	}
	start := len(dst)
	if start == 0 && h.size <= eagerRead {
		dst = make([]byte, 0, h.size)
	}
	for left := h.size; left > 0; {
		if len(r.have) == 0 {
			if err := r.fill(); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return dst, err
			}
		}
		n := min(int64(len(r.have)), left)
		dst = append(dst, r.have[:n]...)
		r.have = r.have[n:]
		left -= n
	}
	if r.masked {
		ws.Cipher(dst[start:], h.mask, 0)
	}
	return dst, nil
}
