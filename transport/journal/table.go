package journal

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tbmsock/transport"
)

// Bounds of the table. A run of a source that has not been heard of while maxKeys others were is forgotten.
const (
	maxKeys       = 8192
	maxRanges     = 16
	maxRecent     = 8192    // entries whose offsets are known by (source, boot, seq)
	maxTableBytes = 900_000 // a message of a NATS server as it comes holds 1 MiB
)

// key stands for one (source, boot).
type key [16]byte

func keyOf(source, boot string) key {
	h := make([]byte, 0, 128)
	h = binary.AppendUvarint(h, uint64(len(source)))
	h = append(append(h, source...), boot...)
	sum := sha256.Sum256(h)
	return key(sum[:16])
}

// span is a range of seq, both ends included.
type span struct{ lo, hi uint64 }

// run is what is known of one (source, boot).
type run struct {
	spans []span // sorted, apart from each other
	vague uint64 // holes up to here have been forgotten: whether such a seq is there is not known
	last  uint64 // offset of its latest entry
}

// has tells whether seq is there; known is false where that has been forgotten.
func (r *run) has(seq uint64) (has, known bool) {
	if seq <= r.vague {
		return false, false
	}
	i, _ := slices.BinarySearchFunc(r.spans, seq, func(s span, seq uint64) int { return cmp.Compare(s.hi, seq) })
	return i < len(r.spans) && r.spans[i].lo <= seq, true
}

func (r *run) add(seq uint64) {
	n := len(r.spans)
	if n > 0 && r.spans[n-1].hi+1 == seq { // nearly always
		r.spans[n-1].hi = seq
		return
	}
	i, _ := slices.BinarySearchFunc(r.spans, seq, func(s span, seq uint64) int { return cmp.Compare(s.hi, seq) })
	if i < n && r.spans[i].lo <= seq {
		return
	}
	joinsLeft := i > 0 && r.spans[i-1].hi+1 == seq
	joinsRight := i < n && r.spans[i].lo == seq+1
	switch {
	case joinsLeft && joinsRight:
		r.spans[i-1].hi = r.spans[i].hi
		r.spans = slices.Delete(r.spans, i, i+1)
	case joinsLeft:
		r.spans[i-1].hi = seq
	case joinsRight:
		r.spans[i].lo = seq
	default:
		r.spans = slices.Insert(r.spans, i, span{seq, seq})
		if len(r.spans) > maxRanges {
			r.vague = max(r.vague, r.spans[1].lo-1)
			r.spans = slices.Delete(r.spans, 0, 1)
		}
	}
}

// place is one entry that is known by name.
type place struct {
	key key
	seq uint64
}

// table says what the journal holds, as of the block with sequence number applied.
type table struct {
	applied uint64 // sequence number in the stream
	next    uint64 // offset of the next entry
	stored  int64  // time of the latest block, Unix nanoseconds
	eras    []era  // between steps back of the clock, the oldest first
	lived   time.Duration
	ages    []ageMark // the oldest first
	missing uint64    // messages that the stream lacked when it was read
	id      string    // of the journal
	runs    map[key]*run

	recent map[place]uint64 // offset of the latest entries
	order  []place          // of recent, a ring
	at     int
}

func newTable() *table {
	return &table{next: 1, runs: map[key]*run{}, recent: map[place]uint64{}}
}

// lookup tells whether an entry is there, and at which offset if that is known.
func (t *table) lookup(k key, seq uint64) (has bool, offset uint64, err error) {
	if offset, ok := t.recent[place{k, seq}]; ok {
		return true, offset, nil
	}
	r := t.runs[k]
	if r == nil {
		return false, 0, nil
	}
	has, known := r.has(seq)
	if !known {
		return false, 0, fmt.Errorf("%w: seq %d lies behind %d holes of this run", transport.ErrJournalTooLate, seq, maxRanges)
	}
	return has, 0, nil
}

