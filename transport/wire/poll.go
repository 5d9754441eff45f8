package wire

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"time"

	"tbmsock/transport"
)

// pollBatch is about how many bytes one poll is answered with.
const pollBatch = 1 << 20

// pollPackets is how many packets one poll is answered with: python-engineio refuses an answer with more, and ends the
// connection. No client says how many it takes.
const pollPackets = 16

var (
	// errOverlap: Engine.IO allows one GET and one POST at a time.
	errOverlap  = errors.New("two requests of the same kind at once")
	errOver     = errors.New("a request by polling for a session that has ended or left polling")
	errStopping = &transport.DisconnectError{Reason: transport.ReasonServerShutdown}
)

var (
	noopFrame  = transport.NewFrame(transport.EngineNoop, "")
	closeFrame = transport.NewFrame(transport.EngineClose, "")
)

// ServeGet answers a poll when frames wait, when the link ends, or when an upgrade begins.
func (l *Link) ServeGet(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	switch {
	case l.leaving && !l.getting && l.leave():
		// The client polled and said goodbye at the same time, and the goodbye was quicker.
		l.mu.Unlock()
		_ = l.answer(w, r, noopFrame)
		return
	case l.leaving, l.overlap, l.isDone, l.socket != nil:
		// After an upgrade nothing travels by polling any more.
		l.mu.Unlock()
		l.refuse(w, r, transport.RefusedRequest, errOver)
		return
	case l.getting:
		l.overlapped()
		l.mu.Unlock()
		l.refuse(w, r, transport.RefusedRequest, errOverlap)
		l.opts.Down(transport.ReasonParseError, fmt.Errorf("GET: %w", errOverlap))
		return
	}
	stamp := stampOf(r)
	if l.signals().stamp.repeatedBy(stamp) {
		l.mu.Unlock()
		l.refuse(w, r, transport.RefusedRequest, errRepeated)
		l.opts.Down(transport.ReasonTransportError, errRepeated)
		return
	}
	l.getting = true
	l.mu.Unlock()
	frames, last := l.waitFrames(r)
	var err error
	switch {
	case frames != nil:
		err = l.answer(w, r, frames...)
	case last:
		transport.WriteHTTPError(w, transport.ErrServerStopping)
	case r.Context().Err() == nil:
		transport.WriteHTTPError(w, transport.ErrBadRequest)
	}
	l.mu.Lock()
	l.getting = false
	if frames != nil && l.poll != nil {
		l.poll.stamp.answered(stamp)
	}
	if l.leaving {
		l.leave()
	}
	if last {
		l.noteFlushed()
	}
	if l.opts.Outbox.Waiting() == 0 {
		l.noteEmptied()
	}
	l.mu.Unlock()
	if err != nil {
		l.opts.Down(transport.ReasonTransportError, err)
	}
}

func (l *Link) answer(w http.ResponseWriter, r *http.Request, frames ...*transport.Frame) error {
	return l.opts.Codec.WritePayload(zipped(w, r, l.opts.Engine.Compress), r, frames, l.opts.TextOnly)
}

// errRepeated: a browser, like other HTTP clients, repeats a GET by itself when a connection that it has used before is
// reset. If the server had answered the poll by then, the response is lost, and neither the page nor its library knows.
// The end of the session tells them.
var errRepeated = errors.New("a poll was repeated after its response was lost")

// pollStamp recognises a repeated poll by its parameter t, which stock clients change for each request.
type pollStamp struct {
	last   uint64 // hash of t; 0: none
	varies bool   // t has changed: the client does not send a constant
}

var stampSeed = maphash.MakeSeed()

func stampOf(r *http.Request) uint64 {
	t := r.URL.Query().Get("t")
	if t == "" {
		return 0
	}
	return maphash.String(stampSeed, t)
}

func (s *pollStamp) repeatedBy(stamp uint64) bool { return s.varies && stamp != 0 && stamp == s.last }

func (s *pollStamp) answered(stamp uint64) {
	s.varies = s.varies || s.last != 0 && stamp != s.last
	s.last = stamp
}

func (l *Link) refuse(w http.ResponseWriter, r *http.Request, reason transport.RefusedReason, err error) {
	l.opts.Engine.NoteRefused(r, reason, err)
	transport.WriteHTTPError(w, transport.ErrBadRequest)
}

// leave notes that the last GET of a client that leaves is answered. It reports whether it was not before. It must be
// called with mu held.
func (l *Link) leave() bool {
	select {
	case <-l.left:
		return false
	default:
		close(l.left)
		return true
	}
}

// overlapped ends a poll that waits: the client has broken the protocol, and is told there. It must be called with mu
// held.
func (l *Link) overlapped() {
	l.overlap = true
	l.poll.wake()
}

