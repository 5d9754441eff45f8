//go:build unix

package dirlock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Lock makes the directory this process's own until the file is closed. If another process has it, the error wraps
// inUse and names that process.
func Lock(dir string, inUse error) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		return nil, fmt.Errorf("%w (process %s)", inUse, strings.TrimSpace(string(pid)))
	}
	return f, nil
}

// Sign writes the process's number into the lock. It is for people only: what counts is the lock, which ends with
// the process.
func Sign(f *os.File) error {
	if f.Truncate(0) != nil {
		return nil // the old number stays
	}
	_, err := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return err
}
