package wire

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"tbmsock/transport"
)

// byeWait is how long a client that polls, and for which nothing waits, has to come and be told
// that the session is closed. A live one comes at once; one that comes later has all messages, and is told by an error.
const byeWait = time.Second

// Packet is an Engine.IO packet that has arrived.
type Packet struct {
	Type   byte // one of transport.EngineOpen ... EngineNoop
	Binary bool // a binary message
	Data   []byte
}

// Codec is how one revision of Engine.IO writes packets down. It is stateless.
type Codec interface {
	// SocketFrame returns f as complete WebSocket frames, made once for all receivers.
	SocketFrame(f *transport.Frame) []byte
	// CompressedFrame is SocketFrame with the messages compressed by c, made once too.
	CompressedFrame(f *transport.Frame, c transport.Compressor) []byte
	// ParseMessage reads a packet from a WebSocket message; it may keep data.
	ParseMessage(binary bool, data []byte) (Packet, error)
	// BinaryPrefix stands before the data of a binary WebSocket message.
	BinaryPrefix() []byte
	// Payload puts frames into one payload.
	Payload(frames []*transport.Frame) []byte
	// WritePayload answers a poll with frames, in the form that the request asks for, by one call of
	// Write. With textOnly the client takes no binary form of a payload.
	WritePayload(w http.ResponseWriter, r *http.Request, frames []*transport.Frame, textOnly bool) error
	// ParsePayload reads the packets of a body; it may keep body. r is nil on the client side.
	ParsePayload(r *http.Request, body []byte) ([]Packet, error)
}

// LinkOptions configures a link. All fields but TextOnly are required.
type LinkOptions struct {
	Codec    Codec
	Engine   *transport.EngineOptions // the engine's, with its defaults
	Outbox   *transport.Outbox
	Writers  *Writers           // the engine's
	TextOnly bool               // the client takes no binary form of a payload
	Receive  func(Packet) error // one call at a time; an error is passed to Down
	// Down is told, once or more, that the connection can carry nothing more: the peer went,
	// broke the rules, or Receive returned an error.
	Down func(transport.Reason, error)
}

// Link carries one Engine.IO session: by polling at first, or by a WebSocket from the beginning,
// or by the latter after the former. All methods are safe for concurrent use.
type Link struct {
	opts LinkOptions

	receiving sync.Mutex // held around Receive

	mu       sync.Mutex
	socket   *Socket // nil while polling
	writing  bool    // somebody empties the outbox into socket
	writer   func()  // write, as a value made once: a go statement with a receiver allocates, for each delivery
	getting  bool    // a GET waits or is answered
	posting  bool
	poll     *pollSignals // nil until a client polls, and when it no longer does
	closing  bool         // no messages are taken; the writer goes on until the outbox is empty
	comeBack bool         // the client of a closing link should connect again
	overlap  bool         // the client has sent two requests of a kind at once: a GET that waits is told of the end
	leaving  bool         // the client has sent a close packet
	isDone   bool
	flushed  chan struct{} // made when closing; closed when nothing is left to write
	emptied  chan struct{} // made when closing while polling; closed when the last messages have been fetched
	left     chan struct{} // made when leaving; closed when the client's last GET has been answered
	done     chan struct{} // made when somebody asks; closed: everything stops

	tasks sync.WaitGroup // reader and writer

	rests  int8          // only for the reader: how often it went on as a new goroutine, in the beginning
	rested time.Duration // and when it did last, since began
}

// pollSignals are for a poll that waits. Most clients never poll, so that they cost nothing there.
type pollSignals struct {
	released chan struct{} // closed: polls are answered at once, an upgrade is under way
	ready    chan struct{} // capacity 1: frames wait for a poll
	stamp    pollStamp     // of the last poll that was answered
}

// signals returns l.poll, made if need be. l.mu is held.
func (l *Link) signals() *pollSignals {
	if l.poll == nil {
		l.poll = &pollSignals{released: make(chan struct{}), ready: make(chan struct{}, 1)}
	}
	return l.poll
}

