package wire

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestRedirected(t *testing.T) {
	for _, tc := range []struct {
		name, from, location string
		to                   string // "": refused
		secret               bool   // credentials go there too
	}{
		{"another path", "http://h/a?x=1", "/b?y=2", "http://h/b?y=2", true},
		{"the same server by its whole address", "http://h:80/a", "http://H/b", "http://H/b", true},
		{"https on the same host", "http://h/a", "https://h/a", "https://h/a", true},
		{"https on another port", "http://h:8080/a", "https://h:8443/a", "https://h:8443/a", false},
		{"another port", "http://h:1/a", "http://h:2/a", "http://h:2/a", false},
		{"another host", "http://h/a", "http://i/a", "http://i/a", false},
		{"a host below it", "http://h/a", "http://x.h/a", "http://x.h/a", false},
		{"a WebSocket's address", "https://h/a", "wss://i/a", "https://i/a", false},
		{"credentials of its own", "http://h/a", "http://u:p@i/a", "http://i/a", false},
		{"from https to http", "https://h/a", "http://h/a", "", false},
		{"from https to ws", "https://h/a", "ws://h/a", "", false},
		{"another scheme", "http://h/a", "ftp://u:secret@h/a", "", false},
		{"no host", "http://h/a", "http:///a", "", false},
		{"no location", "http://h/a", "", "", false},
		{"no URL", "http://h/a", "http://u:secret@h:x", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := url.Parse(tc.from)
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{"Cookie": {"a=b"}, "X-Site": {"7"}}
			from := newTarget(u, header)
			u.User = url.UserPassword("tbm", "secret")
			withSecret := newTarget(u, header)
			if from.header.Get("Authorization") != "" || withSecret.header.Get("Authorization") == "" || len(header) != 2 {
				t.Fatalf("headers are %v and %v of %v", from.header, withSecret.header, header)
			}
			to, err := withSecret.redirected(tc.location)
			if tc.to == "" {
				if err == nil || strings.Contains(err.Error(), "secret") {
					t.Errorf("leads to %s, %v", to.url.String(), err)
				}
				return
			}
			if err != nil || to.url.String() != tc.to {
				t.Fatalf("leads to %s, %v", to.url.String(), err)
			}
			sent := to.header.Get("Authorization") != "" && to.header.Get("Cookie") != ""
			if sent != tc.secret || to.header.Get("X-Site") != "7" || withSecret.header.Get("Cookie") == "" {
				t.Errorf("header is %v", to.header)
			}
		})
	}
}

// A proxy that does not answer holds nobody beyond the handshake's time.
func TestSilentProxy(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	for _, scheme := range []string{"http", "https", "socks5"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_, err := dialProxy(ctx, &url.URL{Scheme: scheme, User: url.UserPassword("u", "secret"), Host: ln.Addr().String()}, "tbm.invalid:80")
		cancel()
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// answered is a connection whose other end says what it says, whatever it is asked.
type answered struct {
	net.Conn
	answer bytes.Reader
}

func (a *answered) Read(b []byte) (int, error)  { return a.answer.Read(b) }
func (a *answered) Write(b []byte) (int, error) { return len(b), nil }

// FuzzProxy: whatever a proxy answers, nobody panics, and a tunnel is one only after the whole answer.
func FuzzProxy(f *testing.F) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 407 No\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nearly",
		"\x05\x00\x05\x00\x00\x01abcdef", "\x05\x02\x01\x00\x05\x00\x00\x03\x01xab", "\x05\xff", "\x05\x00\x05\x05\x00\x01", "\x05\x00\x05\x00\x00\x04", "",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		proxy := &url.URL{Scheme: "http", User: url.UserPassword("u", "p"), Host: "proxy:1"}
		for _, tunnel := range []func(net.Conn, *url.URL, string) error{httpConnect, socksConnect} {
			conn := &answered{}
			conn.answer.Reset(answer)
			if err := tunnel(conn, proxy, "tbm.invalid:80"); err == nil && conn.answer.Len() == len(answer) {
				t.Errorf("%q is a tunnel, unread", answer)
			}
		}
	})
}
