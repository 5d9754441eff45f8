//go:build !unix

package roles

import (
	"errors"
	"os"
	"syscall"
)

// summarySignal is nil where there is no such signal.
func summarySignal() os.Signal { return nil }

// hangupSignal is nil where there is no such signal.
func hangupSignal() os.Signal { return nil }

func hasControllingTerminal() bool { return false }

// readerGone reports whether a write failed because nobody reads the pipe any more.
func readerGone(err error) bool {
	const brokenPipe, noData = syscall.Errno(109), syscall.Errno(232) // of Windows
	return errors.Is(err, brokenPipe) || errors.Is(err, noData)
}
