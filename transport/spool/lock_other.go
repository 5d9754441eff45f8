//go:build !unix

package spool

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir makes the directory this process's own until the file is closed: such systems do not remove an open
// file.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}
