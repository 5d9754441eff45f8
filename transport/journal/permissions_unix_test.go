//go:build unix

package journal

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWrongPermissions(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process of another user")
	}
	base, err := os.MkdirTemp("", "journal-permissions-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(base) }()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	// The binary has to be reachable for that user too.
	binary := filepath.Join(base, "child")
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, data, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(dir string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(within(t), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary)
		cmd.Dir = base
		cmd.Env = []string{childRole + "=open", "DIR=" + dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	const hint = "permission denied; the journal's directory and all in it must belong to the user that the server runs as"

	ours := filepath.Join(base, "ours")
	if err := os.Mkdir(ours, 0o700); err != nil {
		t.Fatal(err)
	}
	if out := run(ours); !strings.Contains(out, "error: journal in "+ours) || !strings.Contains(out, hint) {
		t.Errorf("another user's directory: %s", out)
	}
	if out := run(filepath.Join(base, "new")); !strings.Contains(out, "error: journal in "+base) || !strings.Contains(out, hint) {
		t.Errorf("a directory that cannot be made: %s", out)
	}
	theirs := filepath.Join(base, "theirs")
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if out := run(theirs); out != "open\n" {
		t.Fatalf("their own directory: %s", out)
	}
	// One file of root's in it, as after a run with sudo.
	if err := os.Chown(blockFileOf(t, theirs), 0, 0); err != nil {
		t.Fatal(err)
	}
	if out := run(theirs); !strings.Contains(out, hint) {
		t.Errorf("one file of another user: %s", out)
	}
}

// Root's look at the journal of a server that had crashed left root's files in it, and the server could not start.
func TestRootReadsNothingOfOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, who may read what is another user's")
	}
	origin := t.TempDir()
	j := openJournal(t, Options{Dir: origin})
	appendOK(t, j, series("a", "b", 1, 100)...)
	dir := filepath.Join(t.TempDir(), "crashed")
	copyDir(t, dir, origin)
	chown := func(dir string, uid int) {
		t.Helper()
		if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Chown(path, uid, uid))
		}); err != nil {
			t.Fatal(err)
		}
	}
	chown(dir, 65534)
	if _, err := OpenReader(within(t), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "run it as user 65534") {
		t.Errorf("opened: %v", err)
	}
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err == nil && info.Sys().(*syscall.Stat_t).Uid == 0 {
			t.Errorf("now root's: %s", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	// While the server runs nothing is left behind.
	chown(origin, 65534)
	r, err := OpenReader(within(t), Options{Dir: origin})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, r, 1, all); len(got) != 100 {
		t.Errorf("%d entries", len(got))
	}
	closeJournal(t, r)
	chown(origin, 0)
}
