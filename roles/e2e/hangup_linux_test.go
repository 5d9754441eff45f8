package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tbmsock/internal/freeport"
)

// Under nohup the processes that a test starts would inherit that SIGHUP is ignored; a signal that is caught is reset to
// its default in a child.
func init() { signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) }

// openTerminal opens a pseudo-terminal: closing the master closes the terminal.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	// Non-blocking, so that Close does not wait for a Read.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		missing(t, "no pseudo-terminals: %v", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = master.Close(), terminal.Close() })
	return master, terminal
}

// onTerminal makes the terminal the command's controlling one, by its stdin.
func onTerminal(cmd *exec.Cmd, terminal *os.File) *exec.Cmd {
	cmd.Stdin = terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	return cmd
}

// A terminal is closed: the roles in it end in order. SIGHUP killed them at once.
func TestTerminalIsClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	url := startPeer(t, "tbmsock").url()
	for _, tc := range []struct {
		name  string
		args  []string
		ready string
		ends  []string
	}{
		{"server", []string{"server", "--listen", freeport.Address(t)}, "connected", []string{"server stops"}},
		{"telemetry", []string{"telemetry", "--url", url, "--rate", "20hz"}, "connected", []string{"disconnected", "telemetry ends"}},
		{"logger", []string{"logger", "--url", url}, "connected", []string{"disconnected", "summary: "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			master, terminal := openTerminal(t)
			log := newLogFile(t)
			cmd := onTerminal(exec.Command(tbmsock(t), tc.args...), terminal)
			cmd.Stdout, cmd.Stderr = log.file, log.file
			c := startChild(t, cmd)
			_ = terminal.Close()
			if tc.name == "server" {
				log.wait("listening on")
				start(t, tbmsock(t), "logger", "--url", "http://"+tc.args[2])
			}
			log.wait(tc.ready)
			_ = master.Close()
			if code := c.code(); code != 0 {
				t.Errorf("it ends with %d", code)
			}
			for _, text := range tc.ends {
				if !strings.Contains(log.text(), text) {
					t.Errorf("it does not say %q", text)
				}
			}
		})
	}
}

// All output of a logger goes to the terminal that is closed: its file has every packet that the server has sent it,
// and the server is told.
func TestTerminalOfALoggerIsClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	file := filepath.Join(t.TempDir(), "packets.jsonl")
	server := startPeer(t, "tbmsock")
	url := server.url()
	master, terminal := openTerminal(t)
	cmd := onTerminal(exec.Command(tbmsock(t), "logger", "--url", url, "--room", "ops", "--since", "all", "--output", file), terminal)
	cmd.Stdout, cmd.Stderr = terminal, terminal
	c := startChild(t, cmd)
	_ = terminal.Close()
	server.logged("connected")
	until(t, "the file", func() bool { _, err := os.Stat(file); return err == nil })
	go func() { _, _ = io.Copy(io.Discard, master) }() // until it is closed
	publishSeqs(t, url, 1, 50)
	until(t, "fifty packets", func() bool { return len(seqsIn(t, file)) >= 50 })
	_ = master.Close()
	if code := c.code(); code != 0 || !oneToN(seqsIn(t, file), 50) {
		t.Errorf("it ends with %d; the file holds %v", code, seqsIn(t, file))
	}
	server.logged("client namespace disconnect")
}

// SIGHUP to services, which have no terminal: they go on, and a logger opens its file again where logrotate has moved
// it.
func TestHangupOfAService(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "packets.jsonl")
	run := func(args ...string) (*child, *logFile) {
		log := newLogFile(t)
		cmd := exec.Command(tbmsock(t), args...)
		cmd.Stdout, cmd.Stderr = log.file, log.file
		return startChild(t, cmd), log
	}
	addr := freeport.Address(t)
	url := "http://" + addr
	server, serverLog := run("server", "--listen", addr)
	serverLog.wait("listening on")
	logger, loggerLog := run("logger", "--url", url, "--output", file, "--room", "ops")
	loggerLog.wait("joined")
	telemetry, telemetryLog := run("telemetry", "--url", url, "--rate", "50hz", "--room", "ops")
	until(t, "packets", func() bool { return len(seqsIn(t, file)) > 10 })
	for _, step := range []struct {
		c    *child
		log  *logFile
		says string
	}{{server, serverLog, "SIGHUP: nothing to reopen"}, {telemetry, telemetryLog, "SIGHUP: nothing to reopen"}} {
		step.c.signal(syscall.SIGHUP)
		step.log.wait(step.says)
	}
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	logger.signal(syscall.SIGHUP)
	loggerLog.wait("SIGHUP: reopening the output file")
	until(t, "packets in the new file", func() bool { return len(seqsIn(t, file)) > 10 })
	if !healthy(url) {
		t.Error("the server does not answer")
	}
	for _, c := range []*child{telemetry, logger, server} {
		c.signal(syscall.SIGTERM)
		if code := c.code(); code != 0 {
			t.Errorf("%.60s ends with %d", c.cmd.Args, code)
		}
	}
	all := append(seqsIn(t, file+".1"), seqsIn(t, file)...)
	if !oneToN(all, uint64(len(all))) {
		t.Errorf("the files hold %v", all)
	}
}

// What nohup has started goes on when its terminal is closed.
func TestHangupUnderNohup(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	master, terminal := openTerminal(t)
	log := newLogFile(t)
	addr := freeport.Address(t)
	cmd := onTerminal(exec.Command("nohup", tbmsock(t), "server", "--listen", addr), terminal)
	cmd.Stdout, cmd.Stderr = log.file, log.file
	c := startChild(t, cmd)
	_ = terminal.Close()
	log.wait("listening on")
	_ = master.Close()
	c.signal(syscall.SIGHUP)
	for range 10 { // it would have ended, or begun to
		if !healthy("http://" + addr) {
			t.Fatal("the server has ended")
		}
	}
	c.signal(syscall.SIGTERM)
	if code := c.code(); code != 0 || strings.Contains(log.text(), "SIGHUP") {
		t.Errorf("it ends with %d", code)
	}
}
