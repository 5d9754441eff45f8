package transport

import "slices"

// Target selects receivers in a namespace. It is a value: each method returns a new one, and it
// may be kept and used again.
type Target struct {
	ns     *Namespace
	rooms  []string
	except []string
	local  bool
}

// Emit sends the event to everyone in the namespace. Arguments are marshalled as encoding/json
// does; a []byte, also inside a map[string]any or []any, goes out as binary, and a [Value] as it
// came in. When Emit returns the event stands in the queue of every receiver on this node, and is on its way to
// the other nodes, if there are any; see [Cluster] for what may become of it.
func (n *Namespace) Emit(event string, args ...any) error {
	return Target{ns: n}.Emit(event, args...)
}

// To selects the sockets in the rooms; a sid is the name of its socket's personal room. A socket
// in several of them is sent to once.
func (n *Namespace) To(rooms ...string) Target { return Target{ns: n}.To(rooms...) }

// Except selects everyone but the sockets in the rooms.
func (n *Namespace) Except(rooms ...string) Target { return Target{ns: n}.Except(rooms...) }

// To adds rooms.
func (t Target) To(rooms ...string) Target {
	t.rooms = slices.Concat(t.rooms, rooms)
	return t
}

// Except leaves out those who are in the rooms.
func (t Target) Except(rooms ...string) Target {
	t.except = slices.Concat(t.except, rooms)
	return t
}

// Local leaves out the clients of other nodes.
func (t Target) Local() Target {
	t.local = true
	return t
}

// Local selects the clients of this node.
func (n *Namespace) Local() Target { return Target{ns: n, local: true} }

// Emit sends the event to those selected; see [Namespace.Emit].
func (t Target) Emit(event string, args ...any) error {
	f, err := eventFrame(t.ns.name, event, args, 0, false)
	if err != nil {
		return err
	}
	t.ns.hub.broadcast(f, t.rooms, t.except)
	if c := t.elsewhere(); c != nil {
		c.emit(f, t.rooms, t.except)
	}
	return nil
}

// Disconnect ends the sockets of those selected: on this node at once, on others soon.
func (t Target) Disconnect() {
	var all []*Socket
	t.ns.hub.each(t.rooms, t.except, func(s *Socket) { all = append(all, s) })
	c := t.elsewhere() // as long as they are known here
	for _, s := range all {
		s.Disconnect()
	}
	if c != nil {
		_ = c.publish(&nodeMessage{kind: nodeDisconnect, namespace: t.ns.name, rooms: t.rooms, except: t.except})
	}
}

// elsewhere is the cluster if there may be receivers on other nodes, else nil.
func (t Target) elsewhere() *Cluster {
	c := t.ns.server.cluster.Load()
	if c == nil || t.local {
		return nil
	}
	for _, room := range t.rooms {
		if t.ns.hub.find(room) == nil {
			return c
		}
	}
	if len(t.rooms) > 0 {
		return nil // all are personal rooms of sockets of this node
	}
	return c
}

// To selects the sockets in the rooms, but for s itself.
func (s *Socket) To(rooms ...string) Target {
	return Target{ns: s.ns, rooms: rooms, except: []string{s.sid}}
}

// Others selects everyone in the namespace but s itself.
func (s *Socket) Others() Target { return s.To() }
