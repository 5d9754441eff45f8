package recording

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tbmsock/telemetry"
	"tbmsock/telemetry/simulator"
	"tbmsock/transport"
)

// logged are 20 records of a machine, half of them of protobuf, with one of another client among them.
func logged(t *testing.T) []Record {
	t.Helper()
	start := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
	m, err := simulator.New(simulator.Options{Seed: 1, Start: start})
	if err != nil {
		t.Fatal(err)
	}
	var all []Record
	for i := range 20 {
		at := start.Add(time.Duration(i) * 10 * time.Second)
		p := new(telemetry.Packet)
		m.Next(at, p)
		e := &transport.Envelope{Source: "tbm-1", Boot: "b", Seq: uint64(i + 1), Time: at, Room: "ops"}
		if i%2 == 0 {
			e.Packet, err = json.Marshal(p)
		} else {
			e.Proto, err = p.AppendProto(nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Record{Received: at.Add(time.Millisecond), Event: "log_telemetry", Offset: uint64(i + 100), Envelope: e, Packet: p, Derived: telemetry.Geometry{Diameter: 6, Cutters: 40}.Derive(p)})
	}
	all[7] = Record{Received: start, Event: "log_telemetry", Offset: 107, Value: &transport.Value{JSON: []byte(`{"a":[1,"x"]}`)}, Derived: telemetry.NoDerived()}
	return all
}

// What is written, in either form, plain or compressed, is read back.
func TestWrittenIsReadBack(t *testing.T) {
	all := logged(t)
	table := NewCSV(nil)
	forms := map[string][]byte{"p.csv": table.Header(), "p.jsonl": nil}
	for i := range all {
		forms["p.csv"] = append(forms["p.csv"], table.Row(&all[i])...)
		forms["p.jsonl"] = all[i].AppendJSON(forms["p.jsonl"])
	}
	for name, data := range forms {
		for _, packed := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), name)
			if packed {
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				_, _ = z.Write(data)
				_ = z.Close()
				data, path = b.Bytes(), path+".gz"
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := OpenReader(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := range all {
				got, err := r.Next()
				if err != nil {
					t.Fatalf("%s, record %d: %v", path, i, err)
				}
				same(t, path, got, &all[i])
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: after the last record: %v", path, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func same(t *testing.T, path string, got, want *Record) {
	t.Helper()
	if !got.Received.Equal(want.Received) || got.Event != want.Event || got.Offset != want.Offset || (got.Envelope == nil) != (want.Envelope == nil) || (got.Packet == nil) != (want.Packet == nil) {
		t.Fatalf("%s: read %+v, want %+v", path, got, want)
	}
	if want.Envelope == nil {
		if string(got.Value.JSON) != string(want.Value.JSON) {
			t.Fatalf("%s: value %s, want %s", path, got.Value.JSON, want.Value.JSON)
		}
		return
	}
	if g, w := got.Envelope, want.Envelope; g.Source != w.Source || g.Boot != w.Boot || g.Seq != w.Seq || !g.Time.Equal(w.Time) || g.Room != w.Room {
		t.Fatalf("%s: envelope %+v, want %+v", path, g, w)
	}
	if got.Packet.State != want.Packet.State || got.Packet.Phase != want.Packet.Phase || got.Packet.Ring != want.Packet.Ring || got.Packet.Machine != want.Packet.Machine {
		t.Fatalf("%s: packet %+v, want %+v", path, got.Packet, want.Packet)
	}
	for _, id := range telemetry.ChannelIDs() {
		g, ok := got.Packet.Value(id)
		w, has := want.Packet.Value(id)
		if ok != has || g != w {
			t.Fatalf("%s: %s is %v, %v, want %v, %v", path, id, g, ok, w, has)
		}
	}
}

func TestLinesThatAreNoRecords(t *testing.T) {
	good := logged(t)[0].AppendJSON(nil)
	path := filepath.Join(t.TempDir(), "p.jsonl")
	text := "nonsense\n{\"a\":1}\n" + `{"received":"2026-03-02T06:00:00Z","change":{"channel":"thrust.total"}}` + "\n\n" + string(good) + string(good[:40])
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for _, want := range []string{"line 1", "line 2"} {
		if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	if rec, err := r.Next(); err != nil || rec.Envelope.Seq != 1 {
		t.Errorf("the record after them is %+v, %v", rec, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("half a line gives %v", err)
	}
}

func TestPacketsOfOthersAreNoPackets(t *testing.T) {
	var p telemetry.Packet
	for _, e := range []transport.Envelope{{Packet: []byte(`3`)}, {Packet: []byte(`{"temperature":3}`)}, {Packet: []byte(`{"state":"dancing"}`)}, {Proto: []byte("no protobuf")}, {Proto: []byte{}}} {
		if ReadPacket(&e, &p) {
			t.Errorf("%s%q is read as a packet", e.Packet, e.Proto)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"received":"2026-03-02T06:00:00Z","event":"log_telemetry","envelope":{"source":"s","boot":"b","seq":1,"packet":{"thrust":{"total":1}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseJSON(data)
		if err != nil {
			return
		}
		if again, err := ParseJSON(bytes.TrimSuffix(r.AppendJSON(nil), []byte("\n"))); err == nil && again.Event != r.Event {
			t.Errorf("event %q becomes %q", r.Event, again.Event)
		}
		NewCSV(nil).Row(r)
	})
}
