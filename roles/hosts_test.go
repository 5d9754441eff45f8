package roles

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHostsOfBrowsers(t *testing.T) {
	now := time.Now()
	var own []net.Addr
	h := newHostNames([]string{"TBM.example", "2001:db8::7"}, "0.0.0.0")
	h.now, h.addresses = func() time.Time { return now }, func() ([]net.Addr, error) {
		if own == nil {
			return nil, errors.New("none can be read")
		}
		return own, nil
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	allows := func(host string) bool {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		return h.allows(r)
	}
	if allows("192.0.2.7") {
		t.Error("an address is taken for one's own while these cannot be read")
	}
	now = now.Add(addressesAge)
	own = []net.Addr{&net.IPNet{IP: net.ParseIP("192.0.2.7"), Mask: net.CIDRMask(24, 32)}, &net.IPNet{IP: net.ParseIP("fe80::1"), Mask: net.CIDRMask(64, 128)}}
	for _, host := range []string{"localhost", "localhost:8080", "LOCALHOST.", "x.localhost", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "[::1]", "[::ffff:127.0.0.1]",
		"tbm.example", "tbm.example:80", "Tbm.Example.", "[2001:db8:0::7]:80", name, name + ":8080", strings.ToUpper(name), "192.0.2.7:8080", "[::ffff:192.0.2.7]", "[fe80::1]:8080", "0.0.0.0:8080", "[::]:8080"} {
		if !allows(host) {
			t.Errorf("%s is refused", host)
		}
	}
	for _, host := range []string{"", ":8080", "rebound.example", "rebound.example:8080", "localhost.rebound.example", "xlocalhost", "127.0.0.1.rebound.example", "xtbm.example", "tbm.example.evil",
		"192.0.2.8", "[2001:db8::8]", "127.1", "2130706433", "localhost@evil.example", "\x00", "localhost, evil.example"} {
		if allows(host) {
			t.Errorf("%q is allowed", host)
		}
	}
	own = own[:1]
	own[0] = &net.IPNet{IP: net.ParseIP("192.0.2.8"), Mask: net.CIDRMask(24, 32)}
	now = now.Add(addressesAge)
	if !allows("192.0.2.8") || allows("192.0.2.7") {
		t.Error("a new address of the machine is not seen")
	}
}

func TestBrowsersAreKnown(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		browser     bool
	}{
		{"Origin", "http://x.example", true}, {"Origin", "null", true}, {"Sec-Fetch-Site", "same-origin", true}, {"Sec-Fetch-Dest", "script", true}, {"sec-fetch-mode", "", true},
		{"Referer", "http://x.example/", true}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", true},
		{"User-Agent", "curl/8.14.1", false}, {"User-Agent", "Python/3.13 aiohttp/3.11", false}, {"User-Agent", "node-XMLHttpRequest", false},
		{"User-Agent", "TBM/1 CFNetwork/3826 Darwin/24", false}, {"Accept-Language", "en", false}, {"Cookie", "a=b", false}, {"Sec-WebSocket-Key", "x", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://rebound.example/", nil)
		r.Header.Set(tc.name, tc.value)
		if got := fromBrowser(r); got != tc.browser {
			t.Errorf("%s: %s is a browser's: %t", tc.name, tc.value, got)
		}
	}
}

func TestCheckHost(t *testing.T) {
	for _, name := range []string{"tbm.example", "tbm", "192.0.2.7", "2001:db8::7"} {
		if err := checkHost(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "http://tbm.example", "tbm.example:80", "[::1]", "*", "*.example", "a/b", "a@b", "a b", "a?b"} {
		if checkHost(name) == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// A page of another name gets nothing of a server, whatever it asks for; clients that are no browser are not concerned.
func TestReboundPagesGetNothing(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	in, out := io.Pipe()
	log, ended := &lockedBuffer{}, make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"tbmsock", "server", "--listen", "127.0.0.1:0", "--data-dir", "off", "--host", "tbm.example"}, out, log)
		_ = out.Close()
	}()
	first, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		t.Fatal(err, log.b.String())
	}
	url := strings.TrimSpace(strings.TrimPrefix(first, "listening on "))
	get := func(method, path, host string, header ...string) int {
		t.Helper()
		body := io.Reader(nil)
		if method == http.MethodPost {
			body = strings.NewReader("40")
		}
		r, err := http.NewRequestWithContext(ctx, method, url+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		return res.StatusCode
	}
	for _, path := range []string{"/", "/status", "/dictionary", "/socket.io/?EIO=4&transport=polling", "/socket.io/?EIO=3&transport=polling", "/healthz", "/none"} {
		for _, mark := range [][]string{{"Origin", "http://rebound.example"}, {"Sec-Fetch-Site", "same-origin"}, {"User-Agent", "Mozilla/5.0"}} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
				if got := get(method, path, "rebound.example", mark...); got != http.StatusForbidden {
					t.Errorf("%s %s with %s: %d", method, path, mark, got)
				}
			}
			if mark[0] == "Origin" {
				continue // its page is of another server
			}
			for _, host := range []string{"", "localhost:1234", "tbm.example"} {
				if got := get(http.MethodGet, path, host, mark...); got == http.StatusForbidden {
					t.Errorf("%s by the name %s with %s: %d", path, host, mark, got)
				}
			}
		}
		if got := get(http.MethodGet, path, "rebound.example"); got == http.StatusForbidden {
			t.Errorf("%s for no browser: %d", path, got)
		}
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text := log.b.String(); !strings.Contains(text, `allow_with="--host rebound.example"`) {
		t.Errorf("the log does not name the flag:\n%s", text)
	}
}