// wake lets a poll look for frames.
func (p *pollSignals) wake() {
	if p == nil {
		return // a poll looks for frames before it waits
	}
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// release lets polls go.
func (p *pollSignals) release() {
	if !p.isReleased() {
		close(p.released)
	}
}

func (p *pollSignals) isReleased() bool {
	select {
	case <-p.released:
		return true
	default:
		return false
	}
}

// NewLink makes a link that polls. Bind the outbox through it: nobody else may.
func NewLink(opts LinkOptions) *Link {
	l := &Link{opts: opts}
	l.writer = l.write
	opts.Outbox.Bind(l.wake)
	return l
}

// Done is closed when the link has been cut.
func (l *Link) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doneSignal()
}

// doneSignal is l.done, made if need be. l.mu is held.
func (l *Link) doneSignal() chan struct{} {
	if l.done == nil {
		l.done = make(chan struct{})
		if l.isDone {
			close(l.done)
		}
	}
	return l.done
}

// Ended reports whether the link has been cut.
func (l *Link) Ended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isDone
}

// Transport is "websocket" or "polling".
func (l *Link) Transport() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil {
		return "websocket"
	}
	return "polling"
}

// wake is called by the outbox when frames wait and nobody takes them.
func (l *Link) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil {
		l.startWriter()
		return
	}
	l.poll.wake()
}

// noteFlushed tells flush that the writer is through. l.mu is held.
func (l *Link) noteFlushed() {
	if !l.closing {
		return
	}
	select {
	case <-l.flushed:
	default:
		close(l.flushed)
	}
}

// Receive hands a packet up, one at a time.
func (l *Link) receive(p Packet) error {
	l.receiving.Lock()
	defer l.receiving.Unlock()
	l.mu.Lock()
	over := l.isDone
	l.mu.Unlock()
	if over {
		return transport.ErrClosed
	}
	return l.opts.Receive(p)
}

// Upgrading lets waiting and coming polls go, so that the client can leave polling; with false
// polls wait again.
func (l *Link) Upgrading(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case on:
		l.signals().release()
	case l.poll != nil && l.poll.isReleased():
		l.poll = nil // polls that come wait again, on new ones
	}
}

// Attach makes the socket carry the link from now on: its messages are handed up by a goroutine
// of the link's, and the outbox is emptied into it. It is false if the link has one or has
// ended; the socket is then still the caller's.
func (l *Link) Attach(s *Socket) bool {
	l.mu.Lock()
	// A link that is closing takes it too: what waits can reach the client no other way, once it
	// has left polling.
	if l.socket != nil || l.isDone {
		l.mu.Unlock()
		return false
	}
	l.socket = s
	if l.poll != nil {
		l.poll.release() // a poll that still waits has nothing to wait for
		l.poll = nil
	}
	l.startWriter()
	l.tasks.Add(1)
	l.mu.Unlock()
	go l.read(s)
	return true
}

// A goroutine that has handed up a packet has a stack of 8 KB, of which the collector takes at best a half away; one
// that has only waited has 2 KB. So the reader of a socket on which little comes goes on as a new goroutine, which
// costs less than a microsecond, up to so often in the beginning (the handshakes), then once in a restEvery.
const (
	restEarly = 4
	restEvery = time.Second
)

// read hands up what comes over the socket, or begins a goroutine that does.
func (l *Link) read(s *Socket) {
	if err := l.readOn(s); err != nil {
		l.opts.Down(transport.ReasonOf(err, transport.ReasonTransportClose), err)
		l.tasks.Done()
	}
}

// readOn is without an error when another goroutine goes on. Little may stand on the stack while it waits.
func (l *Link) readOn(s *Socket) error {
	for {
		if err := readPacket(s, l.opts.Codec, l.receive); err != nil {
			return err
		}
		if l.mayRest() && s.reader.rest() {
			go l.read(s)
			return nil
		}
	}
}

