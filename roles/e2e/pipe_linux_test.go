package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// child is a process whose files the test chooses.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
}

// startChild runs the command in a session of its own, which has no terminal unless cmd says so, until the test ends.
func startChild(t *testing.T, cmd *exec.Cmd) *child {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if cmd.Env == nil {
		cmd.Env = append(os.Environ(), "TBMSOCK_DATA_DIR=memory")
	}
	if err := spawn(cmd); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: cmd, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(c.done) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-c.done })
	return c
}

func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// code waits for the process and returns its exit code; 128 and the signal if one has killed it.
func (c *child) code() int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatalf("%.100s does not end", c.cmd.Args)
	}
	if s, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return c.cmd.ProcessState.ExitCode()
}

// pipe returns both ends. The test closes them.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// listening reads the address from a server's stdout.
func listening(t *testing.T, stdout *os.File) (url string) {
	t.Helper()
	if err := stdout.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanf(stdout, "listening on %s\n", &url); err != nil {
		t.Fatalf("the server does not listen: %v", err)
	}
	return url
}

// logFile is a file for a child's stderr that can be waited for.
type logFile struct {
	t    *testing.T
	file *os.File
}

func newLogFile(t *testing.T) *logFile {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l := &logFile{t, f}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log:\n%s", l.text())
		}
		_ = f.Close()
	})
	return l
}

func (l *logFile) text() string {
	b, err := os.ReadFile(l.file.Name())
	if err != nil {
		l.t.Error(err)
	}
	return string(b)
}

func (l *logFile) wait(text string) {
	l.t.Helper()
	until(l.t, "the log says "+text, func() bool { return strings.Contains(l.text(), text) })
}

