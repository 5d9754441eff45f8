package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// dialProxy opens a connection to address, host:port, through a proxy. A WebSocket needs one that passes on bytes
// (RFC 6455 section 4.1 asks for CONNECT); the proxy resolves the host's name.
func dialProxy(ctx context.Context, proxy *url.URL, address string) (net.Conn, error) {
	var tunnel func(net.Conn, *url.URL, string) error
	switch proxy.Scheme {
	case "http", "https":
		tunnel = httpConnect
	case "socks5", "socks5h":
		tunnel = socksConnect
	default:
		return nil, fmt.Errorf("proxy: scheme %q is not http, https, socks5 or socks5h", proxy.Scheme)
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), portOf(proxy)))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	conn := raw
	if proxy.Scheme == "https" {
		t := tls.Client(raw, &tls.Config{ServerName: proxy.Hostname(), NextProtos: []string{"http/1.1"}})
		conn, err = t, t.HandshakeContext(ctx)
	}
	if err == nil {
		err = tunnel(conn, proxy, address)
	}
	if !stop() {
		err = ctx.Err() // the deadline is set, or will be
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	return conn, nil
}

// errEarly: in a tunnel the client speaks first.
var errEarly = errors.New("data before the tunnel was used")

// httpConnect asks an HTTP proxy for a tunnel (RFC 9110 section 9.3.6).
func httpConnect(conn net.Conn, proxy *url.URL, address string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if proxy.User != nil {
		req.Header.Set("Proxy-Authorization", basic(proxy.User))
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, req)
	switch {
	case err != nil:
		return fmt.Errorf("CONNECT %s: %w", address, err)
	case res.StatusCode/100 != 2:
		return fmt.Errorf("CONNECT %s: %s", address, res.Status)
	case r.Buffered() > 0:
		return fmt.Errorf("CONNECT %s: %w", address, errEarly)
	}
	return nil
}

// The bytes of SOCKS 5 (RFC 1928) and of its passwords (RFC 1929).
const (
	socksVersion  = 5
	socksNoAuth   = 0
	socksPassword = 2
	socksConnects = 1
	socksIPv4     = 1
	socksName     = 3
	socksIPv6     = 4
)

var socksErrors = []string{"", "general failure", "not allowed by the rules", "network unreachable", "host unreachable", "connection refused",
	"TTL expired", "command not supported", "address type not supported"}

// socksConnect asks a SOCKS 5 proxy for a tunnel.
func socksConnect(conn net.Conn, proxy *url.URL, address string) error {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return fmt.Errorf("port %q", portText)
	}
	offer := []byte{socksVersion, 1, socksNoAuth}
	user, password := "", ""
	if proxy.User != nil {
		user = proxy.User.Username()
		password, _ = proxy.User.Password()
		offer = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	var answer [4]byte
	if err := ask(conn, offer, answer[:2]); err != nil {
		return err
	}
	switch {
	case answer[0] != socksVersion:
		return errors.New("not a SOCKS 5 proxy")
	case answer[1] == socksPassword && proxy.User != nil:
		if len(user) > 255 || len(password) > 255 {
			return errors.New("SOCKS 5: user and password have at most 255 bytes")
		}
		login := append([]byte{1, byte(len(user))}, user...)
		login = append(append(login, byte(len(password))), password...)
		if err := ask(conn, login, answer[:2]); err != nil {
			return err
		}
		if answer[1] != 0 {
			return errors.New("SOCKS 5: user or password refused")
		}
	case answer[1] != socksNoAuth:
		return errors.New("SOCKS 5: the proxy wants another kind of authentication")
	}
	request := []byte{socksVersion, socksConnects, 0}
	switch ip, err := netip.ParseAddr(host); {
	case err == nil && ip.Is4():
		request = append(append(request, socksIPv4), ip.AsSlice()...)
	case err == nil:
		request = append(append(request, socksIPv6), ip.AsSlice()...)
	case len(host) > 255:
		return errors.New("SOCKS 5: host name of more than 255 bytes")
	default:
		request = append(append(request, socksName, byte(len(host))), host...)
	}
	if err := ask(conn, append(request, byte(port>>8), byte(port)), answer[:]); err != nil {
		return err
	}
	if code := int(answer[1]); code != 0 {
		if code < len(socksErrors) {
			return fmt.Errorf("SOCKS 5: %s: %s", address, socksErrors[code])
		}
		return fmt.Errorf("SOCKS 5: %s: error %d", address, code)
	}
	// The address that the proxy connects from, and its port, mean nothing to us.
	bound := net.IPv4len
	switch answer[3] {
	case socksIPv4:
	case socksIPv6:
		bound = net.IPv6len
	case socksName:
		if _, err := io.ReadFull(conn, answer[:1]); err != nil {
			return err
		}
		bound = int(answer[0])
	default:
		return fmt.Errorf("SOCKS 5: address of type %d", answer[3])
	}
	_, err = io.CopyN(io.Discard, conn, int64(bound)+2)
	return err
}

// ask writes a question and reads an answer of a known length, and no byte more.
func ask(conn net.Conn, question, answer []byte) error {
	if _, err := conn.Write(question); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, answer)
	return err
}
