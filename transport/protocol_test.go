package transport_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
	"tbmsock/transport/wire"
)

// echo sends each message back, as the server of the protocol's test suites does.
type echo struct {
	outbox *transport.Outbox
	closed chan transport.Reason // capacity 1
}

func (e *echo) Outbox() *transport.Outbox               { return e.outbox }
func (e *echo) Opened()                                 {}
func (e *echo) Closing(transport.Reason, error)         {}
func (e *echo) Closed(reason transport.Reason, _ error) { e.outbox.Close(); e.closed <- reason }

func (e *echo) Receive(m transport.Message) error {
	f := transport.NewBinaryFrame(m.Data)
	if !m.Binary {
		f = transport.NewFrame(transport.EngineMessage, string(m.Data))
	}
	e.outbox.Push(f)
	return nil
}

// echoServer serves one revision of Engine.IO without Socket.IO above it.
type echoServer struct {
	t        *testing.T
	revision int
	url      string
	peers    chan *echo // of sessions, in the order of their handshakes
}

func startEcho(t *testing.T, revision int, opts transport.EngineOptions) *echoServer {
	t.Helper()
	s := &echoServer{t: t, revision: revision, peers: make(chan *echo, 100)}
	newEngine := engine4.New
	if revision == 3 {
		newEngine = engine3.New
	}
	opts.DrainTimeout = 100 * time.Millisecond
	e := newEngine(opts, func(transport.Conn) (transport.Peer, error) {
		p := &echo{transport.NewOutbox(1<<20, transport.DropOldest, nil), make(chan transport.Reason, 1)}
		s.peers <- p
		return p, nil
	})
	hs := httptest.NewServer(e)
	s.url = hs.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Shutdown(ctx, transport.ReasonServerShutdown); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		hs.Close()
	})
	return s
}

// in returns s for a subtest, which fails in its stead.
func (s *echoServer) in(t *testing.T) *echoServer {
	c := *s
	c.t = t
	return &c
}

// payload encodes packets of ASCII text.
func (s *echoServer) payload(packets ...string) string {
	if s.revision == 4 {
		return strings.Join(packets, "\x1e")
	}
	out := ""
	for _, p := range packets {
		out += fmt.Sprintf("%d:%s", len(p), p)
	}
	return out
}

// open makes a session that polls and returns the URL of its requests.
func (s *echoServer) open(query string) string {
	s.t.Helper()
	base := fmt.Sprintf("%s/?EIO=%d&transport=polling", s.url, s.revision)
	status, body := get(s.t, base+query, nil)
	_, rest, ok := strings.Cut(body, `"sid":"`)
	if status != http.StatusOK || !ok {
		s.t.Fatalf("handshake answered %d %q", status, body)
	}
	sid, _, _ := strings.Cut(rest, `"`)
	return base + "&sid=" + sid
}

func (s *echoServer) socket(pollURL string) *wire.Socket {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := wire.Dial(ctx, "ws"+strings.Replace(strings.TrimPrefix(pollURL, "http"), "polling", "websocket", 1), nil, 1<<20)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close(transport.ReasonTransportClose) })
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func (s *echoServer) post(url string, packets ...string) (int, string) {
	s.t.Helper()
	res, body := do(s.t, http.MethodPost, url, s.payload(packets...), nil)
	return res.StatusCode, strings.TrimSpace(body)
}

func (s *echoServer) wantGet(url string, packets ...string) {
	s.t.Helper()
	if status, body := get(s.t, url, nil); status != http.StatusOK || body != s.payload(packets...) {
		s.t.Errorf("GET answered %d %q, want %q", status, body, s.payload(packets...))
	}
}

// wantOver checks that the session takes no request more.
func (s *echoServer) wantOver(url string) {
	s.t.Helper()
	if status, body := get(s.t, url, nil); status != http.StatusBadRequest {
		s.t.Errorf("GET after the end answered %d %q", status, body)
	}
}

func wantMessage(t *testing.T, c *wire.Socket, want string) {
	t.Helper()
	if _, data, err := c.Read(); err != nil || string(data) != want {
		t.Fatalf("got %q, %v; want %q", data, err, want)
	}
}

