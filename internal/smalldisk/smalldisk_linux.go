// Package smalldisk gives tests a disk that can be filled. It knows nothing of what is written there.
package smalldisk

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// device is what stands in the table of mounts for one of ours, with the process that has made it.
const device = "tbmsock-smalldisk-%d"

var once sync.Once

// Mount mounts a tmpfs of the size, as mount(8) takes it ("64k"), in a directory of the test's own, until the test
// ends. Where that cannot be done the test is skipped, and fails in CI.
func Mount(t testing.TB, size string) (dir string) {
	t.Helper()
	once.Do(func() { detachStale(t) })
	dir = t.TempDir()
	if err := unix.Mount(fmt.Sprintf(device, os.Getpid()), dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("a small disk cannot be mounted: %v", err)
		}
		t.Skipf("a small disk cannot be mounted (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// detachStale gives free the memory of disks whose process has ended without its Cleanup, as go test -timeout lets it.
func detachStale(t testing.TB) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Log(err) // what is left over stands in nobody's way
		return
	}
	for line := range strings.Lines(string(mounts)) {
		var pid int
		fields := strings.Fields(line) // device, directory, …
		if len(fields) < 2 {
			continue
		}
		if n, _ := fmt.Sscanf(fields[0], device, &pid); n != 1 || !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			continue
		}
		if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
			t.Log(err)
		}
	}
}
