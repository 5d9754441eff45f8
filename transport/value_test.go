package transport

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestEventFrame(t *testing.T) {
	two := Value{JSON: json.RawMessage(`[{"_placeholder":true,"num":0},{"num":1,"_placeholder":true}]`), Attachments: [][]byte{{2}, {3}}}
	for _, tc := range []struct {
		name        string
		nsp, event  string
		args        []any
		id          int
		want        string
		attachments int
	}{
		{"no arguments", "/", "my event", nil, -1, `2["my event"]`, 0},
		{"plain values", "/", "e", []any{1, "a\"b", nil, true, 1.5, map[string]int{"x": 1}}, -1, `2["e",1,"a\"b",null,true,1.5,{"x":1}]`, 0},
		{"unicode is left alone", "/", "é😀", []any{"<é😀>"}, -1, `2["é😀","<é😀>"]`, 0},
		{"namespace and ack", "/tbm", "e", []any{1}, 7, `2/tbm,7["e",1]`, 0},
		{"bytes", "/", "e", []any{[]byte{1}}, -1, `51-["e",{"_placeholder":true,"num":0}]`, 1},
		{"bytes in a tree", "/", "e", []any{map[string]any{"a": []any{[]byte{1}, 2}}}, -1, `51-["e",{"a":[{"_placeholder":true,"num":0},2]}]`, 1},
		{"raw value", "/", "e", []any{Value{JSON: json.RawMessage(`{ "as":  "it came" }`)}}, -1, `2["e",{ "as":  "it came" }]`, 0},
		{"raw value with attachments", "/", "e", []any{two}, -1, `52-["e",[{"_placeholder":true,"num":0},{"num":1,"_placeholder":true}]]`, 2},
		{"two of them are renumbered", "/", "e", []any{[]byte{1}, two}, -1, `53-["e",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1},{"_placeholder":true,"num":2}]]`, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := eventFrame(tc.nsp, tc.event, tc.args, uint64(max(tc.id, 0)), tc.id >= 0)
			if err != nil {
				t.Fatal(err)
			}
			if string(f.Text()) != tc.want || len(f.Attachments()) != tc.attachments {
				t.Errorf("got %s with %d attachments, want %s with %d", f.Text(), len(f.Attachments()), tc.want, tc.attachments)
			}
			for i, a := range f.Attachments() {
				if i > 0 && a[0] != f.Attachments()[i-1][0]+1 {
					t.Errorf("attachments are out of order: %v", f.Attachments())
				}
			}
		})
	}
	t.Run("what cannot be sent", func(t *testing.T) {
		for _, bad := range []struct {
			event string
			arg   any
		}{{"", 1}, {"connect", 1}, {"disconnect", 1}, {"e", make(chan int)}, {"e", json.RawMessage(`{`)}} {
			if f, err := eventFrame("/", bad.event, []any{bad.arg}, 0, false); err == nil {
				t.Errorf("%q %v became %s", bad.event, bad.arg, f.Text())
			}
		}
	})
}

func TestValueDecode(t *testing.T) {
	v := Value{
		JSON:        json.RawMessage(`{"name":"n","data":{"_placeholder":true,"num":1},"list":[{"_placeholder":true,"num":0}]}`),
		Attachments: [][]byte{{1}, {2, 3}},
	}
	t.Run("struct", func(t *testing.T) {
		var dst struct {
			Name string
			Data []byte
			List [][]byte
		}
		if err := v.Decode(&dst); err != nil {
			t.Fatal(err)
		}
		if dst.Name != "n" || !reflect.DeepEqual(dst.Data, []byte{2, 3}) || !reflect.DeepEqual(dst.List, [][]byte{{1}}) {
			t.Errorf("got %+v", dst)
		}
	})
	t.Run("any", func(t *testing.T) {
		var dst any
		if err := v.Decode(&dst); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"name": "n", "data": []byte{2, 3}, "list": []any{[]byte{1}}}
		if !reflect.DeepEqual(dst, want) {
			t.Errorf("got %#v", dst)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		v := Value{JSON: json.RawMessage(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{{9}}}
		if b, ok := v.Bytes(); !ok || b[0] != 9 {
			t.Errorf("got %v %v", b, ok)
		}
		var b []byte
		if err := v.Decode(&b); err != nil || b[0] != 9 {
			t.Errorf("got %v %v", b, err)
		}
	})
	t.Run("as JSON", func(t *testing.T) {
		b, err := json.Marshal(v)
		if want := `{"name":"n","data":"AgM=","list":["AQ=="]}`; err != nil || string(b) != want {
			t.Errorf("got %s, %v", b, err)
		}
	})
	t.Run("too few arguments", func(t *testing.T) {
		var a, b int
		if err := (Args{{JSON: json.RawMessage("1")}}).Decode(&a, &b); err == nil {
			t.Error("no error")
		}
	})
}

func TestEnvelopeOf(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		ok       bool
		room     string
	}{
		{"whole", `{"source":"tbm-1","boot":"b","seq":1,"time":"2026-01-02T03:04:05Z","room":"ops","packet":{"room":"inner"}}`, true, "ops"},
		{"for everyone", `{"source":"tbm-1","boot":"b","seq":1,"time":"2026-01-02T03:04:05Z","packet":1}`, true, ""},
		{"a foreign map with a room", `{"room":"ops","value":3}`, false, ""},
		{"seq 0", `{"source":"tbm-1","boot":"b","seq":0,"packet":1}`, false, ""},
		{"seq no number", `{"source":"tbm-1","boot":"b","seq":"1","packet":1}`, false, ""},
		{"no packet", `{"source":"tbm-1","boot":"b","seq":1}`, false, ""},
		{"a number", `42`, false, ""},
		{"a string", `"source"`, false, ""},
		{"null", `null`, false, ""},
		{"empty", ``, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, ok := EnvelopeOf(Value{JSON: json.RawMessage(tc.in)})
			if ok != tc.ok || e.Room != tc.room {
				t.Errorf("got %v room %q", ok, e.Room)
			}
		})
	}
}

// An envelope whose packet has a binary part went to everyone instead of its room, and was stored again when it was
// sent again.
func TestEnvelopeWithABuffer(t *testing.T) {
	v := Value{JSON: json.RawMessage(`{"source":"tbm-1","boot":"b","seq":7,"room":"ops","packet":{"image":{"_placeholder":true,"num":0},"n":1}}`),
		Attachments: [][]byte{{1, 2, 3}}}
	e, ok := EnvelopeOf(v)
	if !ok || e.Source != "tbm-1" || e.Seq != 7 || e.Room != "ops" || string(e.Packet) != `{"image":"AQID","n":1}` {
		t.Errorf("got %v, %+v with packet %s", ok, e, e.Packet)
	}
	if room := roomOf(v); room != "ops" {
		t.Errorf("it is for room %q", room)
	}
}
