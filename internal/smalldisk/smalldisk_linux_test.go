package smalldisk

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk once stayed mounted, with what stood on it, when a test had run into its timeout.
func TestStaleDisksAreDetached(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Skip(err)
	}
	mine := Mount(t, "64k")
	stale := t.TempDir()
	name := fmt.Sprintf(device, gone.Process.Pid)
	if err := unix.Mount(name, stale, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(stale, unix.MNT_DETACH) })
	detachStale(t)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), " "+stale+" ") {
		t.Error("a stale disk is still mounted")
	}
	if !strings.Contains(string(mounts), fmt.Sprintf(device, os.Getpid())+" "+mine+" ") {
		t.Error("the disk of a test that runs is mounted no more")
	}
}
