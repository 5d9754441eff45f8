package transport

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"tbmsock/transport/envelopepb"
)

func binaryValue(b []byte) Value {
	return Value{JSON: json.RawMessage(appendPlaceholder(nil, 0)), Attachments: [][]byte{b}}
}

// What is written by hand here is what the generated code reads, and the other way round.
func TestEnvelopeProto(t *testing.T) {
	e := Envelope{Source: "tbm-1", Boot: "b", Seq: 1 << 40, Time: time.Unix(1_800_000_000, 123).UTC(), Room: "ops", Proto: []byte{1, 2, 3}}
	var pb envelopepb.Envelope
	if err := proto.Unmarshal(e.AppendProto(nil), &pb); err != nil {
		t.Fatal(err)
	}
	if pb.Magic != EnvelopeMagic || pb.Source != e.Source || pb.Boot != e.Boot || pb.Seq != e.Seq || pb.TimeUnixNano != e.Time.UnixNano() ||
		pb.Room != e.Room || !bytes.Equal(pb.Packet, e.Proto) {
		t.Errorf("read as %v", &pb)
	}
	b, err := proto.Marshal(&pb)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := EnvelopeOf(binaryValue(b)); !ok || !reflect.DeepEqual(got, e) {
		t.Errorf("got %+v, %v", got, ok)
	}
	if room := roomOf(binaryValue(b)); room != "ops" {
		t.Errorf("room %q", room)
	}
	for name, b := range map[string][]byte{"empty": {}, "other bytes": {1, 2, 3}, "cut off": b[:len(b)-2], "another magic": append([]byte{0x0d, 0, 0, 0, 0}, b[5:]...), "magic alone": b[:5]} {
		if got, ok := EnvelopeOf(binaryValue(b)); ok {
			t.Errorf("%s: taken for %+v", name, got)
		}
	}
}

// FuzzEnvelope: nothing panics, and what is accepted reads the same after it is written again.
func FuzzEnvelope(f *testing.F) {
	e := Envelope{Source: "tbm-1", Boot: "b", Seq: 1, Time: time.Unix(1, 0), Room: "ops", Proto: []byte{1}}
	f.Add(e.AppendProto(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, ok := envelopeOfProto(data)
		if !ok {
			return
		}
		again, ok := envelopeOfProto(e.AppendProto(nil))
		if !ok || !reflect.DeepEqual(again, e) && !e.Time.IsZero() {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}
