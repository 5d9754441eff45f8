package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// spawner starts children from a thread that lives as long as the test binary: the kernel kills them when the thread that
// started them ends, and so when the test is killed or panics (go test -timeout does both), and no Cleanup is run.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range work {
			start()
		}
	}()
	return work
})

// spawn starts a child that ends with the test binary.
func spawn(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error, 1)
	spawner() <- func() { done <- cmd.Start() }
	return <-done
}

// runs tells whether the process is there, and is not one that has ended and that nobody has asked about.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// What a test had started once lived on when a timeout had ended it.
func TestChildrenEndWithTheTest(t *testing.T) {
	p := startWith(t, []string{panicChild + "=yes"}, os.Args[0])
	var pid int
	if _, err := fmt.Sscan(p.line(), &pid); err != nil {
		t.Fatal(err)
	}
	if !runs(pid) {
		t.Fatal("it does not run at all")
	}
	_ = p.stdin.Close()
	if code := p.wait(); code != 2 {
		t.Fatalf("code %d", code)
	}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.After(patience); runs(pid); {
		select {
		case <-again.C:
		case <-end:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the child lives on")
		}
	}
}
