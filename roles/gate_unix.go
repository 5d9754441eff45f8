//go:build unix

package roles

import (
	"math"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// exhaustion are the errors of a process, and of a system, without free descriptors.
var exhaustion = []error{unix.EMFILE, unix.ENFILE}

// descriptorLimit is how many descriptors the process may have; 0: as many as it likes. Go raises the soft limit to
// the hard one when it starts.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || uint64(limit.Cur) > math.MaxInt32 {
		return 0
	}
	return int(limit.Cur)
}

// descriptorOf is the connection's descriptor; 0 if that is not known.
func descriptorOf(c net.Conn) int {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) { n = int(fd) })
	return n
}
