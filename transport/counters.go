package transport

import "sync/atomic"

// Counters count what a server or client has seen since it was made. All start from zero and
// only grow, but for Sessions. Safe for concurrent use.
type Counters struct {
	Sessions       atomic.Int64  // connections open now
	Opened         atomic.Uint64 // connections ever opened
	Refused        atomic.Uint64 // requests refused, and CONNECTs to a namespace; see RefusedFor
	ProtocolErrors atomic.Uint64 // connections or requests ended because the peer broke the rules
	Rejected       atomic.Uint64 // events refused because they could harm a receiver
	EventsIn       atomic.Uint64 // events received
	EventsOut      atomic.Uint64 // events put into queues, one for each receiver
	Dropped        atomic.Uint64 // events dropped for slow clients
	SlowClosed     atomic.Uint64 // connections ended because their queue was full
	Compressed     atomic.Uint64 // packets that were compressed, each once for all receivers
	CompressedFrom atomic.Uint64 // their bytes before
	CompressedTo   atomic.Uint64 // and after; no more, where nothing was gained

	closed  [reasonCount]atomic.Uint64
	refused refusedCounters
}

// CountClosed counts the end of a connection.
func (c *Counters) CountClosed(r Reason) {
	if r >= reasonCount {
		r = ReasonNone
	}
	c.closed[r].Add(1)
	switch r {
	case ReasonParseError, ReasonPayloadTooLarge:
		c.ProtocolErrors.Add(1)
	case ReasonSlowClient:
		c.SlowClosed.Add(1)
	}
}

// Closed returns how many connections have ended for the reason.
func (c *Counters) Closed(r Reason) uint64 {
	if r >= reasonCount {
		return 0
	}
	return c.closed[r].Load()
}
