package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What the server does not have is 404: a monitor that asked for /metrics once got the page, and 200.
func TestUnknownPaths(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, web := range []string{"embedded", "off"} {
		url := start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0", "--web", web).url()
		for _, tc := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/metrics", 404}, {"GET", "/api/x", 404}, {"GET", "/events", 404}, {"GET", "/debug/pprof/", 404}, {"GET", "/healthz/x", 404}, {"HEAD", "/metrics", 404},
			{"POST", "/metrics", 405}, {"PUT", "/", 405}, {"POST", "/healthz", 405}, {"DELETE", "/readyz", 405}, {"POST", "/status", 405}, {"POST", "/dictionary", 405},
			{"GET", "/healthz", 200}, {"HEAD", "/healthz", 200}, {"GET", "/readyz", 200}, {"GET", "/status", 200}, {"GET", "/dictionary", 200}, {"OPTIONS", "/status", 204},
		} {
			t.Run(web+" "+tc.method+" "+tc.path, func(t *testing.T) {
				req, err := http.NewRequest(tc.method, url+tc.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Accept", "text/html")
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if res.StatusCode != tc.status {
					t.Fatal(res.Status)
				}
				if tc.status >= 400 && (res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || res.Header.Get("X-Content-Type-Options") != "nosniff") {
					t.Errorf("headers %v", res.Header)
				}
				if tc.status == 405 && res.Header.Get("Allow") != "GET, HEAD" {
					t.Errorf("Allow: %s", res.Header.Get("Allow"))
				}
			})
		}
	}
}

// A body that comes slowly once held a health check's answer back, and its connection, for minutes.
func TestSlowBody(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	addr := strings.TrimPrefix(start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0").url(), "http://")
	for _, tc := range []struct {
		request string
		status  int
	}{
		{"GET /healthz", 200}, {"GET /readyz", 200}, {"GET /status", 200}, {"GET /dictionary", 200}, {"GET /", 200}, {"POST /healthz", 405}, {"GET /metrics", 404},
		{"POST /socket.io/?EIO=4&transport=polling&sid=nobody", 400}, {"POST /socket.io/?EIO=4&transport=polling", 400}, {"GET /socket.io/?EIO=4&transport=polling&sid=nobody", 400},
		{"GET /socket.io/?EIO=4&transport=websocket", 400},
	} {
		for name, begin := range map[string]string{"length": "Content-Length: 100000\r\n\r\nx", "chunks": "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"} {
			t.Run(tc.request+" "+name, func(t *testing.T) {
				t.Parallel()
				c, err := net.DialTimeout("tcp", addr, patience)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(patience))
				upgrade := ""
				if strings.Contains(tc.request, "websocket") {
					upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
				}
				if _, err := io.WriteString(c, tc.request+" HTTP/1.1\r\nHost: "+addr+"\r\n"+upgrade+begin); err != nil {
					t.Fatal(err)
				}
				r := bufio.NewReader(c)
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != tc.status {
					t.Error(res.Status)
				}
				if _, err := r.ReadByte(); err != io.EOF {
					t.Errorf("the connection: %v", err)
				}
			})
		}
	}
}

// A POST over a slow link takes its time, and the connection goes on after it.
func TestSlowPost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Parallel()
	addr := strings.TrimPrefix(start(t, tbmsock(t), "server", "--listen", "127.0.0.1:0").url(), "http://")
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	say := func(text string) {
		t.Helper()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() string {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(patience))
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s, %v", res.Status, body, err)
		}
		return string(body)
	}
	const path = "/socket.io/?EIO=4&transport=polling"
	head := " HTTP/1.1\r\nHost: " + addr + "\r\n"
	say("GET " + path + head + "\r\n")
	var shake struct{ Sid string }
	if err := json.Unmarshal([]byte(answer()[1:]), &shake); err != nil {
		t.Fatal(err)
	}
	const body = "40/tbm," // for a namespace that is not there
	say(fmt.Sprintf("POST %s&sid=%s%sContent-Length: %d\r\n\r\n", path, shake.Sid, head, len(body)))
	for i := range len(body) {
		<-time.After(time.Second) // 7 s together
		say(body[i : i+1])
	}
	if got := answer(); got != "ok" {
		t.Errorf("the POST is answered with %q", got)
	}
	say("GET " + path + "&sid=" + shake.Sid + head + "\r\n")
	if got := answer(); !strings.HasPrefix(got, "44/tbm,") {
		t.Errorf("the answer is %q", got)
	}
}

// /status once told everybody everybody's address.
func TestAddressesInStatus(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	server := start(t, tbmsock(t), "server", "--listen", "0.0.0.0:0")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.url(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + port
	start(t, tbmsock(t), "logger", "--url", url).logged("connected")
	ask := func(url string, header ...string) string {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, url+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
			if header[i] == "Host" {
				req.Host = header[i+1]
			}
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var status struct {
			Namespaces []struct {
				Clients []struct{ ID, Address string }
			}
		}
		if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
			t.Fatal(err)
		}
		if len(status.Namespaces) != 1 || len(status.Namespaces[0].Clients) != 1 || status.Namespaces[0].Clients[0].ID == "" {
			t.Fatalf("status is %+v", status)
		}
		return status.Namespaces[0].Clients[0].Address
	}
	for _, host := range []string{"", "localhost:" + port, "[::1]:" + port} {
		if got := ask(url, append([]string{}, hostHeader(host)...)...); !strings.HasPrefix(got, "127.0.0.1:") {
			t.Errorf("from this machine, as %q: %q", host, got)
		}
	}
	for _, header := range [][]string{
		{"X-Forwarded-For", "10.0.0.1"}, {"X-Forwarded-For", "127.0.0.1"}, {"Forwarded", "for=127.0.0.1"}, {"X-Real-IP", "127.0.0.1"}, {"Via", "1.1 proxy"}, {"Host", "rebound.example"},
	} {
		if got := ask(url, header...); got != "" {
			t.Errorf("with %v: %q", header, got)
		}
	}
	// Another address of this machine's is not loopback.
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip, _, _ := net.ParseCIDR(a.String())
		if ip == nil || ip.IsLoopback() || ip.To4() == nil {
			continue
		}
		outside := fmt.Sprintf("http://%s:%s", ip, port)
		for _, header := range [][]string{nil, {"X-Forwarded-For", "127.0.0.1"}, {"Host", "localhost"}} {
			if got := ask(outside, header...); got != "" {
				t.Errorf("from %s with %v: %q", ip, header, got)
			}
		}
	}
}

func hostHeader(host string) []string {
	if host == "" {
		return nil
	}
	return []string{"Host", host}
}
