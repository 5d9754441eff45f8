package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/journal"
	"tbmsock/transport/wire"
)

// stock is a client that declares nothing, or what the query says, and speaks the protocol by hand.
type stock struct {
	t *testing.T
	*wire.Socket
}

func (r *relay) stock(query, auth string) *stock {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := wire.Dial(ctx, "ws"+strings.TrimPrefix(r.url, "http")+"/socket.io/?EIO=4&transport=websocket"+query, nil, 16<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Close(transport.ReasonTransportClose) })
	c := &stock{r.t, s}
	c.next() // the handshake
	c.send("40" + auth)
	if got := c.next(); !strings.HasPrefix(got, "40{") {
		r.t.Fatalf("CONNECT answered %s", got)
	}
	return c
}

func (c *stock) send(text string) {
	c.t.Helper()
	if err := c.WriteMessage(false, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// next is the next text message. Attachments are counted into it.
func (c *stock) next() string {
	c.t.Helper()
	for attachments, text := 0, ""; ; {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			c.t.Fatal(err)
		}
		binary, data, err := c.Read()
		switch {
		case err != nil:
			c.t.Fatal(err)
		case string(data) == "2":
			c.send("3")
			continue
		case strings.HasPrefix(string(data), `42["caught_up"`):
			continue
		case binary:
			if attachments--; attachments > 0 {
				continue
			}
			return text
		}
		if n, _ := fmt.Sscanf(string(data), "45%d-", &attachments); n == 0 || attachments == 0 {
			return string(data)
		}
		text = string(data)
	}
}

func (c *stock) want(prefix string) {
	c.t.Helper()
	if got := c.next(); !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("got %.300s\nwant %s…", got, prefix)
	}
}

// many is a value with n attachments.
func many(n int) transport.Value {
	parts := make([]string, n)
	v := transport.Value{}
	for i := range parts {
		parts[i] = fmt.Sprintf(`{"_placeholder":true,"num":%d}`, i)
		v.Attachments = append(v.Attachments, []byte{byte(i)})
	}
	v.JSON = json.RawMessage("[" + strings.Join(parts, ",") + "]")
	return v
}

// A journal may hold entries that the relay would refuse today. A follower with offsets gets a note in their place,
// others nothing; who has declared that it takes many attachments gets them. All of them get what comes behind.
func TestEntriesThatAreNotSafe(t *testing.T) {
	r := startRelay(t, journal.Options{}, 0)
	entries := []transport.Value{
		{JSON: json.RawMessage(`"a"`)},
		{JSON: json.RawMessage(`{"b":{"_placeholder":true,"num":0},"x":{"_placeholder":1,"num":99}}`), Attachments: [][]byte{{1}}},
		many(11),
		many(10),
		{JSON: json.RawMessage(`"z"`)},
	}
	appendAll := func() {
		t.Helper()
		done := make(chan error, len(entries))
		for _, v := range entries {
			r.j.Append(context.Background(), transport.JournalEntry{Namespace: "/", Value: v},
				func(_ uint64, _ bool, err error) { done <- err })
		}
		for range entries {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	plain := r.stock("", "")
	appendAndDeliver := func() {
		t.Helper()
		appendAll()
		for _, want := range []string{`42["log_telemetry","a"]`, `4510-["log_telemetry",`, `42["log_telemetry","z"]`} {
			plain.want(want)
		}
	}
	appendAndDeliver()
	const join = `421["join",{"since":{"offset":1},"offsets":true}]`
	follower, byQuery, byAuth, little := r.stock("", ""), r.stock("&attachments=11", ""), r.stock("", `{"attachments":256}`), r.stock("&attachments=x", "")
	followers := []*stock{follower, byQuery, byAuth, little}
	for _, c := range followers {
		c.send(join)
		c.want(`431[{"ok":true,"offset":1`)
	}
	own := make(chan string, 20)
	r.client(transport.ClientOptions{}, func(c *transport.Client) {
		from := func(transport.JournalStatus) transport.Since { return transport.Since{Offset: 1} }
		if err := c.Follow(transport.FollowOptions{From: from}); err != nil {
			t.Fatal(err)
		}
		c.On(transport.EventTelemetry, func(_ context.Context, ev *transport.Event) {
			offset, _, _ := transport.OffsetOf(ev)
			own <- fmt.Sprint(offset, " ", len(ev.Args[0].Attachments))
		})
		c.On(transport.EventSkipped, func(_ context.Context, ev *transport.Event) {
			var n struct{ Offset uint64 }
			_ = ev.Args.Decode(&n)
			own <- fmt.Sprint(n.Offset, " skipped")
		})
	})
	for first, live := 1, 0; live < len(followers); first += len(entries) {
		if first > 1 {
			appendAndDeliver()
		}
		live = 0
		for _, c := range followers {
			replayed := true
			want := func(format string, n int, args ...any) {
				t.Helper()
				got := c.next()
				replayed = strings.Contains(got, `"replayed":true`)
				note := fmt.Sprintf(`"offset":%d,"replayed":%v`, first+n, replayed)
				if want := fmt.Sprintf(format, append(args, note)...); !strings.HasPrefix(got, want) {
					t.Fatalf("got %.300s\nwant %s…", got, want)
				}
			}
			want(`42["log_telemetry","a",{%s}]`, 0)
			want(`42["skipped",{%[2]s,"error":{"code":"%[1]s","message":"`, 1, "bad_arguments")
			if c == follower || c == little {
				want(`42["skipped",{%[2]s,"error":{"code":"%[1]s","message":"`, 2, "too_many_attachments")
			} else {
				want(`4511-["log_telemetry",%s,{%s}]`, 2, entries[2].JSON)
			}
			want(`4510-["log_telemetry",%s,{%s}]`, 3, entries[3].JSON)
			want(`42["log_telemetry","z",{%s}]`, 4)
			if !replayed {
				live++ // it comes from the delivery to those who are live
			}
		}
		for i, what := range []string{"0", "skipped", "11", "10", "0"} {
			select {
			case got := <-own:
				if want := fmt.Sprint(first+i, " ", what); got != want {
					t.Errorf("our client got %s, want %s", got, want)
				}
			case <-time.After(patience):
				t.Fatalf("our client got %d of 5", i)
			}
		}
	}
}
