package transport_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"tbmsock/transport"
)

// The bytes are those that clients send which are no Debian, npm or Go packages.

// startEchoEvents serves both revisions, and acknowledges the event "echo" with its argument.
func startEchoEvents(t *testing.T, opts transport.ServerOptions) (*transport.Server, string) {
	t.Helper()
	opts.Engines = bothEngines
	srv, url := startServer(t, opts)
	srv.Of("/").On("echo", func(_ context.Context, ev *transport.Event) { _ = ev.Ack(ev.Args[0]) })
	return srv, url
}

const wsKey = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// handshakeWith opens a WebSocket with more header lines.
func (c *rawHTTP) handshakeWith(query, lines string) *http.Response {
	c.t.Helper()
	c.write("GET /socket.io/?" + query + " HTTP/1.1\r\nHost: x\r\n" + wsKey + lines + "\r\n")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return res
}

// nextFrame reads an unmasked frame of less than 64 KB.
func (c *rawHTTP) nextFrame() (head byte, payload string) {
	c.t.Helper()
	return readFrame(c.t, c.r)
}

func readFrame(t *testing.T, r *bufio.Reader) (head byte, payload string) {
	t.Helper()
	var b [2]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		t.Fatal(err)
	}
	n := uint16(b[1])
	if n == 126 {
		if err := binary.Read(r, binary.BigEndian, &n); err != nil {
			t.Fatal(err)
		}
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		t.Fatal(err)
	}
	return b[0], string(data)
}

func (c *rawHTTP) wantFrame(prefix string) {
	c.t.Helper()
	if _, got := c.nextFrame(); !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("got %q, want %q", got, prefix)
	}
}

// TestRevisionOfTheQuery: Swift before 15.2 names no revision, and old clients name 2.
func TestRevisionOfTheQuery(t *testing.T) {
	_, url := startEchoEvents(t, transport.ServerOptions{})
	for _, query := range []string{"", "EIO=2&", "EIO=3&"} {
		t.Run("polling "+query, func(t *testing.T) {
			status, body := get(t, url+"/socket.io/?"+query+"transport=polling&b64=1", nil)
			if status != http.StatusOK || !strings.Contains(body, `:0{"sid":"`) {
				t.Errorf("got %d %s", status, body)
			}
		})
		t.Run("websocket "+query, func(t *testing.T) {
			c := dialTCP(t, url)
			c.upgradeTo(query + "transport=websocket")
			c.wantFrame("0{")
			c.wantFrame("40")
			c.write(text(`420["echo",1]`))
			c.wantFrame("430[1]")
		})
	}
	for _, query := range []string{"EIO=1&", "EIO=5&", "EIO=abc&"} {
		if status, body := get(t, url+"/socket.io/?"+query+"transport=polling", nil); status != http.StatusBadRequest {
			t.Errorf("%s answered %d %s", query, status, body)
		}
	}
}

// TestArduinoClient: arduinoWebSockets sends Origin: file://, and a probe and an upgrade packet on a session that
// begins as a WebSocket; it pings too.
func TestArduinoClient(t *testing.T) {
	_, url := startEchoEvents(t, transport.ServerOptions{Origins: []string{"file://"}})
	for _, eio := range []string{"3", "4"} {
		t.Run("revision "+eio, func(t *testing.T) {
			c := dialTCP(t, url)
			res := c.handshakeWith("EIO="+eio+"&transport=websocket",
				"Connection: Upgrade\r\nSec-WebSocket-Protocol: arduino\r\nOrigin: file://\r\nUser-Agent: arduino-WebSocket-Client\r\n")
			if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Protocol") != "arduino" {
				t.Fatalf("answered %d %v", res.StatusCode, res.Header)
			}
			c.write(text("2probe") + text("5"))
			c.wantFrame("0{")
			if eio == "3" {
				c.wantFrame("40")
			}
			c.wantFrame("3probe")
			if eio == "4" {
				c.write(text("40"))
				c.wantFrame("40{")
			}
			c.write(text("2") + text(`420["echo",{"a":1}]`))
			c.wantFrame("3")
			c.wantFrame(`430[{"a":1}]`)
		})
	}
}

