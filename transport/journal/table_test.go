package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"tbmsock/transport"
)

// The table against a plain set, over seqs that come in order, with holes, late and twice.
func TestTableKnowsEachSeq(t *testing.T) {
	for seed := range uint64(200) {
		rnd, times := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
		tab := newTable()
		naive := map[place]bool{}
		k := keyOf("tbm-1", "b")
		at := uint64(1)
		for i := range 300 {
			seq := at
			switch rnd.IntN(20) {
			case 0:
				at += rnd.Uint64N(5) // a hole
				seq = at
			case 1, 2:
				seq = 1 + rnd.Uint64N(at)
			default:
				at++
			}
			if seq == at {
				at++
			}
			has, _, err := tab.lookup(k, seq)
			p := place{k, seq}
			switch {
			case err != nil:
				if !errors.Is(err, transport.ErrJournalTooLate) {
					t.Fatal(err)
				}
				if r := tab.runs[k]; seq > r.vague || len(r.spans) < maxRanges {
					t.Fatalf("seed %d: seq %d is said to be too late, with %+v", seed, seq, r)
				}
				continue
			case has != naive[p]:
				t.Fatalf("seed %d, step %d: seq %d: table says %t", seed, i, seq, has)
			}
			if !has {
				b := &block{base: tab.next, count: 1, seq: tab.applied + 1, stored: time.Unix(int64(seq)-times.Int64N(50), 0),
					entries: []transport.JournalEntry{{Offset: tab.next, Source: "tbm-1", Boot: "b", Seq: seq}}}
				tab.apply(b)
				tab.lived += time.Second
				if times.IntN(20) == 0 && len(tab.ages) < maxAges {
					tab.ages = append(tab.ages, ageMark{tab.lived, tab.applied})
				}
				naive[p] = true
			}
			if rnd.IntN(50) == 0 { // as over a restart
				next, err := parseTable(tab.marshal())
				if err != nil {
					t.Fatal(err)
				}
				if next.applied != tab.applied || next.next != tab.next || next.stored != tab.stored || !reflect.DeepEqual(next.runs, tab.runs) ||
					next.lived != tab.lived || !slices.Equal(next.eras, tab.eras) || !slices.Equal(next.ages, tab.ages) {
					t.Fatalf("seed %d: %+v became %+v", seed, tab.runs[k], next.runs[k])
				}
				tab = next
			}
		}
	}
}

// However many runs there are, the table stays small, and those that were heard of last are known.
func TestTableIsBounded(t *testing.T) {
	tab := newTable()
	const n = 3 * maxKeys
	for i := uint64(1); i <= n; i++ {
		boot := fmt.Sprint("boot-", i)
		b := &block{base: tab.next, count: 40, seq: i, stored: time.Now()}
		for s := uint64(1); s <= 40; s++ {
			b.entries = append(b.entries, transport.JournalEntry{Offset: tab.next + s - 1, Source: "tbm", Boot: boot, Seq: 2 * s})
		}
		tab.apply(b)
	}
	if len(tab.runs) > maxKeys || len(tab.recent) > maxRecent || len(tab.order) > maxRecent {
		t.Errorf("%d runs, %d entries", len(tab.runs), len(tab.recent))
	}
	data := tab.marshal()
	if len(data) > maxTableBytes {
		t.Errorf("%d bytes", len(data))
	}
	again, err := parseTable(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := n - 1000; i <= n; i++ {
		k := keyOf("tbm", fmt.Sprint("boot-", i))
		for seq, want := range map[uint64]bool{80: true, 79: false, 81: false} {
			if has, _, err := again.lookup(k, seq); has != want || err != nil {
				t.Fatalf("boot %d seq %d: %t, %v", i, seq, has, err)
			}
		}
		if len(again.runs[k].spans) > maxRanges {
			t.Fatalf("%d ranges", len(again.runs[k].spans))
		}
	}
}

func TestParseTableRefusesWhatIsNone(t *testing.T) {
	good := newTable().marshal()
	for _, data := range [][]byte{nil, {1, 2, 3}, good[:len(good)-1], []byte("something else altogether")} {
		if _, err := parseTable(data); err == nil {
			t.Errorf("%q is taken for a table", data)
		}
	}
}

// fieldAndEntry is a field of a block's head, and an entry behind it.
func fieldAndEntry(n protowire.Number, v uint64) []byte {
	e := entry("tbm-1", "b", 1)
	data := protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
	return protowire.AppendBytes(protowire.AppendTag(data, blockFieldEntry, protowire.BytesType), appendEntry(nil, &e))
}

// A message of somebody else's with two counts ended the process, on every node, and again at every start.
func TestBlockWithTwoCounts(t *testing.T) {
	j := &Journal{opts: Options{Node: "n", Now: time.Now}, table: newTable()}
	e := entry("tbm-1", "b", 1)
	block := j.attempt([]*waiting{{entry: e, data: appendEntry(nil, &e)}}).data
	for _, c := range []struct {
		name string
		more []byte
		want string
	}{
		{"another count", fieldAndEntry(blockFieldCount, 2), "field 3 stands behind an entry"},
		{"another offset", fieldAndEntry(blockFieldBase, 5), "field 2 stands behind an entry"},
		{"one entry more", fieldAndEntry(15, 1), "more entries than the 1 it counts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := parseBlock(append(bytes.Clone(block), c.more...), true); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("taken: %v", err)
			}
		})
	}
}

