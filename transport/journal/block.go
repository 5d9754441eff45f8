package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tbmsock/transport"
)

// block is what one message of the stream holds: entries of one node, one after the other. In the
// stream it is a protobuf message, so that fields can be added:
//
//	message Block {
//	  fixed32 magic = 1;       // "TBJ" and 1, little-endian
//	  uint64 base = 2;         // offset of the first entry
//	  uint64 count = 3;        // of the entries
//	  sfixed64 stored = 4;     // Unix nanoseconds; never less than in the block before
//	  string node = 5;         // that wrote it
//	  uint64 id = 6;           // by which the node knows it again
//	  repeated Entry entry = 7;
//	}
//	message Entry {
//	  string source = 1; string boot = 2; uint64 seq = 3; sfixed64 time = 4;
//	  string room = 5; string namespace = 6; string sid = 7;
//	  bytes json = 8; repeated bytes attachment = 9;
//	}
type block struct {
	base    uint64
	count   uint64
	stored  time.Time
	node    string
	id      uint64
	entries []transport.JournalEntry

	seq  uint64 // of the message
	size int    // of the message
}

func (b *block) next() uint64 { return b.base + b.count }

const blockMagic = uint32('T') | 'B'<<8 | 'J'<<16 | 1<<24

const (
	blockFieldMagic = iota + 1
	blockFieldBase
	blockFieldCount
	blockFieldStored
	blockFieldNode
	blockFieldID
	blockFieldEntry
)

const (
	entryFieldSource = iota + 1
	entryFieldBoot
	entryFieldSeq
	entryFieldTime
	entryFieldRoom
	entryFieldNamespace
	entryFieldSid
	entryFieldJSON
	entryFieldAttachment
)

// minEntryBytes is what an entry takes in a block at least: two tags and two lengths.
const minEntryBytes = 4

// appendEntry appends the entry as it stands in a block. The entry's value is then part of what has been appended, and no more of
// whatever it was part of before.
func appendEntry(dst []byte, e *transport.JournalEntry) []byte {
	text := func(n protowire.Number, s string) {
		if s != "" {
			dst = protowire.AppendTag(dst, n, protowire.BytesType)
			dst = protowire.AppendString(dst, s)
		}
	}
	text(entryFieldSource, e.Source)
	text(entryFieldBoot, e.Boot)
	if e.Seq != 0 {
		dst = protowire.AppendTag(dst, entryFieldSeq, protowire.VarintType)
		dst = protowire.AppendVarint(dst, e.Seq)
	}
	if !e.Time.IsZero() {
		dst = protowire.AppendTag(dst, entryFieldTime, protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, uint64(e.Time.UnixNano()))
	}
	text(entryFieldRoom, e.Room)
	text(entryFieldNamespace, e.Namespace)
	text(entryFieldSid, e.Sid)
	dst = protowire.AppendTag(dst, entryFieldJSON, protowire.BytesType)
	dst = protowire.AppendBytes(dst, e.Value.JSON)
	e.Value.JSON = dst[len(dst)-len(e.Value.JSON) : len(dst) : len(dst)]
	if len(e.Value.Attachments) == 0 {
		return dst
	}
	attachments := make([][]byte, len(e.Value.Attachments))
	for i, a := range e.Value.Attachments {
		dst = protowire.AppendTag(dst, entryFieldAttachment, protowire.BytesType)
		dst = protowire.AppendBytes(dst, a)
		attachments[i] = dst[len(dst)-len(a) : len(dst) : len(dst)]
	}
	e.Value.Attachments = attachments
	return dst
}

// appendHead appends all of the block but its entries.
func (b *block) appendHead(dst []byte) []byte {
	dst = protowire.AppendTag(dst, blockFieldMagic, protowire.Fixed32Type)
	dst = protowire.AppendFixed32(dst, blockMagic)
	number := func(n protowire.Number, v uint64) {
		dst = protowire.AppendTag(dst, n, protowire.VarintType)
		dst = protowire.AppendVarint(dst, v)
	}
	number(blockFieldBase, b.base)
	number(blockFieldCount, b.count)
	dst = protowire.AppendTag(dst, blockFieldStored, protowire.Fixed64Type)
	dst = protowire.AppendFixed64(dst, uint64(b.stored.UnixNano()))
	dst = protowire.AppendTag(dst, blockFieldNode, protowire.BytesType)
	dst = protowire.AppendString(dst, b.node)
	number(blockFieldID, b.id)
	return dst
}

// parseBlock reads a block; with entries false only its head. The entries' bytes are part of data.
func parseBlock(data []byte, entries bool) (*block, error) {
	return parseBlockInto(data, entries, nil)
}

