//go:build linux && !race

package transport_test

import (
	"net"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"tbmsock/transport"
)

// What an idle WebSocket client costs in stacks and on the heap, as docs/FANOUT.md tells it. It has connected, joined
// a room, and answered a heartbeat.
func TestIdleClientMemory(t *testing.T) {
	const clients = 500
	srv, base := startServer(t, transport.ServerOptions{})
	if _, err := transport.NewRelay(srv.Of("/"), transport.RelayOptions{}); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	measure := func() (stacks, heap uint64) {
		var m runtime.MemStats
		for range 3 { // a collection halves a stack that is too large, and empties half of the pools
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.StackInuse, m.HeapAlloc
	}
	idleClient(t, u.Host) // what is made once
	stacks, heap := measure()
	for range clients {
		idleClient(t, u.Host)
	}
	stacks2, heap2 := measure()
	perStack, perHeap := int64(stacks2-stacks)/clients, int64(heap2-heap)/clients
	t.Logf("an idle client takes %d bytes of stacks and %d of the heap (its own end in this test among them)", perStack, perHeap)
	if perStack > 7<<9 {
		t.Errorf("%d bytes of stacks a client, 2 KB and little more are needed", perStack)
	}
	if perHeap > 4<<10 {
		t.Errorf("%d bytes of the heap a client", perHeap)
	}
}

// idleClient connects, joins and answers a heartbeat, without a goroutine of its own.
func idleClient(t *testing.T, host string) {
	t.Helper()
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	var got []byte
	send := func(text, want string) {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 512)
		for !strings.Contains(string(got), want) {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %q: %v", want, err)
			}
			got = append(got, buf[:n]...)
		}
		got = nil
	}
	send("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", "upgrades")
	send(string(clientFrame("40")), "40{")
	send(string(clientFrame(`420["join","ops"]`)), "430[")
	send(string(clientFrame("3"))+string(clientFrame(`421["rooms"]`)), "431[")
}
