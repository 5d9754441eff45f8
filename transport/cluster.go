package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Cluster makes one hub of several servers: what is emitted on one of them, and whom it disconnects, reaches the
// clients of all. Each client is a socket of the one node that it is connected to, and only there.
//
// Local receivers come first, and as without a cluster: their part is done when Emit returns. The other nodes are then told
// by one message, whatever the number of receivers. What one goroutine emits arrives in that order at every client of every node.
// A message reaches a node at most once: one that a broken connection takes is not sent again, and is counted, by
// the sender where it knows, and by each node that sees a hole in another's count. What must not be lost is the journal's.
type Cluster struct {
	server *Server
	bus    Bus
	opts   ClusterOptions
	id     string
	stop   func() // ends the subscription

	running sync.WaitGroup // what was begun for other nodes
	ctx     context.Context
	cancel  context.CancelFunc

	out     sync.Mutex // so that the count has the order of the messages
	nextSeq uint64

	mu        sync.Mutex
	nodes     map[string]*otherNode
	questions map[uint64]*question
	nextID    uint64

	sent, lost, received, missed, malformed atomic.Uint64
	reported                                atomic.Int64 // when an error was reported last, Unix seconds
}

// ClusterOptions configures a [Cluster]. The zero value of each field means the default named. The functions must not block.
type ClusterOptions struct {
	// Heartbeat is how often a node says that it is there; 1 s. One that has said nothing for four times as long is
	// taken to be gone.
	Heartbeat time.Duration
	// OnNode, if not nil, is told that another node has come, or has gone.
	OnNode func(id string, here bool)
	// Report, if not nil, gets errors that nobody else is told, one a second at most: a message that is none, or that
	// other nodes' messages have been lost.
	Report func(error)
}

// otherNode is what is known of another node.
type otherNode struct {
	clients uint64
	heard   time.Time // when it said last that it is there
	seq     uint64    // of its last message
	away    bool      // taken to be gone; what it has said meanwhile is counted if it comes back
}

// The limits of what is kept about other nodes.
const (
	maxNodes       = 256
	heartbeatsLate = 4
)

// NewCluster connects a server to the other nodes of a bus. Call it before the server is served, then Run; a server is
// in one cluster at most.
func NewCluster(s *Server, bus Bus, opts ClusterOptions) (*Cluster, error) {
	orDuration(&opts.Heartbeat, time.Second)
	c := &Cluster{server: s, bus: bus, opts: opts, id: NewID(), nodes: map[string]*otherNode{}, questions: map[uint64]*question{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if !s.cluster.CompareAndSwap(nil, c) {
		c.cancel()
		return nil, errors.New("transport: the server is in a cluster already")
	}
	stop, err := bus.Subscribe(c.receive)
	if err != nil {
		s.cluster.Store(nil)
		c.cancel()
		return nil, fmt.Errorf("transport: other nodes: %w", err)
	}
	c.stop = stop
	c.alive(nodeHello, "")
	return c, nil
}

// Node is the random id of this node, new with every start.
func (c *Cluster) Node() string { return c.id }

// Run says that the node is there, until ctx ends; then it takes leave of the others. Nothing of the cluster runs
// when it returns. Call it once; the bus is the caller's to close, after it.
func (c *Cluster) Run(ctx context.Context) {
	tick := time.NewTicker(c.opts.Heartbeat)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			c.alive(nodeAlive, "")
			c.forget(time.Now().Add(-heartbeatsLate * c.opts.Heartbeat))
		}
	}
	c.server.cluster.Store(nil)
	_ = c.publish(&nodeMessage{kind: nodeBye})
	c.stop()
	c.cancel()
	c.running.Wait()
	c.forget(time.Now().Add(time.Hour)) // whoever waits for an answer is told
}

// alive tells one node, or all, that this one is there.
func (c *Cluster) alive(kind nodeKind, to string) {
	_ = c.publish(&nodeMessage{kind: kind, to: to, number: uint64(max(c.server.opts.Counters.Sessions.Load(), 0))})
}

// publish sends the message, or counts that it was lost.
func (c *Cluster) publish(m *nodeMessage) error {
	m.node = c.id
	data := make([]byte, 0, m.size()+len(c.id))
	c.out.Lock()
	defer c.out.Unlock()
	c.nextSeq++
	m.seq = c.nextSeq
	if err := c.bus.Publish(m.append(data)); err != nil {
		c.lost.Add(1)
		return err
	}
	c.sent.Add(1)
	return nil
}

// emit tells the other nodes of a broadcast.
func (c *Cluster) emit(f *Frame, rooms, except []string) {
	_ = c.publish(&nodeMessage{kind: nodeEmit, packet: f.Text(), attachments: f.Attachments(), rooms: rooms, except: except})
}

// receive takes a message of another node. Only the subscription's goroutine calls it.
func (c *Cluster) receive(data []byte) {
	m, err := parseNodeMessage(data)
	if err == nil {
		if m.node == c.id {
			return
		}
		c.received.Add(1)
		c.hear(&m)
		if m.to == "" || m.to == c.id {
			err = c.act(&m)
		}
	}
	if err != nil {
		c.malformed.Add(1)
		c.report("message of another node is left out: %w", err)
	}
}

