package engine4

import (
	"bytes"
	"fmt"
	"testing"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// The examples are those of the protocol's text (Engine.IO protocol, "Packet encoding").
func TestPayload(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     string // type, b for binary, data; or empty for an error
	}{
		{"one packet", "4hello", "4:hello "},
		{"two packets", "4hello\x1e2\x1e4world", "4:hello 2: 4:world "},
		{"binary", "4hello\x1ebAQIDBA==", "4:hello 4b:\x01\x02\x03\x04 "},
		{"binary without padding", "bAQIDBA", "4b:\x01\x02\x03\x04 "},
		{"empty message", "4", "4: "},
		{"empty binary", "b", "4b: "},
		{"unicode", "4é😀", "4:é😀 "},
		{"nothing", "", ""},
		{"an empty packet between", "4a\x1e\x1e4b", ""},
		{"unknown type", "7", ""},
		{"bad base64", "b*", ""},
		{"too many", string(bytes.Repeat([]byte("2\x1e"), maxPackets+1)), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			packets, err := codec{}.ParsePayload(nil, []byte(tc.in))
			if (err != nil) != (tc.want == "") {
				t.Fatalf("error is %v", err)
			}
			if got := describe(packets); err == nil && got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func describe(packets []wire.Packet) string {
	out := ""
	for _, p := range packets {
		b := ""
		if p.Binary {
			b = "b"
		}
		out += fmt.Sprintf("%c%s:%s ", p.Type, b, p.Data)
	}
	return out
}

func TestForms(t *testing.T) {
	f := transport.NewFrame(transport.EngineMessage, `51-["é",{"_placeholder":true,"num":0}]`, []byte{1, 2})
	if got, want := string(codec{}.Payload([]*transport.Frame{f, pingFrame})), "451-[\"é\",{\"_placeholder\":true,\"num\":0}]\x1ebAQI=\x1e2"; got != want {
		t.Errorf("payload is %q", got)
	}
	text := "451-[\"é\",{\"_placeholder\":true,\"num\":0}]"
	want := "\x81" + string(rune(len(text))) + text + "\x82\x02\x01\x02"
	if got := string(codec{}.SocketFrame(f)); got != want {
		t.Errorf("frames are %q, want %q", got, want)
	}
	if a, b := (codec{}).SocketFrame(f), (codec{}).SocketFrame(f); &a[0] != &b[0] {
		t.Error("the form is made twice")
	}
	t.Run("length forms", func(t *testing.T) {
		for _, n := range []int{0, 124, 125, 126, 65534, 65535, 65536, 1 << 20} {
			f := transport.NewFrame(transport.EngineMessage, string(bytes.Repeat([]byte("x"), n)))
			got := codec{}.SocketFrame(f)
			if want := wire.AppendFrame(nil, false, []byte("4"), f.Text()); !bytes.Equal(got, want) {
				t.Errorf("%d bytes: header %x, want %x", n, got[:min(14, len(got))], want[:min(14, len(want))])
			}
		}
	})
}

// FuzzPayload: nothing panics, and what is accepted reads the same after it is written again.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{"4hello", "4a\x1ebAQI=\x1e2", "0{}", "b", "\x1e", "4é😀"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		packets, err := codec{}.ParsePayload(nil, bytes.Clone(body))
		if err != nil {
			return
		}
		var again []byte
		for i, p := range packets {
			if i > 0 {
				again = append(again, separator)
			}
			if p.Binary {
				again = append(again, encodePolling(transport.NewFrame('4', "", p.Data), nil)[2:]...)
			} else {
				again = append(again, codec{}.Payload([]*transport.Frame{transport.NewFrame(p.Type, string(p.Data))})...)
			}
		}
		second, err := codec{}.ParsePayload(nil, again)
		if err != nil || describe(second) != describe(packets) {
			t.Fatalf("%q became %q: %v", body, again, err)
		}
	})
}

// FuzzMessage: nothing that comes over a WebSocket panics.
func FuzzMessage(f *testing.F) {
	f.Add(false, []byte("4x"))
	f.Add(false, []byte("bAQ=="))
	f.Add(true, []byte{1})
	f.Fuzz(func(t *testing.T, binary bool, data []byte) {
		p, err := codec{}.ParseMessage(binary, bytes.Clone(data))
		if err == nil && (p.Type < transport.EngineOpen || p.Type > transport.EngineNoop) {
			t.Fatalf("%q became a packet of type %q", data, p.Type)
		}
	})
}
