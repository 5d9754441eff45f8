//go:build !unix

package dirlock

import (
	"fmt"
	"os"
	"path/filepath"
)

// Lock makes the directory this process's own until the file is closed: such systems do not remove an open file. If
// another process has it, the error wraps inUse.
func Lock(dir string, inUse error) (*os.File, error) {
	name := filepath.Join(dir, fileName)
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("%w: %w", inUse, err)
	}
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// Sign does nothing: nobody could read the number while the file is open.
func Sign(*os.File) error { return nil }
