//go:build !unix

package journal

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// lockDir makes the directory this process's own until the file is closed: such systems do not remove an
// open file.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// diskFree is not known here; a full disk is seen when it is written to.
func diskFree(string) (int64, error) { return math.MaxInt64, nil }
