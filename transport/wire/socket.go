package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"tbmsock/transport"
)

// eagerRead is up to which announced length memory is set aside before the bytes have come.
const eagerRead = 64 << 10

// Socket is a WebSocket connection (RFC 6455). Read is for one goroutine; Write and Close are
// safe for concurrent use. Close unblocks both.
type Socket struct {
	conn   net.Conn
	reader *frameReader
	mask   bool // client side: RFC 6455 section 5.3
	agreed agreement

	wmu      sync.Mutex
	closed   bool // a close frame has been written
	closeOne sync.Once
}

// Accept answers a WebSocket handshake. If it fails the request has been answered.
func Accept(w http.ResponseWriter, r *http.Request, opts transport.EngineOptions) (*Socket, error) {
	up := ws.HTTPUpgrader{
		Timeout: opts.HandshakeTimeout,
		// The first subprotocol that the client offers, as the reference server has it: some clients close a WebSocket
		// that was opened without one of theirs.
		Protocol: func(string) bool { return true },
	}
	if lines := r.Header["Connection"]; len(lines) > 1 { // the upgrader reads the first one only
		header := maps.Clone(r.Header)
		header["Connection"] = []string{strings.Join(lines, ", ")}
		r = r.WithContext(r.Context())
		r.Header = header
	}
	agreed := acceptOffer(r.Header, opts.Compress)
	if agreed.on() {
		up.Header = http.Header{extensionsHeader: {agreed.answer()}}
	}
	conn, rw, _, err := up.Upgrade(r, w)
	if err != nil {
		return nil, fmt.Errorf("wire: WebSocket handshake: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("wire: WebSocket handshake: %w", err)
	}
	var early []byte
	if n := rw.Reader.Buffered(); n > 0 {
		early, _ = rw.Peek(n)
		early = bytes.Clone(early) // the buffer behind it goes back to the HTTP server
	}
	return newSocket(conn, early, ws.StateServerSide, opts.MaxPayload).agree(agreed), nil
}

// Dial opens a client-side connection to a ws or wss URL. ctx bounds the handshake.
func Dial(ctx context.Context, url string, header http.Header, limit int64) (*Socket, error) {
	return dialSocket(ctx, url, ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}, limit, 0)
}

// dialSocket offers to compress messages of at least compress bytes; 0: none.
func dialSocket(ctx context.Context, url string, d ws.Dialer, limit int64, compress int) (*Socket, error) {
	d.Extensions = offer(compress)
	conn, br, hs, err := d.Dial(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("wire: WebSocket dial: %w", err)
	}
	agreed, err := checkAnswer(hs.Extensions, compress)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	var early []byte
	if br != nil {
		if n := br.Buffered(); n > 0 {
			early, _ = br.Peek(n)
			early = bytes.Clone(early)
		}
		ws.PutReader(br)
	}
	_ = conn.SetDeadline(time.Time{})
	return newSocket(conn, early, ws.StateClientSide, limit).agree(agreed), nil
}

func newSocket(conn net.Conn, early []byte, state ws.State, limit int64) *Socket {
	return &Socket{
		conn:   conn,
		reader: newFrameReader(conn, early, state.ServerSide(), limit),
		mask:   state.ClientSide(),
	}
}

// RemoteAddr is the peer's network address.
func (s *Socket) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// SetReadDeadline bounds the reads.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.conn.SetReadDeadline(t) }

// Read returns the next text or binary message, answering control frames on the way. The caller
// owns data. io.EOF means that the peer closed properly; [*transport.DisconnectError] that it
// broke the protocol, or says that we did.
func (s *Socket) Read() (binary bool, data []byte, err error) {
	binary, data, err = s.read()
	return binary, data, readError(err)
}

