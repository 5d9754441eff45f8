package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/flate"

	"tbmsock/transport"
)

// rsv1 in a frame's first byte marks the first frame of a compressed message (RFC 7692 section 6).
const rsv1 = 0x40

// level of compression: a packet of our machines becomes 52 % of itself, by the highest level 51 %, in twice the
// time, and by the lowest 54 %.
const level = 5

// syncTail is what a flush ends with. It is left out on the wire, and put back by who reads (RFC 7692
// section 7.2).
const syncTail = "\x00\x00\xff\xff"

// keptSpace is the largest buffer that is kept for others, in bytes.
const keptSpace = 64 << 10

// deflater compresses messages one by one. It takes about 1 MB: kept between uses, and only as many as
// work at once.
type deflater struct {
	flate *flate.Writer
	out   bytes.Buffer // of one message
	all   []byte       // frames
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.flate, _ = flate.NewWriter(io.Discard, level) // the level is one that there is
	return d
}}

func (d *deflater) release() {
	if d.out.Cap() > keptSpace {
		d.out = bytes.Buffer{}
	}
	if cap(d.all) > keptSpace {
		d.all = nil
	}
	deflaters.Put(d)
}

// message returns data compressed, until the next call; nil if that is no smaller.
func (d *deflater) message(data []byte) []byte {
	d.out.Reset()
	d.flate.Reset(&d.out)
	// A buffer takes everything: there are no errors.
	_, _ = d.flate.Write(data)
	_ = d.flate.Flush()
	packed, whole := bytes.CutSuffix(d.out.Bytes(), []byte(syncTail))
	if !whole || len(packed) >= len(data) {
		return nil
	}
	return packed
}

// deflateFrames returns complete, unmasked frames, each a message, with those of at least from bytes
// compressed; frames itself if none becomes smaller.
func deflateFrames(frames []byte, from int) []byte {
	d := deflaters.Get().(*deflater)
	defer d.release()
	d.all = d.all[:0]
	smaller := false
	for rest := frames; len(rest) > 0; {
		head, size := frameSize(rest)
		frame := rest[:head+size]
		rest = rest[head+size:]
		var packed []byte
		if size >= from {
			packed = d.message(frame[head:])
		}
		if packed == nil {
			d.all = append(d.all, frame...)
			continue
		}
		smaller = true
		start := len(d.all)
		d.all = appendHeader(d.all, ws.OpCode(frame[0]&0xf) == ws.OpBinary, len(packed))
		d.all[start] |= rsv1
		d.all = append(d.all, packed...)
	}
	if !smaller {
		return frames
	}
	return bytes.Clone(d.all)
}

// frameSize reads the header of an unmasked frame that we have made.
func frameSize(b []byte) (head, size int) {
	switch n := int(b[1]); n {
	case 126:
		return 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10, int(binary.BigEndian.Uint64(b[2:]))
	default:
		return 2, n
	}
}

// packAtOnce is up to what size a frame is compressed by a writer for which other links wait, in bytes. For each they wait for 63
// microseconds at most; to begin a goroutine for each of a hundred clients takes longer.
const packAtOnce = 16 << 10

// frameFor is the frame in the form that this receiver has agreed to. Without wait it is nil if a large one has to be
// compressed first.
func (l *Link) frameFor(s *Socket, f *transport.Frame, wait bool) []byte {
	plain := l.opts.Codec.SocketFrame(f)
	if !s.agreed.packs(len(plain)) {
		return plain
	}
	if !wait && len(plain) > packAtOnce {
		return l.opts.Codec.CompressedFrame(f, nil)
	}
	return l.opts.Codec.CompressedFrame(f, l)
}

// Compress implements [transport.Compressor]: the first writer that needs a compressed form makes it,
// outside all locks of the hub. It counts what that brings.
func (l *Link) Compress(frames []byte) []byte {
	packed := deflateFrames(frames, l.opts.Engine.Compress)
	c := l.opts.Engine.Counters
	c.Compressed.Add(1)
	c.CompressedFrom.Add(uint64(len(frames)))
	c.CompressedTo.Add(uint64(len(packed)))
	return packed
}

// pack compresses a message that goes to one receiver, if that is agreed to and makes it smaller.
func (s *Socket) pack(f ws.Frame) ws.Frame {
	if !s.agreed.packs(len(f.Payload)) {
		return f
	}
	d := deflaters.Get().(*deflater)
	defer d.release()
	if packed := d.message(f.Payload); packed != nil {
		f = ws.NewFrame(f.Header.OpCode, true, bytes.Clone(packed))
		f.Header.Rsv = ws.Rsv(true, false, false)
	}
	return f
}
