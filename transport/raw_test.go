package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine4"
	"tbmsock/transport/wire"
)

// patience bounds every wait of a test.
const patience = 10 * time.Second

// startServer serves a transport.Server on a free port until the test ends.
func startServer(t *testing.T, opts transport.ServerOptions) (*transport.Server, string) {
	t.Helper()
	if opts.Engines == nil {
		opts.Engines = []transport.NewEngine{engine4.New}
	}
	if opts.DrainTimeout == 0 {
		opts.DrainTimeout = 100 * time.Millisecond // for handshakes that a test abandons
	}
	if opts.Report == nil {
		opts.Report = func(err error) { t.Errorf("reported: %v", err) }
	}
	srv, err := transport.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		hs.Close()
	})
	return srv, hs.URL
}

// rawClient speaks Engine.IO 4 by hand over a WebSocket, so that a test sees each packet.
type rawClient struct {
	t      *testing.T
	socket *wire.Socket
	sid    string
}

func dialRaw(t *testing.T, url string) *rawClient {
	t.Helper()
	return dialEngine(t, url, "4")
}

// dialEngine is dialRaw for a revision of Engine.IO.
func dialEngine(t *testing.T, url, eio string) *rawClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := wire.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/socket.io/?transport=websocket&EIO="+eio, nil, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	c := &rawClient{t: t, socket: s}
	t.Cleanup(func() { s.Close(transport.ReasonTransportClose) })
	if open := c.next(); !strings.HasPrefix(open, "0{") {
		t.Fatalf("handshake is %q", open)
	}
	return c
}

// connectRaw dials and connects to a namespace.
func connectRaw(t *testing.T, url, nsp string) *rawClient {
	t.Helper()
	c := dialRaw(t, url)
	prefix := "40"
	if nsp != "/" {
		prefix += nsp + ","
	}
	c.send(prefix)
	reply := c.next()
	if !strings.HasPrefix(reply, prefix+"{") {
		t.Fatalf("CONNECT answered by %q", reply)
	}
	var body struct{ Sid string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(reply, prefix)), &body); err != nil {
		t.Fatal(err)
	}
	c.sid = body.Sid
	return c
}

func (c *rawClient) send(text string) {
	c.t.Helper()
	if err := c.socket.WriteMessage(false, []byte(text)); err != nil {
		c.t.Fatalf("send %.60q: %v", text, err)
	}
}

func (c *rawClient) sendBinary(data []byte) {
	c.t.Helper()
	if err := c.socket.WriteMessage(true, data); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next message, pings answered on the way. A binary one has "b:" before it.
func (c *rawClient) next() string {
	c.t.Helper()
	for {
		s, err := c.read()
		if err != nil {
			c.t.Fatalf("read: %v", err)
		}
		if s == "2" {
			c.send("3")
			continue
		}
		return s
	}
}

func (c *rawClient) read() (string, error) {
	if err := c.socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	binary, data, err := c.socket.Read()
	if binary {
		return "b:" + string(data), err
	}
	return string(data), err
}

func (c *rawClient) want(text string) {
	c.t.Helper()
	if got := c.next(); got != text {
		c.t.Fatalf("got %.200q, want %.200q", got, text)
	}
}

// wantClosed reads until the server closes the connection.
func (c *rawClient) wantClosed() {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			c.t.Fatalf("not closed: %v", err)
		}
	}
}

func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}