// apply takes in a block.
func (t *table) apply(b *block) {
	for i := range b.entries {
		e := &b.entries[i]
		if e.Seq == 0 {
			continue
		}
		k := keyOf(e.Source, e.Boot)
		r := t.runs[k]
		if r == nil {
			if len(t.runs) >= maxKeys {
				t.forget()
			}
			r = &run{}
			t.runs[k] = r
		}
		r.add(e.Seq)
		r.last = e.Offset
		t.remember(place{k, e.Seq}, e.Offset)
	}
	t.applied, t.next, t.stored = b.seq, b.next(), b.stored.UnixNano()
	t.addStamp(b.seq, t.stored)
}

// recall takes the offsets of a block's entries, which are in the table already.
func (t *table) recall(b *block) {
	for i := range b.entries {
		if e := &b.entries[i]; e.Seq != 0 {
			t.remember(place{keyOf(e.Source, e.Boot), e.Seq}, e.Offset)
		}
	}
}

func (t *table) remember(p place, offset uint64) {
	if _, ok := t.recent[p]; ok {
		t.recent[p] = offset
		return
	}
	if len(t.order) < maxRecent {
		t.order = append(t.order, p)
	} else {
		delete(t.recent, t.order[t.at])
		t.order[t.at] = p
		t.at = (t.at + 1) % maxRecent
	}
	t.recent[p] = offset
}

// forget drops the eighth of the runs that has been silent longest.
func (t *table) forget() {
	for _, k := range t.byAge()[:len(t.runs)/8] {
		delete(t.runs, k)
	}
}

// byAge returns the keys, the one that has been silent longest first.
func (t *table) byAge() []key {
	keys := make([]key, 0, len(t.runs))
	for k := range t.runs {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(t.runs[a].last, t.runs[b].last) })
	return keys
}

// In the stream the table is a protobuf message:
//
//	message Table {
//	  fixed32 magic = 1;       // "TBT" and 1, little-endian
//	  uint64 applied = 2;      // sequence number of the latest block in it
//	  uint64 next = 3;         // offset of the next entry
//	  sfixed64 stored = 4;     // of that block
//	  repeated Run run = 5;
//	  uint64 missing = 6;      // messages that the stream lacks between its first and its last
//	  string id = 7;           // of the journal, which the stream's settings have too
//	  repeated Era era = 8;    // where blocks stand whose times do not decrease
//	  sfixed64 lived = 9;      // nanoseconds for which a server has had the journal open
//	  repeated Age age = 10;
//	}
//	message Era { uint64 seq = 1; sfixed64 first = 2; sfixed64 last = 3; bool mixed = 4; }
//	message Age { sfixed64 lived = 1; uint64 seq = 2; }
//	message Run {
//	  bytes key = 1; uint64 vague = 2; uint64 last = 3;
//	  repeated uint64 spans = 4 [packed];  // lowest, length - 1, hole before the next - 1, length - 1, ...
//	}
const tableMagic = uint32('T') | 'B'<<8 | 'T'<<16 | 1<<24

const (
	tableFieldMagic = iota + 1
	tableFieldApplied
	tableFieldNext
	tableFieldStored
	tableFieldRun
	tableFieldMissing
	tableFieldID
	tableFieldEra
	tableFieldLived
	tableFieldAge
)

const (
	runFieldKey = iota + 1
	runFieldVague
	runFieldLast
	runFieldSpans
)

