package bench

import (
	"context"
	"crypto/rand"
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
	patience   = 5 // seconds without a delivery after which what is under way counts as lost
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

	marks  marks
	tmpl   *template
	sent   [history]time.Duration
	seq    uint64 // published last
	first  uint64 // of the measurement
	begun  time.Duration
	end    time.Duration
	phase  phase
	batch  []byte
	space  []byte
	buf    []byte
	now    time.Duration // when the bytes in hand were read
	warm   int           // subscribers that have got a message, or that the server has ended
	warmed uint64        // deliveries before the measurement
	silent bool          // none of them within a beat
	due    uint64        // messages that the clock has asked for

	credit    uint64 // what those who read have passed, for the window
	forgiven  uint64 // messages that the window waits for no more
	delivered uint64 // in the measurement
	arrived   uint64 // of these, to those who still read
	lastBeat  uint64 // delivered, a beat ago
	quiet     int    // beats without a delivery
	beats     int

	latency, acks histogram
	late          histogram // how long after its time each message was published
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
	if err := checkFiles(opts.Clients); err != nil {
		return nil, err
	}
	l := &load{opts: opts, start: time.Now(), buf: make([]byte, readSpace)}
	l.res = Result{URL: shown(u), Revision: opts.Revision, Clients: opts.Clients, Stalled: opts.Stall, Size: opts.Size,
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
	if l.opts.Progress != nil {
		d.told = func(n int) {
			fmt.Fprintf(l.opts.Progress, "connecting: %d of %d clients\n", n, l.opts.Clients)
		}
	}
	conns, err := d.all(ctx, l.opts.Clients)
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
	o, err := d.open(ctx, 0, false)
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
		// One after the other: a slow server is not to begin with work left over.
		if l.silent || l.warmed >= l.seq*uint64(l.active) {
			if l.warm == len(l.subs) {
				l.measure()
				return l.advance() // nothing else may come that would start it
			}
			if l.due > 0 {
				l.due, l.silent = 0, false
				return l.publish(1)
			}
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
		if l.opts.Idle || l.complete() || l.quiet >= patience {
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

// complete tells whether nothing more is to come. What came twice stands for nothing that has not come.
func (l *load) complete() bool {
	return l.arrived >= l.wanted() && (!l.opts.Ack || l.res.Acks >= l.seq-(l.first-1))
}

// measure begins the measurement.
func (l *load) measure() {
	l.phase = measuring
	l.lastBeat = 0
	l.first = l.seq + 1
	for i, c := range l.subs {
		c.next, c.passed = l.first, l.seq
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