// waitFrames returns the frames with which to answer a poll, nil for an error: the client has gone, or the link was
// cut. last reports whether the answer ends the session.
func (l *Link) waitFrames(r *http.Request) (frames []*transport.Frame, last bool) {
	for {
		l.mu.Lock()
		poll, done := l.signals(), l.doneSignal()
		switch {
		case l.overlap:
			frames, last = []*transport.Frame{closeFrame}, true
		case l.leaving, l.socket != nil: // nothing more for this client, or all of it by the WebSocket
			frames = []*transport.Frame{noopFrame}
		case l.isDone:
			l.mu.Unlock()
			return nil, false
		default:
			frames = l.opts.Outbox.TakePackets(pollBatch, pollPackets)
			// A close packet travels alone: clients act on it before they hand on the messages of the same answer.
			if last = l.closing && len(frames) == 0; last && !l.comeBack {
				frames = []*transport.Frame{closeFrame}
			}
		}
		l.mu.Unlock()
		if len(frames) > 0 || last {
			return frames, last
		}
		select {
		case <-poll.ready:
		case <-poll.released:
			return []*transport.Frame{noopFrame}, false
		case <-done:
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
	case l.leaving, l.overlap, l.isDone, l.socket != nil:
		l.mu.Unlock()
		l.refuse(w, r, transport.RefusedRequest, errOver)
		return
	case l.posting:
		l.overlapped()
		l.mu.Unlock()
		l.refuse(w, r, transport.RefusedRequest, errOverlap)
		l.opts.Down(transport.ReasonParseError, fmt.Errorf("POST: %w", errOverlap))
		return
	}
	l.posting = true
	l.mu.Unlock()
	bye, err := l.takePayload(w, r)
	l.mu.Lock()
	l.posting = false
	if bye {
		l.goodbye()
	}
	l.mu.Unlock()
	switch reason := transport.ReasonOf(err, transport.ReasonParseError); {
	case err == nil:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "ok")
	case reason == transport.ReasonServerShutdown:
		transport.WriteHTTPError(w, transport.ErrServerStopping)
		return // the link is closing already
	case reason == transport.ReasonPayloadTooLarge:
		transport.WriteHTTPError(w, transport.ErrPayloadTooLarge)
	default:
		transport.WriteHTTPError(w, transport.ErrBadRequest)
	}
	switch {
	case err != nil:
		l.opts.Down(transport.ReasonOf(err, transport.ReasonParseError), err)
	case bye:
		l.opts.Down(transport.ReasonTransportClose, nil)
	}
}

// goodbye acts on a client's close packet: a poll that waits is answered, as is one that is still on its way
// ([Link.Leave]). It must be called with mu held.
func (l *Link) goodbye() {
	if l.leaving {
		return
	}
	l.leaving, l.left = true, make(chan struct{})
	l.poll.wake()
	l.noteFlushed() // a client that leaves fetches nothing more
}

// Leave waits until the last poll of a client that has sent a close packet has been answered, not long, or until abort
// is closed. It is called after End; until it returns the engine should pass that poll on.
func (l *Link) Leave(abort <-chan struct{}) {
	l.mu.Lock()
	left := l.left
	l.mu.Unlock()
	if left == nil {
		return
	}
	t := time.NewTimer(byeWait)
	defer t.Stop()
	select {
	case <-left:
	case <-abort:
	case <-t.C:
	}
}

// takePayload hands up the packets of a body; bye reports whether a close packet was among them.
func (l *Link) takePayload(w http.ResponseWriter, r *http.Request) (bye bool, err error) {
	limit := l.opts.Engine.MaxPayload
	if r.ContentLength > limit {
		return false, &transport.DisconnectError{Reason: transport.ReasonPayloadTooLarge,
			Err: fmt.Errorf("body of %d bytes, %d allowed", r.ContentLength, limit)}
	}
	// A body may be as slow as a heartbeat may be late, no slower.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(l.opts.Engine.PingInterval + l.opts.Engine.PingTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return false, &transport.DisconnectError{Reason: transport.ReasonPayloadTooLarge, Err: err}
		}
		return false, &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: err}
	}
	packets, err := l.opts.Codec.ParsePayload(r, body)
	if err != nil {
		return false, asParseError(err)
	}
	for _, p := range packets {
		if p.Type == transport.EngineClose && len(p.Data) == 0 {
			return true, nil // nothing comes after it
		}
		l.mu.Lock()
		closing, comeBack := l.closing, l.comeBack
		l.mu.Unlock()
		switch {
		case !closing:
			err = l.receive(p)
		case p.Type == transport.EngineMessage && comeBack:
			err = errStopping // the client sends it again, to another server or later
		default: // the session has ended, though the client has not been told yet
		}
		if err != nil {
			return false, asParseError(err)
		}
	}
	return false, nil
}
