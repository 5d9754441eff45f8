// Command bare is the mark that the relay is held against: the least that a server of WebSockets can
// do to pass a message on. Each message of a client goes to all others: its frame is built once, put
// into a queue of each client's, and a client's writer gives all that waits for it to one writev.
//
// There is no protocol: no sids, no rooms, no limits, no heartbeats, no checks of what comes in, and
// nothing is dropped for a client that does not read.
package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("listening on http://%s\n", ln.Addr())
	var h hub
	for {
		c, err := ln.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go h.serve(c)
	}
}

// hub is all clients.
type hub struct {
	mu      sync.RWMutex
	clients []*client
}

type client struct {
	conn net.Conn
	pos  int // in hub.clients

	mu      sync.Mutex
	queue   net.Buffers
	writing bool
	ready   chan struct{}
}

func (h *hub) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReaderSize(conn, 4096)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	// RFC 6455 section 4.2.2.
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		return
	}
	c := &client{conn: conn, ready: make(chan struct{}, 1)}
	h.add(c)
	defer h.remove(c)
	gone := make(chan struct{})
	defer close(gone)
	go c.write(gone)
	for {
		data, err := readMessage(r)
		if err != nil {
			return
		}
		frame := appendFrame(make([]byte, 0, len(data)+10), data)
		h.mu.RLock()
		for _, other := range h.clients {
			if other != c {
				other.push(frame)
			}
		}
		h.mu.RUnlock()
	}
}

func (h *hub) add(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.pos = len(h.clients)
	h.clients = append(h.clients, c)
}

func (h *hub) remove(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.clients[len(h.clients)-1]
	h.clients[c.pos], last.pos = last, c.pos
	h.clients = h.clients[:len(h.clients)-1]
}

func (c *client) push(frame []byte) {
	c.mu.Lock()
	c.queue = append(c.queue, frame)
	wake := !c.writing
	c.writing = true
	c.mu.Unlock()
	if wake {
		c.ready <- struct{}{}
	}
}

// write takes all that waits and gives it to the kernel at once.
func (c *client) write(gone <-chan struct{}) {
	var spare net.Buffers
	for {
		select {
		case <-c.ready:
		case <-gone:
			return
		}
		for {
			c.mu.Lock()
			batch := c.queue
			c.queue = spare[:0]
			if len(batch) == 0 {
				c.writing = false
				c.mu.Unlock()
				break
			}
			c.mu.Unlock()
			space := batch
			if _, err := batch.WriteTo(c.conn); err != nil {
				return
			}
			spare = space
		}
		spare = nil // an idle client keeps one queue, not two
	}
}

// readMessage reads one masked frame (RFC 6455 section 5.2).
func readMessage(r *bufio.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, err
	}
	if head[0] != 0x81 || head[1]&0x80 == 0 {
		return nil, io.EOF // all else ends the connection here
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return nil, err
		}
		n = uint64(binary.BigEndian.Uint16(head[:]))
	case 127:
		if _, err := io.ReadFull(r, head[:8]); err != nil {
			return nil, err
		}
		n = binary.BigEndian.Uint64(head[:])
	}
	var mask [4]byte
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return nil, err
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	if mask != [4]byte{} {
		for i := range data {
			data[i] ^= mask[i&3]
		}
	}
	return data, nil
}

func appendFrame(dst, data []byte) []byte {
	dst = append(dst, 0x81)
	switch n := len(data); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, data...)
}
