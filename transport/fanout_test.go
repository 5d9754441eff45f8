package transport_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// The relay's whole way, in memory: everything is real but the kernel's sockets. What a publisher's socket would
// give is put into a memConn; what subscribers' sockets would take is counted by theirs. Or over TCP, with real ones.

// clientEnd is a client's end of a connection.
type clientEnd interface {
	feed([]byte) // sends to the server
	await(what string)
	goLive() // from now on what comes is counted
}

// tcpEnd is a client's end of a real connection.
type tcpEnd struct {
	net.Conn
	taken *tally
}

func (c tcpEnd) feed(p []byte) { _, _ = c.Write(p) } // an error shows in what does not come

func (c tcpEnd) await(what string) {
	var got []byte
	buf := make([]byte, 512)
	for !bytes.Contains(got, []byte(what)) {
		n, err := c.Read(buf)
		if err != nil {
			panic(err)
		}
		got = append(got, buf[:n]...)
	}
}

func (c tcpEnd) goLive() {
	go func() { // until the test closes the connection
		buf := make([]byte, 64<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			c.taken.add(n)
		}
	}()
}

// memConn is the server's end of a connection, and the client's.
type memConn struct {
	taken *tally

	mu     sync.Mutex
	cond   sync.Cond
	in     []byte // not yet read by the server
	out    []byte // written by it, until the connection is live
	live   bool
	closed bool
}

func newMemConn(taken *tally) *memConn {
	c := &memConn{taken: taken}
	c.cond.L = &c.mu
	return c
}

// feed gives the server bytes to read.
func (c *memConn) feed(p []byte) {
	c.mu.Lock()
	c.in = append(c.in, p...)
	c.mu.Unlock()
	c.cond.Broadcast()
}

func (c *memConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.in) == 0 {
		if c.closed {
			return 0, io.EOF
		}
		c.cond.Wait()
	}
	n := copy(p, c.in)
	c.in = c.in[:copy(c.in, c.in[n:])]
	return n, nil
}

func (c *memConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.live {
		c.out = append(c.out, p...)
		c.mu.Unlock()
		c.cond.Broadcast()
		return len(p), nil
	}
	c.mu.Unlock()
	c.taken.add(len(p))
	return len(p), nil
}

// await returns when the server has written what.
func (c *memConn) await(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !bytes.Contains(c.out, []byte(what)) {
		c.cond.Wait()
	}
}

func (c *memConn) goLive() {
	c.mu.Lock()
	c.live, c.out = true, nil
	c.mu.Unlock()
}

func (c *memConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cond.Broadcast()
	return nil
}

func (c *memConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *memConn) SetDeadline(time.Time) error      { return nil }
func (c *memConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

// tally counts bytes over many connections and tells when there are so many.
type tally struct {
	bytes, want atomic.Int64
	reached     chan struct{}
}

func (t *tally) add(n int) {
	if t.bytes.Add(int64(n)) == t.want.Load() {
		t.reached <- struct{}{}
	}
}

// hijacked is the ResponseWriter of a WebSocket handshake over a memConn.
type hijacked struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReaderSize(h.conn, 16), bufio.NewWriterSize(h.conn, 16)), nil
}

// fanOut is a relay with one publisher and subscribers in the room "ops".
type fanOut struct {
	publisher clientEnd
	taken     tally
	frame     []byte // a publisher's
	size      int64  // of what each subscriber is sent for it
	n         int
}

