package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"tbmsock/internal/freeport"
)

// readmeCode returns the README's example, its server replaced by the test's.
func readmeCode(t *testing.T, name, url string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- test: " + name + " -->\n```\\w+\n(.*?)```").FindSubmatch(b)
	if m == nil {
		t.Fatalf("no example %s in the README", name)
	}
	code := strings.ReplaceAll(string(m[1]), "http://127.0.0.1:8080", url)
	if !strings.Contains(code, url) {
		t.Fatalf("the example %s names no server", name)
	}
	return code
}

// What the README tells people to write does what it says.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	url := startPeer(t, "tbmsock").url()
	start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "20hz", "--room", "ops")
	write := func(t *testing.T, dir, name, code string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(path) })
		return path
	}
	t.Run("JavaScript", func(t *testing.T) {
		code := strings.ReplaceAll(readmeCode(t, "javascript", url), `"socket.io-client"`, `"socket.io-client-4"`)
		p := start(t, "node", write(t, node(t), "readme.tmp.js", code))
		p.lineWith("joined ops")
		p.lineWith("tbm-1")
	})
	t.Run("Python", func(t *testing.T) {
		p := start(t, pythonWithSocketIO(t), "-u", write(t, t.TempDir(), "readme.py", readmeCode(t, "python", url)))
		p.lineWith("joined ops")
		p.lineWith("tbm-1")
	})
	t.Run("JavaScript follower", func(t *testing.T) {
		testReadmeFollower(t, func(t *testing.T, url string) *process {
			code := strings.ReplaceAll(readmeCode(t, "javascript-follower", url), `"socket.io-client"`, `"socket.io-client-4"`)
			return start(t, "node", write(t, node(t), "readme.follower.tmp.js", code))
		})
	})
	t.Run("Python follower", func(t *testing.T) {
		testReadmeFollower(t, func(t *testing.T, url string) *process {
			return start(t, pythonWithSocketIO(t), "-u", write(t, t.TempDir(), "follower.py", readmeCode(t, "python-follower", url)))
		})
	})
	t.Run("Angular", func(t *testing.T) {
		dir := node(t)
		code := strings.ReplaceAll(readmeCode(t, "angular", url), `"socket.io-client"`, `"socket.io-client-4"`)
		ts := write(t, dir, "readme.tmp.ts", code)
		// The compiler, with its checks: the example is code that builds.
		out, err := exec.Command(filepath.Join(dir, "node_modules", ".bin", "tsc"), "--strict", "--experimentalDecorators",
			"--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--skipLibCheck", ts).CombinedOutput()
		if err != nil {
			t.Fatalf("tsc: %v\n%s", err, out)
		}
		js := filepath.Join(dir, "readme.tmp.js")
		mjs := filepath.Join(dir, "readme.tmp.mjs")
		if err := os.Rename(js, mjs); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(mjs) })
		p := start(t, "node", write(t, dir, "readme.run.tmp.mjs", `
import "@angular/compiler";
import { TelemetryService } from "./readme.tmp.mjs";
const service = new TelemetryService();
const timer = setInterval(() => {
  const e = service.last();
  if (!e) return;
  clearInterval(timer);
  console.log("signal", e.source, e.seq);
  service.close();
}, 20);
`))
		p.lineWith("signal tbm-1")
	})
}

// testReadmeFollower kills the server twice while a follower of the README listens: it gets each packet once, in order.
func testReadmeFollower(t *testing.T, follower func(t *testing.T, url string) *process) {
	addr, dir := freeport.Address(t), t.TempDir()
	serve := func() *process {
		s := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", dir)
		s.url()
		return s
	}
	server := serve()
	p := follower(t, "http://"+addr)
	server.logged("connected")
	start(t, tbmsock(t), "telemetry", "--url", "http://"+addr, "--rate", "50hz", "--room", "ops")
	seq := uint64(0)
	for round := range 3 {
		for range 40 {
			fields := strings.Fields(p.lineWith(" tbm-1 "))
			n, err := strconv.ParseUint(fields[len(fields)-1], 10, 64)
			if err != nil {
				t.Fatalf("%q: %v", fields, err)
			}
			if seq++; n != seq && seq > 1 {
				t.Fatalf("seq %d after %d", n, seq-1)
			}
			seq = n
		}
		if round < 2 {
			server.kill()
			server = serve()
		}
	}
}
