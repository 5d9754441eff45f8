package engine3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

var typeNames = map[byte]string{'0': "open", '1': "close", '2': "ping", '3': "pong", '4': "message", '5': "upgrade", '6': "noop"}

// testdata/payloads.json holds payloads that engine.io-parser 2.2.1 has made, and what of.
func TestPayloadsOfTheReference(t *testing.T) {
	raw, err := os.ReadFile("testdata/payloads.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name    string
		Body    []byte
		Packets []struct {
			Type   string
			Data   []byte
			Binary bool
		}
	}
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) < 10 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, tc := range cases {
		t.Run(tc.Name, func(t *testing.T) {
			got, err := codec{}.ParsePayload(nil, bytes.Clone(tc.Body))
			if err != nil {
				t.Fatalf("%q: %v", tc.Body, err)
			}
			if len(got) != len(tc.Packets) {
				t.Fatalf("%d packets, want %d", len(got), len(tc.Packets))
			}
			var frames []*transport.Frame
			for i, want := range tc.Packets {
				if typeNames[got[i].Type] != want.Type || !bytes.Equal(got[i].Data, want.Data) || got[i].Binary != want.Binary {
					t.Errorf("packet %d is %c %q, want %s %q", i, got[i].Type, got[i].Data, want.Type, want.Data)
				}
				if want.Binary {
					continue
				}
				frames = append(frames, transport.NewFrame(got[i].Type, string(want.Data)))
			}
			// What has no binary we write as the reference does.
			if len(frames) == len(tc.Packets) && tc.Body[0] > 1 {
				if ours := (codec{}).Payload(frames); !bytes.Equal(ours, tc.Body) {
					t.Errorf("we write %q, want %q", ours, tc.Body)
				}
			}
		})
	}
}

func describe(packets []wire.Packet) string {
	out := ""
	for _, p := range packets {
		out += fmt.Sprintf("%c %v %q;", p.Type, p.Binary, p.Data)
	}
	return out
}

func TestForms(t *testing.T) {
	f := transport.NewFrame(transport.EngineMessage, `51-["é😀"]`, []byte{1, 2})
	if got, want := string(codec{}.Payload([]*transport.Frame{f})), `11:451-["é😀"]6:b4AQI=`; got != want {
		t.Errorf("payload is %q, want %q", got, want)
	}
	text := `451-["é😀"]`
	if got, want := string(codec{}.SocketFrame(f)), "\x81"+string(rune(len(text)))+text+"\x82\x03\x04\x01\x02"; got != want {
		t.Errorf("frames are %q, want %q", got, want)
	}
}

func TestJSONP(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=3&transport=polling&j=7)alert(1", nil)
	if err := (codec{}).WritePayload(w, r, []*transport.Frame{transport.NewFrame('4', "\"a\u2028\n")}, false); err != nil {
		t.Fatal(err)
	}
	if got, want := w.Body.String(), `___eio[71]("5:4\"a\u2028\n");`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if ct := w.Header().Get("Content-Type"); !strings.HasPrefix(ct, "text/javascript") {
		t.Errorf("content type %s", ct)
	}
	r = httptest.NewRequest(http.MethodPost, "/socket.io/?j=0", nil)
	packets, err := codec{}.ParsePayload(r, []byte(`d=6%3A42%5B%22a%22%5D`))
	if err == nil {
		t.Errorf("a wrong length was taken: %v", packets)
	}
	packets, err = codec{}.ParsePayload(r, []byte(`d=7%3A42%5B%22a%22%5D`))
	if err != nil || describe(packets) != `4 false "2[\"a\"]";` {
		t.Errorf("got %s, %v", describe(packets), err)
	}
}

// FuzzPayload: nothing panics, and what is accepted reads the same after it is written again.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{"6:4hello", "2:4a1:2", "6:b4AQI=", "\x00\x06\xff4hello", "\x01\x03\xff\x04\x01\x02", "4:4é😀"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		packets, err := codec{}.ParsePayload(nil, bytes.Clone(body))
		if err != nil {
			return
		}
		var frames []*transport.Frame
		for _, p := range packets {
			if p.Binary || !utf8Valid(p.Data) {
				return // binary goes with a text before it; other bytes than UTF-8 are refused above
			}
			frames = append(frames, transport.NewFrame(p.Type, string(p.Data)))
		}
		again := codec{}.Payload(frames)
		second, err := codec{}.ParsePayload(nil, bytes.Clone(again))
		if err != nil || describe(second) != describe(packets) {
			t.Fatalf("%q became %q: %v", body, again, err)
		}
	})
}

func utf8Valid(b []byte) bool { return strings.ToValidUTF8(string(b), "?") == string(b) }

// FuzzMessage: nothing that comes over a WebSocket panics.
func FuzzMessage(f *testing.F) {
	f.Add(false, []byte("4x"))
	f.Add(false, []byte("b4AQ=="))
	f.Add(true, []byte{4, 1})
	f.Fuzz(func(t *testing.T, binary bool, data []byte) {
		p, err := codec{}.ParseMessage(binary, bytes.Clone(data))
		if err == nil && typeNames[p.Type] == "" {
			t.Fatalf("%q became a packet of type %q", data, p.Type)
		}
	})
}