func startFanOut(tb testing.TB, subscribers int, engine string, tcp bool) *fanOut {
	tb.Helper()
	srv, err := transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine4.New, engine3.New}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := srv.Shutdown(tb.Context()); err != nil && tb.Context().Err() == nil {
			tb.Errorf("shutdown: %v", err)
		}
	})
	if _, err := transport.NewRelay(srv.Of("/"), transport.RelayOptions{}); err != nil {
		tb.Fatal(err)
	}
	f := &fanOut{n: subscribers, taken: tally{reached: make(chan struct{}, 1)}}
	ends := func() (net.Conn, clientEnd) {
		c := newMemConn(&f.taken)
		return c, c
	}
	if tcp {
		ends = tcpEnds(tb, &f.taken)
	}
	open := func() clientEnd {
		server, c := ends()
		r := httptest.NewRequest(http.MethodGet, "/socket.io/?transport=websocket&EIO="+engine, nil)
		r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
			"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
		srv.ServeHTTP(hijacked{httptest.NewRecorder(), server}, r)
		if engine == "4" {
			c.feed(clientFrame("40"))
		}
		c.await("40")
		return c
	}
	for range subscribers {
		c := open()
		c.feed(clientFrame(`420["join","ops"]`))
		c.await("430")
		c.goLive()
	}
	f.publisher = open()
	argument := fmt.Sprintf(`{"source":"tbm-1","boot":"b","seq":1,"time":"2026-01-05T07:00:00Z","room":"ops","packet":{"pad":"%s"}}`, bytes.Repeat([]byte("x"), 200))
	text := `42["log_telemetry",` + argument + `]`
	f.frame = clientFrame(text)
	f.size = int64(len(text) + 4)
	return f
}

// tcpEnds makes connections over loopback.
func tcpEnds(tb testing.TB, taken *tally) func() (net.Conn, clientEnd) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ln.Close() })
	return func() (net.Conn, clientEnd) {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = c.Close() })
		server, err := ln.Accept()
		if err != nil {
			tb.Fatal(err)
		}
		return server, tcpEnd{c, taken}
	}
}

// send publishes n messages at once, and returns when every subscriber's connection has taken them.
func (f *fanOut) send(n int) {
	f.taken.want.Store(f.taken.bytes.Load() + int64(n)*int64(f.n)*f.size)
	if n == 1 {
		f.publisher.feed(f.frame)
	} else {
		f.publisher.feed(bytes.Repeat(f.frame, n))
	}
	<-f.taken.reached
}

// clientFrame is a text frame with a mask of zeroes.
func clientFrame(text string) []byte {
	b := []byte{0x81}
	if len(text) < 126 {
		b = append(b, 0x80|byte(len(text)))
	} else {
		b = append(b, 0x80|126, byte(len(text)>>8), byte(len(text)))
	}
	return append(append(b, 0, 0, 0, 0), text...)
}

// From the bytes of a publisher's frame to those of the frames that subscribers' connections take: what a message
// allocates is the same for one subscriber and for a thousand.
func TestDeliveryAllocatesNothing(t *testing.T) {
	const many = 1000
	for _, tc := range []struct {
		engine string
		tcp    bool
	}{{"4", false}, {"3", false}, {"4", true}, {"3", true}} {
		t.Run(fmt.Sprintf("engine %s, tcp %v", tc.engine, tc.tcp), func(t *testing.T) {
			allocs := func(subscribers int) float64 {
				f := startFanOut(t, subscribers, tc.engine, tc.tcp)
				for range 10 {
					f.send(1) // pools and queues come to their size
				}
				return testing.AllocsPerRun(100, func() { f.send(1) })
			}
			one, all := allocs(1), allocs(many)
			t.Logf("%v allocations a message with 1 subscriber, %v with %d", one, all, many)
			if a := (all - one) / (many - 1); a > allocationsAllowed {
				t.Errorf("%v allocations a delivery", a)
			}
		})
	}
}

func BenchmarkRelay(b *testing.B) {
	for _, waiting := range []int{1, 64} {
		for _, n := range []int{1, 100, 10_000} {
			b.Run(fmt.Sprintf("waiting=%d/subscribers=%d", waiting, n), func(b *testing.B) {
				f := startFanOut(b, n, "4", false)
				f.send(waiting)
				b.ReportAllocs()
				for b.Loop() {
					f.send(waiting)
				}
				b.ReportMetric(float64(n)*float64(waiting)*float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
			})
		}
	}
}