// began is where rested is counted from: a wall clock that is set back would let no reader rest until it has caught up.
var began = time.Now()

// mayRest tells whether the reader may go on as a new goroutine. Only the reader calls it.
func (l *Link) mayRest() bool {
	if l.rests < restEarly {
		l.rests++
		return true
	}
	now := time.Since(began)
	if now-l.rested < restEvery {
		return false
	}
	l.rested = now
	return true
}

// readPackets hands up what comes over the socket until it ends; the error says why.
func readPackets(s *Socket, codec Codec, receive func(Packet) error) error {
	for {
		if err := readPacket(s, codec, receive); err != nil {
			return err
		}
	}
}

// readPacket hands up the next packet.
func readPacket(s *Socket, codec Codec, receive func(Packet) error) error {
	binary, data, err := s.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = &transport.DisconnectError{Reason: transport.ReasonTransportClose}
		}
		return err
	}
	p, err := codec.ParseMessage(binary, data)
	if err != nil {
		return err
	}
	if err := receive(p); err != nil {
		return asParseError(err)
	}
	return nil
}

// asParseError gives an error without a reason that of a broken protocol.
func asParseError(err error) error {
	var d *transport.DisconnectError
	if errors.As(err, &d) || errors.Is(err, transport.ErrClosed) {
		return err
	}
	return &transport.DisconnectError{Reason: transport.ReasonParseError, Err: err}
}

// End ends the link for the reason: if that allows, what waits is written first, for as long as
// the engine's drain time, or until abort is closed. It returns when the link's goroutines and the
// call of Receive that may be running have ended, so it may not be called from them.
func (l *Link) End(reason transport.Reason, abort <-chan struct{}) {
	if reason.Flushes() {
		l.flush(l.opts.Engine.DrainTimeout, reason, abort)
	}
	l.Cut(reason)
}

// flush takes no more POSTs and returns when what waits has been written, or after d. A client that
// polls is then told by the answer to its poll: with a close packet, or, if the reason is one to
// connect again for, with an HTTP error, since python-engineio takes the packet for a wish that
// it stay away.
func (l *Link) flush(d time.Duration, reason transport.Reason, abort <-chan struct{}) {
	l.mu.Lock()
	if l.closing || l.leaving || l.isDone {
		l.mu.Unlock()
		return
	}
	l.closing, l.comeBack = true, reason.Reconnect()
	l.flushed = make(chan struct{})
	done, flushed := l.doneSignal(), l.flushed
	var emptied chan struct{}
	if l.socket != nil {
		if !l.writing {
			l.noteFlushed()
		}
	} else {
		l.emptied = make(chan struct{})
		emptied = l.emptied
		l.poll.wake()
		if l.opts.Outbox.Waiting() == 0 {
			l.noteEmptied()
		}
	}
	l.mu.Unlock()
	end := time.Now().Add(d)
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-emptied:
			// What is left to say is that the session has ended, to a client that may not come to hear it.
			emptied = nil
			t.Reset(min(byeWait, time.Until(end)))
			continue
		case <-flushed:
		case <-done:
		case <-abort:
		case <-t.C:
		}
		return
	}
}

// noteEmptied tells flush that a client that polls has fetched all messages. It must be called with mu held.
func (l *Link) noteEmptied() {
	if l.emptied == nil {
		return
	}
	select {
	case <-l.emptied:
	default:
		close(l.emptied)
	}
}

// Cut ends the link at once; the reason is told to a WebSocket client. It returns when End would.
func (l *Link) Cut(reason transport.Reason) {
	l.mu.Lock()
	if !l.isDone {
		l.isDone = true
		if l.done != nil {
			close(l.done)
		}
	}
	s := l.socket
	l.mu.Unlock()
	if s != nil {
		s.Close(reason)
	}
	l.tasks.Wait()
	// Whoever receives by a POST is waited for too.
	l.receiving.Lock()
	defer l.receiving.Unlock()
}
