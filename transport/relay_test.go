package transport_test

import (
	"fmt"
	"strings"
	"testing"

	"tbmsock/transport"
)

func startRelay(t *testing.T, opts transport.RelayOptions, namespaces ...string) (*transport.Server, string) {
	t.Helper()
	srv, url := startServer(t, transport.ServerOptions{})
	for _, n := range append(namespaces, "/") {
		if _, err := transport.NewRelay(srv.Of(n), opts); err != nil {
			t.Fatal(err)
		}
	}
	return srv, url
}

func TestRelay(t *testing.T) {
	_, url := startRelay(t, transport.RelayOptions{}, "/tbm")
	pub := connectRaw(t, url, "/")
	ops, other := connectRaw(t, url, "/"), connectRaw(t, url, "/")
	elsewhere := connectRaw(t, url, "/tbm")
	ops.send(`421["join","ops"]`)
	ops.want(`431[{"ok":true,"room":"ops"}]`)

	for i, arg := range []string{
		`42`, `"text"`, `null`, `{"spaced" :  [1,2] ,"é":"😀"}`, `1e-7`, `{"room":"ops"}`,
		`{"source":"tbm-1","boot":"b","seq":1,"time":"2026-01-01T00:00:00Z","packet":{}}`,
	} {
		t.Run("to everyone, untouched: "+arg, func(t *testing.T) {
			pub.send(fmt.Sprintf(`42%d["log_telemetry",%s]`, i, arg))
			pub.want(fmt.Sprintf(`43%d[{"ok":true}]`, i)) // and not the event: it is the sender
			ops.want(`42["log_telemetry",` + arg + `]`)
			other.want(`42["log_telemetry",` + arg + `]`)
		})
	}
	t.Run("to the envelope's room only", func(t *testing.T) {
		env := `{"source":"tbm-1","boot":"b","seq":2,"time":"2026-01-01T00:00:00Z","room":"ops","packet":{}}`
		pub.send(`429["log_telemetry",` + env + `]`)
		pub.want(`439[{"ok":true}]`)
		ops.want(`42["log_telemetry",` + env + `]`)
		pub.send(`42["log_telemetry","next"]`)
		other.want(`42["log_telemetry","next"]`)
		ops.want(`42["log_telemetry","next"]`)
	})
	t.Run("bytes", func(t *testing.T) {
		pub.send(`451-["log_telemetry",{"_placeholder":true,"num":0}]`)
		pub.sendBinary([]byte{0, 1, 255})
		ops.want(`451-["log_telemetry",{"_placeholder":true,"num":0}]`)
		ops.want("b:\x00\x01\xff")
		other.next()
		other.next()
	})
	t.Run("another namespace hears nothing of it", func(t *testing.T) {
		second := connectRaw(t, url, "/tbm")
		second.send(`42/tbm,["log_telemetry","here"]`)
		elsewhere.want(`42/tbm,["log_telemetry","here"]`)
	})
	t.Run("leave", func(t *testing.T) {
		ops.send(`425["rooms"]`)
		ops.want(`435[["ops"]]`)
		ops.send(`426["leave",{"room":"ops"}]`)
		ops.want(`436[{"ok":true,"room":"ops"}]`)
		ops.send(`427["rooms"]`)
		ops.want(`437[[]]`)
	})
	for _, tc := range []struct{ name, event, code string }{
		{"telemetry without an argument", `["log_telemetry"]`, "bad_arguments"},
		{"telemetry with two", `["log_telemetry",1,2]`, "bad_arguments"},
		{"a room of 300 bytes", `["join","` + strings.Repeat("r", 300) + `"]`, "bad_room"},
		{"no room", `["join"]`, "bad_arguments"},
		{"an empty room", `["join",""]`, "bad_room"},
		{"a room that is a number", `["join",7]`, "bad_arguments"},
		{"a map without a room", `["join",{"rom":"ops"}]`, "bad_arguments"},
		{"another's personal room", `["join","` + other.sid + `"]`, "bad_room"},
		{"a replay without a journal", `["join",{"room":"ops","since":{"last":5}}]`, "no_journal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pub.send(`428` + tc.event)
			got := pub.next()
			if !strings.HasPrefix(got, `438[{"ok":false,"error":{"code":"`+tc.code+`","message":"`) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestRelayAlias(t *testing.T) {
	_, url := startRelay(t, transport.RelayOptions{Aliases: []string{"telemetry"}})
	pub, sub := connectRaw(t, url, "/"), connectRaw(t, url, "/")
	for _, name := range []string{"telemetry", "log_telemetry"} {
		pub.send(`421["` + name + `",{"a":1}]`)
		pub.want(`431[{"ok":true}]`)
		sub.want(`42["log_telemetry",{"a":1}]`)
		sub.want(`42["telemetry",{"a":1}]`)
	}
}

func TestRelayRoomLimit(t *testing.T) {
	_, url := startRelay(t, transport.RelayOptions{})
	c := connectRaw(t, url, "/")
	for i := range 1024 {
		c.send(fmt.Sprintf(`421["join","room %d"]`, i))
		c.want(fmt.Sprintf(`431[{"ok":true,"room":"room %d"}]`, i))
	}
	c.send(`421["join","one more"]`)
	if got := c.next(); !strings.Contains(got, "too_many_rooms") {
		t.Errorf("got %s", got)
	}
}
