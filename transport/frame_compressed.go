package transport

import (
	"sync"
	"sync/atomic"
)

// DefaultCompress is the size, in bytes, from which Socket.IO's own servers compress a message when
// they are told to (perMessageDeflate, threshold).
const DefaultCompress = 1024

// Compressor makes the compressed form of complete WebSocket frames. It returns the frames as they
// are where compression gains nothing. It may not change them.
type Compressor interface {
	Compress(frames []byte) []byte
}

// compressedForms are a frame's WebSocket forms, compressed. They have a lock of their own: whoever
// wants the plain form does not wait for a compression.
type compressedForms struct {
	mu   sync.Mutex
	made [FormWebSocket3 + 1]atomic.Bool
	wire [FormWebSocket3 + 1][]byte // each written before made says so, and never after
}

// Compressed is [Frame.Wire] for a receiver that has agreed to compression (RFC 7692) without context
// takeover, for one of the two WebSocket forms. The first call for a form compresses it by c, which
// must be the same, in effect, in all calls for one frame; who calls meanwhile waits. With a nil c it is nil
// if the form has not been made.
//
// A compressed form is never larger than the plain one, so that a frame holds at most twice what it
// counts; see [ServerOptions.QueueLimit].
func (f *Frame) Compressed(form Form, encode func(f *Frame, prefixed []byte) []byte, c Compressor) []byte {
	if form == FormWebSocket3 && len(f.attachments) == 0 {
		form = FormWebSocket
	}
	forms := f.compressed.Load()
	switch {
	case forms != nil:
	case c == nil:
		return nil
	default:
		f.compressed.CompareAndSwap(nil, new(compressedForms))
		forms = f.compressed.Load()
	}
	if !forms.made[form].Load() {
		if c == nil {
			return nil
		}
		plain := f.Wire(form, encode)
		forms.mu.Lock()
		defer forms.mu.Unlock()
		if !forms.made[form].Load() {
			forms.wire[form] = c.Compress(plain)
			forms.made[form].Store(true)
		}
	}
	return forms.wire[form]
}
