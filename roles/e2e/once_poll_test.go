package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tbmsock/internal/freeport"
)

// The client of net/http repeats a GET by itself when a connection that it has used before is reset. If the server had
// answered the poll already, the packets of that answer were lost, and the session went on: a follower had a hole.
func TestLostAnswerToPoll(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, engine := range []string{"3", "4"} {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			addr, file := freeport.Address(t), filepath.Join(dir, "p.jsonl")
			server := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", filepath.Join(dir, "data"))
			server.url()
			link := newSlowLink(t, addr, 0)
			logger := start(t, tbmsock(t), "logger", "--url", link.url(), "--engine", engine, "--transport", "polling",
				"--output", file, "--since", "all", "--plain")
			logger.logged("connected")
			source := start(t, tbmsock(t), "telemetry", "--url", "http://"+addr, "--rate", "100hz")
			for n := range 10 {
				logger.lineWith(fmt.Sprintf("#%d ", 20+100*n))
				link.setSilent(true)
				timer := time.NewTimer(200 * time.Millisecond) // the server answers the poll meanwhile, most probably
				<-timer.C
				link.cut(nil)
				link.setSilent(false)
			}
			if code := source.interrupt(); code != 0 {
				t.Errorf("telemetry ends with %d", code)
			}
			awaitPackets(t, file, int(transportEnd(source.log())))
			if code := logger.interrupt(); code != 0 {
				t.Errorf("logger ends with %d", code)
			}
		})
	}
}

// A window of packets by POST, 16 in each, took longer over a slow link than an acknowledgement was allowed to take:
// telemetry reconnected and sent the window again, without an end. An upgrade to a WebSocket had to wait for all of
// them, and was given up.
func TestSlowLinkOfTelemetry(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, way := range []string{"auto", "polling"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			addr := freeport.Address(t)
			link := newSlowLink(t, addr, 500*time.Millisecond)
			source := start(t, tbmsock(t), "telemetry", "--url", link.url(), "--transport", way, "--rate", "200hz",
				"--count", "300", "--drain", "3m")
			source.logged("waiting for the server")
			timer := time.NewTimer(1500 * time.Millisecond) // all of them wait then
			<-timer.C
			start(t, tbmsock(t), "server", "--listen", addr).url()
			await(t, source.done, 4*time.Minute, "everything is acknowledged")
			for _, want := range []string{"acknowledged=300", "resent=0", "waiting=0"} {
				if !strings.Contains(source.log(), want) {
					t.Errorf("telemetry does not say %s:\n%s", want, source.log())
				}
			}
		})
	}
}
