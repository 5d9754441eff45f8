package wire

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"tbmsock/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseHandshake(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   Packet
		ok   bool
	}{
		{"ours", Packet{Type: '0', Data: []byte(`{"sid":"a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)}, true},
		{"of revision 3", Packet{Type: '0', Data: []byte(`{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":5000}`)}, true},
		{"no sid", Packet{Type: '0', Data: []byte(`{"pingInterval":25000,"pingTimeout":20000}`)}, false},
		{"no heartbeat", Packet{Type: '0', Data: []byte(`{"sid":"a"}`)}, false},
		{"a heartbeat of years", Packet{Type: '0', Data: []byte(`{"sid":"a","pingInterval":9e15,"pingTimeout":20000}`)}, false},
		{"another packet", Packet{Type: '4', Data: []byte(`{}`)}, false},
		{"binary", Packet{Type: '0', Binary: true, Data: []byte(`{}`)}, false},
		{"no JSON", Packet{Type: '0', Data: []byte(`x`)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := parseHandshake(tc.in); (err == nil) != tc.ok {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestOtherRevision(t *testing.T) {
	for in, want := range map[string]bool{`96:0{"sid"`: true, `0{"sid"`: true, "\x00\x09\x06\xff0{": true, "": false, "<html>": false, "12:4x": false} {
		if got := otherRevision([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

// FuzzHandshake: whatever a server sends first, it is refused or can be worked with.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte(`{"sid":"a","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`))
	f.Add([]byte(`{"sid":"a","pingInterval":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		otherRevision(data)
		h, err := parseHandshake(Packet{Type: transport.EngineOpen, Data: data})
		if err != nil {
			return
		}
		d := &Dialed{shake: h}
		if d.interval() <= 0 || d.silence() <= d.interval() || d.maxPost() < 0 {
			t.Fatalf("%s gives %v, %v, %d", data, d.interval(), d.silence(), d.maxPost())
		}
		if _, err := json.Marshal(h); err != nil {
			t.Fatal(err)
		}
	})
}
