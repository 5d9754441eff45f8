package transport_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// What is larger than the server takes is refused by the client itself: the server would end each connection for it, and
// nothing behind it would ever leave.
func TestPublishTooLarge(t *testing.T) {
	for _, way := range []string{"websocket", "polling", ""} {
		t.Run("by "+way, func(t *testing.T) {
			const limit = 10_000
			srv, url := startServer(t, transport.ServerOptions{EngineOptions: transport.EngineOptions{MaxPayload: limit}})
			if _, err := transport.NewRelay(srv.Of("/"), transport.RelayOptions{}); err != nil {
				t.Fatal(err)
			}
			refused, lost := make(chan *transport.AckError, 10), make(chan error, 10)
			opts := transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}},
				OnDisconnect: func(r transport.Reason, err error) {
					if r != transport.ReasonClientDisconnect {
						lost <- err
					}
				},
				Publish: transport.PublishOptions{OnRefused: func(_ string, err *transport.AckError) { refused <- err }}}
			if way != "" {
				opts.Transports = []string{way}
			}
			c := startClient(t, opts, nil)
			fits := limit - len(`421234567890123456["log_telemetry",""]`)
			told := make(chan error, 4)
			for _, v := range []any{strings.Repeat("x", fits), strings.Repeat("x", fits+1), make([]byte, limit), "small"} {
				if err := c.PublishFunc(context.Background(), func(err error) { told <- err }, "log_telemetry", v); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := c.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if s := c.PublishStats(); s.Acked != 2 || s.Refused != 2 || s.Resent != 0 {
				t.Errorf("stats are %+v", s)
			}
			for range 2 {
				if err := receive(t, refused); err.Code != transport.CodeTooLarge || !strings.Contains(err.Message, "the server takes 10000") {
					t.Errorf("refused with %v", err)
				}
			}
			failed := 0
			for range cap(told) {
				if receive(t, told) != nil {
					failed++
				}
			}
			if failed != 2 {
				t.Errorf("%d of 4 were told to have failed", failed)
			}
			select {
			case err := <-lost:
				t.Errorf("the connection ended: %v", err)
			default:
			}
		})
	}
}

// A server of revision 3 does not say what it takes. Each connection ends for what waits first: the client waits longer
// each time, as if nobody were there.
func TestNoProgressIsNoSuccess(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines, EngineOptions: transport.EngineOptions{MaxPayload: 10_000}})
	if _, err := transport.NewRelay(srv.Of("/"), transport.RelayOptions{}); err != nil {
		t.Fatal(err)
	}
	waits := make(chan time.Duration, 100)
	c := startClient(t, transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine3.Dialer{}}, Transports: []string{"websocket"},
		Backoff: transport.Backoff{Min: time.Millisecond, Max: 16 * time.Millisecond, Rand: func() float64 { return 0 }},
		OnRetry: func(_ error, wait time.Duration) { waits <- wait }}, nil)
	if err := c.Publish(context.Background(), "log_telemetry", strings.Repeat("x", 20_000)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 16} {
		if got := receive(t, waits); got != want*time.Millisecond {
			t.Fatalf("it waits %v, want %v", got, want*time.Millisecond)
		}
	}
}

// What became of an event is told without a lock: who is told may ask for the counts.
func TestPublishTellsWithoutLock(t *testing.T) {
	c, err := transport.NewClient(transport.ClientOptions{URL: "127.0.0.1:1", Dialers: []transport.Dialer{engine4.Dialer{}},
		Publish: transport.PublishOptions{MaxBytes: 1000, WhenFull: transport.FullDropOldest}})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan uint64, 1)
	for range 2 {
		done := func(error) { told <- c.PublishStats().Dropped }
		if err := c.PublishFunc(context.Background(), done, "log_telemetry", strings.Repeat("x", 600)); err != nil {
			t.Fatal(err)
		}
	}
	if n := receive(t, told); n != 1 {
		t.Errorf("%d dropped", n)
	}
}
