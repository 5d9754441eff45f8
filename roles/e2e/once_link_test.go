package e2e

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// slowLink is a TCP proxy in front of a server. It delays each direction without limiting its throughput, and fails in
// the ways in which networks do.
type slowLink struct {
	t     *testing.T
	ln    net.Listener
	to    string
	delay time.Duration
	wg    sync.WaitGroup

	mu      sync.Mutex
	pairs   map[*linkPair]bool
	left    []*net.TCPConn // connections to the server of clients that are gone, though the server does not know
	silent  chan struct{}  // not nil: nothing is forwarded until it is closed
	refuses bool           // new connections
	closed  bool
}

// linkPair is a client's connection and that to the server.
type linkPair struct {
	client, server *net.TCPConn
	broken         chan struct{} // closed when nothing is forwarded any more
	breakOnce      sync.Once
	abandoned      bool // the client is gone, though the server does not know; set before broken is closed
}

// A chunk of bytes is forwarded when its time has come.
type chunk struct {
	due  time.Time
	data []byte
}

const (
	chunkBytes  = 32 << 10
	chunksUnder = 256 // under way in one direction of a connection, at most; then its sender has to wait
)

func newSlowLink(t *testing.T, to string, delay time.Duration) *slowLink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &slowLink{t: t, ln: ln, to: to, delay: delay, pairs: map[*linkPair]bool{}}
	l.wg.Go(l.serve)
	t.Cleanup(l.close)
	return l
}

func (l *slowLink) url() string { return "http://" + l.ln.Addr().String() }

func (l *slowLink) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	_ = l.ln.Close()
	l.setSilent(false)
	l.cut(nil)
	l.mu.Lock()
	for p := range l.pairs {
		reset(p.server) // of one that was abandoned
	}
	for _, c := range l.left {
		reset(c)
	}
	l.mu.Unlock()
	l.wg.Wait()
}

func (l *slowLink) serve() {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.connect(c.(*net.TCPConn)) })
	}
}

func (l *slowLink) connect(client *net.TCPConn) {
	l.mu.Lock()
	refuses := l.refuses || l.closed
	l.mu.Unlock()
	up, err := net.Dial("tcp", l.to)
	if err != nil || refuses {
		reset(client)
		if err == nil {
			reset(up.(*net.TCPConn))
		}
		return
	}
	p := &linkPair{client: client, server: up.(*net.TCPConn), broken: make(chan struct{})}
	l.mu.Lock()
	if l.closed || l.refuses {
		l.mu.Unlock()
		reset(p.client)
		reset(p.server)
		return
	}
	l.pairs[p] = true
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.forward(p, p.client, p.server) })
	both.Go(func() { l.forward(p, p.server, p.client) })
	both.Wait()
	_ = p.client.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pairs, p)
	if p.abandoned && !l.closed {
		l.left = append(l.left, p.server)
		return
	}
	_ = p.server.Close()
}

// forward copies from one connection to the other until the end of both, or until the pair is broken.
func (l *slowLink) forward(p *linkPair, from, to *net.TCPConn) {
	queue := make(chan chunk, chunksUnder)
	l.wg.Go(func() {
		defer close(queue)
		for {
			data := make([]byte, chunkBytes)
			n, err := from.Read(data)
			if n > 0 {
				select {
				case queue <- chunk{time.Now().Add(l.delay), data[:n]}:
				case <-p.broken:
					return
				}
			}
			if err == io.EOF {
				return
			} else if err != nil {
				p.breakUp()
				return
			}
		}
	})
	for c := range queue {
		if !p.wait(time.Until(c.due)) || !p.pass(l) {
			break
		}
		if _, err := to.Write(c.data); err != nil {
			p.breakUp()
			break
		}
	}
	for range queue { // its reader ends by itself
	}
	if p.wait(l.delay) && p.pass(l) {
		_ = to.CloseWrite()
	}
}

// wait reports whether the pair is still whole after so long.
func (p *linkPair) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.broken:
		return false
	}
}

// pass waits while the link is silent, and reports whether the pair is still whole then.
func (p *linkPair) pass(l *slowLink) bool {
	for {
		l.mu.Lock()
		silent := l.silent
		l.mu.Unlock()
		if silent == nil {
			return true
		}
		select {
		case <-silent:
		case <-p.broken:
			return false
		}
	}
}

// breakUp ends a pair: both sides get a reset, and what is under way is lost.
func (p *linkPair) breakUp() {
	p.breakOnce.Do(func() {
		close(p.broken)
		reset(p.client)
		reset(p.server)
	})
}

// abandon resets the clients' connections and leaves the server's open: to the server the clients seem to be there.
func (l *slowLink) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		p.breakOnce.Do(func() {
			p.abandoned = true
			close(p.broken)
			reset(p.client)
		})
	}
}

// cut breaks the pairs that chosen names, all if it is nil.
func (l *slowLink) cut(chosen func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		if chosen == nil || chosen() {
			p.breakUp()
		}
	}
}

// setSilent stops forwarding, or resumes it. Both sides see a peer that says nothing.
func (l *slowLink) setSilent(silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if silent == (l.silent != nil) {
		return
	}
	if silent {
		l.silent = make(chan struct{})
		return
	}
	close(l.silent)
	l.silent = nil
}

// setRefuse cuts the link and refuses connections, or takes them again.
func (l *slowLink) setRefuse(refuse bool) {
	l.mu.Lock()
	l.refuses = refuse
	l.mu.Unlock()
	if refuse {
		l.cut(nil)
	}
}

// fail lets the link fail once, in a way and for a time that rng chooses, and returns a description.
func (l *slowLink) fail(rng *rand.Rand) string {
	pause := func() time.Duration {
		d := time.Duration(200+rng.IntN(1500)) * time.Millisecond
		timer := time.NewTimer(d) // how long the link is down; nothing depends on its being enough
		<-timer.C
		return d
	}
	switch rng.IntN(5) {
	case 0:
		l.cut(nil)
		return "cut"
	case 1:
		l.cut(func() bool { return rng.IntN(2) == 0 })
		return "cut of a half"
	case 2:
		l.abandon()
		return "abandoned"
	case 3:
		l.setSilent(true)
		d := pause()
		l.cut(nil)
		l.setSilent(false)
		return "silence and cut " + d.String()
	default:
		l.setRefuse(true)
		d := pause()
		l.setRefuse(false)
		return "refused " + d.String()
	}
}

// reset closes a connection without a goodbye: the other side gets RST.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
