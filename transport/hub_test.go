package transport

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func testSocket(ns *Namespace, sid string) *Socket {
	s := &Socket{sid: sid, ns: ns, state: socketOpen}
	s.outbox = NewOutbox(1<<30, DropOldest, nil)
	s.session = &Session{outbox: s.outbox}
	return s
}

// The hub against a model of plain maps, through thousands of random steps.
func TestHubAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	ns := &Namespace{name: "/", hub: newHub(new(Counters))}
	sockets := map[string]*Socket{}
	model := map[string]map[string]bool{} // sid -> rooms
	rooms := []string{"a", "b", "c", "d"}
	any := func() string {
		if len(model) == 0 {
			return "nobody"
		}
		i := rnd.IntN(len(model))
		sids := make([]string, 0, len(model))
		for sid := range model {
			sids = append(sids, sid)
		}
		slices.Sort(sids)
		return sids[i]
	}
	some := func() []string {
		var out []string
		if rnd.IntN(3) == 0 { // one, as most have it
			if rnd.IntN(2) == 0 {
				return []string{any()}
			}
			return []string{rooms[rnd.IntN(len(rooms))]}
		}
		for _, r := range rooms {
			if rnd.IntN(3) == 0 {
				out = append(out, r)
			}
		}
		if len(model) > 0 && rnd.IntN(3) == 0 {
			out = append(out, any())
		}
		if rnd.IntN(8) == 0 {
			out = append(out, "nobody's")
		}
		return out
	}
	in := func(sid string, names []string) bool {
		return slices.ContainsFunc(names, func(r string) bool { return r == sid || model[sid][r] })
	}
	for step := range 5000 {
		switch op := rnd.IntN(10); {
		case op < 2 || len(model) == 0:
			sid := fmt.Sprint("sid", step)
			sockets[sid] = testSocket(ns, sid)
			first := some()
			ns.hub.add(sockets[sid], first, NewFrame(EngineMessage, "0"))
			sockets[sid].outbox.Take(1<<20, nil)
			model[sid] = map[string]bool{}
			for _, r := range first {
				if r != sid {
					model[sid][r] = true
				}
			}
		case op == 2:
			sid := any()
			ns.hub.remove(sockets[sid])
			delete(model, sid)
			delete(sockets, sid)
		case op < 5:
			sid, room := any(), rooms[rnd.IntN(len(rooms))]
			ns.hub.join(sockets[sid], room)
			model[sid][room] = true
		case op < 7:
			sid, room := any(), rooms[rnd.IntN(len(rooms))]
			ns.hub.leave(sockets[sid], room)
			delete(model[sid], room)
		case op == 7 && rnd.IntN(10) == 0:
			room := rooms[rnd.IntN(len(rooms))]
			ns.hub.closeRoom(room)
			for sid := range model {
				delete(model[sid], room)
			}
		default:
			to, except := some(), some()
			got := map[string]int{}
			ns.hub.each(to, except, func(s *Socket) { got[s.sid]++ })
			ns.hub.broadcast(NewFrame(EngineMessage, "2"), to, except)
			for sid, s := range sockets {
				if n := len(s.outbox.Take(1<<20, nil)); n != got[sid] {
					t.Fatalf("step %d: a broadcast to %v except %v pushed %d frames to %s, each selects it %d times", step, to, except, n, sid, got[sid])
				}
			}
			for sid := range model {
				want := 0
				if (len(to) == 0 || in(sid, to)) && !in(sid, except) {
					want = 1
				}
				if got[sid] != want {
					t.Fatalf("step %d: to %v except %v reached %s %d times, want %d", step, to, except, sid, got[sid], want)
				}
				delete(got, sid)
			}
			if len(got) > 0 {
				t.Fatalf("step %d: reached %v, who are gone", step, got)
			}
		}
	}
	for sid := range model {
		ns.hub.remove(sockets[sid])
	}
	if len(ns.hub.rooms) != 0 || len(ns.hub.bySid) != 0 || len(ns.hub.all.members) != 0 {
		t.Errorf("an empty hub still holds %d rooms, %d sids, %d members", len(ns.hub.rooms), len(ns.hub.bySid), len(ns.hub.all.members))
	}
}

func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ns := &Namespace{name: "/", hub: newHub(new(Counters))}
			var sockets []*Socket
			for i := range n {
				s := testSocket(ns, fmt.Sprint("sid", i))
				ns.hub.add(s, []string{"ops"}, NewFrame(EngineMessage, "0"))
				sockets = append(sockets, s)
			}
			f, err := eventFrame("/", "log_telemetry", []any{"x"}, 0, false)
			if err != nil {
				b.Fatal(err)
			}
			into := make([]*Frame, 0, 16)
			b.ReportAllocs()
			for b.Loop() {
				ns.hub.broadcast(f, []string{"ops"}, nil)
				for _, s := range sockets {
					into = s.session.outbox.Take(1<<20, into[:0])
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}