// A message that only says that it holds many entries got the memory for them.
func TestBlockTakesWhatItHolds(t *testing.T) {
	b := &block{base: 1, count: maxBlockEntries, stored: time.Unix(1, 0), node: "n", id: 1}
	data := append(b.appendHead(nil), blockFieldEntry<<3|2, 2, entryFieldJSON<<3|2, 0)
	if allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _ = parseBlock(data, true)
		}
	}).AllocedBytesPerOp(); allocated > 8<<10 {
		t.Errorf("%d bytes are allocated for %d", allocated, len(data))
	}
	b.count = maxBlockEntries + 1
	data = append(b.appendHead(nil), data[len(data)-4:]...)
	if _, err := parseBlock(data, true); err == nil || !strings.Contains(err.Error(), "none has more than") {
		t.Errorf("taken: %v", err)
	}
}

// FuzzBlock: whatever stands in the stream, reading it neither panics nor makes entries up.
func FuzzBlock(f *testing.F) {
	j := &Journal{opts: Options{Node: "n", Now: time.Now}, table: newTable()}
	e := entry("tbm-1", "b", 1)
	e.Room, e.Value.Attachments = "ops", [][]byte{{1}, nil}
	p := j.attempt([]*waiting{{entry: e, data: appendEntry(nil, &e)}})
	f.Add(p.data)
	f.Add([]byte{})
	f.Add(append(bytes.Clone(p.data), fieldAndEntry(blockFieldCount, 2)...))
	f.Add(append(bytes.Clone(p.data), fieldAndEntry(blockFieldBase, 2)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseBlock(data, true)
		if err != nil {
			return
		}
		if uint64(len(b.entries)) != b.count || b.base == 0 {
			t.Fatalf("%+v", b)
		}
		size := 0
		for i, e := range b.entries {
			if e.Offset != b.base+uint64(i) {
				t.Fatalf("entry %d has offset %d", i, e.Offset)
			}
			size += len(e.Value.JSON)
		}
		if size > len(data) {
			t.Fatalf("%d bytes of %d", size, len(data))
		}
		if head, err := parseBlock(data, false); err != nil || head.base != b.base || head.count != b.count {
			t.Fatalf("head %+v, %v", head, err)
		}
	})
}

// FuzzTable: whatever stands in place of the table, reading it does not panic, and what is taken is written as it was.
func FuzzTable(f *testing.F) {
	tab := newTable()
	tab.id, tab.lived, tab.ages = "id", time.Hour, []ageMark{{time.Minute, 1}}
	for i, stored := range []int64{5, 7, 3} {
		tab.apply(&block{base: tab.next, count: 1, seq: uint64(i + 1), stored: time.Unix(stored, 0),
			entries: []transport.JournalEntry{{Offset: tab.next, Source: "tbm-1", Boot: "b", Seq: uint64(2*i + 1)}}})
	}
	f.Add(tab.marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		tab, err := parseTable(data)
		if err != nil {
			return
		}
		again, err := parseTable(tab.marshal())
		if err != nil {
			t.Fatalf("%+v cannot be read again: %v", tab, err)
		}
		if again.applied != tab.applied || again.lived != tab.lived || !slices.Equal(again.eras, tab.eras) || !slices.Equal(again.ages, tab.ages) {
			t.Errorf("%+v became %+v", tab, again)
		}
	})
}