func (s *Socket) read() (binary bool, data []byte, err error) {
	first := ws.OpContinuation // of the fragments in data
	packed := false            // data is
	for {
		h, err := s.reader.next()
		if err != nil {
			return false, nil, err
		}
		if h.op.IsControl() {
			if err := s.control(h); err != nil {
				return false, nil, err
			}
			continue
		}
		switch {
		case h.op == ws.OpContinuation && first == ws.OpContinuation:
			return false, nil, ws.ErrProtocolContinuationUnexpected
		case h.op != ws.OpContinuation && first != ws.OpContinuation:
			return false, nil, ws.ErrProtocolContinuationExpected
		case h.op != ws.OpContinuation:
			first, packed = h.op, h.packed
			data = []byte{}
		}
		if data, err = s.reader.payload(data, h); err != nil {
			return false, nil, err
		}
		if h.fin {
			if packed {
				data, err = s.unpack(data)
			}
			return first == ws.OpBinary, data, err
		}
	}
}

// control answers a control frame (RFC 6455 section 5.5).
func (s *Socket) control(h frameHeader) error {
	payload, err := s.reader.payload(nil, h) // at most 125 bytes: the reader has checked it
	if err != nil {
		return err
	}
	switch h.op {
	case ws.OpPing:
		return s.writeFrame(ws.NewPongFrame(payload))
	case ws.OpClose:
		code, reason, err := closeBody(payload)
		if err != nil {
			return err
		}
		s.closeFrame(ws.StatusNormalClosure, "")
		switch code {
		case 0, ws.StatusNormalClosure, ws.StatusGoingAway:
			return io.EOF
		}
		if reason == "" && code == ws.StatusMessageTooBig {
			reason = transport.ReasonPayloadTooLarge.String()
		}
		return &transport.DisconnectError{Reason: transport.ReasonTransportClose, Err: fmt.Errorf("the peer says why: %d %s", code, reason)}
	}
	return nil
}

var (
	errCloseLength = ws.ProtocolError("close frame with a body of one byte")
	errCloseCode   = ws.ProtocolError("close frame with a code that no endpoint may send")
)

// closeBody reads the body of a close frame (RFC 6455 sections 5.5.1 and 7.4); the code is 0 if it is empty.
func closeBody(body []byte) (ws.StatusCode, string, error) {
	switch len(body) {
	case 0:
		return 0, "", nil
	case 1:
		return 0, "", errCloseLength
	}
	code, reason := ws.ParseCloseFrameData(body)
	switch {
	case !mayClose(code):
		return 0, "", errCloseCode
	case !utf8.ValidString(reason):
		return 0, "", ws.ErrProtocolInvalidUTF8
	}
	return code, reason, nil
}

// mayClose reports whether an endpoint may send the code: those of RFC 6455 section 7.4.1, the three that IANA has
// registered since, which package ws does not know, and those of libraries and applications.
func mayClose(code ws.StatusCode) bool {
	switch code {
	case ws.StatusNoMeaningYet, ws.StatusNoStatusRcvd, ws.StatusAbnormalClosure:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}

// writeFrame masks a frame, if this is the client's side, and writes it.
func (s *Socket) writeFrame(f ws.Frame) error {
	if s.mask {
		f = ws.MaskFrameInPlace(f)
	}
	data, err := ws.CompileFrame(f)
	if err != nil {
		return err
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	_, err = s.conn.Write(data)
	return err
}

// readError names what went wrong for the layers above.
func readError(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return &transport.DisconnectError{Reason: transport.ReasonTransportClose, Err: err}
	}
	var known *transport.DisconnectError
	if errors.As(err, &known) {
		return err
	}
	var protocol ws.ProtocolError
	if errors.As(err, &protocol) {
		return &transport.DisconnectError{Reason: transport.ReasonParseError, Err: err}
	}
	return &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: err}
}

// errClosing is the error of a write behind our own close frame.
var errClosing = fmt.Errorf("wire: a close frame has been written: %w", net.ErrClosed)

// Write writes complete, unmasked WebSocket frames in as few system calls as there can be. It
// uses up bufs but not what they point to.
func (s *Socket) Write(bufs *net.Buffers) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.closed {
		return errClosing
	}
	_, err := bufs.WriteTo(s.conn)
	return err
}

