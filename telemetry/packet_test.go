package telemetry

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tbmsock/telemetry/telemetrypb"
)

// Dictionary, packet and protobuf have the same channels by the same names.
func TestChannelsAgree(t *testing.T) {
	var dictionary []string
	for _, c := range DefaultDictionary().Channels() {
		if c.Group != "derived" {
			dictionary = append(dictionary, c.ID)
		}
	}
	if got := ChannelIDs(); !slices.Equal(got, dictionary) {
		t.Errorf("packet has %v, dictionary %v", got, dictionary)
	}
	var wire []string
	fields := (&telemetrypb.Packet{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Kind() != protoreflect.MessageKind {
			continue
		}
		inner := f.Message().Fields()
		for j := range inner.Len() {
			wire = append(wire, string(f.Name())+"."+string(inner.Get(j).Name()))
		}
	}
	if !slices.Equal(wire, dictionary) {
		t.Errorf("protobuf has %v, dictionary %v", wire, dictionary)
	}
	var derived []string
	for _, c := range DefaultDictionary().Channels() {
		if c.Group == "derived" {
			derived = append(derived, c.ID)
		}
	}
	if got := DerivedIDs(); !slices.Equal(got, derived) {
		t.Errorf("derived are %v, in the dictionary %v", got, derived)
	}
	// And in JSON.
	full := fullPacket()
	b, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	for i, id := range ChannelIDs() {
		if !full.Set(id, float64(i+1)) {
			t.Errorf("%s cannot be set", id)
		}
		if v, ok := full.Value(id); !ok || v != float64(i+1) {
			t.Errorf("%s is %v, %v", id, v, ok)
		}
	}
	for _, c := range DefaultDictionary().Channels() {
		if c.Group == "derived" {
			continue
		}
		group, ok := tree[c.Group].(map[string]any)
		if _, has := group[c.ID[len(c.Group)+1:]]; !ok || !has {
			t.Errorf("%s is not in the JSON", c.ID)
		}
	}
}

func fullPacket() *Packet {
	return &Packet{Cutterhead: new(Cutterhead), Thrust: new(Thrust), Chamber: new(Chamber), Screw: new(Screw),
		Conditioning: new(Conditioning), Muck: new(Muck), Guidance: new(Guidance), Hydraulics: new(Hydraulics),
		Atmosphere: new(Atmosphere), Power: new(Power)}
}

func randomPacket(rnd *rand.Rand) *Packet {
	p := fullPacket()
	for _, id := range ChannelIDs() {
		p.Set(id, (rnd.Float64()-0.3)*1e5)
	}
	// A machine has some of the groups.
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && f.CanSet() && rnd.IntN(3) == 0 {
			f.SetZero()
		}
	}
	p.State, p.Phase, p.Ring = State(rnd.IntN(6)), Phase(rnd.IntN(7)), rnd.IntN(5000)
	return p
}

// JSON to protobuf and back, and the other way round, over random packets.
func TestRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	var reused Packet
	for range 500 {
		p := randomPacket(rnd)
		want, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var fromJSON Packet
		if err := json.Unmarshal(want, &fromJSON); err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		pb, err := fromJSON.AppendProto(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := reused.UnmarshalProto(pb); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(&reused)
		if err != nil || string(got) != string(want) {
			t.Fatalf("%s became %s, %v", want, got, err)
		}
	}
}

// A packet from a newer program passes through this one whole.
func TestUnknownFieldsSurvive(t *testing.T) {
	p := fullPacket()
	p.Thrust.Total = 1
	b, err := p.AppendProto(nil)
	if err != nil {
		t.Fatal(err)
	}
	b = protowire.AppendTag(b, 900, protowire.BytesType)
	b = protowire.AppendString(b, "from the future")
	var q Packet
	if err := q.UnmarshalProto(b); err != nil {
		t.Fatal(err)
	}
	q.Thrust.Total = 2
	out, err := q.AppendProto(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back telemetrypb.Packet
	if err := (&Packet{origin: &back}).UnmarshalProto(out); err != nil {
		t.Fatal(err)
	}
	if unknown := back.ProtoReflect().GetUnknown(); len(unknown) == 0 || back.Thrust.Total != 2 {
		t.Errorf("unknown fields %q, thrust %v", unknown, back.Thrust.Total)
	}
}

func FuzzUnmarshalProto(f *testing.F) {
	b, err := fullPacket().AppendProto(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Packet
		if p.UnmarshalProto(data) != nil {
			return
		}
		if _, err := p.AppendProto(nil); err != nil {
			t.Fatal(err)
		}
	})
}
