package transport

import (
	"sync"
	"sync/atomic"
)

// Form names one way in which the same packet stands on a wire.
type Form uint8

// The wire forms. A frame without attachments reads the same in both WebSocket forms.
const (
	FormWebSocket Form = iota // server to client WebSocket frames, Engine.IO 4, and 3 without attachments
	FormWebSocket3
	FormPolling4
	FormPolling3
	formCount
)

// PrefixRoom is the number of spare bytes before a frame's text: ten for the longest header of
// an unmasked WebSocket frame and one for the Engine.IO packet type.
const PrefixRoom = 11

// frameOverhead is what a queued frame costs beside its bytes, roughly: counted so that a
// flood of empty packets is bounded too.
const frameOverhead = 64

// Engine.IO packet types, the same in revisions 3 and 4
// (https://socket.io/docs/v4/engine-io-protocol/).
const (
	EngineOpen    = '0'
	EngineClose   = '1'
	EnginePing    = '2'
	EnginePong    = '3'
	EngineMessage = '4'
	EngineUpgrade = '5'
	EngineNoop    = '6'
)

// restKind is the kind of a frame that holds attachments without their text; see [Frame.IsRest].
const restKind = 0

// Frame is one Engine.IO packet that waits to be sent: usually a Socket.IO packet with its
// attachments. It is immutable after it is made, shared by all queues it stands in, and safe
// for concurrent use. The bytes it returns may not be changed.
type Frame struct {
	buf         []byte // PrefixRoom spare bytes, then the text
	attachments [][]byte
	size        int
	kind        byte
	droppable   bool

	mu   sync.Mutex // held while a form is made
	made [formCount]atomic.Bool
	wire [formCount][]byte // each written before made says so, and never after

	compressed atomic.Pointer[compressedForms] // nil until a receiver wants one
}

// NewFrame makes a frame of the given Engine.IO packet type. It copies text and keeps
// attachments.
func NewFrame(kind byte, text string, attachments ...[]byte) *Frame {
	buf := make([]byte, PrefixRoom, PrefixRoom+len(text))
	return frameOf(kind, append(buf, text...), attachments, false)
}

// NewBinaryFrame makes a frame of binary messages without a text in front of them. It keeps messages.
func NewBinaryFrame(messages ...[]byte) *Frame {
	f := frameOf(restKind, make([]byte, PrefixRoom), messages, false)
	f.size -= frameOverhead // that of the text
	return f
}

// frameOf takes over buf, whose first PrefixRoom bytes are spare.
func frameOf(kind byte, buf []byte, attachments [][]byte, droppable bool) *Frame {
	f := new(Frame)
	f.init(kind, buf, attachments, droppable)
	return f
}

func (f *Frame) init(kind byte, buf []byte, attachments [][]byte, droppable bool) {
	f.kind, f.buf, f.attachments, f.droppable = kind, buf, attachments, droppable
	f.size = len(buf) - PrefixRoom + frameOverhead
	for _, a := range attachments {
		f.size += len(a) + frameOverhead
	}
}

// Kind is the Engine.IO packet type.
func (f *Frame) Kind() byte { return f.kind }

// IsRest reports whether the frame is the rest of one that was split ([Outbox.TakePackets]): it has attachments, and no
// text in front of them.
func (f *Frame) IsRest() bool { return f.kind == restKind }

// packets is the number of Engine.IO packets of the frame.
func (f *Frame) packets() int {
	if f.IsRest() {
		return len(f.attachments)
	}
	return 1 + len(f.attachments)
}

// split returns a frame with the first n packets of f, and one with the others. n is less than the number of f's
// packets.
func (f *Frame) split(n int) (first, rest *Frame) {
	if f.IsRest() {
		return NewBinaryFrame(f.attachments[:n:n]...), NewBinaryFrame(f.attachments[n:]...)
	}
	n-- // the text
	// The spare bytes before the text are f's alone, so that the text is copied.
	return NewFrame(f.kind, string(f.Text()), f.attachments[:n:n]...), NewBinaryFrame(f.attachments[n:]...)
}

// Text is the packet without the Engine.IO type.
func (f *Frame) Text() []byte { return f.buf[PrefixRoom:] }

// Attachments are the binary messages that follow the text.
func (f *Frame) Attachments() [][]byte { return f.attachments }

// Size is what the frame counts in a queue, in bytes.
func (f *Frame) Size() int { return f.size }

// Wire returns the frame in the given form. The first call for a form makes it by encode,
// which gets the frame and its text preceded by PrefixRoom spare bytes; a WebSocket encoder
// may write its header there, and nobody else does.
func (f *Frame) Wire(form Form, encode func(f *Frame, prefixed []byte) []byte) []byte {
	if form == FormWebSocket3 && len(f.attachments) == 0 {
		form = FormWebSocket
	}
	if !f.made[form].Load() {
		f.make(form, encode)
	}
	return f.wire[form]
}

func (f *Frame) make(form Form, encode func(f *Frame, prefixed []byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.made[form].Load() {
		f.wire[form] = encode(f, f.buf)
		f.made[form].Store(true)
	}
}
