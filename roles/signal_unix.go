//go:build unix

package roles

import (
	"errors"
	"os"
	"syscall"
)

// summarySignal asks a logger for its summary.
func summarySignal() os.Signal { return syscall.SIGUSR1 }

// hangupSignal tells that the terminal is closed, or asks a service to reopen its files.
func hangupSignal() os.Signal { return syscall.SIGHUP }

// hasControllingTerminal reports whether the process belongs to a terminal, also where none of its files is one.
func hasControllingTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// readerGone reports whether a write failed because nobody reads the pipe any more.
func readerGone(err error) bool { return errors.Is(err, syscall.EPIPE) }