// TestOriginsWithoutHost: Electron and boards send file://, pages from files null.
func TestOriginsWithoutHost(t *testing.T) {
	for _, tc := range []struct {
		origin string
		allow  []string
		ok     bool
	}{
		{"file://", nil, false},
		{"file://", []string{"file://"}, true},
		{"file://", []string{"null"}, false},
		{"file://", []string{"*"}, true},
		{"null", []string{"null"}, true},
		{"null", []string{"file://", "http://ops.example"}, false},
		{"null", []string{"*"}, true},
		{"http://ops.example", []string{"file://", "null"}, false},
	} {
		t.Run(fmt.Sprint(tc.origin, tc.allow), func(t *testing.T) {
			var mu sync.Mutex
			var refused []transport.Refused
			_, url := startServer(t, transport.ServerOptions{Origins: tc.allow, EngineOptions: transport.EngineOptions{
				OnRefused: func(r transport.Refused) { mu.Lock(); refused = append(refused, r); mu.Unlock() }}})
			res, _ := do(t, "GET", url+"/socket.io/?EIO=4&transport=polling", "", http.Header{"Origin": {tc.origin}})
			if tc.ok != (res.StatusCode == http.StatusOK) || tc.ok && res.Header.Get("Access-Control-Allow-Origin") != tc.origin {
				t.Errorf("answered %d %v", res.StatusCode, res.Header)
			}
			mu.Lock()
			defer mu.Unlock()
			if !tc.ok && (len(refused) != 1 || refused[0].Reason != transport.RefusedOrigin || refused[0].Origin != tc.origin) {
				t.Errorf("told of %+v", refused)
			}
		})
	}
	for _, o := range []string{"file://", "null", "*", "capacitor://localhost"} {
		if err := transport.CheckOrigin(o); err != nil {
			t.Error(err)
		}
	}
	for _, o := range []string{"file:///etc", "file://x/y", "nul", "null:*"} {
		if err := transport.CheckOrigin(o); err == nil {
			t.Errorf("%q is taken", o)
		}
	}
}

// TestWebSocketHandshakeHeaders: the reference server answers with the first subprotocol offered, and reads all lines
// of a header.
func TestWebSocketHandshakeHeaders(t *testing.T) {
	_, url := startEchoEvents(t, transport.ServerOptions{})
	for _, tc := range []struct{ name, lines, protocol string }{
		{"one subprotocol", "Connection: Upgrade\r\nSec-WebSocket-Protocol: websocket\r\n", "websocket"},
		{"several subprotocols", "Connection: Upgrade\r\nSec-WebSocket-Protocol: v10.stomp, v11.stomp\r\n", "v10.stomp"},
		{"subprotocols on several lines", "Connection: Upgrade\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n", "a"},
		{"two Connection lines", "Connection: keep-alive\r\nConnection: Upgrade\r\n", ""},
		{"two Connection lines, the other way round", "Connection: Upgrade\r\nConnection: keep-alive\r\n", ""},
		{"one Connection line with two values", "Connection: keep-alive, Upgrade\r\n", ""},
	} {
		for _, eio := range []string{"3", "4"} {
			t.Run(tc.name+" "+eio, func(t *testing.T) {
				c := dialTCP(t, url)
				res := c.handshakeWith("EIO="+eio+"&transport=websocket", tc.lines)
				if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Protocol") != tc.protocol {
					t.Fatalf("answered %d %v", res.StatusCode, res.Header)
				}
				c.wantFrame("0{")
			})
		}
	}
	t.Run("no Upgrade among the Connection lines", func(t *testing.T) {
		c := dialTCP(t, url)
		if res := c.handshakeWith("EIO=4&transport=websocket", "Connection: keep-alive\r\nConnection: close\r\n"); res.StatusCode != http.StatusBadRequest {
			t.Errorf("answered %d", res.StatusCode)
		}
	})
}

// TestJavaBase64: the base64 of Java and Android ends in a line feed, and is broken into lines of 76.
func TestJavaBase64(t *testing.T) {
	_, url := startEchoEvents(t, transport.ServerOptions{})
	var long strings.Builder
	for range 40 {
		long.WriteString("QUJD")
	}
	broken := long.String()[:76] + "\n" + long.String()[76:152] + "\n" + long.String()[152:] + "\n"
	for _, tc := range []struct{ name, sent, want string }{
		{"a line feed at the end", "AAECAwQ=\n", "AAECAwQ="},
		{"lines", broken, long.String()},
		{"the URL-safe alphabet without padding", "-_-_-w", "+/+/+w=="},
	} {
		event := `451-0["echo",{"_placeholder":true,"num":0}]`
		ack := `461-0[{"_placeholder":true,"num":0}]`
		t.Run("revision 4 "+tc.name, func(t *testing.T) {
			sid := openPolling(t, url, "4")
			poll := url + "/socket.io/?EIO=4&transport=polling&sid=" + sid
			if res, body := do(t, "POST", poll, "40\x1e"+event+"\x1eb"+tc.sent, nil); res.StatusCode != http.StatusOK {
				t.Fatalf("answered %d %s", res.StatusCode, body)
			}
			if _, body := get(t, poll, nil); !strings.HasSuffix(body, "\x1e"+ack+"\x1eb"+tc.want) {
				t.Errorf("got %q", body)
			}
		})
		t.Run("revision 3 "+tc.name, func(t *testing.T) {
			status, body := get(t, url+"/socket.io/?EIO=3&transport=polling&b64=1", nil)
			_, rest, _ := strings.Cut(body, `"sid":"`)
			sid, _, _ := strings.Cut(rest, `"`)
			poll := url + "/socket.io/?EIO=3&transport=polling&sid=" + sid
			res, body := do(t, "POST", poll, fmt.Sprintf("%d:%s%d:b4%s", len(event), event, 2+len(tc.sent), tc.sent), nil)
			if status != http.StatusOK || res.StatusCode != http.StatusOK {
				t.Fatalf("answered %d %s", res.StatusCode, body)
			}
			if _, body := get(t, poll, nil); !strings.HasSuffix(body, fmt.Sprintf("%d:%s%d:b4%s", len(ack), ack, 2+len(tc.want), tc.want)) {
				t.Errorf("got %q", body)
			}
		})
	}
}