// report tells one error a second: where one comes, there may be many.
func (c *Cluster) report(format string, args ...any) {
	now := time.Now().Unix()
	if c.opts.Report != nil && c.reported.Swap(now) != now {
		c.opts.Report(fmt.Errorf("transport: "+format, args...))
	}
}

// act does what another node says.
func (c *Cluster) act(m *nodeMessage) error {
	switch m.kind {
	case nodeHello:
		c.alive(nodeAlive, m.node)
	case nodeEmit:
		p, err := m.readPacket(packetEvent)
		if err != nil {
			return err
		}
		if ns := c.server.namespace(string(p.nsp)); ns != nil {
			buf := make([]byte, PrefixRoom, PrefixRoom+len(m.packet))
			ns.hub.broadcast(frameOf(EngineMessage, append(buf, m.packet...), m.attachments, true), m.rooms, m.except)
		}
	case nodeDisconnect:
		if ns := c.server.namespace(m.namespace); ns != nil {
			// Handlers are told, who may take their time.
			c.running.Go(func() { Target{ns: ns, rooms: m.rooms, except: m.except, local: true}.Disconnect() })
		}
	case nodeCloseRoom:
		if ns := c.server.namespace(m.namespace); ns != nil {
			ns.hub.closeRoom(m.rooms[0])
		}
	case nodeAsk:
		return c.asked(m)
	case nodeAsked:
		c.counted(m)
	case nodeAnswer:
		return c.answered(m)
	}
	return nil
}

// hear notes that another node is there, and what it has said that did not come.
func (c *Cluster) hear(m *nodeMessage) {
	c.mu.Lock()
	n := c.nodes[m.node]
	if m.kind == nodeBye {
		c.mu.Unlock()
		c.gone(m.node)
		c.mu.Lock()
		delete(c.nodes, m.node)
		c.mu.Unlock()
		return
	}
	came := n == nil || n.away
	if n == nil {
		if !c.roomLocked() {
			c.mu.Unlock()
			return
		}
		n = &otherNode{seq: m.seq - 1}
		c.nodes[m.node] = n
	}
	if came {
		n.away, n.heard = false, time.Now()
	}
	var missed uint64
	if m.seq > n.seq+1 {
		missed = m.seq - n.seq - 1
		c.missed.Add(missed)
	}
	n.seq = max(n.seq, m.seq)
	if m.kind == nodeAlive || m.kind == nodeHello {
		n.clients, n.heard = m.number, time.Now()
	}
	c.mu.Unlock()
	if missed > 0 {
		c.report("%d messages of node %s have been lost on their way here", missed, m.node)
	}
	if came {
		if m.kind != nodeHello {
			c.alive(nodeHello, m.node) // it may not know this one, after a broken connection
		}
		if c.opts.OnNode != nil {
			c.opts.OnNode(m.node, true)
		}
	}
}

// roomLocked makes room for one more node, in place of one that has been away longest. c.mu is held.
func (c *Cluster) roomLocked() bool {
	if len(c.nodes) < maxNodes {
		return true
	}
	oldest := ""
	for id, n := range c.nodes {
		if n.away && (oldest == "" || n.heard.Before(c.nodes[oldest].heard)) {
			oldest = id
		}
	}
	delete(c.nodes, oldest)
	return oldest != ""
}

// forget takes the nodes not heard since then to be gone.
func (c *Cluster) forget(since time.Time) {
	var late []string
	c.mu.Lock()
	for id, n := range c.nodes {
		if !n.away && n.heard.Before(since) {
			late = append(late, id)
		}
	}
	c.mu.Unlock()
	for _, id := range late {
		c.gone(id)
	}
}

// gone takes a node to be gone, and waits for no answer of it.
func (c *Cluster) gone(id string) {
	c.mu.Lock()
	n := c.nodes[id]
	was := n != nil && !n.away
	if was {
		n.away = true
	}
	for _, q := range c.questions {
		q.gone(id)
	}
	c.mu.Unlock()
	if was && c.opts.OnNode != nil {
		c.opts.OnNode(id, false)
	}
}

// ClusterStats are what a node knows of the others. The counts begin with the node's start, and only grow.
type ClusterStats struct {
	Nodes     int    // this one included
	Clients   uint64 // connections on all nodes, as they have said last
	Sent      uint64 // messages handed to the bus
	Lost      uint64 // messages that the bus did not take: the other nodes had none of them
	Received  uint64 // messages of other nodes
	Missed    uint64 // messages that other nodes have sent and that did not come
	Malformed uint64 // messages that were none, and were left out
}

// Stats tells what is known now.
func (c *Cluster) Stats() ClusterStats {
	s := ClusterStats{Nodes: 1, Clients: uint64(max(c.server.opts.Counters.Sessions.Load(), 0)), Sent: c.sent.Load(), Lost: c.lost.Load(),
		Received: c.received.Load(), Missed: c.missed.Load(), Malformed: c.malformed.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if !n.away {
			s.Nodes++
			s.Clients += n.clients
		}
	}
	return s
}
