//go:build unix

package transport_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// benchValues are what is sent: a packet of the simulated EPB machine as telemetry sends it (testdata,
// made by tbmsock simulate), two of its groups, and a list of 14 packets.
func benchValues(b *testing.B) map[string]json.RawMessage {
	b.Helper()
	file, err := os.ReadFile("testdata/packets.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	var e struct {
		Source string                     `json:"source"`
		Boot   string                     `json:"boot"`
		Seq    int                        `json:"seq"`
		Time   time.Time                  `json:"time"`
		Packet map[string]json.RawMessage `json:"packet"`
	}
	if err := json.Unmarshal([]byte(lines[9]), &e); err != nil {
		b.Fatal(err)
	}
	e.Packet = map[string]json.RawMessage{"thrust": e.Packet["thrust"], "chamber": e.Packet["chamber"]}
	small, err := json.Marshal(e)
	if err != nil {
		b.Fatal(err)
	}
	return map[string]json.RawMessage{"two groups": small, "a packet": json.RawMessage(lines[9]), "14 packets": json.RawMessage("[" + strings.Join(lines[:14], ",") + "]")}
}

// BenchmarkCompressed is one broadcast to 100 clients on loopback, until all of them have it: CPU time of
// this process, which is server and clients, and bytes for each client.
func BenchmarkCompressed(b *testing.B) {
	const clients = 100
	values := benchValues(b)
	for _, name := range []string{"two groups", "a packet", "14 packets"} {
		for _, mode := range []struct {
			name, offer string
			compress    int
		}{{"off", "", 0}, {"on, nobody agrees", "", 64}, {"on", "permessage-deflate", 64}} {
			b.Run(name+"/"+mode.name, func(b *testing.B) {
				srv, err := transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine4.New},
					EngineOptions: transport.EngineOptions{Compress: mode.compress, DrainTimeout: time.Millisecond}})
				if err != nil {
					b.Fatal(err)
				}
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				hs := &http.Server{Handler: srv}
				go func() { _ = hs.Serve(ln) }()
				var arrived, readers sync.WaitGroup
				sizes := make(chan int, clients)
				for range clients {
					c, r := benchClient(b, ln.Addr().String(), mode.offer)
					defer func() { _ = c.Close() }()
					readers.Go(func() {
						size := benchFrame(b, r)
						sizes <- size
						frame := make([]byte, size) // all are the same
						for {
							if _, err := io.ReadFull(r, frame); err != nil {
								return
							}
							arrived.Done()
						}
					})
				}
				emit := func() {
					if err := srv.Of("/").Emit("log_telemetry", values[name]); err != nil {
						b.Fatal(err)
					}
				}
				emit()
				size := 0
				for range clients {
					size = <-sizes
				}
				before := cpuTime()
				b.ReportAllocs()
				for b.Loop() {
					arrived.Add(clients)
					emit()
					arrived.Wait()
				}
				b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "CPU-us/op")
				b.ReportMetric(float64(size), "bytes")
				_ = ln.Close()
				_ = srv.Shutdown(b.Context())
				_ = hs.Close()
				readers.Wait()
			})
		}
	}
}

// benchClient opens a WebSocket and the main namespace.
func benchClient(b *testing.B, addr, offer string) (net.Conn, *bufio.Reader) {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	line := ""
	if offer != "" {
		line = "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	fmt.Fprintf(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s", line, text("40"))
	r := bufio.NewReaderSize(c, 32<<10)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("%v, %v", res, err)
	}
	for range 2 { // the handshake and the namespace
		benchFrame(b, r)
	}
	return c, r
}

// benchFrame reads a frame and returns how long it was.
func benchFrame(b *testing.B, r *bufio.Reader) int {
	head, err := r.Peek(4)
	if err != nil {
		b.Error(err)
		return 0
	}
	size := 2 + int(head[1])
	if head[1] == 126 {
		size = 4 + int(head[2])<<8 + int(head[3])
	}
	if _, err := r.Discard(size); err != nil {
		b.Error(err)
	}
	return size
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
