package recording

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A symbolic link was replaced by a file at the first rotation.
func TestRotationKeepsASymbolicLink(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	link, target := filepath.Join(dir, "current.jsonl"), filepath.Join(data, "run.jsonl")
	for _, step := range []error{os.Symlink("middle", link), os.Symlink(filepath.Join("data", "run.jsonl"), filepath.Join(dir, "middle"))} {
		if step != nil {
			t.Fatal(step)
		}
	}
	f := openLooking(t, Options{Path: link, MaxBytes: 100, Plain: true}) // the target is not there yet
	f.writeLines(1, 30)
	if _, _, err := Open(Options{Path: target}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second writer of the target: %v", err)
	}
	shut(t, f)
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	if got, closed := contents(t, target); got != lines(1, 30) || len(closed) < 2 {
		t.Errorf("%q hold %q", closed, got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 3 {
		t.Errorf("beside the link there are %q", left)
	}
	if len(closedFiles(link)) != len(closedFiles(target)) {
		t.Error("the closed files are not found by the link")
	}
}

// A link that is set to another file is followed there.
func TestSymbolicLinkToAnotherFile(t *testing.T) {
	dir := t.TempDir()
	link, next := filepath.Join(dir, "p.jsonl"), filepath.Join(dir, "next")
	if err := os.Symlink("a.jsonl", link); err != nil {
		t.Fatal(err)
	}
	f := openLooking(t, Options{Path: link})
	f.writeLines(1, 3)
	if err := errors.Join(os.Symlink("b.jsonl", next), os.Rename(next, link)); err != nil {
		t.Fatal(err)
	}
	f.writeLines(4, 6)
	shut(t, f)
	if a, b := content(t, filepath.Join(dir, "a.jsonl")), content(t, filepath.Join(dir, "b.jsonl")); a != lines(1, 3) || b != lines(4, 6) {
		t.Errorf("the files hold %q and %q", a, b)
	}
}

// The right to search the directory is taken away: the file is still there, and takes lines.
func TestPathThatMayNotBeChecked(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	base, err := os.MkdirTemp("", "recording-permissions-")
	must(t, err)
	defer func() { _ = os.RemoveAll(base) }()
	dir := filepath.Join(base, "dir")
	must(t, errors.Join(os.Chmod(base, 0o755), os.Mkdir(dir, 0o700), os.Chown(dir, 65534, 65534)))
	must(t, syscall.Seteuid(65534))
	defer func() { _ = syscall.Seteuid(0) }()
	path := filepath.Join(dir, "p.jsonl")
	var told reports
	f := openLooking(t, Options{Path: path, MaxBytes: 100, Plain: true, Report: told.add})
	f.writeLines(1, 3)
	must(t, os.Chmod(dir, 0))
	f.writeLines(4, 30)
	must(t, os.Chmod(dir, 0o700))
	if got := content(t, path); got != lines(1, 30) {
		t.Errorf("the file holds %q", got)
	}
	f.mu.Lock()
	f.rotateAfter = time.Now() // the pause is over
	f.mu.Unlock()
	eventually(t, "rotated", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.size == 0 })
	must(t, os.Chmod(dir, 0o500)) // no new file can be made, and the one that is there takes lines
	f.writeLines(31, 60)
	must(t, os.Chmod(dir, 0o700))
	shut(t, f)
	if got, _ := contents(t, path); got != lines(1, 60) {
		t.Errorf("the files hold %q", got)
	}
	checkReports(t, &told, "the path cannot be checked", "no new file can be begun", "the path can be checked again", "a new file has been begun", "no new file can be begun")
}