// writeHeld goes on where tryWrite has stopped, and lets go of the lock.
func (s *Socket) writeHeld(bufs *net.Buffers) error {
	defer s.wmu.Unlock()
	_, err := bufs.WriteTo(s.conn)
	return err
}

// WriteMessage writes one message; for the client side, whose frames are masked and shared with
// nobody. It copies data.
func (s *Socket) WriteMessage(binary bool, parts ...[]byte) error {
	data := bytes.Join(parts, nil)
	op := ws.OpText
	if binary {
		op = ws.OpBinary
	}
	return s.writeFrame(s.pack(ws.NewFrame(op, true, data)))
}

// closeFrame writes a close frame, once, without waiting long for a peer that does not read.
func (s *Socket) closeFrame(code ws.StatusCode, reason string) {
	// A writer that hangs would hold the lock: its deadline ends first.
	_ = s.conn.SetWriteDeadline(time.Now().Add(closeWait))
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	f := ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason))
	if s.mask {
		f = ws.MaskFrameInPlace(f)
	}
	if data, err := ws.CompileFrame(f); err == nil {
		_, _ = s.conn.Write(data)
	}
}

// closeWait is how long a close frame may take to leave.
const closeWait = time.Second

// Close tells the peer why, if it still listens, and closes the connection.
func (s *Socket) Close(reason transport.Reason) {
	s.closeOne.Do(func() {
		switch reason {
		case transport.ReasonPingTimeout, transport.ReasonTransportClose, transport.ReasonTransportError:
			// Nobody is there to read it, as far as is known.
		case transport.ReasonParseError:
			s.closeFrame(closeCode(reason), reason.String())
			s.linger()
		case transport.ReasonPayloadTooLarge:
			s.closeFrame(closeCode(reason), "") // the code says it all; the reference server adds nothing either
			s.linger()
		default:
			s.closeFrame(closeCode(reason), reason.String())
		}
		_ = s.conn.Close()
	})
}

// lingerBytes is how much is read, and thrown away, of what a peer goes on sending that has broken the rules.
const lingerBytes = 16 << 20

// linger waits, not long, until the peer has taken the close frame and gone. A connection that is closed while bytes
// of the peer's are unread is reset by the system, and the close frame with the reason never arrives.
func (s *Socket) linger() {
	c, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || c.CloseWrite() != nil || s.conn.SetReadDeadline(time.Now().Add(closeWait)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, s.conn, lingerBytes)
}

// closeCode translates a reason (RFC 6455 section 7.4.1).
func closeCode(r transport.Reason) ws.StatusCode {
	switch r {
	case transport.ReasonServerShutdown:
		return ws.StatusGoingAway
	case transport.ReasonParseError:
		return ws.StatusProtocolError
	case transport.ReasonPayloadTooLarge:
		return ws.StatusMessageTooBig
	case transport.ReasonSlowClient, transport.ReasonHandshakeTimeout:
		return ws.StatusPolicyViolation
	}
	return ws.StatusNormalClosure
}

// AppendFrame appends an unmasked frame with a payload of the given parts.
func AppendFrame(dst []byte, binary bool, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	dst = appendHeader(dst, binary, n)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}

// appendHeader appends the header of an unmasked frame of n bytes (RFC 6455 section 5.2). Each frame passes here, so it is
// written by hand.
func appendHeader(dst []byte, isBinary bool, n int) []byte {
	first := byte(0x80 | ws.OpText)
	if isBinary {
		first = byte(0x80 | ws.OpBinary)
	}
	switch {
	case n < 126:
		return append(dst, first, byte(n))
	case n < 1<<16:
		return append(dst, first, 126, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
}

// TextFrame returns the packet as one unmasked text frame, made in the spare bytes before the
// text: nothing is copied.
func TextFrame(f *transport.Frame, prefixed []byte) []byte {
	var spare [transport.PrefixRoom]byte
	payload := len(prefixed) - transport.PrefixRoom + 1
	head := append(appendHeader(spare[:0], false, payload), f.Kind())
	start := transport.PrefixRoom - len(head)
	copy(prefixed[start:], head)
	return prefixed[start:]
}
