package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A server without free file descriptors once said nothing, and answered no health check. Those who are connected, and
// the journal, go on.
func TestDescriptorsRunOut(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "p.jsonl")
	server := start(t, "sh", "-c", `ulimit -n 96; exec "$0" "$@"`, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--data-dir", dir,
		"--handshake-timeout", "1h", "--log-level", "info")
	url := server.url()
	server.logged("limit=96")
	logger := start(t, tbmsock(t), "logger", "--url", url, "--output", file)
	logger.logged("connected")
	source := start(t, tbmsock(t), "telemetry", "--url", url, "--rate", "50hz", "--drain", fmt.Sprint(patience))
	logger.lineWith("#10 ")

	addr := strings.TrimPrefix(url, "http://")
	var crowd []net.Conn
	leave := func() {
		for _, c := range crowd {
			_ = c.Close()
		}
		crowd = nil
	}
	defer leave()
	for range 400 {
		c, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
	}
	server.logged("too many open files")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	get := func(path string) (*http.Response, string) {
		t.Helper()
		res, err := client.Get(url + path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return res, string(body)
	}
	for range 20 {
		if res, body := get("/healthz"); res.StatusCode != 200 || body != "ok\n" {
			t.Errorf("/healthz: %s %q", res.Status, body)
		}
		if res, body := get("/readyz"); res.StatusCode != 503 || !strings.Contains(body, "too many open connections") {
			t.Errorf("/readyz: %s %q", res.Status, body)
		}
	}
	for _, path := range []string{"/", "/socket.io/?EIO=4&transport=polling"} {
		if res, body := get(path); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s %q", path, res.Status, body)
		}
	}
	// Nothing has happened to those who were there before.
	last := 0
	_, seq, _ := strings.Cut(logger.lineWith("#"), "#")
	if _, err := fmt.Sscan(strings.Fields(seq)[0], &last); err != nil {
		t.Fatal(err)
	}
	logger.lineWith(fmt.Sprintf("#%d ", last+100))
	leave()
	for deadline := time.Now().Add(patience); ; {
		if res, _ := get("/readyz"); res.StatusCode == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("never ready again")
		}
		<-time.After(10 * time.Millisecond)
	}
	if code := source.interrupt(); code != 0 {
		t.Errorf("telemetry ends with %d", code)
	}
	for _, p := range []*process{source, logger} {
		if log := p.log(); strings.Contains(log, "waiting for the server") {
			t.Errorf("the link was broken:\n%s", log)
		}
	}
	if code := logger.interrupt(); code != 0 || !strings.Contains(logger.log(), "summary: complete") {
		t.Errorf("logger ends with %d", code)
	}
	if code := server.interrupt(); code != 0 {
		t.Errorf("server ends with %d", code)
	}
	if n := strings.Count(server.log(), "too many open files"); n > 20 {
		t.Errorf("told %d times", n)
	}
	packets, _ := whole(t, file)
	if n := stored(t, dir); n != packets {
		t.Errorf("%d packets in the journal, %d in the file", n, packets)
	}
}
