package transport

import (
	"errors"
	"testing"
)

// followerSocket is a socket that has joined with since, and whose replay has not begun.
func followerSocket(t *testing.T) (*Socket, *follower) {
	t.Helper()
	counters := new(Counters)
	ns := &Namespace{name: "/", hub: newHub(counters)}
	s := testSocket(ns, "sid")
	s.ns.server = &Server{opts: ServerOptions{EngineOptions: EngineOptions{Counters: counters}}}
	s.session.server = ns.server
	s.session.ctx = t.Context()
	ns.hub.add(s, nil, event("first"))
	take(s.outbox, 1000)
	fl := ns.hub.startFollowing(s, 1, true)
	if fl == nil {
		t.Fatal("it is in no hub")
	}
	return s, fl
}

// A client that joins with since again gets nothing more of the replay before: it would come behind the answer, and behind
// what the second replay begins with.
func TestReplayThatWasReplaced(t *testing.T) {
	s, fl := followerSocket(t)
	p := replay{socket: s, fl: fl, frames: []*Frame{event("a")}, size: 100}
	if queued, err := p.queue(); !queued || err != nil {
		t.Fatalf("queued %v, %v", queued, err)
	}
	stopped := false
	fl.stop = func() { stopped = true }
	again := s.ns.hub.startFollowing(s, 5, true)
	if !stopped {
		t.Error("the first replay is not told to stop")
	}
	if queued, err := p.queue(); queued || !errors.Is(err, errReplaced) {
		t.Errorf("queued %v, %v behind the second join", queued, err)
	}
	if again.next != 5 || take(s.outbox, 1000) != "a" {
		t.Errorf("the second begins at %d", again.next)
	}
}

// One follower has one replay: whoever finds it behind while it joins again begins no second one.
func TestOneReplayAFollower(t *testing.T) {
	s, fl := followerSocket(t)
	again := s.ns.hub.startFollowing(s, 1, true)
	// As deliver does, which saw the follower before. A replay without a relay would panic.
	s.follow(nil, fl)
	again.stop = func() {}
	s.follow(nil, again) // its replay is under way
	s.session.server.running.Wait()
}
