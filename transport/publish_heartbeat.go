package transport

// A server that acknowledges nothing, such as a plain relay on socket.io or python-socketio, still shows that events
// have reached it: it handles the packets of a connection in order, so the reaction to a heartbeat that was sent
// behind an event proves that the event has arrived. No time limit can prove that: a link may stall.

// askServer asks the server for its journal's status. A server that answers as ours does acknowledges every event, so
// that a heartbeat proves nothing: the event may not be in the journal yet. Its answer comes before its reaction to any
// heartbeat, since the question is sent before. p.mu must be held.
func (p *publisher) askServer(cc *clientConn) {
	_, _ = cc.ask(EventJournal, nil, func(args Args, err error) {
		var status JournalStatus
		if err != nil || args.Decode(&status) != nil {
			return
		}
		if ours := status.OK && status.Journal != "" || status.Error != nil && isJournalCode(status.Error.Code); !ours {
			return
		}
		p.mu.Lock()
		defer p.unlock()
		p.acks, p.noAcks = true, false
	})
}

func isJournalCode(code string) bool {
	return code == CodeNoJournal || code == CodeJournalFull || code == CodeJournalUnavailable || code == CodeClosed
}

func (p *publisher) heartbeatSent(cc *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cc == cc {
		p.beats.sent++
	}
}

// heartbeatArrived removes the events from the queue that were sent before the heartbeat, if the server acknowledges
// nothing.
func (p *publisher) heartbeatArrived(cc *clientConn) {
	p.mu.Lock()
	defer p.unlock()
	if p.cc != cc || p.beats.back == p.beats.sent {
		return
	}
	p.beats.back++
	if p.acks || p.opts.OnlyAcks {
		return
	}
	for len(p.queue) > 0 && p.queue[0].sent && p.queue[0].beat < p.beats.back {
		first := p.queue[0]
		cc.acks.forget(first.id)
		p.stats.Confirmed++
		p.remove(first)
		p.after = append(p.after, func() { first.tell(nil) })
	}
	p.pump()
}
