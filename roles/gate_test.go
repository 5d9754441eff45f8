package roles

import (
	"bytes"
	"context"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"tbmsock/transport"
)

// failing is a listener whose Accept fails as often as it is told.
type failing struct {
	net.Listener
	times atomic.Int32
	err   error
}

func (l *failing) Accept() (net.Conn, error) {
	if l.times.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: l.err}
	}
	return l.Listener.Accept()
}

func openGate(t *testing.T, number func(net.Conn) int, log *logrus.Logger) (*gate, *failing) {
	t.Helper()
	sio, err := transport.NewServer(transport.ServerOptions{Engines: serverEngines()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &failing{Listener: ln}
	g := newGate(f, &endpoints{sio: sio}, log, stdlog.New(io.Discard, "", 0), 64, number)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { g.serve(ctx); close(done) }()
	t.Cleanup(func() {
		_ = ln.Close()
		cancel()
		<-done
	})
	return g, f
}

// The log is told at once, and then now and then how many it were.
func TestGateTells(t *testing.T) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	g, _ := openGate(t, nil, log)
	now := time.Now()
	g.now = func() time.Time { return now }
	for range 100 {
		g.tell(nil)
	}
	now = now.Add(tellEvery)
	g.tell(errors.New("no more"))
	if n := strings.Count(out.String(), "level=warning"); n != 2 || !strings.Contains(out.String(), "refused=100") || !strings.Contains(out.String(), "no more") {
		t.Errorf("told %d times:\n%s", n, &out)
	}
}

// Without a descriptor for the new connection the oldest one that asks nothing makes room.
func TestGateWithoutADescriptor(t *testing.T) {
	if len(exhaustion) == 0 {
		t.Skip("the system has no limit")
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	g, f := openGate(t, func(net.Conn) int { return 64 }, log)
	f.err = exhaustion[0]
	ended := make(chan error, 1)
	accept := func() {
		go func() {
			_, err := g.Accept()
			ended <- err
		}()
	}
	accept()
	idle, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	for ctx := t.Context(); ctx.Err() == nil; {
		g.mu.Lock()
		n := len(g.held)
		g.mu.Unlock()
		if n == 1 {
			break
		}
		<-time.After(time.Millisecond)
	}
	f.times.Store(1)
	res, err := http.Get("http://" + g.Addr().String() + "/healthz") // its Accept is under way already; the next fails
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %s", res.Status)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection: %v", err)
	}
	// With nothing to close the error is the HTTP server's affair.
	for g.evict(0) {
	}
	f.times.Store(1000)
	_ = f.Listener.Close()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}
