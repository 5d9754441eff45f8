package transport

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Answer is what one client has said to [Target.EmitAck].
type Answer struct {
	Sid  string
	Args Args
	Err  error // why there are no arguments: the client has gone, or has not answered in time
}

// ErrNodeSilent is part of the error of [Target.EmitAck] when not all nodes could be asked.
var ErrNodeSilent = errors.New("transport: not all nodes answer")

// silence is how long a node may take to say whom it has asked. It takes a millisecond; one that takes longer has
// died, and nobody has noticed yet.
const silence = time.Second

// EmitAck sends the event to those selected, on all nodes, and returns their answers, in no order. It waits until all have
// answered or ctx ends; give it a time-out. No answers mean that nobody was selected. An error says that the event
// cannot be sent, or, with the answers of the other nodes, that a node could not be asked ([ErrNodeSilent]).
func (t Target) EmitAck(ctx context.Context, event string, args ...any) ([]Answer, error) {
	f, err := eventFrame(t.ns.name, event, args, 0, false)
	if err != nil {
		return nil, err
	}
	var sockets []*Socket
	t.ns.hub.each(t.rooms, t.except, func(s *Socket) { sockets = append(sockets, s) })
	var q *question
	c := t.elsewhere()
	if c != nil {
		q = c.ask(ctx, f, t.rooms, t.except)
	}
	var answers []Answer
	ask(ctx, sockets, event, args, func(a Answer) { answers = append(answers, a) })
	if c == nil {
		return answers, nil
	}
	more, err := c.wait(ctx, q)
	return append(answers, more...), err
}

// EmitAck asks everyone in the namespace; see [Target.EmitAck].
func (n *Namespace) EmitAck(ctx context.Context, event string, args ...any) ([]Answer, error) {
	return Target{ns: n}.EmitAck(ctx, event, args...)
}

// ask sends the event to each of the sockets. answered is called for each, on this goroutine; ask returns when all have
// answered or ctx has ended.
func ask(ctx context.Context, sockets []*Socket, event string, args []any, answered func(Answer)) {
	type asked struct {
		socket *Socket
		id     uint64
	}
	waiting := make(map[string]asked, len(sockets))
	answers := make(chan Answer, len(sockets))
	for _, s := range sockets {
		if holdsUp(ctx, s.session) {
			answered(Answer{Sid: s.sid, Err: ErrAckInOrder})
			continue
		}
		id, err := s.acks.begin(func(args Args, err error) { answers <- Answer{s.sid, args, err} })
		if err != nil {
			answered(Answer{Sid: s.sid, Err: err})
			continue
		}
		f, err := eventFrame(s.ns.name, event, args, id, true)
		if err == nil {
			err = s.push(f)
		}
		if err != nil && s.acks.forget(id) {
			answered(Answer{Sid: s.sid, Err: err})
			continue
		}
		waiting[s.sid] = asked{s, id}
	}
	for len(waiting) > 0 {
		select {
		case a := <-answers:
			delete(waiting, a.Sid)
			answered(a)
		case <-ctx.Done():
			for sid, w := range waiting {
				if w.socket.acks.forget(w.id) {
					delete(waiting, sid)
					answered(Answer{Sid: sid, Err: context.Cause(ctx)})
				}
			}
			for range waiting { // these have answered meanwhile
				answered(<-answers)
			}
			return
		}
	}
}

// question is what other nodes are to answer. Cluster.mu guards it.
type question struct {
	id      uint64
	err     error             // the bus did not take it
	nodes   map[string]bool   // that have not said yet whom they have asked
	waiting map[string]string // sids that have not answered yet -> node
	answers []Answer          // of those who have
	changed chan struct{}     // has room for one
	until   time.Time         // when nodes that have said nothing are silent
}

// ask tells the other nodes to ask their clients. The answers are collected until wait returns.
func (c *Cluster) ask(ctx context.Context, f *Frame, rooms, except []string) *question {
	left := maxAskDuration
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(deadline))
	}
	q := &question{nodes: map[string]bool{}, waiting: map[string]string{}, changed: make(chan struct{}, 1), until: time.Now().Add(silence)}
	c.mu.Lock()
	for id, n := range c.nodes {
		if !n.away {
			q.nodes[id] = true
		}
	}
	c.nextID++
	q.id = c.nextID
	c.questions[q.id] = q
	c.mu.Unlock()
	q.err = c.publish(&nodeMessage{kind: nodeAsk, id: q.id, number: uint64(max(left.Milliseconds(), 1)),
		packet: f.Text(), attachments: f.Attachments(), rooms: rooms, except: except})
	return q
}

