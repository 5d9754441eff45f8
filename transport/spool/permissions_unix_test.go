//go:build unix

package spool

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestWrongPermissions(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process of another user")
	}
	base, err := os.MkdirTemp("", "spool-permissions-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(base) }()
	binary := base + "/child" // within that user's reach
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(base, 0o755), os.WriteFile(binary, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	run := func(dir string) string {
		t.Helper()
		cmd := exec.CommandContext(within(t), binary)
		cmd.Dir = base
		cmd.Env = []string{childRole + "=once", "DIR=" + dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	const why = "permission denied; the directory and all in it must belong to the user that this process runs as"
	mkdir := func(name string, mode os.FileMode, uid int) string {
		t.Helper()
		dir := base + "/" + name
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode), os.Chown(dir, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	theirs := mkdir("theirs", 0o700, 65534)
	if out := run(theirs); out != "open\n" {
		t.Fatalf("their own directory: %s", out)
	}
	readOnly := mkdir("read-only", 0o700, 65534)
	if out := run(readOnly); out != "open\n" {
		t.Fatal(out)
	}
	if err := os.Chmod(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"another user's directory":      mkdir("ours", 0o700, 0),
		"one that cannot be made":       base + "/new",
		"one that is read-only":         readOnly,
		"one with files of another one": theirs,
	} {
		if dir == theirs { // as after a run with sudo
			if err := os.Chown(segmentFiles(t, theirs)[0], 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		if out := run(dir); !strings.Contains(out, "error: spool in "+dir) || !strings.Contains(out, why) {
			t.Errorf("%s: %s", name, out)
		}
	}
}
