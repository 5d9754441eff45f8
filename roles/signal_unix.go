//go:build unix

package roles

import (
	"os"
	"syscall"
)

// summarySignal asks a logger for its summary.
func summarySignal() os.Signal { return syscall.SIGUSR1 }