// parseBlockInto is parseBlock, with room for the entries.
func parseBlockInto(data []byte, entries bool, space []transport.JournalEntry) (*block, error) {
	b := &block{size: len(data)}
	seen := 0
	var interned entryNames
	err := eachWireField(data, func(num protowire.Number, kind protowire.Type, v []byte, u uint64) error {
		switch {
		case num <= blockFieldID && b.entries != nil:
			return fmt.Errorf("field %d stands behind an entry", num)
		case num == blockFieldMagic && kind == protowire.Fixed32Type:
			if u != uint64(blockMagic) {
				return fmt.Errorf("unknown form %#x", u)
			}
			seen |= 1
		case num == blockFieldBase && kind == protowire.VarintType:
			b.base = u
			seen |= 2
		case num == blockFieldCount && kind == protowire.VarintType:
			b.count = u
			seen |= 4
		case num == blockFieldStored && kind == protowire.Fixed64Type:
			b.stored = time.Unix(0, int64(u)).UTC()
			seen |= 8
		case num == blockFieldNode && kind == protowire.BytesType:
			b.node = string(v)
		case num == blockFieldID && kind == protowire.VarintType:
			b.id = u
		case num == blockFieldEntry && kind == protowire.BytesType:
			if !entries {
				return errStop
			}
			if uint64(len(b.entries)) == b.count {
				return fmt.Errorf("more entries than the %d it counts", b.count)
			}
			if b.count > maxBlockEntries {
				return fmt.Errorf("it counts %d entries, and none has more than %d", b.count, maxBlockEntries)
			}
			if b.entries == nil {
				if n := min(b.count, uint64(len(data)/minEntryBytes)); uint64(cap(space)) < n {
					space = make([]transport.JournalEntry, 0, n)
				}
				b.entries = space[:0]
			}
			n := len(b.entries)
			b.entries = append(b.entries, transport.JournalEntry{Offset: b.base + uint64(n), Stored: b.stored, Node: b.node})
			e := &b.entries[n]
			if err := parseEntry(v, e, &interned); err != nil {
				return fmt.Errorf("offset %d: %w", e.Offset, err)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("journal: block: %w", err)
	case seen != 15:
		return nil, fmt.Errorf("journal: this is no block of a journal")
	case b.base == 0 || b.base+b.count < b.base:
		return nil, fmt.Errorf("journal: block: impossible offset %d", b.base)
	case entries && uint64(len(b.entries)) != b.count:
		return nil, fmt.Errorf("journal: block at offset %d: %d entries, but it counts %d", b.base, len(b.entries), b.count)
	}
	return b, nil
}

// entryNames are the strings of the entry before: mostly the next one has the same.
type entryNames [entryFieldSid + 1]string

func (n *entryNames) text(num protowire.Number, v []byte) string {
	if n[num] != string(v) {
		n[num] = string(v)
	}
	return n[num]
}

func parseEntry(data []byte, e *transport.JournalEntry, interned *entryNames) error {
	found := false
	for len(data) > 0 {
		num, kind, v, u, n := wireField(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		switch {
		case num == entryFieldSource && kind == protowire.BytesType:
			e.Source = interned.text(num, v)
		case num == entryFieldBoot && kind == protowire.BytesType:
			e.Boot = interned.text(num, v)
		case num == entryFieldSeq && kind == protowire.VarintType:
			e.Seq = u
		case num == entryFieldTime && kind == protowire.Fixed64Type:
			e.Time = time.Unix(0, int64(u)).UTC()
		case num == entryFieldRoom && kind == protowire.BytesType:
			e.Room = interned.text(num, v)
		case num == entryFieldNamespace && kind == protowire.BytesType:
			e.Namespace = interned.text(num, v)
		case num == entryFieldSid && kind == protowire.BytesType:
			e.Sid = interned.text(num, v)
		case num == entryFieldJSON && kind == protowire.BytesType:
			e.Value.JSON, found = json.RawMessage(v[:len(v):len(v)]), true
		case num == entryFieldAttachment && kind == protowire.BytesType:
			e.Value.Attachments = append(e.Value.Attachments, v[:len(v):len(v)])
		}
	}
	if !found {
		return errors.New("entry without a value")
	}
	return nil
}

// errStop ends eachWireField before the end of the data.
var errStop = errors.New("stop")

// eachWireField calls f for each field of a protobuf message: with its bytes, or its number.
func eachWireField(data []byte, f func(num protowire.Number, kind protowire.Type, v []byte, u uint64) error) error {
	for len(data) > 0 {
		num, kind, v, u, n := wireField(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := f(num, kind, v, u); err != nil {
			if errors.Is(err, errStop) {
				return nil
			}
			return err
		}
	}
	return nil
}

// wireField reads the first field of a protobuf message: its bytes, or its number. n is how long it is, or negative an
// error for [protowire.ParseError].
func wireField(data []byte) (num protowire.Number, kind protowire.Type, v []byte, u uint64, n int) {
	num, kind, tag := protowire.ConsumeTag(data)
	if tag < 0 {
		return 0, 0, nil, 0, tag
	}
	data = data[tag:]
	switch kind {
	case protowire.BytesType:
		v, n = protowire.ConsumeBytes(data)
	case protowire.VarintType:
		u, n = protowire.ConsumeVarint(data)
	case protowire.Fixed64Type:
		u, n = protowire.ConsumeFixed64(data)
	case protowire.Fixed32Type:
		var u32 uint32
		u32, n = protowire.ConsumeFixed32(data)
		u = uint64(u32)
	default:
		n = protowire.ConsumeFieldValue(num, kind, data)
	}
	if n < 0 {
		return 0, 0, nil, 0, n
	}
	return num, kind, v, u, tag + n
}