// marshal writes the table; of more runs than fit, those heard of last.
func (t *table) marshal() []byte {
	var dst []byte
	number := func(dst []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(dst, n, protowire.VarintType), v)
	}
	dst = protowire.AppendTag(dst, tableFieldMagic, protowire.Fixed32Type)
	dst = protowire.AppendFixed32(dst, tableMagic)
	dst = number(dst, tableFieldApplied, t.applied)
	dst = number(dst, tableFieldNext, t.next)
	dst = protowire.AppendTag(dst, tableFieldStored, protowire.Fixed64Type)
	dst = protowire.AppendFixed64(dst, uint64(t.stored))
	dst = number(dst, tableFieldMissing, t.missing)
	dst = protowire.AppendTag(dst, tableFieldID, protowire.BytesType)
	dst = protowire.AppendString(dst, t.id)
	dst = t.appendTimes(dst)
	var buf, spans []byte
	for _, k := range slices.Backward(t.byAge()) {
		r := t.runs[k]
		spans, buf = spans[:0], buf[:0]
		end := uint64(0)
		for i, s := range r.spans {
			from := s.lo
			if i > 0 {
				from = s.lo - end - 1
			}
			spans = protowire.AppendVarint(protowire.AppendVarint(spans, from), s.hi-s.lo)
			end = s.hi
		}
		buf = protowire.AppendTag(buf, runFieldKey, protowire.BytesType)
		buf = protowire.AppendBytes(buf, k[:])
		buf = number(buf, runFieldVague, r.vague)
		buf = number(buf, runFieldLast, r.last)
		buf = protowire.AppendTag(buf, runFieldSpans, protowire.BytesType)
		buf = protowire.AppendBytes(buf, spans)
		if len(dst)+len(buf)+8 > maxTableBytes {
			break
		}
		dst = protowire.AppendTag(dst, tableFieldRun, protowire.BytesType)
		dst = protowire.AppendBytes(dst, buf)
	}
	return dst
}

// parseTable reads what marshal has written.
func parseTable(data []byte) (*table, error) {
	t := newTable()
	magic := false
	err := eachWireField(data, func(num protowire.Number, kind protowire.Type, v []byte, u uint64) error {
		switch {
		case num == tableFieldMagic && kind == protowire.Fixed32Type:
			magic = u == uint64(tableMagic)
		case num == tableFieldApplied && kind == protowire.VarintType:
			t.applied = u
		case num == tableFieldNext && kind == protowire.VarintType:
			t.next = u
		case num == tableFieldStored && kind == protowire.Fixed64Type:
			t.stored = int64(u)
		case num == tableFieldMissing && kind == protowire.VarintType:
			t.missing = u
		case num == tableFieldID && kind == protowire.BytesType:
			t.id = string(v)
		case num == tableFieldEra && kind == protowire.BytesType:
			return t.parseEra(v)
		case num == tableFieldLived && kind == protowire.Fixed64Type:
			t.lived = time.Duration(u)
		case num == tableFieldAge && kind == protowire.BytesType:
			return t.parseAge(v)
		case num == tableFieldRun && kind == protowire.BytesType:
			return t.parseRun(v)
		}
		return nil
	})
	if err == nil && (!magic || t.next == 0) {
		err = fmt.Errorf("unknown form")
	}
	if err == nil {
		err = t.checkTimes()
	}
	if err != nil {
		return nil, fmt.Errorf("journal: table: %w", err)
	}
	return t, nil
}

func (t *table) parseRun(data []byte) error {
	var k key
	r := &run{}
	err := eachWireField(data, func(num protowire.Number, kind protowire.Type, v []byte, u uint64) error {
		switch {
		case num == runFieldKey && kind == protowire.BytesType && len(v) == len(k):
			copy(k[:], v)
		case num == runFieldVague && kind == protowire.VarintType:
			r.vague = u
		case num == runFieldLast && kind == protowire.VarintType:
			r.last = u
		case num == runFieldSpans && kind == protowire.BytesType:
			end := uint64(0)
			for len(v) > 0 {
				from, n := protowire.ConsumeVarint(v)
				if n < 0 {
					return protowire.ParseError(n)
				}
				length, m := protowire.ConsumeVarint(v[n:])
				if m < 0 {
					return protowire.ParseError(m)
				}
				v = v[n+m:]
				lo := from
				if len(r.spans) > 0 {
					lo = end + 1 + from
				}
				end = lo + length
				r.spans = append(r.spans, span{lo, end})
			}
		}
		return nil
	})
	t.runs[k] = r
	return err
}