func send(t *testing.T, c *wire.Socket, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := c.WriteMessage(false, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
}

// The cases are those of the Engine.IO protocol's text, "Transports" and "Protocol", which its test suites hold too.
func TestEngineProtocol(t *testing.T) {
	for _, revision := range []int{3, 4} {
		t.Run(fmt.Sprint("revision ", revision), func(t *testing.T) {
			s := startEcho(t, revision, transport.EngineOptions{})
			t.Run("messages by polling", func(t *testing.T) {
				s := s.in(t)
				url := s.open("&b64=1")
				binary := "bAQIDBA=="
				if revision == 3 {
					binary = "b4AQIDBA=="
				}
				if status, body := s.post(url, "4test1", "4test2", binary); status != http.StatusOK || body != "ok" {
					t.Errorf("POST answered %d %s", status, body)
				}
				s.wantGet(url, "4test1", "4test2", binary)
			})
			t.Run("an invalid packet ends the session", func(t *testing.T) {
				s := s.in(t)
				url := s.open("")
				if res, body := do(t, http.MethodPost, url, "abc", nil); res.StatusCode != http.StatusBadRequest {
					t.Errorf("POST answered %d %s", res.StatusCode, body)
				}
				s.wantOver(url)
			})
			t.Run("two GETs at once: the first is told that the session ends", func(t *testing.T) {
				s := s.in(t)
				url := s.open("")
				var mu sync.Mutex
				var answers []string
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(func() {
						status, body := get(t, url, nil)
						mu.Lock()
						defer mu.Unlock()
						if status != http.StatusOK {
							body = ""
						}
						answers = append(answers, fmt.Sprint(status, " ", body))
					})
				}
				wg.Wait()
				slices.Sort(answers)
				if want := []string{"200 " + s.payload("1"), "400 "}; !slices.Equal(answers, want) {
					t.Errorf("the answers are %q, want %q", answers, want)
				}
				s.wantOver(url)
			})
			t.Run("a close packet by POST while a GET waits", func(t *testing.T) {
				s := s.in(t)
				for range 20 {
					url := s.open("")
					peer := last(s.peers)
					var wg sync.WaitGroup
					wg.Go(func() { s.wantGet(url, "6") })
					if status, body := s.post(url, "1"); status != http.StatusOK || body != "ok" {
						t.Errorf("POST answered %d %s", status, body)
					}
					wg.Wait()
					s.wantOver(url)
					if reason := receive(t, peer.closed); reason != transport.ReasonTransportClose {
						t.Errorf("the session ended for %q", reason)
					}
				}
			})
			t.Run("messages before a close packet are taken, those behind it are not", func(t *testing.T) {
				s := s.in(t)
				url := s.open("")
				if status, _ := s.post(url, "4a", "1", "0"); status != http.StatusOK {
					t.Errorf("POST answered %d", status)
				}
				s.wantGet(url, "6")
				s.wantOver(url)
			})
			t.Run("a close packet over a WebSocket", func(t *testing.T) {
				s := s.in(t)
				c := s.socket(fmt.Sprintf("%s/?EIO=%d&transport=polling", s.url, revision))
				if _, _, err := c.Read(); err != nil {
					t.Fatal(err)
				}
				send(t, c, "1")
				if _, data, err := c.Read(); err == nil {
					t.Errorf("got %q, want the end", data)
				}
			})
			t.Run("a second WebSocket is closed", func(t *testing.T) {
				s := s.in(t)
				url := s.open("")
				c := s.socket(url)
				send(t, c, "2probe")
				wantMessage(t, c, "3probe")
				during := s.socket(url) // answered 101
				if _, data, err := during.Read(); err == nil {
					t.Errorf("during the upgrade it got %q, want the end", data)
				}
				send(t, c, "5", "4a")
				wantMessage(t, c, "4a")
				after := s.socket(url)
				if _, data, err := after.Read(); err == nil {
					t.Errorf("after the upgrade it got %q, want the end", data)
				}
				send(t, c, "4b")
				wantMessage(t, c, "4b")
				s.wantOver(url)
			})
			for _, tc := range []struct {
				name    string
				packets []string
				probes  int // that are answered
			}{
				{"in order", []string{"2probe", "5"}, 1},
				{"with data in the upgrade packet", []string{"2probe", "5{}"}, 1},
				{"without a probe", []string{"5"}, 0},
				{"with two probes", []string{"2probe", "2probe", "5"}, 2},
				{"with a NOOP before the probe", []string{"6", "2probe", "5"}, 1},
				{"with a NOOP after the probe", []string{"2probe", "6", "5"}, 1},
				{"with a NOOP behind", []string{"2probe", "5", "6"}, 1},
				{"with a second upgrade packet", []string{"2probe", "5", "5"}, 1},
			} {
				t.Run("an upgrade "+tc.name, func(t *testing.T) {
					s := s.in(t)
					url := s.open("")
					if status, body := s.post(url, "4queued"); status != http.StatusOK {
						t.Fatalf("POST answered %d %s", status, body)
					}
					c := s.socket(url)
					send(t, c, tc.packets...)
					for range tc.probes {
						wantMessage(t, c, "3probe")
					}
					wantMessage(t, c, "4queued")
					send(t, c, "4hello")
					wantMessage(t, c, "4hello")
				})
			}
			t.Run("a poll is let go during an upgrade, and a NOOP by POST means nothing", func(t *testing.T) {
				s := s.in(t)
				url := s.open("")
				c := s.socket(url)
				send(t, c, "2probe")
				wantMessage(t, c, "3probe")
				if status, body := s.post(url, "6"); status != http.StatusOK || body != "ok" {
					t.Errorf("POST of a NOOP answered %d %s", status, body)
				}
				s.wantGet(url, "6")
				send(t, c, "5", "4hello")
				wantMessage(t, c, "4hello")
			})
			t.Run("an upgrade that fails leaves the session polling", func(t *testing.T) {
				s := s.in(t)
				url := s.open("")
				c := s.socket(url)
				send(t, c, "2probe", "4message")
				wantMessage(t, c, "3probe")
				if _, data, err := c.Read(); err == nil {
					t.Errorf("got %q, want the end", data)
				}
				if status, _ := s.post(url, "4still here"); status != http.StatusOK {
					t.Errorf("POST answered %d", status)
				}
				s.wantGet(url, "4still here")
			})
		})
	}
}

