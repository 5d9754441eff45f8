// Package testproxy gives tests real forward proxies on loopback, HTTP (requests and CONNECT) and SOCKS 5, that lead
// every request to one server, whatever host it names: the name of a host that does not exist shows that the proxy was
// used.
package testproxy

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Proxy is one that runs until its test ends.
type Proxy struct {
	URL *url.URL // with User, if it asks for credentials

	to   string
	user *url.Userinfo
	wait sync.WaitGroup

	mu    sync.Mutex
	seen  []string // "CONNECT host:port", "GET host"
	conns map[net.Conn]bool
	ended bool
}

// Seen returns what has passed, as "CONNECT host:port", "SOCKS host:port", "GET host" or "POST host". Refused requests
// are not in it.
func (p *Proxy) Seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.seen...)
}

func (p *Proxy) saw(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, fmt.Sprintf(format, args...))
}

// HTTP starts an HTTP proxy. to is the host:port that all requests are led to, user who may use it; nil: everybody.
func HTTP(t testing.TB, to string, user *url.Userinfo) *Proxy {
	t.Helper()
	p := &Proxy{to: to, user: user, conns: map[net.Conn]bool{}}
	want := ""
	if user != nil {
		password, _ := user.Password()
		want = "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: to})
		r.Out.Host = r.In.Host
	}}
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != want {
			w.Header().Set("Proxy-Authenticate", "Basic")
			http.Error(w, "who are you?", http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			p.saw("%s %s", r.Method, r.Host)
			forward.ServeHTTP(w, r)
			return
		}
		p.saw("CONNECT %s", r.Host)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		p.pipe(conn, rw)
	}))
	t.Cleanup(func() { p.end(); hs.Close() })
	p.URL, _ = url.Parse(hs.URL)
	p.URL.User = user
	return p
}

// SOCKS starts a SOCKS 5 proxy.
func SOCKS(t testing.TB, to string, user *url.Userinfo) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{to: to, user: user, conns: map[net.Conn]bool{}, URL: &url.URL{Scheme: "socks5", Host: ln.Addr().String(), User: user}}
	p.wait.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.wait.Go(func() {
				if err := p.socks(conn); err != nil {
					_ = conn.Close()
					return
				}
				p.pipe(conn, conn)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); p.end() })
	return p
}

// socks is the proxy's part of RFC 1928 and RFC 1929.
func (p *Proxy) socks(conn net.Conn) error {
	methods, err := short(conn, 1)
	if err != nil {
		return err
	}
	method := byte(0)
	if p.user != nil {
		method = 2
	}
	if !strings.ContainsRune(methods, rune(method)) {
		_, _ = conn.Write([]byte{5, 0xff})
		return errors.New("no method")
	}
	if _, err := conn.Write([]byte{5, method}); err != nil {
		return err
	}
	if p.user != nil {
		name, err := short(conn, 1)
		if err != nil {
			return err
		}
		password, err := short(conn, 0)
		if err != nil {
			return err
		}
		if want, _ := p.user.Password(); name != p.user.Username() || password != want {
			_, _ = conn.Write([]byte{1, 1})
			return errors.New("refused")
		}
		if _, err := conn.Write([]byte{1, 0}); err != nil {
			return err
		}
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	host := ""
	switch head[3] {
	case 3:
		if host, err = short(conn, 0); err != nil {
			return err
		}
	case 1:
		var ip [4]byte
		if _, err := io.ReadFull(conn, ip[:]); err != nil {
			return err
		}
		host = net.IP(ip[:]).String()
	default:
		return errors.New("type of address")
	}
	var port [2]byte
	if _, err := io.ReadFull(conn, port[:]); err != nil {
		return err
	}
	p.saw("SOCKS %s:%d", host, binary.BigEndian.Uint16(port[:]))
	_, err = conn.Write([]byte{5, 0, 0, 3, 1, 'x', 0, 0})
	return err
}

// short reads a text with its length in a byte before it, skipping some bytes first.
func short(r io.Reader, skip int) (string, error) {
	head := make([]byte, skip+1)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	text := make([]byte, head[skip])
	_, err := io.ReadFull(r, text)
	return string(text), err
}

// pipe passes bytes on in both directions until one end closes.
func (p *Proxy) pipe(client net.Conn, from io.Reader) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if !p.keep(client, server) {
		return
	}
	back := make(chan struct{})
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
		close(back)
	}()
	_, _ = io.Copy(server, from)
	_ = server.Close()
	<-back
}

func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
	return !p.ended
}

func (p *Proxy) end() {
	p.mu.Lock()
	p.ended = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wait.Wait()
}
