package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// WebSocket opcodes (RFC 6455 section 5.2).
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

func readFrame(r *bufio.Reader) (op byte, data []byte, err error) {
	head, err := r.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	size := headerSize(head[1])
	if head, err = r.Peek(size); err != nil {
		return 0, nil, err
	}
	op, n := head[0]&0xf, payloadSize(head)
	if n > 1<<20 {
		return 0, nil, fmt.Errorf("frame of %d bytes in a handshake", n)
	}
	_, _ = r.Discard(size)
	data = make([]byte, n)
	_, err = io.ReadFull(r, data)
	return op, data, err
}

// headerSize is the size of a server's frame header, by its second byte; it is not masked.
func headerSize(second byte) int {
	switch second & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// payloadSize reads a complete header.
func payloadSize(head []byte) int {
	switch n := head[1] & 0x7f; n {
	case 126:
		return int(binary.BigEndian.Uint16(head[2:]))
	case 127:
		return int(binary.BigEndian.Uint64(head[2:]) & (1<<62 - 1))
	default:
		return int(n)
	}
}

// appendFrame appends a client's frame. Its mask is all zeroes, which spares the masking and nothing
// of the server's work.
func appendFrame(dst []byte, op byte, data []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(data); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, data...)
}
