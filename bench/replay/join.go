package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// joined is what came of all replays. Each was checked: offsets 1, 2, 3, …, none missing, none twice.
type joined struct {
	Whole     int     // that came to their end
	Messages  uint64  // of all
	PerSecond float64 // of all joiners together
}

// replayAll has n joiners replay the journal over and over until ctx ends.
func replayAll(ctx context.Context, url string, n int, packets uint64) (joined, error) {
	var mu sync.Mutex
	var sum joined
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := replayOnce(ctx, url, packets)
				mu.Lock()
				sum.Messages += got
				if err == nil {
					sum.Whole++
				}
				mu.Unlock()
				if err != nil && ctx.Err() == nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	sum.PerSecond = float64(sum.Messages) / time.Since(began).Seconds()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return sum, err
	}
	return sum, nil
}

// replayOnce joins since offset 1 and reads up to the last packet. It shares no code with the server.
func replayOnce(ctx context.Context, url string, packets uint64) (got uint64, err error) {
	host := strings.TrimPrefix(url, "http://")
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return 0, err
	}
	defer func() { _ = nc.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	fmt.Fprintf(nc, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", host)
	r := bufio.NewReaderSize(nc, 256<<10)
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodGet})
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		_ = res.Body.Close()
		return 0, fmt.Errorf("WebSocket handshake: %s", res.Status)
	}
	send := func(text string) error {
		frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...) // masked with zeroes
		_, err := nc.Write(frame)
		return err
	}
	if err := send("40"); err != nil {
		return 0, err
	}
	for got < packets {
		text, err := message(r)
		switch {
		case err != nil:
			return got, err
		case bytes.HasPrefix(text, []byte("40")):
			err = send(`420["join",{"room":"` + fillRoom + `","since":{"offset":1},"offsets":true}]`)
		case string(text) == "2":
			err = send("3")
		case bytes.HasPrefix(text, []byte("42")):
			offset := offsetOf(text)
			if offset != got+1 {
				return got, fmt.Errorf("offset %d after %d: %.100q", offset, got, text)
			}
			got++
		case bytes.HasPrefix(text, []byte("430")) && !bytes.Contains(text, []byte(`"ok":true`)):
			return got, fmt.Errorf("join: %.200q", text)
		}
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

// offsetOf reads the second argument of an event for a follower; 0 if there is none.
func offsetOf(text []byte) (n uint64) {
	key := []byte(`,{"offset":`)
	i := bytes.LastIndex(text, key)
	if i < 0 {
		return 0
	}
	for _, c := range text[i+len(key):] {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// message returns the next text message; it is good until the next call.
func message(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(2)
	if err != nil {
		return nil, err
	}
	op, n, size := head[0]&0xf, int(head[1]&0x7f), 2
	if n == 126 {
		size = 4
		if head, err = r.Peek(size); err != nil {
			return nil, err
		}
		n = int(binary.BigEndian.Uint16(head[2:]))
	}
	if op != 1 || n == 127 {
		return nil, fmt.Errorf("frame with opcode %d and length %d: %w", op, n, io.ErrUnexpectedEOF)
	}
	frame, err := r.Peek(size + n)
	if err != nil {
		return nil, err
	}
	_, _ = r.Discard(size + n) // it is in the buffer
	return frame[size:], nil
}