// wait returns the answers of the other nodes' clients.
func (c *Cluster) wait(ctx context.Context, q *question) ([]Answer, error) {
	defer func() {
		c.mu.Lock()
		delete(c.questions, q.id)
		c.mu.Unlock()
	}()
	if q.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNodeSilent, q.err)
	}
	patience := time.NewTimer(time.Until(q.until))
	defer patience.Stop()
	silent := 0
	for ended := false; ; {
		c.mu.Lock()
		if ended {
			for sid := range q.waiting {
				q.answers = append(q.answers, Answer{Sid: sid, Err: context.Cause(ctx)})
			}
			silent += len(q.nodes)
		}
		answers := q.answers
		done := ended || len(q.nodes) == 0 && len(q.waiting) == 0
		c.mu.Unlock()
		if done && silent > 0 {
			return answers, fmt.Errorf("%w: %d did not", ErrNodeSilent, silent)
		} else if done {
			return answers, nil
		}
		select {
		case <-q.changed:
		case <-patience.C:
			c.mu.Lock()
			silent = len(q.nodes)
			clear(q.nodes)
			c.mu.Unlock()
		case <-ctx.Done():
			ended = true
		}
	}
}

// change wakes the one who waits.
func (q *question) change() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// gone gives up the answers of a node.
func (q *question) gone(node string) {
	delete(q.nodes, node)
	for sid, n := range q.waiting {
		if n == node {
			delete(q.waiting, sid)
			q.answers = append(q.answers, Answer{Sid: sid, Err: ErrClosed})
		}
	}
	q.change()
}

// asked asks this node's clients for another node. That node is told first whom.
func (c *Cluster) asked(m *nodeMessage) error {
	p, err := m.readPacket(packetEvent)
	if err != nil {
		return err
	}
	ev, err := newEvent(&p)
	if err != nil {
		return err
	}
	if err := CheckEvent(ev.Name); err != nil {
		return err
	}
	var sockets []*Socket
	var sids []string
	if ns := c.server.namespace(ev.nsp); ns != nil {
		ns.hub.each(m.rooms, m.except, func(s *Socket) {
			sockets = append(sockets, s)
			sids = append(sids, s.sid)
		})
	}
	if c.publish(&nodeMessage{kind: nodeAsked, to: m.node, id: m.id, sids: sids}) != nil || len(sockets) == 0 {
		return nil
	}
	args := make([]any, len(ev.Args))
	for i, a := range ev.Args {
		args[i] = a
	}
	left := time.Duration(min(m.number, uint64(maxAskDuration.Milliseconds()))) * time.Millisecond
	c.running.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, left)
		defer cancel()
		ask(ctx, sockets, ev.Name, args, func(a Answer) {
			out := &nodeMessage{kind: nodeAnswer, to: m.node, id: m.id, sids: []string{a.Sid}}
			if a.Err == nil {
				a.Err = out.setArgs(ev.nsp, a.Args)
			}
			if a.Err != nil {
				out.err = a.Err.Error()
			}
			if err := c.publish(out); errors.Is(err, ErrBusTooLarge) {
				_ = c.publish(&nodeMessage{kind: nodeAnswer, to: m.node, id: m.id, sids: []string{a.Sid}, err: err.Error()})
			}
		})
	})
	return nil
}

// setArgs puts the arguments of an answer into the message, as an ACK.
func (m *nodeMessage) setArgs(nsp string, args Args) error {
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a
	}
	f, err := ackFrame(nsp, values, 0)
	if err == nil {
		m.packet, m.attachments = f.Text(), f.Attachments()
	}
	return err
}

// counted takes note of whom a node has asked.
func (c *Cluster) counted(m *nodeMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.questions[m.id]
	if q == nil {
		return
	}
	delete(q.nodes, m.node)
	for _, sid := range m.sids {
		q.waiting[sid] = m.node
	}
	q.change()
}

// answered takes the answer of a client of another node.
func (c *Cluster) answered(m *nodeMessage) error {
	a := Answer{Sid: m.sids[0]}
	if m.err != "" {
		a.Err = answerError(m.err)
	} else {
		p, err := m.readPacket(packetAck)
		if err != nil {
			return err
		}
		a.Args = p.args()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.questions[m.id]
	if q == nil || q.waiting[a.Sid] != m.node {
		return nil // too late
	}
	delete(q.waiting, a.Sid)
	q.answers = append(q.answers, a)
	q.change()
	return nil
}

// answerError is the error that another node has put into words.
func answerError(text string) error {
	for _, err := range []error{ErrClosed, context.DeadlineExceeded, ErrBusTooLarge} {
		if text == err.Error() {
			return err
		}
	}
	return errors.New(text)
}
