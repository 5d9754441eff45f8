package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of a test.
const patience = 30 * time.Second

// missing fails the test in CI, and skips it elsewhere.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// once is a value that is made by the first test that needs it.
type once[T any] struct {
	once sync.Once
	v    T
	err  error
}

func (o *once[T]) get(t *testing.T, make func() (T, error)) T {
	t.Helper()
	o.once.Do(func() { o.v, o.err = make() })
	if o.err != nil {
		missing(t, "%v", o.err)
	}
	return o.v
}

var nodeDir, python, binary once[string]

// node returns the directory with the Node scripts, their packages installed.
func node(t *testing.T) string {
	return nodeDir.get(t, func() (string, error) { return installed("node") })
}

// installed runs npm ci in a directory of scripts where that has not been done yet.
func installed(name string, flags ...string) (string, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	if _, err := exec.LookPath("node"); err != nil {
		return "", fmt.Errorf("no Node: %w", err)
	}
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return "", err
	}
	// npm writes this file last.
	done, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	if err == nil && !done.ModTime().Before(lock.ModTime()) {
		return dir, nil
	}
	cmd := exec.Command("npm", append([]string{"ci", "--no-audit", "--no-fund", "--ignore-scripts"}, flags...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, nil
}

// pythonWithSocketIO returns an interpreter that has python-socketio and what it needs.
func pythonWithSocketIO(t *testing.T) string {
	return python.get(t, func() (string, error) {
		for _, name := range []string{"python3", "/usr/bin/python3"} {
			path, err := exec.LookPath(name)
			if err != nil {
				continue
			}
			if exec.Command(path, "-c", "import socketio, requests, websocket, aiohttp, eventlet").Run() == nil {
				return path, nil
			}
		}
		return "", errors.New("no Python with socketio, requests, websocket, aiohttp and eventlet (Debian: python3-socketio python3-requests python3-websocket python3-aiohttp python3-eventlet)")
	})
}

// tbmsock builds the command, with the race detector as the tests have it.
func tbmsock(t *testing.T) string {
	return binary.get(t, func() (string, error) {
		sweep(os.TempDir(), time.Now())
		dir, err := os.MkdirTemp("", builtPrefix)
		if err != nil {
			return "", err
		}
		built = dir
		path := filepath.Join(dir, "tbmsock")
		out, err := exec.Command("go", "build", "-race", "-o", path, "tbmsock").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	})
}

var built string // directory to remove at the end

func TestMain(m *testing.M) {
	if config := os.Getenv(natsChild); config != "" {
		os.Exit(natsServer(config))
	}
	if os.Getenv(panicChild) != "" {
		os.Exit(panics())
	}
	if os.Getenv(busyChild) != "" {
		os.Exit(spins())
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// process is a child whose lines of output can be waited for.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // stdout
	done  chan struct{}
	tries int // to have its port

	mu     sync.Mutex
	stderr bytes.Buffer
	err    error
}

// start runs a program until the test ends. What it wrote to stderr is shown if the test fails.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return startWith(t, nil, name, args...)
}

// startWith is start with variables added to the environment.
func startWith(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t}
	// A journal of its own for each server, unless the test says otherwise.
	p.run(append(append(os.Environ(), "TBMSOCK_DATA_DIR=memory"), env...), name, args...)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %.200s wrote:\n%s", name, args, p.log())
		}
	})
	return p
}

func (p *process) run(env []string, name string, args ...string) {
	p.t.Helper()
	cmd, lines, done := exec.Command(name, args...), make(chan string, 100_000), make(chan struct{})
	cmd.Stderr, cmd.Env = &lockedWriter{p}, env
	stdin, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := spawn(cmd); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.stdin, p.lines, p.done = cmd, stdin, lines, done
	go func() {
		s := bufio.NewScanner(out)
		s.Buffer(nil, 16<<20)
		for s.Scan() {
			lines <- s.Text()
		}
		close(lines)
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
}

// runAgain does so where it has ended because another process holds the port that it was given: one that was free a
// moment ago, and is again when that one has found another.
func (p *process) runAgain() bool {
	p.t.Helper()
	<-p.done
	if !strings.Contains(p.log(), "address already in use") || p.tries >= 100 {
		return false
	}
	p.tries++
	<-time.After(100 * time.Millisecond)
	p.mu.Lock()
	p.stderr.Reset()
	p.mu.Unlock()
	p.run(p.cmd.Env, p.cmd.Args[0], p.cmd.Args[1:]...)
	return true
}

type lockedWriter struct{ p *process }

func (w *lockedWriter) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.stderr.Write(b)
}

// log is what the process has written to stderr.
func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// interrupt asks the process to end and returns its exit code.
func (p *process) interrupt() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	return p.wait()
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("%s does not end\n%s", p.cmd.Path, p.log())
		return -1
	}
}

// line returns the next line of stdout.
func (p *process) line() string {
	p.t.Helper()
	select {
	case s, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("%s %.100s has ended:\n%s", p.cmd.Path, p.cmd.Args, p.log())
		}
		return s
	case <-time.After(4 * patience): // a browser with seven pages, on a machine that is busy with other tests
		p.t.Fatalf("%s %.100s says nothing:\n%s", p.cmd.Path, p.cmd.Args, p.log())
		return ""
	}
}

// lineWith returns the next line that contains text, leaving out those before.
func (p *process) lineWith(text string) string {
	p.t.Helper()
	for {
		if s := p.line(); strings.Contains(s, text) {
			return s
		}
	}
}

// url reads "listening on http://..." from a server's output.
func (p *process) url() string {
	p.t.Helper()
	const mark = "listening on "
	for {
		select {
		case s, ok := <-p.lines:
			if url, found := strings.CutPrefix(s, mark); found {
				return url
			}
			if !ok && !p.runAgain() {
				p.t.Fatalf("%s %.100s has ended:\n%s", p.cmd.Path, p.cmd.Args, p.log())
			}
		case <-time.After(patience):
			p.t.Fatalf("%s %.100s does not listen:\n%s", p.cmd.Path, p.cmd.Args, p.log())
		}
	}
}

// logged waits until the process has written text to stderr.
func (p *process) logged(text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(p.log(), text) {
		select {
		case <-tick.C:
		case <-p.done:
			if !strings.Contains(p.log(), text) {
				p.t.Fatalf("ended without saying %q:\n%s", text, p.log())
			}
		case <-ctx.Done():
			p.t.Fatalf("never said %q:\n%s", text, p.log())
		}
	}
}
