package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialers     = 16 // handshakes under way at once
	dialTimeout = 30 * time.Second
	ackPatience = 2 * time.Second // for the answer to a join, which not every server gives
)

// opened is a connection whose handshakes are done, before it is put into the poller.
type opened struct {
	net  *net.TCPConn
	r    *bufio.Reader
	beat time.Duration // how often the client has to send a heartbeat; 0: never
}

// dialer opens connections, and joins a room with each.
type dialer struct {
	opts Options
	url  *url.URL
	room string

	told func(n int) // called about once a second while connections are opened; may be nil

	mu    sync.Mutex
	noAck bool // the server does not answer a join
	done  int  // connections
	last  time.Time
}

// all opens n connections that join the room, a few at a time. The first goes alone: whether the server answers
// a join is learned from it.
func (d *dialer) all(ctx context.Context, n int) ([]*opened, error) {
	conns := make([]*opened, n)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.last = time.Now()
	one := func(i int) {
		var err error
		if conns[i], err = d.open(ctx, i, true); err != nil {
			cancel(fmt.Errorf("client %d of %d: %w", i+1, n, err))
			return
		}
		d.tell()
	}
	one(0)
	work := make(chan int)
	var wg sync.WaitGroup
	for range min(dialers, n) {
		wg.Go(func() {
			for i := range work {
				if ctx.Err() == nil {
					one(i)
				}
			}
		})
	}
	for i := 1; i < n; i++ {
		work <- i
	}
	close(work)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		for _, c := range conns {
			if c != nil {
				_ = c.net.Close()
			}
		}
		return nil, err
	}
	return conns, nil
}

func (d *dialer) tell() {
	if d.told == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done++
	if time.Since(d.last) >= time.Second {
		d.last = time.Now()
		d.told(d.done)
	}
}

// fromOne is how many clients connect from one address: fewer than an address has ports to connect from (28,232
// by Linux' default).
const fromOne = 20_000

// source is the address from which the i-th client connects; nil: the system chooses. All of 127.0.0.0/8 is this
// machine's own.
func (d *dialer) source(i int) net.Addr {
	ip, err := netip.ParseAddr(d.url.Hostname())
	if i < fromOne || err != nil || !ip.Is4() || !ip.IsLoopback() {
		return nil
	}
	i /= fromOne
	return &net.TCPAddr{IP: net.IPv4(127, 1+byte(i>>16), byte(i>>8), byte(i))}
}

// freePort lets the system choose the port when it knows where to: one in use for another server will do then.
func freePort(_, _ string, raw syscall.RawConn) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(err, set)
}

// open opens the i-th connection.
func (d *dialer) open(ctx context.Context, i int, join bool) (*opened, error) {
	nd := net.Dialer{Timeout: dialTimeout, LocalAddr: d.source(i)}
	if nd.LocalAddr != nil {
		nd.Control = freePort
	}
	nc, err := nd.DialContext(ctx, "tcp", d.url.Host)
	if err != nil {
		return nil, err
	}
	o := &opened{net: nc.(*net.TCPConn), r: bufio.NewReaderSize(nc, 1024)}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	err = nc.SetDeadline(time.Now().Add(dialTimeout))
	if err == nil {
		err = d.upgrade(o)
	}
	if err == nil && d.opts.Revision != Bare {
		err = d.enter(o, join)
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return o, nil
}

// upgrade is the WebSocket's handshake (RFC 6455 section 4.1). No extension is offered.
func (d *dialer) upgrade(o *opened) error {
	query := d.url.Query()
	path := d.url.EscapedPath()
	if d.opts.Revision != Bare {
		path = strings.TrimSuffix(path, "/") + d.opts.Path
		query.Set("EIO", d.opts.Revision.String())
		query.Set("transport", "websocket")
	}
	if path == "" {
		path = "/"
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	authorization := ""
	if user := d.url.User; user != nil {
		password, _ := user.Password()
		authorization = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)) + "\r\n"
	}
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails, by its documentation
	_, err := fmt.Fprintf(o.net, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n", path, d.url.Host, base64.StdEncoding.EncodeToString(key[:]), authorization)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(o.r, &http.Request{Method: http.MethodGet})
	if err != nil {
		return fmt.Errorf("WebSocket handshake: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		_ = res.Body.Close()
		return fmt.Errorf("WebSocket handshake: %s %.200q", res.Status, bytes.TrimSpace(body))
	}
	return nil
}

// enter goes through the handshakes of Engine.IO and of Socket.IO, and joins the room.
func (d *dialer) enter(o *opened, join bool) error {
	open, err := o.until("0")
	if err != nil {
		return err
	}
	var shake struct{ PingInterval int64 }
	if err := json.Unmarshal(open[1:], &shake); err != nil {
		return fmt.Errorf("handshake %.100q: %w", open, err)
	}
	if d.opts.Revision == Engine3 {
		o.beat = time.Duration(shake.PingInterval) * time.Millisecond // the client asks, in this revision
	} else if err := o.send("40"); err != nil {
		return err
	}
	if _, err := o.until("40"); err != nil {
		return err
	}
	if !join {
		return nil
	}
	if err := o.send(fmt.Sprintf(`420["join",%q]`, d.room)); err != nil {
		return err
	}
	d.mu.Lock()
	noAck := d.noAck
	d.mu.Unlock()
	if noAck {
		return nil
	}
	if err := o.net.SetDeadline(time.Now().Add(ackPatience)); err != nil {
		return err
	}
	_, err = o.until("430")
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		// Whether the joins were understood shows when the first messages come.
		d.mu.Lock()
		d.noAck = true
		d.mu.Unlock()
		return nil
	}
	return err
}

func (o *opened) send(text string) error {
	_, err := o.net.Write(appendFrame(nil, opText, []byte(text)))
	return err
}

// until reads messages up to the one that begins with the prefix.
func (o *opened) until(prefix string) ([]byte, error) {
	for {
		op, data, err := readFrame(o.r)
		switch {
		case err != nil:
			return nil, fmt.Errorf("waiting for packet %s: %w", prefix, err)
		case op == opClose:
			return nil, fmt.Errorf("waiting for packet %s: the server closed the connection", prefix)
		case bytes.HasPrefix(data, []byte("44")):
			return nil, fmt.Errorf("the server refuses: %.200q", data)
		case bytes.HasPrefix(data, []byte(prefix)):
			return data, nil
		case string(data) == "2":
			if err := o.send("3"); err != nil {
				return nil, err
			}
		}
	}
}

// detach takes the file descriptor out of the runtime's hands, with what has been read beyond the
// handshake.
func (o *opened) detach() (fd int, early []byte, err error) {
	defer func() { _ = o.net.Close() }()
	raw, err := o.net.SyscallConn()
	if err != nil {
		return -1, nil, err
	}
	var dupErr error
	err = raw.Control(func(orig uintptr) { fd, dupErr = unix.FcntlInt(orig, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return -1, nil, err
	}
	if n := o.r.Buffered(); n > 0 {
		early, _ = o.r.Peek(n)
		early = bytes.Clone(early)
	}
	return fd, early, nil
}
