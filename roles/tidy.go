package roles

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"tbmsock/transport"
)

// A rush is so many connections opened or ended; it is over when a second brings fewer than a tenth
// of that.
const rush = 500

// tidy gives memory back to the system after a rush of connections, until ctx ends. The garbage of
// thousands of handshakes, and stacks that grew in them, would stay for as long as the server is idle:
// nothing else starts a collection then.
func tidy(ctx context.Context, counters *transport.Counters) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last, tidied uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		opened := counters.Opened.Load()
		seen := opened + opened - uint64(max(counters.Sessions.Load(), 0)) // opened, and ended
		if seen-tidied >= rush && seen-last < rush/10 {
			runtime.GC() // halves a stack that is too large; the next halves it again
			debug.FreeOSMemory()
			tidied = seen
		}
		last = seen
	}
}
