package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/journal"
)

// poller is a client that polls when the test says so: all else waits in its queue.
type poller struct {
	t   *testing.T
	url string
}

func dialPoller(t *testing.T, url, query string) *poller {
	t.Helper()
	p := &poller{t, url + "/socket.io/?EIO=4&transport=polling&" + query}
	var open struct{ Sid string }
	if err := json.Unmarshal([]byte(p.poll()[0][1:]), &open); err != nil {
		t.Fatal(err)
	}
	p.url += "&sid=" + open.Sid
	t.Cleanup(func() { p.post("1") }) // the server would wait for it
	return p
}

func (p *poller) do(method, body string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %d %s, %v", method, resp.StatusCode, text, err)
	}
	return string(text)
}

func (p *poller) post(packet string) {
	p.t.Helper()
	p.do(http.MethodPost, packet)
}

func (p *poller) poll() []string {
	p.t.Helper()
	return strings.Split(p.do(http.MethodGet, ""), "\x1e")
}

// A follower without offsets lost events when others of the same connection, of a program or of another namespace, filled
// its queue: its events were the oldest that could be dropped.
func TestOtherEventsDropNoneOfAFollower(t *testing.T) {
	for _, offsets := range []bool{false, true} {
		for _, live := range []bool{false, true} {
			t.Run(fmt.Sprintf("offsets %t, live %t", offsets, live), func(t *testing.T) {
				r := startRelay(t, journal.Options{}, 32<<10)
				pub := r.client(transport.ClientOptions{}, nil)
				const packets = 20
				publish := func() {
					for seq := 1; seq <= packets; seq++ {
						if a := r.ask(pub, transport.EventTelemetry, packetOf(seq, "")); !a.OK {
							t.Fatalf("seq %d: %+v", seq, a)
						}
					}
				}
				if !live {
					publish()
				}
				p := dialPoller(t, r.url, "follow=1")
				p.post("40")
				p.post(fmt.Sprintf(`421["join",{"since":{"offset":1},"offsets":%t}]`, offsets))
				var got []string
				await := func(text string) {
					t.Helper()
					for end := time.Now().Add(time.Minute); !strings.Contains(strings.Join(got, "\n"), text); {
						if time.Now().After(end) {
							t.Fatalf("%s does not come", text)
						}
						for _, packet := range p.poll() {
							if got = append(got, packet); packet == "2" {
								p.post("3")
							}
						}
					}
				}
				switch {
				case !live:
				case offsets:
					await("caught_up")
				default: // nothing tells it that it is live; the next offset does not either
					await(`431[{"ok":true`)
					time.Sleep(50 * time.Millisecond) // whether it is live or catches up, nothing may be dropped
				}
				if live {
					publish()
				}
				note := strings.Repeat("x", 1000)
				for range 100 {
					if err := r.server.Of("/").Emit("note", note); err != nil {
						t.Fatal(err)
					}
				}
				if err := r.server.Of("/").Emit("note", "the last"); err != nil {
					t.Fatal(err)
				}
				await("the last")
				await(fmt.Sprintf(`"packet":{"seq":%d}`, packets))
				for seq := 1; seq <= packets; seq++ {
					if n := strings.Count(strings.Join(got, "\n"), fmt.Sprintf(`"packet":{"seq":%d}`, seq)); n != 1 {
						t.Errorf("seq %d has come %d times", seq, n)
					}
				}
				if !strings.Contains(strings.Join(got, "\n"), `["dropped",{"count":`) {
					t.Error("all has fitted in the queue")
				}
			})
		}
	}
}
