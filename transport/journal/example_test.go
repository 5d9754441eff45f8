package journal_test

import (
	"context"
	"errors"
	"fmt"

	"tbmsock/transport"
	"tbmsock/transport/journal"
)

// A relay appends what publishers send, acknowledges when it is stored, and delivers from the tail.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	j, err := journal.Open(ctx, journal.Options{Memory: true}) // or Dir, or URL
	if err != nil {
		fmt.Println(err)
		return
	}

	delivered := make(chan error)
	go func() {
		// On a server that starts again: from the offset behind the last one that was delivered.
		delivered <- j.Tail(ctx, 1, func(entries []transport.JournalEntry) error {
			for _, e := range entries {
				fmt.Printf("deliver %d: %s seq %d to all but %s\n", e.Offset, e.Source, e.Seq, e.Sid)
			}
			cancel() // one is enough here
			return nil
		})
	}()

	acknowledged := make(chan string)
	j.Append(ctx, transport.JournalEntry{
		Source: "tbm-1", Boot: "JQphs2CV", Seq: 1,
		Namespace: "/", Sid: "iAG77HJL",
		Value: transport.Value{JSON: []byte(`{"source":"tbm-1","boot":"JQphs2CV","seq":1,"packet":{}}`)},
	}, func(offset uint64, duplicate bool, err error) {
		acknowledged <- fmt.Sprintf("{ok: %t, offset: %d}", err == nil, offset)
	})
	ack := <-acknowledged
	if err := <-delivered; !errors.Is(err, context.Canceled) {
		fmt.Println(err)
	}
	fmt.Println("acknowledge", ack)

	if err := j.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// deliver 1: tbm-1 seq 1 to all but iAG77HJL
	// acknowledge {ok: true, offset: 1}
}
