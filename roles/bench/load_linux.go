package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readSpace  = 256 << 10
	history    = 1 << 18 // messages whose sending time is known
	warmUp     = 20 * time.Second
	warmPeriod = 50 * time.Millisecond
	patience   = 2 // seconds without a delivery after which what is under way counts as lost
)

// load is a run. Everything in it belongs to the goroutine of Run.
type load struct {
	opts   Options
	poller *poller
	start  time.Time // of all times below

	pub    *conn
	subs   []*conn
	byTag  []*conn // tag - firstConn
	active int     // subscribers that read

	marks marks
	tmpl  *template
	sent  [history]time.Duration
	seq   uint64 // published last
	first uint64 // of the measurement
	begun time.Duration
	end   time.Duration
	phase phase
	batch []byte
	space []byte
	buf   []byte
	now   time.Duration // when the bytes in hand were read
	warm  int
	due   uint64 // messages that the clock has asked for

	credit    uint64 // deliveries to those who read, for the window
	forgiven  uint64 // messages that the window waits for no more
	delivered uint64 // in the measurement
	lastBeat  uint64 // delivered, a beat ago
	quiet     int    // beats without a delivery
	beats     int

	latency, acks histogram
	res           Result
	window        histogram // latencies since the last line of progress
	serverErr     error
	cpu0, own0    time.Duration
}

type phase uint8

const (
	warming phase = iota
	measuring
	draining
	over
)

// Run loads the server as the options say.
func Run(ctx context.Context, opts Options) (*Result, error) {
	u, err := opts.address()
	if err != nil {
		return nil, err
	}
	l := &load{opts: opts, start: time.Now(), buf: make([]byte, readSpace)}
	l.res = Result{URL: opts.URL, Revision: opts.Revision, Clients: opts.Clients, Stalled: opts.Stall, Size: opts.Size,
		Idle: opts.Idle, Ack: opts.Ack}
	if opts.Period > 0 && !opts.Idle {
		l.res.Rate = float64(time.Second) / float64(opts.Period)
	}
	if opts.ServerPID != 0 {
		l.res.Server = &Server{Before: l.rss()}
		if l.serverErr != nil {
			return nil, l.serverErr
		}
	}
	if l.poller, err = newPoller(ctx); err != nil {
		return nil, err
	}
	defer l.poller.close()
	defer l.closeConns()
	boot := rand.Text()
	room := "bench-" + boot[:8]
	l.marks.boot = []byte(boot)
	l.tmpl = newTemplate(opts.Event, boot, room, opts.Size)
	if err := l.connect(ctx, u, room); err != nil {
		return nil, err
	}
	runtime.GC() // what the handshakes have left is not to be collected meanwhile
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := l.loop(ctx); err != nil {
		return nil, err
	}
	return l.finish(), l.serverErr
}

// connect opens all connections and puts them into the poller.
func (l *load) connect(ctx context.Context, u *url.URL, room string) error {
	d := &dialer{opts: l.opts, url: u, room: room}
	told := time.Now()
	conns, err := d.all(ctx, l.opts.Clients, true, func(i int) {
		if l.opts.Progress != nil && i%dialers == 0 && time.Since(told) > time.Second {
			told = time.Now()
			fmt.Fprintf(l.opts.Progress, "connecting: %d of %d clients\n", i, l.opts.Clients)
		}
	})
	if err != nil {
		return err
	}
	for i, o := range conns {
		if err := l.add(o); err != nil {
			for _, rest := range conns[i+1:] {
				_ = rest.net.Close()
			}
			return err
		}
	}
	l.subs = l.byTag
	l.active = len(l.subs)
	o, err := d.open(ctx, false)
	if err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	if err := l.add(o); err != nil {
		return err
	}
	l.pub = l.byTag[len(l.byTag)-1]
	l.subs = l.byTag[:len(l.byTag)-1]
	return nil
}

func (l *load) add(o *opened) error {
	fd, early, err := o.detach()
	if err != nil {
		return err
	}
	c := &conn{fd: fd, tag: int32(firstConn + len(l.byTag)), beat: int(o.beat / time.Second)}
	l.byTag = append(l.byTag, c)
	c.split(early, func(op byte, p []byte) { l.frame(c, op, p) })
	if err := l.poller.watch(fd, c.tag); err != nil {
		return err
	}
	return nil
}

func (l *load) closeConns() {
	for _, c := range l.byTag {
		if c.fd >= 0 {
			_ = unix.Close(c.fd)
		}
	}
}