// TestCloseFrameCodes: a close frame with half a code, or with a code that no endpoint may send, breaks the protocol.
func TestCloseFrameCodes(t *testing.T) {
	_, url := startEchoEvents(t, transport.ServerOptions{})
	for _, tc := range []struct {
		body string
		want uint16
	}{
		{"", 1000}, {"\x03", 1002}, {code(0), 1002}, {code(1), 1002}, {code(999), 1002}, {code(1000), 1000}, {code(1001), 1000}, {code(1003), 1000},
		{code(1004), 1002}, {code(1005), 1002}, {code(1006), 1002}, {code(1007), 1000}, {code(1011), 1000}, {code(1012), 1000}, {code(1014), 1000},
		{code(1015), 1002}, {code(1016), 1002}, {code(2999), 1002}, {code(3000), 1000}, {code(4999), 1000}, {code(5000), 1002}, {code(65535), 1002},
		{code(1000) + "bye", 1000}, {code(1000) + "\xff\xfe", 1002},
	} {
		for _, eio := range []string{"3", "4"} {
			t.Run(fmt.Sprintf("%q %s", tc.body, eio), func(t *testing.T) {
				c := dialTCP(t, url)
				c.upgradeTo("EIO=" + eio + "&transport=websocket")
				c.write(wsFrame(0x88, uint64(len(tc.body)), true, []byte(tc.body)))
				for {
					head, payload := c.nextFrame()
					if head != 0x88 {
						continue
					}
					if len(payload) < 2 || binary.BigEndian.Uint16([]byte(payload)) != tc.want {
						t.Errorf("answered %q, want %d", payload, tc.want)
					}
					return
				}
			})
		}
	}
}

func code(c uint16) string { return string(binary.BigEndian.AppendUint16(nil, c)) }

// TestRefusedRequests: each is told of, with its reason, and counted by it.
func TestRefusedRequests(t *testing.T) {
	refused := make(chan transport.Refused, 100)
	srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines, MaxClients: 1,
		EngineOptions: transport.EngineOptions{OnRefused: func(r transport.Refused) { refused <- r }}})
	sid := openPolling(t, url, "4")
	for _, tc := range []struct {
		name, method, query string
		header              http.Header
		want                transport.RefusedReason
	}{
		{"origin", "GET", "EIO=4&transport=polling", http.Header{"Origin": {"http://evil.example" + strings.Repeat("x", 1000)}}, transport.RefusedOrigin},
		{"version", "GET", "EIO=7&transport=polling", nil, transport.RefusedVersion},
		{"transport", "GET", "EIO=3&transport=pigeon", nil, transport.RefusedTransport},
		{"method", "PUT", "EIO=4&transport=polling", nil, transport.RefusedMethod},
		{"session 4", "GET", "EIO=4&transport=polling&sid=nobody", nil, transport.RefusedSession},
		{"session 3", "POST", "EIO=3&transport=polling&sid=nobody", nil, transport.RefusedSession},
		{"no upgrade", "GET", "EIO=4&transport=websocket", nil, transport.RefusedRequest},
		{"full 4", "GET", "EIO=4&transport=polling", nil, transport.RefusedFull},
		{"full 3", "GET", "EIO=3&transport=polling", nil, transport.RefusedFull},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, all := srv.Counters().RefusedFor(tc.want), srv.Counters().Refused.Load()
			if res, body := do(t, tc.method, url+"/socket.io/?"+tc.query, "", tc.header); res.StatusCode < 400 {
				t.Fatalf("answered %d %s", res.StatusCode, body)
			}
			r := receive(t, refused)
			if r.Reason != tc.want || !strings.HasPrefix(r.RemoteAddr, "127.0.0.1:") || r.Method != tc.method || r.Err == nil || len(r.Origin) > 250 {
				t.Errorf("told of %+v", r)
			}
			if strings.Contains(fmt.Sprint(r), "nobody") {
				t.Errorf("the session id is told: %+v", r)
			}
			if srv.Counters().RefusedFor(tc.want) != before+1 || srv.Counters().Refused.Load() != all+1 {
				t.Error("not counted")
			}
		})
	}
	t.Run("handshake", func(t *testing.T) {
		c := dialTCP(t, url)
		c.write("GET /socket.io/?EIO=4&transport=websocket&sid=" + sid + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if r := receive(t, refused); r.Reason != transport.RefusedHandshake {
			t.Errorf("told of %+v", r)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		c := dialTCP(t, url)
		c.upgradeTo("EIO=4&transport=websocket&sid=" + sid)
		c.write(text("4nothing"))
		if r := receive(t, refused); r.Reason != transport.RefusedUpgrade {
			t.Errorf("told of %+v", r)
		}
	})
}
