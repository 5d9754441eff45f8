package transport

import (
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// EnvelopeMagic begins every protobuf envelope, so that it is told from any other bytes that a
// client may send: the field magic of envelopepb.Envelope, little-endian "TBM" and 1.
const EnvelopeMagic = uint32('T') | 'B'<<8 | 'M'<<16 | 1<<24

// Field numbers of envelopepb.Envelope.
const (
	fieldMagic = iota + 1
	fieldSource
	fieldBoot
	fieldSeq
	fieldTime
	fieldRoom
	fieldPacket
)

// AppendProto appends the envelope as envelopepb.Envelope, with Proto as its packet.
func (e *Envelope) AppendProto(dst []byte) []byte {
	dst = protowire.AppendTag(dst, fieldMagic, protowire.Fixed32Type)
	dst = protowire.AppendFixed32(dst, EnvelopeMagic)
	text := func(n protowire.Number, s string) {
		if s != "" {
			dst = protowire.AppendTag(dst, n, protowire.BytesType)
			dst = protowire.AppendString(dst, s)
		}
	}
	text(fieldSource, e.Source)
	text(fieldBoot, e.Boot)
	dst = protowire.AppendTag(dst, fieldSeq, protowire.VarintType)
	dst = protowire.AppendVarint(dst, e.Seq)
	dst = protowire.AppendTag(dst, fieldTime, protowire.Fixed64Type)
	dst = protowire.AppendFixed64(dst, uint64(e.Time.UnixNano()))
	text(fieldRoom, e.Room)
	dst = protowire.AppendTag(dst, fieldPacket, protowire.BytesType)
	return protowire.AppendBytes(dst, e.Proto)
}

// envelopeOfProto reads an envelope without copying its packet. The generated code would copy it,
// for each event that passes the relay.
func envelopeOfProto(b []byte) (e Envelope, ok bool) {
	if len(b) < 5 || b[0] != fieldMagic<<3|byte(protowire.Fixed32Type) || binary.LittleEndian.Uint32(b[1:]) != EnvelopeMagic {
		return e, false
	}
	e.Proto = []byte{}
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Envelope{}, false
		}
		b = b[n:]
		var v []byte
		var u uint64
		switch kind {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			u, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			u, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return Envelope{}, false
		}
		b = b[n:]
		switch {
		case num == fieldSource && kind == protowire.BytesType:
			e.Source = string(v)
		case num == fieldBoot && kind == protowire.BytesType:
			e.Boot = string(v)
		case num == fieldSeq && kind == protowire.VarintType:
			e.Seq = u
		case num == fieldTime && kind == protowire.Fixed64Type:
			e.Time = time.Unix(0, int64(u)).UTC()
		case num == fieldRoom && kind == protowire.BytesType:
			e.Room = string(v)
		case num == fieldPacket && kind == protowire.BytesType:
			e.Proto = v[:len(v):len(v)]
		}
	}
	if e.Source == "" || e.Boot == "" || e.Seq == 0 {
		return Envelope{}, false
	}
	return e, true
}