// healthy reports whether the server answers.
func healthy(url string) bool {
	resp, err := (&http.Client{Timeout: patience}).Get(url + "/healthz")
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// The reader of stderr exits: no role may end for it. All of them died of SIGPIPE at the next line of their log.
func TestReaderOfStderrExits(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	file := filepath.Join(t.TempDir(), "packets.jsonl")
	gone := func(cmd *exec.Cmd) *child {
		r, w := pipe(t)
		cmd.Stderr = w
		c := startChild(t, cmd)
		_, _ = r.Close(), w.Close()
		return c
	}
	out, in := pipe(t)
	server := exec.Command(tbmsock(t), "server", "--listen", "127.0.0.1:0", "--log-level", "debug")
	server.Stdout = in
	s := gone(server)
	_ = in.Close()
	url := listening(t, out)
	l := gone(exec.Command(tbmsock(t), "logger", "--url", url, "--output", file, "--log-level", "debug"))
	until(t, "the logger's file", func() bool { _, err := os.Stat(file); return err == nil })
	telemetry := gone(exec.Command(tbmsock(t), "telemetry", "--url", url, "--rate", "50hz", "--log-level", "debug"))
	until(t, "fifty packets", func() bool { return len(seqsIn(t, file)) >= 50 })
	for _, c := range []*child{telemetry, l, s} { // the server last: telemetry waits for its answers
		c.signal(syscall.SIGTERM)
		if code := c.code(); code != 0 {
			t.Errorf("%.60s ends with %d", c.cmd.Args, code)
		}
	}
}

// The reader of stdout exits: a logger with a file records on, and says so once; "logger --output f | head -2" ended
// the recording.
func TestReaderOfALoggersStdoutExits(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	file := filepath.Join(t.TempDir(), "packets.jsonl")
	url := startPeer(t, "tbmsock").url()
	r, w := pipe(t)
	log := newLogFile(t)
	cmd := exec.Command(tbmsock(t), "logger", "--url", url, "--room", "ops", "--output", file)
	cmd.Stdout, cmd.Stderr = w, log.file
	head := exec.Command("head", "-2")
	head.Stdin = r
	logger, reader := startChild(t, cmd), startChild(t, head)
	_, _ = r.Close(), w.Close()
	log.wait("joined")
	publishSeqs(t, url, 1, 20)
	if code := reader.code(); code != 0 {
		t.Errorf("head ends with %d", code)
	}
	publishSeqs(t, url, 21, 40)
	until(t, "forty packets", func() bool { return len(seqsIn(t, file)) >= 40 })
	logger.signal(syscall.SIGINT)
	if code := logger.code(); code != 0 || !oneToN(seqsIn(t, file), 40) {
		t.Errorf("it ends with %d, the file holds %v", code, seqsIn(t, file))
	}
	if n := strings.Count(log.text(), "stdout was closed by its reader"); n != 1 || !strings.Contains(log.text(), "summary: complete") {
		t.Errorf("told %d times", n)
	}
}

// Without a file a logger has nothing left to do when the reader of its stdout exits: it ends in order, with a summary,
// and with the code that a shell shows for SIGPIPE.
func TestReaderOfALoggersOnlyOutputExits(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	url := startPeer(t, "tbmsock").url()
	r, w := pipe(t)
	log := newLogFile(t)
	cmd := exec.Command(tbmsock(t), "logger", "--url", url, "--room", "ops")
	cmd.Stdout, cmd.Stderr = w, log.file
	logger := startChild(t, cmd)
	_ = w.Close()
	log.wait("joined")
	publishSeqs(t, url, 1, 1)
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	publishSeqs(t, url, 2, 5)
	if code := logger.code(); code != 141 {
		t.Errorf("it ends with %d", code)
	}
	if text := log.text(); !strings.Contains(text, "summary: ") || !strings.Contains(text, "disconnected") {
		t.Error("it does not end in order")
	}
}

// Commands that write to stdout end quietly when its reader exits.
func TestReaderOfACommandsStdoutExits(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	server := startWith(t, []string{"TBMSOCK_DATA_DIR=" + dir}, tbmsock(t), "server", "--listen", "127.0.0.1:0")
	publishSeqs(t, server.url(), 1, 5)
	if code := server.interrupt(); code != 0 {
		t.Fatalf("server ends with %d", code)
	}
	for _, args := range [][]string{
		{"journal", "cat", "--data-dir", dir},
		{"journal", "cat", "--data-dir", dir, "--format", "csv"},
		{"journal", "ls", "--data-dir", dir},
		{"journal", "ls", "--data-dir", dir, "--format", "json"},
		{"simulate", "--duration", "1000h"},
		{"simulate", "--duration", "1000h", "--format", "csv"},
		{"dictionary"},
		{"dictionary", "--format", "json"},
		{"version"},
	} {
		t.Run(strings.Join(args[:min(2, len(args))], " "), func(t *testing.T) {
			r, w := pipe(t)
			_ = r.Close()
			var stderr bytes.Buffer
			cmd := exec.Command(tbmsock(t), args...)
			cmd.Stdout, cmd.Stderr = w, &stderr
			if code := startChild(t, cmd).code(); code != 141 || stderr.Len() > 0 {
				t.Errorf("it ends with %d, and says %q", code, stderr.String())
			}
		})
	}
}

// Nobody reads stderr, and the pipe is full: clients do not wait for the server's log, and neither does its end. The
// first line of the log held up all clients.
func TestStderrIsNotRead(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, readAgain := range []bool{false, true} {
		t.Run(fmt.Sprintf("read again %t", readAgain), func(t *testing.T) {
			out, in := pipe(t)
			logs, w := pipe(t)
			size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(bytes.Repeat([]byte{'\n'}, size)); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(tbmsock(t), "server", "--listen", "127.0.0.1:0")
			cmd.Stdout, cmd.Stderr = in, w
			server := startChild(t, cmd)
			_ = w.Close()
			_ = in.Close()
			url := listening(t, out)
			for seq := range uint64(10) {
				publishSeqs(t, url, seq+1, seq+1) // its connection is logged
			}
			server.signal(syscall.SIGTERM)
			var said []byte
			if readAgain {
				if said, err = io.ReadAll(logs); err != nil {
					t.Fatal(err)
				}
			}
			if code := server.code(); code != 0 {
				t.Errorf("it ends with %d", code)
			}
			if readAgain && (strings.Count(string(said), "msg=connected") != 10 || !strings.Contains(string(said), "server stops")) {
				t.Errorf("it says %s", bytes.TrimSpace(said))
			}
		})
	}
}

// Nobody reads stdout: a logger still ends when it is asked to, and the next run continues its file.
func TestStdoutIsNotRead(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	file := filepath.Join(t.TempDir(), "packets.jsonl")
	url := startPeer(t, "tbmsock").url()
	_, w := pipe(t)
	log := newLogFile(t)
	cmd := exec.Command(tbmsock(t), "logger", "--url", url, "--room", "ops", "--output", file, "--format", "json")
	cmd.Stdout, cmd.Stderr = w, log.file
	logger := startChild(t, cmd)
	_ = w.Close()
	log.wait("connected")
	const packets = 5000
	publishSeqs(t, url, 1, packets)
	until(t, "packets in the file", func() bool { return len(seqsIn(t, file)) > 100 })
	logger.signal(syscall.SIGTERM)
	if code := logger.code(); code != 0 {
		t.Errorf("it ends with %d", code)
	}
	again := start(t, tbmsock(t), "logger", "--url", url, "--room", "ops", "--output", file)
	awaitPackets(t, file, packets)
	if code := again.interrupt(); code != 0 {
		t.Errorf("it ends with %d", code)
	}
}
