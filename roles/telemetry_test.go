package roles

import (
	"context"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// Packets that ended with the process were once told in the log alone: the code was 0.
func TestTelemetryTellsWhatItCouldNotSend(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String() // from now on
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	acks := relayFor(t, func(_ context.Context, ev *transport.Event) { _ = ev.Ack(transport.Ack{OK: true}) })
	silent := relayFor(t, func(context.Context, *transport.Event) {})
	outbox := filepath.Join(t.TempDir(), "outbox")
	const lost = "tbmsock telemetry: 3 packets were not acknowledged within --drain 300ms, and are lost; --outbox DIR keeps them for the next run\n"
	for _, tc := range []struct {
		name, args string
		code       int
		want       string
	}{
		{"no server", "--drain 300ms --url " + nobody, exitError, lost},
		{"no server, an outbox", "--drain 300ms --outbox " + outbox + " --url " + nobody, 0, "3 packets wait in the outbox for the next run"},
		{"a server that acknowledges", "--drain 30s --url " + acks, 0, "waiting=0"},
		{"a server that acknowledges nothing", "--drain 2s --url " + silent, 0, "3 events not acknowledged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, errOut := command(t, append([]string{"telemetry", "--count", "3", "--rate", "100hz", "--transport", "websocket"}, strings.Fields(tc.args)...)...)
			if code != tc.code || !strings.Contains(errOut, tc.want) {
				t.Errorf("code %d, want %d and %q:\n%s", code, tc.code, tc.want, errOut)
			}
		})
	}
}

// relayFor serves log_telemetry with the handler, and returns the address.
func relayFor(t *testing.T, handle transport.Handler) string {
	t.Helper()
	s, err := transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine4.New}})
	if err != nil {
		t.Fatal(err)
	}
	s.Of("/").On(transport.EventTelemetry, handle)
	ts := httptest.NewServer(s)
	t.Cleanup(func() {
		_ = s.Shutdown(context.WithoutCancel(t.Context()))
		ts.Close()
	})
	return ts.URL
}
