package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/journal"
)

// fillRoom is what the packets are for: of all clients only the joiners are in it.
const fillRoom = "replay"

// fill makes sure that the journal holds the packets, from offset 1.
func fill(ctx context.Context, o options) error {
	state, err := holds(ctx, o)
	if err == nil && state.First == 1 && state.Last >= o.packets {
		return nil
	}
	if state.Last > 0 {
		return fmt.Errorf("%s holds offsets %d to %d: name another directory, or remove it", o.dir, state.First, state.Last)
	}
	began := time.Now()
	j, err := journal.Open(ctx, journal.Options{Dir: o.dir, SyncInterval: time.Second, RetainAge: 365 * 24 * time.Hour})
	if err != nil {
		return err
	}
	inFlight := 4096
	if o.perBlock > 0 {
		inFlight = o.perBlock
	}
	slots := make(chan struct{}, inFlight)
	var mu sync.Mutex
	var failed error
	value := append(bytes.Repeat([]byte(`"c00":1234.56,`), 14), `"pad":""}}`...)
	for seq := uint64(1); seq <= o.packets && ctx.Err() == nil; seq++ {
		if o.perBlock > 0 && len(slots) == cap(slots) { // all of a block, before the next
			for range o.perBlock {
				slots <- struct{}{}
			}
			for range o.perBlock {
				<-slots
			}
		}
		slots <- struct{}{}
		now := time.Now().UTC()
		e := transport.JournalEntry{Source: "fill", Boot: "boot-of-the-fill", Seq: seq, Time: now, Room: fillRoom, Namespace: "/", Sid: "nobody"}
		e.Value.JSON = append(fmt.Appendf(nil, `{"source":"fill","boot":"boot-of-the-fill","seq":%d,"time":%q,"room":%q,"packet":{`, seq, now.Format(time.RFC3339Nano), fillRoom), value...)
		j.Append(ctx, e, func(_ uint64, _ bool, err error) {
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
			<-slots
		})
	}
	for range inFlight {
		slots <- struct{}{}
	}
	if err := j.Close(ctx); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	fmt.Fprintf(os.Stderr, "%d packets written to %s in %v\n", o.packets, o.dir, time.Since(began).Round(time.Millisecond))
	return ctx.Err()
}

// holds tells what is there.
func holds(ctx context.Context, o options) (transport.JournalState, error) {
	j, err := journal.OpenReader(ctx, journal.Options{Dir: o.dir})
	if err != nil {
		return transport.JournalState{}, err
	}
	state, err := j.State(ctx)
	if closing := j.Close(ctx); err == nil {
		err = closing
	}
	return state, err
}
