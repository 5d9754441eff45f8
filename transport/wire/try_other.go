//go:build !linux

package wire

import (
	"net"
	"syscall"
)

// tryWriter is for Linux only: elsewhere each socket is written to by a goroutine of its own.
type tryWriter struct{}

func (t *tryWriter) bind() {}

func (s *Socket) canTry() bool { return false }

func (t *tryWriter) write(syscall.RawConn, *net.Buffers) error { return nil }
