package transport

import "strconv"

// slab makes the frames of a journal's entries, many in one array: two allocations for all of them. They stay in memory
// until the last of them has been sent, so a slab is small beside a client's queue.
type slab struct {
	buf    []byte
	frames []Frame
}

const (
	slabBytes  = 32 << 10
	slabFrames = 64
)

// entryForm is the receiver for which the frame of an entry is made.
type entryForm struct {
	follower bool // the frame is not dropped: a follower has no holes
	offsets  bool // the offset is a second argument
	replayed bool
}

// entryFrame is an event with the entry's value as its argument, as [eventFrame] has it; name is quoted.
func (s *slab) entryFrame(nsp string, name []byte, e *JournalEntry, form entryForm) *Frame {
	attachments := e.Value.Attachments
	kind := byte(packetEvent)
	if len(attachments) > 0 {
		kind = packetBinaryEvent
	}
	size := PrefixRoom + len(nsp) + len(name) + len(e.Value.JSON) + 96 // the rest is shorter
	if cap(s.buf)-len(s.buf) < size {
		s.buf = make([]byte, 0, max(slabBytes, size))
	}
	if len(s.frames) == 0 {
		s.frames = make([]Frame, slabFrames)
	}
	start := len(s.buf)
	buf := s.buf[start : start+PrefixRoom]
	buf = appendHead(buf, kind, len(attachments), nsp, 0, false)
	buf = append(append(append(buf, '['), name...), ',')
	if len(e.Value.JSON) > 0 {
		buf = append(buf, e.Value.JSON...)
	} else {
		buf = append(buf, "null"...)
	}
	if form.offsets {
		buf = strconv.AppendUint(append(buf, `,{"offset":`...), e.Offset, 10)
		buf = strconv.AppendBool(append(buf, `,"replayed":`...), form.replayed)
		buf = append(buf, '}')
	}
	buf = append(buf, ']')
	end := start + len(buf)
	s.buf = s.buf[:end]
	f := &s.frames[0]
	s.frames = s.frames[1:]
	f.init(EngineMessage, buf[:len(buf):len(buf)], attachments, !form.follower)
	return f
}
