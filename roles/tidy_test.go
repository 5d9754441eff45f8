package roles

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"tbmsock/transport"
)

// After a rush of connections, opened or ended, memory goes back to the system, once, when the rush is over; a few
// connections start nothing.
func TestTidy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counters transport.Counters
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			tidy(ctx, &counters)
		}()
		stats := func() (m runtime.MemStats) {
			runtime.ReadMemStats(&m)
			return m
		}
		seconds := func(n int) { // and a little more, so that tidy comes first
			time.Sleep(time.Duration(n)*time.Second + time.Millisecond)
			synctest.Wait()
		}
		open := func(n int) {
			counters.Opened.Add(uint64(n))
			counters.Sessions.Add(int64(n))
		}
		const garbage = 64 << 20
		before := stats().NumForcedGC
		expect := func(tidied uint32, when string) {
			t.Helper()
			const each = 2 // collections, by hand
			if n := stats().NumForcedGC - before; n != each*tidied {
				t.Fatalf("%s: %d collections, want %d", when, n, each*tidied)
			}
		}

		open(rush - 1)
		seconds(5)
		expect(0, "a few connections")
		made := make([]byte, garbage)
		for i := 0; i < len(made); i += 4096 {
			made[i] = 1
		}
		runtime.KeepAlive(made)
		released := stats().HeapReleased
		open(rush)
		seconds(1)
		expect(0, "while they come")
		open(rush / 5)
		seconds(1)
		expect(0, "while they still come")
		seconds(1)
		expect(1, "when the rush is over")
		if got := stats().HeapReleased - released; int64(got) < garbage*9/10 {
			t.Errorf("%d bytes were given back of %d", int64(got), garbage)
		}
		seconds(60)
		expect(1, "a minute later")
		counters.Sessions.Add(-rush) // which end
		seconds(2)
		expect(2, "after as many have ended")

		cancel()
		<-ended
	})
}
