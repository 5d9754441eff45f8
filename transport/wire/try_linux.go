package wire

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"unsafe"
)

// maxVectors is how many buffers one writev takes (IOV_MAX).
const maxVectors = 1024

// tryWriter writes to a socket without waiting. It is for one goroutine.
type tryWriter struct {
	vectors []syscall.Iovec
	n       int
	errno   syscall.Errno
	call    func(fd uintptr) bool // writev, as a value made once
}

func (t *tryWriter) bind() { t.call = t.writev }

// canTry tells whether tryWrite works for the socket's connection.
func (s *Socket) canTry() bool { return s.reader.raw != nil }

// writev calls the kernel once. It never asks to be called again: waiting is another's task.
func (t *tryWriter) writev(fd uintptr) bool {
	for {
		n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&t.vectors[0])), uintptr(len(t.vectors)))
		if errno == syscall.EINTR {
			continue
		}
		t.n, t.errno = int(n), errno
		return true
	}
}

// write gives the kernel as much of bufs as it takes, and leaves the rest in it.
func (t *tryWriter) write(raw syscall.RawConn, bufs *net.Buffers) error {
	for len(*bufs) > 0 {
		t.vectors = t.vectors[:0]
		size := 0
		for _, b := range (*bufs)[:min(len(*bufs), maxVectors)] {
			v := syscall.Iovec{Base: unsafe.SliceData(b)}
			v.SetLen(len(b))
			t.vectors = append(t.vectors, v)
			size += len(b)
		}
		err := raw.Write(t.call)
		clear(t.vectors) // they point to frames
		if err != nil {
			return err
		}
		if t.errno != 0 {
			if errors.Is(t.errno, syscall.EAGAIN) {
				return nil
			}
			return fmt.Errorf("writev: %w", t.errno)
		}
		consume(bufs, t.n)
		if t.n < size {
			return nil
		}
	}
	return nil
}

// consume takes the first n bytes off.
func consume(bufs *net.Buffers, n int) {
	for len(*bufs) > 0 {
		if first := len((*bufs)[0]); n < first {
			(*bufs)[0] = (*bufs)[0][n:]
			return
		} else {
			n -= first
		}
		*bufs = (*bufs)[1:]
	}
}
