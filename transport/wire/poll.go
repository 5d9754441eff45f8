package wire

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"tbmsock/transport"
)

// pollBatch is about how many bytes one poll is answered with.
const pollBatch = 1 << 20

// errOverlap: Engine.IO allows one GET and one POST at a time.
var errOverlap = errors.New("two requests of the same kind at once")

var (
	noopFrame  = transport.NewFrame(transport.EngineNoop, "")
	closeFrame = transport.NewFrame(transport.EngineClose, "")
)

// ServeGet answers a poll when frames wait, when the link ends, or when an upgrade begins.
func (l *Link) ServeGet(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	switch {
	case l.isDone, l.socket != nil:
		// After an upgrade nothing travels by polling any more.
		l.mu.Unlock()
		transport.WriteHTTPError(w, transport.ErrBadRequest)
		return
	case l.getting:
		l.mu.Unlock()
		transport.WriteHTTPError(w, transport.ErrBadRequest)
		l.opts.Down(transport.ReasonParseError, fmt.Errorf("GET: %w", errOverlap))
		return
	}
	l.getting = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.getting = false
		l.mu.Unlock()
	}()
	frames, last := l.waitFrames(r)
	var err error
	switch {
	case frames != nil:
		err = l.opts.Codec.WritePayload(zipped(w, r, l.opts.Engine.Compress), r, l.opts.Codec.Payload(frames))
	case last:
		transport.WriteHTTPError(w, transport.ErrServerStopping)
	case r.Context().Err() == nil:
		transport.WriteHTTPError(w, transport.ErrBadRequest)
	}
	if last {
		l.mu.Lock()
		l.noteFlushed()
		l.mu.Unlock()
	}
	if err != nil {
		l.opts.Down(transport.ReasonTransportError, err)
	}
}

// waitFrames returns what to answer a poll with, nil for an error: the client has gone, or the link
// was cut. last means that the answer ends the session.
func (l *Link) waitFrames(r *http.Request) (frames []*transport.Frame, last bool) {
	for {
		l.mu.Lock()
		poll, done := l.signals(), l.doneSignal()
		if l.socket == nil {
			frames = l.opts.Outbox.Take(pollBatch, nil)
		}
		closing, comeBack, left := l.closing, l.comeBack, l.socket != nil
		l.mu.Unlock()
		if closing && l.opts.Outbox.Waiting() == 0 {
			if !comeBack {
				frames = append(frames, closeFrame)
			}
			return frames, true
		}
		if len(frames) > 0 {
			return frames, false
		}
		if left { // for a WebSocket
			return []*transport.Frame{noopFrame}, false
		}
		select {
		case <-poll.ready:
		case <-poll.released:
			return []*transport.Frame{noopFrame}, false
		case <-done:
			return nil, false
		case <-r.Context().Done():
			// Nothing was taken, so nothing is lost: the client may poll again.
			return nil, false
		}
	}
}

// ServePost takes a payload. It answers when every packet has been handed up.
func (l *Link) ServePost(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	switch {
	case l.isDone, l.socket != nil, l.closing:
		l.mu.Unlock()
		transport.WriteHTTPError(w, transport.ErrBadRequest)
		return
	case l.posting:
		l.mu.Unlock()
		transport.WriteHTTPError(w, transport.ErrBadRequest)
		l.opts.Down(transport.ReasonParseError, fmt.Errorf("POST: %w", errOverlap))
		return
	}
	l.posting = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.posting = false
		l.mu.Unlock()
	}()
	if err := l.takePayload(w, r); err != nil {
		answer := transport.ErrBadRequest
		reason := transport.ReasonOf(err, transport.ReasonParseError)
		if reason == transport.ReasonPayloadTooLarge {
			answer = transport.ErrPayloadTooLarge
		}
		transport.WriteHTTPError(w, answer)
		l.opts.Down(reason, err)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "ok")
}

func (l *Link) takePayload(w http.ResponseWriter, r *http.Request) error {
	limit := l.opts.Engine.MaxPayload
	if r.ContentLength > limit {
		return &transport.DisconnectError{Reason: transport.ReasonPayloadTooLarge,
			Err: fmt.Errorf("body of %d bytes, %d allowed", r.ContentLength, limit)}
	}
	// A body may be as slow as a heartbeat may be late, no slower.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(l.opts.Engine.PingInterval + l.opts.Engine.PingTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return &transport.DisconnectError{Reason: transport.ReasonPayloadTooLarge, Err: err}
		}
		return &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: err}
	}
	packets, err := l.opts.Codec.ParsePayload(r, body)
	if err != nil {
		return asParseError(err)
	}
	for _, p := range packets {
		if err := l.receive(p); err != nil {
			return asParseError(err)
		}
	}
	return nil
}
