package transport

import (
	"fmt"
	"strings"
	"testing"
)

// The steps of an event's way, one by one; BenchmarkRelay has all of them together.

var pathText = []byte(`2["log_telemetry",{"source":"tbm-1","boot":"AAAAAAAAAAAAAAAAAAAAAA","seq":123456,` +
	`"time":"2026-01-05T07:00:00.123456789Z","room":"ops","packet":{` + strings.Repeat(`"c000":1234.56,`, 12) + `"pad":""}}]`)

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(pathText)))
	var asm assembler
	for b.Loop() {
		p, complete, err := asm.add(Message{Data: pathText})
		if err != nil || !complete {
			b.Fatal(err)
		}
		if _, err := newEvent(&p); err != nil {
			b.Fatal(err)
		}
	}
}

func pathValue(tb testing.TB) Value {
	tb.Helper()
	p, err := decodePacket(pathText)
	if err != nil {
		tb.Fatal(err)
	}
	return p.args()[1]
}

func BenchmarkRoute(b *testing.B) {
	v := pathValue(b)
	b.ReportAllocs()
	for b.Loop() {
		if roomOf(v) != "ops" {
			b.Fatal("not routed")
		}
	}
}

// The frame of an event, without the header of a WebSocket or a payload, which an engine puts before it.
func BenchmarkEncode(b *testing.B) {
	v := pathValue(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := eventFrame("/", EventTelemetry, []any{v}, 0, false); err != nil {
			b.Fatal(err)
		}
	}
}

// What an entry of the journal allocates on its way into the queues is the same for one receiver and for a
// thousand, of which half are followers.
func TestJournalDeliveryAllocatesNothing(t *testing.T) {
	const many = 1000
	allocs := func(receivers int) float64 {
		ns := &Namespace{name: "/", hub: newHub(new(Counters))}
		var sockets []*Socket
		for i := range receivers {
			s := testSocket(ns, fmt.Sprint("sid", i))
			if i%2 == 0 {
				s.follows = &follower{next: 1}
			}
			ns.hub.add(s, []string{"ops"}, NewFrame(EngineMessage, "0"))
			sockets = append(sockets, s)
		}
		relay := &Relay{ns: ns, heads: [][]byte{[]byte(`"` + EventTelemetry + `"`)}}
		feed := &Feed{report: func(err error) { t.Error(err) }, relays: map[string]*Relay{"/": relay}}
		relay.opts.Feed = feed
		entries := []JournalEntry{{Room: "ops", Namespace: "/", Sid: "the sender's", Value: pathValue(t)}}
		into := make([]*Frame, 0, 16)
		deliver := func() {
			entries[0].Offset++
			feed.deliver(entries)
			for i, s := range sockets {
				if into = s.outbox.Take(1<<20, into[:0]); len(into) == 0 {
					t.Fatalf("receiver %d got nothing", i)
				}
			}
		}
		deliver()
		return testing.AllocsPerRun(100, deliver)
	}
	two, all := allocs(2), allocs(many)
	t.Logf("%v allocations an entry with 2 receivers, %v with %d", two, all, many)
	if all > two {
		t.Errorf("%v allocations a delivery", (all-two)/(many-2))
	}
}