// last returns the newest element of a channel, which holds one or more.
func last(c chan *echo) *echo {
	p := <-c
	for len(c) > 0 {
		p = <-c
	}
	return p
}

// Engine.IO protocol, revision 3, "Payload": with the b64 parameter in the handshake binary goes as base64, without it
// the payload is binary. JSONP is text.
func TestBinaryPayloadsOfRevision3(t *testing.T) {
	s := startEcho(t, 3, transport.EngineOptions{})
	for _, tc := range []struct{ name, open, get, want, kind string }{
		{"binary", "", "", "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04\x00\x04\xff4\xe2\x82\xac", "application/octet-stream"},
		{"base64", "&b64=1", "", "6:4hello10:b4AQIDBA==2:4€", "text/plain; charset=UTF-8"},
		{"JSONP", "", "&j=3", `___eio[3]("6:4hello10:b4AQIDBA==2:4€");`, "text/javascript; charset=UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := s.in(t)
			url := s.open(tc.open)
			if res, body := do(t, http.MethodPost, url, "6:4hello10:b4AQIDBA==2:4€", nil); res.StatusCode != http.StatusOK {
				t.Fatalf("POST answered %d %s", res.StatusCode, body)
			}
			res, body := do(t, http.MethodGet, url+tc.get, "", nil)
			if body != tc.want || res.Header.Get("Content-Type") != tc.kind {
				t.Errorf("got %q as %s, want %q", body, res.Header.Get("Content-Type"), tc.want)
			}
		})
	}
	t.Run("long texts", func(t *testing.T) {
		s := s.in(t)
		url := s.open("")
		long := strings.Repeat("é", 700)
		if res, body := do(t, http.MethodPost, url, "701:4"+long+"6:b4AQI=", nil); res.StatusCode != http.StatusOK {
			t.Fatalf("POST answered %d %s", res.StatusCode, body)
		}
		if _, body := do(t, http.MethodGet, url, "", nil); body != "\x00\x01\x04\x00\x01\xff4"+long+"\x01\x03\xff\x04\x01\x02" {
			t.Errorf("got %.40q", body)
		}
	})
}

// A client that is put out, fetches the last messages and never polls again, as python-socketio and our own do, holds
// its session for a moment, not for the drain time. The close packet travels alone, behind all messages.
func TestKickedClientDoesNotComeBack(t *testing.T) {
	for _, revision := range []string{"3", "4"} {
		for _, comesBack := range []bool{false, true} {
			t.Run(fmt.Sprint(revision, " comes back ", comesBack), func(t *testing.T) {
				srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines, EngineOptions: transport.EngineOptions{DrainTimeout: time.Hour}})
				sids := make(chan string, 1)
				srv.Of("/").OnConnect(func(_ context.Context, so *transport.Socket, _ transport.Value) error {
					sids <- so.Sid()
					return nil
				})
				poll := url + "/socket.io/?EIO=" + revision + "&transport=polling&sid=" + openPolling(t, url, revision)
				if revision == "4" {
					do(t, http.MethodPost, poll, "40", nil)
				}
				sid := receive(t, sids)
				so := srv.Of("/").Socket(sid)
				for begun := time.Now(); so == nil; so = srv.Of("/").Socket(sid) { // known behind the call of its handlers
					if time.Since(begun) > patience {
						t.Fatal("the server does not know the socket")
					}
					time.Sleep(time.Millisecond)
				}
				if err := so.Emit("private", 1); err != nil {
					t.Fatal(err)
				}
				so.Disconnect()
				var got strings.Builder
				for !strings.HasSuffix(got.String(), "41") {
					status, body := get(t, poll, nil)
					if status != http.StatusOK {
						t.Fatalf("behind %q a poll was answered %d %s", &got, status, body)
					}
					got.WriteString(body)
				}
				if !strings.Contains(got.String(), `42["private",1]`) {
					t.Errorf("got %q", &got)
				}
				if comesBack {
					want := map[string]string{"3": "1:1", "4": "1"}[revision]
					if status, body := get(t, poll, nil); status != http.StatusOK || body != want {
						t.Errorf("the last poll was answered %d %q, want %q", status, body, want)
					}
				}
				for begun := time.Now(); srv.Counters().Sessions.Load() > 0; time.Sleep(10 * time.Millisecond) {
					if time.Since(begun) > patience {
						t.Fatal("the session goes on")
					}
				}
			})
		}
	}
}
