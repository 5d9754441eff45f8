package wire

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tbmsock/transport"
)

// upgrade leaves polling for a WebSocket (Engine.IO protocol, "Upgrade"). If the server, or
// something between, will not have it, polling goes on.
func (d *Dialed) upgrade() {
	ctx, cancel := context.WithTimeout(d.ctx, d.opts.HandshakeTimeout)
	defer cancel()
	s, _, err := d.dialSocket(ctx)
	if err != nil {
		return
	}
	stop := context.AfterFunc(d.ctx, func() { s.Close(transport.ReasonForcedClose) })
	defer stop()
	t, _ := ctx.Deadline()
	_ = s.SetReadDeadline(t)
	if s.WriteMessage(false, []byte("2probe")) != nil {
		s.Close(transport.ReasonForcedClose)
		return
	}
	if binary, data, err := s.Read(); err != nil || binary || string(data) != "3probe" {
		s.Close(transport.ReasonForcedClose)
		return
	}
	// No POST may be under way, and the poll that is must end: the server lets it go.
	d.sending.Lock()
	d.mu.Lock()
	d.upgrading = true
	d.mu.Unlock()
	select {
	case <-d.polled:
	case <-ctx.Done():
		err = &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: errors.New("the server keeps the poll during an upgrade")}
	}
	if err == nil {
		err = d.ctx.Err()
	}
	if err == nil {
		err = s.WriteMessage(false, []byte{transport.EngineUpgrade})
	}
	if err == nil {
		err = s.SetReadDeadline(time.Time{})
	}
	if err == nil {
		d.mu.Lock()
		d.socket = s
		d.mu.Unlock()
	}
	d.sending.Unlock()
	if err == nil {
		err = readPackets(s, d.codec, d.receive)
	}
	s.Close(transport.ReasonTransportClose)
	d.Close(transport.ReasonOf(err, transport.ReasonTransportClose), err)
}

// write sends what waits, until the session ends.
func (d *Dialed) write() {
	defer close(d.flushed)
	var taken, frames []*transport.Frame // frames: of those taken, what is not sent yet
	for {
		// Between two POSTs an upgrade may begin: over a slow link there can be many, each a round trip.
		d.sending.Lock()
		if len(frames) == 0 {
			taken = d.peer.Outbox().Take(min(postBatch, d.maxPost()), taken[:0])
			frames = taken
		}
		sent, err := d.send(frames)
		d.sending.Unlock()
		if err != nil {
			d.Close(transport.ReasonOf(err, transport.ReasonTransportError), err)
			return
		}
		frames = frames[sent:]
		if sent > 0 {
			continue
		}
		d.mu.Lock()
		flushing := d.flushing
		d.mu.Unlock()
		if flushing {
			return
		}
		select {
		case <-d.wake:
		case <-d.ctx.Done():
			return
		}
	}
}

func (d *Dialed) maxPost() int {
	if d.shake.MaxPayload > 0 {
		// Base64 makes attachments a third larger.
		return int(d.shake.MaxPayload/4) * 3
	}
	return postBatch
}

// send sends the first frames, as many as one POST takes, or all of them on a WebSocket.
func (d *Dialed) send(frames []*transport.Frame) (sent int, err error) {
	d.mu.Lock()
	s := d.socket
	d.mu.Unlock()
	if s != nil {
		return len(frames), d.sendSocket(s, frames)
	}
	for packets := 0; sent < len(frames); sent++ {
		packets += 1 + len(frames[sent].Attachments())
		if sent > 0 && packets > maxPostPackets {
			break
		}
	}
	if sent == 0 {
		return 0, nil
	}
	_, err = d.request(d.ctx, http.MethodPost, d.codec.Payload(frames[:sent]))
	return sent, err
}

func (d *Dialed) sendSocket(s *Socket, frames []*transport.Frame) error {
	for _, f := range frames {
		if err := s.WriteMessage(false, []byte{f.Kind()}, f.Text()); err != nil {
			return err
		}
		for _, a := range f.Attachments() {
			if err := s.WriteMessage(true, d.codec.BinaryPrefix(), a); err != nil {
				return err
			}
		}
	}
	return nil
}
