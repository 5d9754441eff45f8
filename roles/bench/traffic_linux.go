package bench

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// publish sends n messages in one write.
func (l *load) publish(n int) error {
	if n == 0 {
		return nil
	}
	now := time.Since(l.start)
	l.batch = l.batch[:0]
	paced := l.phase == measuring && l.opts.Period > 0
	for range n {
		l.seq++
		if paced {
			l.late.add(max(0, now-l.begun-time.Duration(l.seq-l.first+1)*l.opts.Period))
		}
		l.sent[l.seq%history] = now
		l.batch, l.space = l.tmpl.append(l.batch, l.space, l.seq, l.opts.Ack && l.opts.Revision != Bare)
	}
	if err := l.pub.send(l.poller, l.batch); err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	return nil
}

// serve acts on what the poller tells of a connection.
func (l *load) serve(c *conn, what uint32) error {
	if c.ended || c.stalled {
		return nil
	}
	l.now = 0
	err := error(nil)
	if what&unix.EPOLLOUT != 0 {
		err = c.flush(l.poller)
	}
	if err == nil && what&^unix.EPOLLOUT != 0 {
		_, err = c.read(l.buf, func(op byte, p []byte) { l.frame(c, op, p) })
	}
	if err == nil {
		return nil
	}
	if c == l.pub {
		return fmt.Errorf("the server ended the publisher's connection: %w", err)
	}
	l.lose(c)
	return nil
}

// lose takes a subscriber out that the server has ended.
func (l *load) lose(c *conn) {
	if c.ended {
		return
	}
	c.ended = true
	l.res.Ended++
	if !c.stalled {
		l.active--
		l.arrived -= c.ontime
		if l.phase != warming {
			l.credit -= c.passed - (l.first - 1) - l.forgiven
		}
		l.poller.forget(c.fd)
	}
	if !c.warm {
		l.warm++ // nothing is waited for from it
	}
}

// frame takes one WebSocket frame, or the beginning of a long one.
func (l *load) frame(c *conn, op byte, p []byte) {
	switch op {
	case opText:
		if n := l.marks.seq(p); n != 0 {
			l.message(c, n)
			return
		}
		l.other(c, p)
	case opPing:
		_ = c.send(l.poller, appendFrame(nil, opPong, p))
	case opClose:
		if c != l.pub {
			l.lose(c)
		}
	}
}

// message counts a delivery.
func (l *load) message(c *conn, seq uint64) {
	if c == l.pub {
		return // the server sends it back to its sender: ours does not
	}
	if !c.warm {
		c.warm = true
		l.warm++
	}
	if l.phase == warming {
		l.warmed++
		return
	}
	if seq < l.first || c.ended {
		return
	}
	if seq < c.next {
		l.res.Late++
		return
	}
	if c.next = seq + 1; seq > c.passed {
		l.credit += seq - c.passed // what was left out will not come any more
		c.passed = seq
	}
	c.ontime++
	l.delivered++
	l.arrived++
	late := l.clock() - l.sent[seq%history]
	l.latency.add(late)
	l.window.add(late)
}

// clock is the time since the start, asked for once a read.
func (l *load) clock() time.Duration {
	if l.now == 0 {
		l.now = time.Since(l.start)
	}
	return l.now
}

var (
	ackText     = []byte("43")
	droppedText = []byte(`42["dropped"`)
	notOK       = []byte(`"ok":false`)
)

// other takes what is no message of the publisher's.
func (l *load) other(c *conn, p []byte) {
	switch {
	case len(p) == 1 && p[0] == '2':
		_ = c.send(l.poller, appendFrame(nil, opText, []byte("3")))
	case c == l.pub && bytes.HasPrefix(p, ackText):
		n := uint64(0)
		for _, d := range p[2:] {
			if d < '0' || d > '9' {
				break
			}
			n = n*10 + uint64(d-'0')
		}
		if n >= l.first && l.first > 0 {
			l.res.Acks++
			l.acks.add(l.clock() - l.sent[n%history])
			if bytes.Contains(p, notOK) {
				l.res.Negative++
			}
		}
	case bytes.HasPrefix(p, droppedText):
		l.res.Dropped++
	case bytes.HasPrefix(p, []byte("41")) && c != l.pub:
		l.lose(c)
	}
}
