package journal

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"tbmsock/transport"
)

// What has been written once has to be read for ever: these bytes are not to be changed.
const goldenBlock = "0d54424a01100718022100e8764817000000" +
	"2a066e6f64652d313009"

func goldenEntries() []transport.JournalEntry {
	stored := time.Unix(100, 0).UTC()
	return []transport.JournalEntry{
		{Offset: 7, Stored: stored, Node: "node-1", Source: "tbm-1", Boot: "b", Seq: 300, Time: time.Unix(2, 0).UTC(), Room: "ops", Namespace: "/", Sid: "s",
			Value: transport.Value{JSON: []byte(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{{1, 2}}}},
		{Offset: 8, Stored: stored, Node: "node-1", Namespace: "/", Sid: "s", Value: transport.Value{JSON: []byte(`42`)}},
	}
}

const (
	goldenEntry1 = "0a0574626d2d3112016218ac02210094357700000000" + "2a036f707332012f3a0173" +
		"421d7b225f706c616365686f6c646572223a747275652c226e756d223a307d" + "4a020102"
	goldenEntry2 = "32012f3a01734202" + "3432"
)

func TestBlockStaysReadable(t *testing.T) {
	bytesOf := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	golden := bytesOf(goldenBlock)
	for _, s := range []string{goldenEntry1, goldenEntry2} {
		e := bytesOf(s)
		golden = append(append(golden, 7<<3|2, byte(len(e))), e...)
	}
	want := goldenEntries()

	j := &Journal{opts: Options{Node: "node-1", Now: func() time.Time { return time.Unix(100, 0) }}, table: newTable(), ids: 8}
	j.table.next = 7
	var batch []*waiting
	for _, e := range want {
		batch = append(batch, &waiting{entry: e, data: appendEntry(nil, &e)})
	}
	if got := j.attempt(batch).data; !bytes.Equal(got, golden) {
		t.Errorf("written as\n%x\nwant\n%x", got, golden)
	}

	// With a field that a later version might add, in the block and in an entry.
	later := append(bytes.Clone(golden), 0x78, 5)
	for _, data := range [][]byte{golden, later} {
		b, err := parseBlock(data, true)
		if err != nil {
			t.Fatal(err)
		}
		if b.base != 7 || b.id != 9 || !reflect.DeepEqual(b.entries, want) {
			t.Errorf("got  %+v\nwant %+v", b.entries, want)
		}
	}
	for n := range golden {
		if _, err := parseBlock(golden[:n], true); err == nil {
			t.Errorf("cut at byte %d it is still taken for a block", n)
		}
	}
}
