package transport_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// One client of a hundred stops reading, at 100 packets of 16 KB a second. The 99 get every packet,
// in order; the server holds no more for the stalled one than its queue limit; and under
// drop-oldest it is told, when it reads again, how much it has missed.
func TestStalledClient(t *testing.T) {
	if testing.Short() {
		t.Skip("takes fifteen seconds")
	}
	// 8 MB: more than the kernel's buffers on both sides and the queue together.
	const clients, packets, size = 99, 500, 16 << 10
	for _, tc := range []struct {
		policy transport.SlowPolicy
		eio    string
	}{{transport.DropOldest, "4"}, {transport.DropOldest, "3"}, {transport.DisconnectSlow, "4"}} {
		policy, eio := tc.policy, tc.eio
		t.Run(policy.String()+" engine "+eio, func(t *testing.T) {
			ends := make(chan transport.Reason, 2*clients)
			// No heartbeat: on a busy machine the test takes longer than its interval, and these clients do not answer.
			srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines, SlowClient: policy,
				EngineOptions:   transport.EngineOptions{PingInterval: time.Hour},
				OnSessionClosed: func(_ *transport.Session, r transport.Reason, _ error) { ends <- r }})
			ns := srv.Of("/")
			stalled := stalledClient(t, url, eio)
			var mu sync.Mutex
			var late []time.Duration
			var complete sync.WaitGroup
			progress := make([]atomic.Int64, clients)
			for i := range clients {
				s := stalledClient(t, url, eio) // which reads on
				complete.Go(func() {
					mine := readPackets(t, s, packets, &progress[i])
					mu.Lock()
					defer mu.Unlock()
					late = append(late, mine...)
				})
			}

			before := settle().heap
			text := strings.Repeat("x", size)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for n := range packets {
				if err := ns.Emit("log_telemetry", n, time.Now().UnixNano(), text); err != nil {
					t.Fatal(err)
				}
				<-tick.C
				// On a busy machine those who read may be late by more than their queues hold.
				for end := time.Now().Add(patience); behind(progress, n) > 32 && time.Now().Before(end); {
					<-tick.C
				}
			}
			complete.Wait()
			// The stalled one may hold its 1 MiB and a batch, the test's own clients some
			// buffers.
			if held := int64(settle().heap) - int64(before); held > 8<<20 {
				t.Errorf("%d bytes are held", held)
			}
			slices.Sort(late)
			t.Logf("latency p50 %v, p99 %v, max %v", late[len(late)/2], late[len(late)*99/100], late[len(late)-1])
			if policy == transport.DisconnectSlow {
				if r := receive(t, ends); r != transport.ReasonSlowClient {
					t.Errorf("it was disconnected for: %v", r)
				}
				return
			}
			told, got := drainStalled(t, stalled, packets)
			if told == 0 || told+got != packets {
				t.Errorf("the stalled client got %d packets and was told of %d, of %d", got, told, packets)
			}
			if n := srv.Counters().Dropped.Load(); n != uint64(told) {
				t.Errorf("%d counted as dropped, %d told", n, told)
			}
		})
	}
}

// behind is how many packets the slowest lacks of n.
func behind(progress []atomic.Int64, n int) int {
	most := 0
	for i := range progress {
		most = max(most, n-int(progress[i].Load()))
	}
	return most
}

// readPackets reads numbered packets, all of them in order, and returns how late each came.
func readPackets(t *testing.T, s *wire.Socket, packets int, progress *atomic.Int64) (late []time.Duration) {
	for n := range packets {
		_, data, err := s.Read()
		if err != nil {
			t.Errorf("at packet %d: %v", n, err)
			return late
		}
		var got int
		var sent int64
		if _, err := fmt.Sscanf(string(data[:min(len(data), 64)]), `42["log_telemetry",%d,%d`, &got, &sent); err != nil || got != n {
			t.Errorf("got %.60q, want packet %d", data, n)
			return late
		}
		late = append(late, time.Since(time.Unix(0, sent)))
		progress.Store(int64(n))
	}
	return late
}

// stalledClient connects to the main namespace and then reads nothing, unless the caller does.
func stalledClient(t *testing.T, url, eio string) *wire.Socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := wire.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/socket.io/?transport=websocket&EIO="+eio, nil, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(transport.ReasonTransportClose) })
	if eio == "4" {
		if err := s.WriteMessage(false, []byte("40")); err != nil {
			t.Fatal(err)
		}
	}
	for {
		_, data, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(data), "40") {
			return s
		}
	}
}

// drainStalled reads on, and counts what comes and what it is told was dropped.
func drainStalled(t *testing.T, s *wire.Socket, total int) (told, got int) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(patience))
	for told+got < total {
		_, data, err := s.Read()
		if err != nil {
			t.Fatalf("after %d packets and %d told: %v", got, told, err)
		}
		var n int
		if _, err := fmt.Sscanf(string(data), `42["dropped",{"count":%d}]`, &n); err == nil {
			told += n
		} else if strings.HasPrefix(string(data), `42["log_telemetry",`) {
			got++
		}
	}
	return told, got
}