// loop runs from the first message to the last delivery.
func (l *load) loop(ctx context.Context) error {
	if l.opts.Idle {
		l.measure()
	} else {
		if err := l.poller.every(l.poller.timer, warmPeriod); err != nil {
			return err
		}
		l.end = time.Since(l.start) + warmUp
	}
	for l.phase != over {
		events, err := l.poller.wait()
		if err != nil {
			return err
		}
		for _, e := range events {
			switch e.Fd {
			case tagStop:
				return context.Cause(ctx)
			case tagTimer:
				l.due += uint64(l.poller.expirations(l.poller.timer))
			case tagBeat:
				l.poller.expirations(l.poller.beat)
				err = l.beat()
			default:
				err = l.serve(l.byTag[e.Fd-firstConn], e.Events)
			}
			if err != nil {
				return err
			}
		}
		if err := l.advance(); err != nil {
			return err
		}
	}
	return nil
}

// advance publishes what is due and goes on to the next phase when the one in hand is through.
func (l *load) advance() error {
	switch l.phase {
	case warming:
		if l.warm == len(l.subs) {
			l.measure()
			return l.advance() // nothing else may come that would start it
		}
		if l.due > 0 {
			l.due = 0
			return l.publish(1)
		}
		if time.Since(l.start) > l.end {
			return fmt.Errorf("%d of %d clients got nothing in %v: does the server relay %q to those who join a room?",
				len(l.subs)-l.warm, len(l.subs), warmUp, l.opts.Event)
		}
	case measuring:
		if time.Since(l.start) >= l.end {
			l.stop()
			return nil
		}
		switch {
		case l.opts.Idle: // the beat alone ends it
		case l.opts.Period > 0:
			n := l.due
			l.due = 0
			return l.publish(int(n))
		default:
			return l.publish(int(l.room()))
		}
	case draining:
		if l.opts.Idle || l.arrived() || l.quiet >= patience {
			l.phase = over
		}
	}
	return nil
}

// room is how many messages may be sent until the window is full.
func (l *load) room() uint64 {
	got := l.forgiven + l.credit/uint64(max(l.active, 1))
	under := l.seq - (l.first - 1) - min(got, l.seq-(l.first-1))
	return uint64(l.opts.Window) - min(under, uint64(l.opts.Window))
}

// wanted is how many deliveries there should be in the end.
func (l *load) wanted() uint64 { return (l.seq - (l.first - 1)) * uint64(l.active) }

// arrived tells whether nothing more is to come.
func (l *load) arrived() bool {
	return l.delivered+l.res.Late >= l.wanted() && (!l.opts.Ack || l.res.Acks >= l.seq-(l.first-1))
}

// measure begins the measurement.
func (l *load) measure() {
	l.phase = measuring
	l.first = l.seq + 1
	for i, c := range l.subs {
		c.next = l.first
		if i >= len(l.subs)-l.opts.Stall && !c.ended {
			c.stalled = true
			l.active--
			l.poller.forget(c.fd)
		}
	}
	if s := l.res.Server; s != nil {
		s.Connected = l.rss()
		l.cpu0 = l.serverCPU()
	}
	l.own0 = ownCPU()
	l.begun = time.Since(l.start)
	l.end = l.begun + l.opts.Duration
	l.due = 0
	_ = l.poller.every(l.poller.timer, l.opts.Period) // 0 stops it: the beat alone ends an idle run
}

// stop ends the measurement; what is under way is waited for.
func (l *load) stop() {
	l.phase = draining
	l.quiet = 0
	_ = l.poller.every(l.poller.timer, 0)
	r := &l.res
	r.Seconds = (time.Since(l.start) - l.begun).Seconds()
	r.InTime = l.delivered
	r.PerSecond = float64(l.delivered) / r.Seconds
	r.LoadCPU = (ownCPU() - l.own0).Seconds() / r.Seconds
	if s := r.Server; s != nil {
		s.CPU = (l.serverCPU() - l.cpu0).Seconds()
		if l.delivered > 0 {
			s.CPUPerMillion = s.CPU * 1e6 / float64(l.delivered)
		}
	}
}

// publish sends n messages in one write.
func (l *load) publish(n int) error {
	if n == 0 {
		return nil
	}
	now := time.Since(l.start)
	l.batch = l.batch[:0]
	for range n {
		l.seq++
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
		l.credit -= min(l.credit, c.ontime+c.late)
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
	if l.phase == warming || seq < l.first || c.ended {
		return
	}
	l.credit++
	if seq < c.next {
		c.late++
		l.res.Late++
		return
	}
	c.next = seq + 1
	c.ontime++
	l.delivered++
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
	if l.opts.Period > 0 && !l.opts.Idle {
		// The last one may have become due as the run ended.
		if asked := uint64(r.Seconds * r.Rate); asked > r.Published+1 {
			r.Behind = asked - r.Published
		}
	}
	r.Limited = r.LoadCPU > 0.9 || r.Behind > r.Published/100
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
