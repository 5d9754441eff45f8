package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"tbmsock/internal/testproxy"
)

// Addresses that can never work were once tried again for ever. Their error does not tell a password.
func TestBadAddress(t *testing.T) {
	for _, tc := range []struct{ url, shown, allowed string }{
		{"http://u:s3cret@127.0.0.1:99999", "http://u:xxxxx@127.0.0.1:99999", "1 to 65535"},
		{"http://127.0.0.1:0", "http://127.0.0.1:0", "1 to 65535"},
		{"unix:/x", "unix:/x", "http, https, ws or wss"},
		{"http://host:", "http://host:", "1 to 65535"},
		{"http://", "http://", "http://127.0.0.1:8080"},
		{"http://u:s3/cret@h", "http://u:xxxxx@h", "http://127.0.0.1:8080"},
		{"http://u:1/s3cret@h", "http://u:xxxxx@h", "percent-encode"},
		{"http://h/?EIO=3", "http://h/", "set by the client"},
		{"http://h/#s3cret", "http://h/", "fragment"},
		{"http://a b", "http://a b", "http://127.0.0.1:8080"},
	} {
		for _, command := range []string{"telemetry", "logger", "inject", "bench"} {
			t.Run(command+" "+tc.url, func(t *testing.T) {
				p := start(t, tbmsock(t), command, "--url", tc.url)
				code, log := p.wait(), strings.TrimSpace(p.log())
				if code != 2 || strings.Contains(log, "\n") || strings.Contains(log, "s3") {
					t.Errorf("code %d:\n%s", code, log)
				}
				for _, want := range []string{"--url " + tc.shown + ": ", tc.allowed} {
					if !strings.Contains(log, want) {
						t.Errorf("%q does not name %q", log, want)
					}
				}
			})
		}
	}
	p := startWith(t, []string{"TBMSOCK_URL=http://u:s3cret@h:99999"}, tbmsock(t), "telemetry")
	if code, log := p.wait(), p.log(); code != 2 || !strings.Contains(log, "TBMSOCK_URL=http://u:xxxxx@h:99999: ") || strings.Contains(log, "s3cret") {
		t.Errorf("from the environment, code %d: %s", code, log)
	}
}

// Credentials once stood in every line of the log, and were sent by polling alone.
func TestAddressSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	const secret = "s3cret"
	withUser := func(address string) string {
		return strings.Replace(address, "://", "://tbm:"+secret+"@", 1) + "?token=" + secret
	}
	r := startRelay(t, nil)
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, password, _ := req.BasicAuth(); password != secret || req.URL.Query().Get("token") != secret {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		r.sio.ServeHTTP(w, req)
	}))
	defer door.Close()
	nowhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, withUser("https://127.0.0.1:1/"), http.StatusTemporaryRedirect)
	}))
	defer nowhere.Close()
	for _, way := range []string{"polling", "websocket", "auto"} {
		for _, command := range []string{"telemetry", "logger"} {
			t.Run(command+" "+way, func(t *testing.T) {
				for _, refused := range []string{"http://127.0.0.1:1", nowhere.URL, strings.Replace(door.URL, "http", "https", 1)} {
					p := start(t, tbmsock(t), command, "--url", withUser(refused), "--transport", way, "--log-level", "debug", "--drain", "0s")
					p.logged("waiting for the server")
					p.interrupt()
					if log := p.log(); strings.Contains(log, secret) || !strings.Contains(log, "tbm:xxxxx@") {
						t.Errorf("the log is\n%s", log)
					}
				}
				p := start(t, tbmsock(t), command, "--url", withUser(door.URL), "--transport", way, "--log-level", "debug")
				p.logged("msg=connected")
				p.interrupt()
				if log := p.log(); strings.Contains(log, secret) || !strings.Contains(log, "tbm:xxxxx@") || strings.Contains(log, "waiting for the server") {
					t.Errorf("the log is\n%s", log)
				}
			})
		}
	}
}

// HTTP_PROXY and its kin were once honoured by polling alone. The host of the server exists for the proxy only.
func TestProxyEnvironment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	r := startRelay(t, nil)
	user := url.UserPassword("site", "s3cret")
	clean := []string{"HTTP_PROXY=", "http_proxy=", "HTTPS_PROXY=", "https_proxy=", "NO_PROXY=", "no_proxy="}
	for _, tc := range []struct {
		name string
		env  func(proxy string) []string
		url  string
		seen string // part of what the proxy sees; "": nothing
		ok   bool
	}{
		{"HTTP_PROXY", func(p string) []string { return []string{"HTTP_PROXY=" + p, "NO_PROXY=other.invalid"} }, "http://tbm.invalid:8080", " tbm.invalid:8080", true},
		{"http_proxy", func(p string) []string { return []string{"http_proxy=" + p} }, "http://tbm.invalid", " tbm.invalid", true},
		{"HTTPS_PROXY", func(p string) []string { return []string{"HTTPS_PROXY=" + p} }, "https://tbm.invalid", "CONNECT tbm.invalid:443", false}, // the server has no TLS
		{"https_proxy", func(p string) []string { return []string{"https_proxy=" + p} }, "wss://tbm.invalid:8443", "CONNECT tbm.invalid:8443", false},
		{"NO_PROXY", func(p string) []string { return []string{"HTTP_PROXY=" + p, "NO_PROXY=.invalid"} }, "http://tbm.invalid", "", false},
		{"no_proxy", func(p string) []string { return []string{"http_proxy=" + p, "no_proxy=tbm.invalid"} }, "http://tbm.invalid", "", false},
		{"loopback", func(p string) []string { return []string{"HTTP_PROXY=" + p} }, r.url(), "", true},
	} {
		for _, way := range []string{"polling", "websocket"} {
			t.Run(tc.name+" "+way, func(t *testing.T) {
				proxy := testproxy.HTTP(t, r.addr, user)
				env := append(append([]string(nil), clean...), tc.env(proxy.URL.String())...)
				p := startWith(t, env, tbmsock(t), "telemetry", "--url", tc.url, "--transport", way, "--rate", "100hz", "--count", "5", "--drain", fmt.Sprint(patience))
				if tc.ok {
					if code := p.wait(); code != 0 || !strings.Contains(p.log(), "acknowledged=5") {
						t.Errorf("code %d", code)
					}
				} else {
					p.logged("waiting for the server")
				}
				seen := strings.Join(proxy.Seen(), ", ")
				if tc.seen == "" && seen != "" || !strings.Contains(seen, tc.seen) {
					t.Errorf("the proxy saw %q", seen)
				}
				if log := p.log(); strings.Contains(log, "s3cret") {
					t.Errorf("the log is\n%s", log)
				}
			})
		}
	}
}

// A demo that listens on every address once asked the proxy for its own server.
func TestDemoBesideAProxy(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	proxy := testproxy.HTTP(t, "127.0.0.1:1", nil)
	env := []string{"HTTP_PROXY=" + proxy.URL.String(), "NO_PROXY=", "no_proxy="}
	p := startWith(t, env, tbmsock(t), "demo", "--listen", ":0", "--rate", "100hz", "--count", "5")
	if code := p.wait(); code != 0 || !strings.Contains(p.log(), "acknowledged=5") {
		t.Errorf("code %d", code)
	}
	if seen := proxy.Seen(); len(seen) > 0 {
		t.Errorf("the proxy saw %v", seen)
	}
}
