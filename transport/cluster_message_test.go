package transport

import (
	"reflect"
	"strings"
	"testing"
)

// silentBus takes everything and brings nothing.
type silentBus struct{}

func (silentBus) Publish([]byte) error                   { return nil }
func (silentBus) Subscribe(func([]byte)) (func(), error) { return func() {}, nil }

func nodeMessages(t testing.TB) []nodeMessage {
	t.Helper()
	f, err := eventFrame("/", "event", []any{1, []byte{0, 255}, map[string]any{"a": []byte("b")}}, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ackFrame("/tbm", []any{"yes", []byte{1}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return []nodeMessage{
		{kind: nodeAlive, number: 7},
		{kind: nodeHello, to: "them"},
		{kind: nodeBye},
		{kind: nodeEmit, packet: f.Text(), attachments: f.Attachments(), rooms: []string{"ops", "lab", ""}, except: []string{"é"}},
		{kind: nodeDisconnect, namespace: "/tbm", rooms: []string{"ops"}},
		{kind: nodeCloseRoom, namespace: "/", rooms: []string{"ops"}},
		{kind: nodeAsk, id: 1 << 60, number: 5000, packet: f.Text(), attachments: f.Attachments()},
		{kind: nodeAsked, to: "them", id: 3, sids: []string{"a", "b"}},
		{kind: nodeAnswer, to: "them", id: 3, sids: []string{"a"}, packet: a.Text(), attachments: a.Attachments()},
		{kind: nodeAnswer, to: "them", id: 3, sids: []string{"b"}, err: "gone"},
		{kind: 99}, // a later version's
	}
}

func TestNodeMessages(t *testing.T) {
	for i, m := range nodeMessages(t) {
		m.node, m.seq = "us", uint64(i+1)
		data := m.append(nil)
		if len(data) > m.size() {
			t.Errorf("message %d has %d bytes, size said %d", i, len(data), m.size())
		}
		got, err := parseNodeMessage(data)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("message %d: got %+v, %v, want %+v", i, got, err, m)
		}
		for end := range data {
			if got, err := parseNodeMessage(data[:end]); err == nil && reflect.DeepEqual(got, m) {
				t.Errorf("message %d, cut off after %d bytes of %d, reads the same", i, end, len(data))
			}
		}
	}
	for name, m := range map[string]nodeMessage{
		"no node":             {seq: 1, kind: nodeAlive},
		"no number":           {node: "us", kind: nodeAlive},
		"long name":           {node: strings.Repeat("x", 300), seq: 1, kind: nodeAlive},
		"no namespace":        {node: "us", seq: 1, kind: nodeDisconnect},
		"no room to close":    {node: "us", seq: 1, kind: nodeCloseRoom, namespace: "/"},
		"answer to nobody":    {node: "us", seq: 1, kind: nodeAnswer, sids: []string{"a"}},
		"answer of nobody":    {node: "us", seq: 1, kind: nodeAnswer, to: "them"},
		"too many parts":      {node: "us", seq: 1, kind: nodeEmit, attachments: make([][]byte, maxAttachments+1)},
		"more rooms than may": {node: "us", seq: 1, kind: nodeEmit, rooms: make([]string, maxNodeNames+1)},
	} {
		if _, err := parseNodeMessage(m.append(nil)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// What a node says may be no packet, or not the one that it should be.
func TestNodePackets(t *testing.T) {
	for _, tc := range []struct {
		packet      string
		attachments int
		kind        byte
		ok          bool
	}{
		{`2["a",1]`, 0, packetEvent, true},
		{`2/tbm,["a"]`, 0, packetEvent, true},
		{`2["a",{"_placeholder":true,"num":0}]`, 0, packetEvent, true}, // text that looks so, as in any event
		{`51-["a",{"_placeholder":true,"num":0}]`, 1, packetEvent, true},
		{`3/tbm,0["yes"]`, 0, packetAck, true},
		{``, 0, packetEvent, false},
		{`2["a"`, 0, packetEvent, false},
		{`2["a"]`, 1, packetEvent, false},
		{`27["a"]`, 0, packetEvent, false},
		{`51-["a",{"_placeholder":true,"num":0}]`, 0, packetEvent, false},
		{`51-["a",{"_placeholder":true,"num":1}]`, 1, packetEvent, false},
		{`0`, 0, packetEvent, false},
		{`1`, 0, packetEvent, false},
		{`3["yes"]`, 0, packetAck, false},
		{`2["a"]`, 0, packetAck, false},
		{`30["yes"]`, 0, packetEvent, false},
	} {
		m := nodeMessage{packet: []byte(tc.packet), attachments: make([][]byte, tc.attachments)}
		if _, err := m.readPacket(tc.kind); (err == nil) != tc.ok {
			t.Errorf("%s with %d attachments, as %c: %v", tc.packet, tc.attachments, tc.kind, err)
		}
	}
}

// A bus may bring back what a node has said itself.
func TestOwnMessagesAreIgnored(t *testing.T) {
	c := newTestCluster(t)
	m := nodeMessage{node: c.id, seq: 1, kind: nodeAlive}
	c.receive(m.append(nil))
	if s := c.Stats(); s.Nodes != 1 || s.Received != 0 || s.Malformed != 0 {
		t.Errorf("%+v", s)
	}
}

// A bus full of nodes that come and go, or that never were, takes bounded memory.
func TestNodesAreBounded(t *testing.T) {
	c := newTestCluster(t)
	for range 3 * maxNodes {
		m := nodeMessage{node: NewID(), seq: 5, kind: nodeAlive}
		c.receive(m.append(nil))
	}
	if s := c.Stats(); s.Nodes != maxNodes+1 {
		t.Errorf("%d nodes", s.Nodes)
	}
	c.mu.Lock()
	for _, n := range c.nodes {
		n.away = true
	}
	c.mu.Unlock()
	m := nodeMessage{node: "new", seq: 1, kind: nodeAlive}
	c.receive(m.append(nil))
	if s := c.Stats(); s.Nodes != 2 || len(c.nodes) != maxNodes {
		t.Errorf("%d nodes, %d known", s.Nodes, len(c.nodes))
	}
}

func newTestCluster(t testing.TB) *Cluster {
	t.Helper()
	s := &Server{opts: ServerOptions{EngineOptions: EngineOptions{}.WithDefaults()}, namespaces: map[string]*Namespace{}}
	for _, name := range []string{"/", "/tbm"} {
		ns := newNamespace(s, name)
		s.namespaces[name] = ns
		so := testSocket(ns, "sid of "+name)
		ns.hub.add(so, []string{"ops"}, NewFrame(EngineMessage, "0"))
	}
	c, err := NewCluster(s, silentBus{}, ClusterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.cancel()
		c.running.Wait()
	})
	return c
}

// Whatever comes over the bus, a node neither panics nor hands its clients a broken packet.
func FuzzNodeMessage(f *testing.F) {
	for i, m := range nodeMessages(f) {
		m.node, m.seq = "us", uint64(i+1)
		f.Add(m.append(nil))
	}
	f.Add([]byte("\rTBN\x01\x12\x0200\x180r\x00")) // an empty packet
	c := newTestCluster(f)
	so := c.server.namespaces["/"].hub.find("sid of /")
	c.server.namespaces["/"].hub.remove(so)
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseNodeMessage(data); err == nil {
			again, err := parseNodeMessage(m.append(nil))
			if err != nil || !reflect.DeepEqual(again, m) {
				t.Fatalf("%+v was read, written and read again as %+v, %v", m, again, err)
			}
			if m.kind == nodeDisconnect || m.kind == nodeAsk {
				return // these want real clients
			}
		}
		ns := c.server.namespaces["/"]
		ns.hub.add(so, []string{"ops"}, NewFrame(EngineMessage, "0"))
		so.outbox.Take(1<<30, nil)
		c.receive(data)
		for _, frame := range so.outbox.Take(1<<30, nil) {
			p, err := decodePacket(frame.Text())
			if err != nil || p.announced != len(frame.Attachments()) {
				t.Fatalf("a client is sent %q with %d attachments: %v", frame.Text(), len(frame.Attachments()), err)
			}
		}
		ns.hub.remove(so)
	})
}
