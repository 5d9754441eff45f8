//go:build unix

package journal

import (
	"fmt"
	"os"
	"syscall"
)

// checkOwner refuses a directory of another user's. Who may write it all the same, root, would leave files in it that its owner may not.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: run it as user %d", errOtherUser, s.Uid)
	}
	return nil
}
