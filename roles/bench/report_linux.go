package bench

import (
	"errors"
	"fmt"
	"time"
)

var errNobody = errors.New("the server has ended every client")

// beat is called once a second.
func (l *load) beat() error {
	l.beats++
	for i, c := range l.byTag {
		// Spread over the interval, half as long as the server allows.
		if every := max(c.beat/2, 1); c.beat > 0 && !c.ended && !c.stalled && (l.beats+i)%every == 0 {
			_ = c.send(l.poller, appendFrame(nil, opText, []byte("2")))
		}
	}
	if s := l.res.Server; s != nil {
		s.Max = max(s.Max, l.rss())
	}
	if l.active == 0 {
		return errNobody
	}
	if l.phase == warming {
		l.silent = l.warmed == l.lastBeat
		l.lastBeat = l.warmed
		return nil
	}
	if l.delivered == l.lastBeat {
		l.quiet++
	} else {
		l.quiet = 0
	}
	if l.quiet >= patience && l.phase == measuring && l.opts.Period == 0 && !l.opts.Idle {
		// What is under way is lost: go on with the next.
		l.forgiven = l.seq - (l.first - 1)
		l.credit = 0
		for _, c := range l.subs {
			c.passed = l.seq
		}
	}
	l.tell()
	l.lastBeat = l.delivered
	return nil
}

// tell writes the line of progress.
func (l *load) tell() {
	if l.opts.Progress == nil || l.phase != measuring {
		return
	}
	line := fmt.Sprintf("%d s of %.0f: %d clients", int((time.Since(l.start)-l.begun+time.Second/2)/time.Second), l.opts.Duration.Seconds(), l.active)
	if !l.opts.Idle {
		line += fmt.Sprintf(", %d deliveries/s, %v", l.delivered-l.lastBeat, l.window.latency())
		l.window = histogram{}
	}
	if s := l.res.Server; s != nil {
		line += fmt.Sprintf(", server %.1f MB", float64(s.Max)/1e6)
	}
	fmt.Fprintln(l.opts.Progress, line)
}

func (l *load) rss() int64 {
	n, err := processRSS(l.opts.ServerPID)
	if err != nil && l.serverErr == nil {
		l.serverErr = err
	}
	return n
}

func (l *load) serverCPU() time.Duration {
	d, err := processCPU(l.opts.ServerPID)
	if err != nil && l.serverErr == nil {
		l.serverErr = err
	}
	return d
}

// finish completes the result.
func (l *load) finish() *Result {
	r := &l.res
	r.Published = l.seq - (l.first - 1)
	r.Wanted = l.wanted()
	for _, c := range l.subs {
		if !c.ended && !c.stalled {
			r.Delivered += c.ontime
		}
	}
	r.Lost = r.Wanted - min(r.Delivered, r.Wanted)
	r.Latency, r.AckLatency = l.latency.latency(), l.acks.latency()
	r.LateBy = l.late.latency()
	// Who publishes late reads late: such latencies are the load's own, as when it shares a core with the server.
	r.Limited = r.LoadCPU > 0.9 || r.LateBy.P99 > r.Latency.P99/2
	if s := r.Server; s != nil {
		s.End = l.rss()
		s.Max = max(s.Max, s.End)
		at := s.Connected
		if r.Idle {
			at = s.End
		}
		s.PerClient = (at - s.Before) / int64(r.Clients)
	}
	return r
}
