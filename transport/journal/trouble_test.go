package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"tbmsock/transport"
	"tbmsock/transport/journal"
)

// A client that connects while the journal takes nothing is told, as those are that were there before; one that comes
// later is not.
func TestTroubleIsToldToThoseWhoCome(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	told := make(chan string, 10)
	come := func() *transport.Client {
		return r.client(transport.ClientOptions{}, func(c *transport.Client) {
			c.On(transport.EventJournal, func(_ context.Context, ev *transport.Event) { told <- string(ev.Args[0].JSON) })
		})
	}
	come()
	r.feed.Health(fmt.Errorf("%w: no room", transport.ErrJournalFull))
	first := <-told
	come()
	var a transport.JournalStatus
	if second := <-told; second != first || json.Unmarshal([]byte(second), &a) != nil || a.OK || a.Error == nil || a.Error.Code != transport.CodeJournalFull {
		t.Errorf("told %s, then %s", first, second)
	}
	r.feed.Health(nil)
	for range 2 {
		if text := <-told; text != `{"ok":true}` {
			t.Errorf("told %s", text)
		}
	}
	last := come()
	if a := r.ask(last, "join", "ops"); !a.OK { // whatever it was told has come before the answer
		t.Error(a)
	}
	select {
	case text := <-told:
		t.Errorf("told %s though nothing is wrong", text)
	default:
	}
}
