package transport_test

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// A client with several addresses goes on to the next when one fails, and round again.
func TestSeveralAddresses(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	_ = ln.Close()
	a, urlA := startServer(t, transport.ServerOptions{})
	b, urlB := startServer(t, transport.ServerOptions{})
	dialed := make(chan string, 100)
	connected := make(chan string, 10)
	var last atomic.Value
	startClient(t, transport.ClientOptions{URL: nobody, Others: []string{urlA, urlB}, ComeBack: true,
		Dialers:   []transport.Dialer{engine4.Dialer{}},
		Backoff:   transport.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond},
		OnDial:    func(url string) { last.Store(url); dialed <- url },
		OnConnect: func(string, transport.Conn) { connected <- last.Load().(string) }}, nil)
	for _, step := range []struct {
		srv *transport.Server // that puts the client out
		url string            // to which it comes
		by  string            // addresses that it tries
	}{
		{nil, urlA, nobody + " " + urlA},
		{a, urlB, urlB},
		{b, urlA, nobody + " " + urlA},
	} {
		if step.srv != nil {
			step.srv.Of("/").To().Disconnect()
		}
		if got := receive(t, connected); got != step.url {
			t.Errorf("connected to %s, want %s", got, step.url)
		}
		var by []string
		for len(dialed) > 0 {
			by = append(by, <-dialed)
		}
		if got := strings.Join(by, " "); got != step.by {
			t.Errorf("tried %s, want %s", got, step.by)
		}
	}
	if _, err := transport.NewClient(transport.ClientOptions{URL: urlA, Others: []string{"ftp://x"}, Dialers: []transport.Dialer{engine4.Dialer{}}}); err == nil {
		t.Error("an address that is none was taken")
	}
}
