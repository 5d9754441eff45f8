//go:build unix

package wire

import (
	"errors"
	"syscall"
)

const canReadRaw = true

// takeRaw reads what has come, if anything has; if not it says so, and is called again when there is.
// The descriptor does not block: package net has made it so.
func (r *frameReader) takeRaw(fd uintptr) bool {
	var into []byte
	if r.lean {
		into = r.head[:]
	} else {
		r.borrow()
		into = r.buf[len(r.have):]
	}
	for {
		r.n, r.err = syscall.Read(int(fd), into)
		if !errors.Is(r.err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(r.err, syscall.EAGAIN) {
		r.release()
		return false
	}
	return true
}
