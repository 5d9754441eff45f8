package transport_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"tbmsock/internal/testproxy"
	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// routes are the ways to a server, and the transport that a client has in the end.
var routes = []struct {
	name       string
	transports []string
	last       string
}{
	{"polling", []string{"polling"}, "polling"},
	{"websocket", []string{"websocket"}, "websocket"},
	{"upgrade", nil, "websocket"},
}

// front is an HTTP server that keeps the requests that it gets.
type front struct {
	url *url.URL

	mu   sync.Mutex
	seen []*http.Request
}

func newFront(t *testing.T, h http.Handler) *front {
	t.Helper()
	f := &front{}
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Clone(context.Background()))
		f.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(hs.Close)
	f.url, _ = url.Parse(hs.URL)
	return f
}

func (f *front) requests() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*http.Request(nil), f.seen...)
}

// by is the front's address with credentials and a query.
func (f *front) by(user *url.Userinfo, query string) string {
	u := *f.url
	u.User, u.RawQuery = user, query
	return u.String()
}

// arrive connects a client and exchanges an event and its acknowledgement, over the last transport of the route. It
// returns the error of the first attempt that failed.
func arrive(t *testing.T, opts transport.ClientOptions, last string) error {
	t.Helper()
	failed, connected := make(chan error, 1000), make(chan transport.Conn, 1000)
	opts.Dialers = []transport.Dialer{engine4.Dialer{}}
	opts.OnRetry = func(err error, _ time.Duration) { failed <- err }
	opts.OnConnect = func(_ string, c transport.Conn) { connected <- c }
	c := startClient(t, opts, nil)
	var conn transport.Conn
	select {
	case conn = <-connected:
	case err := <-failed:
		return err
	case <-time.After(patience):
		t.Fatal("neither connected nor refused")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for conn.Transport() != last {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the transport stays %s", conn.Transport())
		}
	}
	if _, err := c.EmitAck(ctx, "rooms"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func relayServer(t *testing.T) *transport.Server {
	t.Helper()
	srv, _ := startServer(t, transport.ServerOptions{})
	if _, err := transport.NewRelay(srv.Of("/"), transport.RelayOptions{}); err != nil {
		t.Fatal(err)
	}
	return srv
}

// Credentials in the URL were once sent by polling alone.
func TestClientCredentials(t *testing.T) {
	for _, route := range routes {
		t.Run(route.name, func(t *testing.T) {
			f := newFront(t, relayServer(t))
			address := f.by(url.UserPassword("tbm", "p@ss:word"), "token=a%26b&token=c")
			if err := arrive(t, transport.ClientOptions{URL: address, Transports: route.transports}, route.last); err != nil {
				t.Fatal(err)
			}
			for _, r := range f.requests() {
				if user, password, _ := r.BasicAuth(); user != "tbm" || password != "p@ss:word" {
					t.Errorf("%s %s came from %q", r.Method, r.URL, r.Header["Authorization"])
				}
				if got := r.URL.Query()["token"]; len(got) != 2 || got[0] != "a&b" || got[1] != "c" {
					t.Errorf("%s %s: token is %q", r.Method, r.URL, got)
				}
			}
		})
	}
	t.Run("a header of the program's own goes before", func(t *testing.T) {
		f := newFront(t, relayServer(t))
		opts := transport.ClientOptions{URL: f.by(url.User("tbm"), ""), Header: http.Header{"Authorization": {"Bearer x"}}}
		if err := arrive(t, opts, "websocket"); err != nil {
			t.Fatal(err)
		}
		for _, r := range f.requests() {
			if got := r.Header.Get("Authorization"); got != "Bearer x" {
				t.Errorf("%s %s: %q", r.Method, r.URL, got)
			}
		}
	})
}

// Redirects were once followed by polling alone. What is secret must not reach the other host.
func TestClientRedirect(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, route := range routes {
			t.Run(http.StatusText(code)+" "+route.name, func(t *testing.T) {
				to := newFront(t, relayServer(t))
				from := newFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, to.url.String()+r.URL.RequestURI(), code)
				}))
				address := from.by(url.UserPassword("tbm", "secret"), "token=x")
				opts := transport.ClientOptions{URL: address, Transports: route.transports, Header: http.Header{"Cookie": {"a=b"}, "X-Site": {"7"}}}
				if err := arrive(t, opts, route.last); err != nil {
					t.Fatal(err)
				}
				// The session stays where its handshake was answered.
				if seen := from.requests(); len(seen) != 1 || seen[0].Header.Get("Authorization") == "" {
					t.Errorf("%d requests where it began, the first with %v", len(seen), seen[0].Header)
				}
				for _, r := range to.requests() {
					if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("X-Site") != "7" || r.URL.Query().Get("token") != "x" {
						t.Errorf("%s %s came with %v", r.Method, r.URL, r.Header)
					}
				}
			})
		}
	}
	// A path that has moved on the same server: the credentials go with it.
	for _, route := range routes {
		t.Run("same server "+route.name, func(t *testing.T) {
			srv := relayServer(t)
			f := newFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if path, ok := strings.CutPrefix(r.URL.Path, "/old"); ok {
					r.URL.Path = path
					http.Redirect(w, r, r.URL.RequestURI(), http.StatusPermanentRedirect)
					return
				}
				srv.ServeHTTP(w, r)
			}))
			if err := arrive(t, transport.ClientOptions{URL: f.by(url.UserPassword("tbm", "secret"), ""), Path: "/old/socket.io/", Transports: route.transports}, route.last); err != nil {
				t.Fatal(err)
			}
			for _, r := range f.requests() {
				if _, password, _ := r.BasicAuth(); password != "secret" {
					t.Errorf("%s %s came with %v", r.Method, r.URL, r.Header)
				}
			}
		})
	}
	// A POST is made again as a POST, or not at all.
	for code, ok := range map[int]bool{302: false, 303: false, 307: true, 308: true} {
		t.Run("of a POST "+http.StatusText(code), func(t *testing.T) {
			srv := relayServer(t)
			to := newFront(t, srv)
			from := newFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					http.Redirect(w, r, to.url.String()+r.URL.RequestURI(), code)
					return
				}
				srv.ServeHTTP(w, r)
			}))
			err := arrive(t, transport.ClientOptions{URL: from.url.String(), Transports: []string{"polling"}}, "polling")
			if (err == nil) != ok {
				t.Errorf("error is %v", err)
			}
		})
	}
	for _, route := range routes {
		t.Run("for ever "+route.name, func(t *testing.T) {
			f := newFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.RequestURI(), 307) }))
			opts := transport.ClientOptions{URL: f.by(url.UserPassword("tbm", "secret"), ""), Transports: route.transports,
				Backoff: transport.Backoff{Min: time.Minute, Max: time.Minute}}
			err := arrive(t, opts, route.last)
			if err == nil || !strings.Contains(err.Error(), "more than 10 redirects") || strings.Contains(err.Error(), "secret") {
				t.Errorf("error is %v", err)
			}
			if n := len(f.requests()); n != 11 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// Proxies were once asked by polling alone. The host exists for the proxy only.
func TestClientProxy(t *testing.T) {
	user := url.UserPassword("site", "p@ss:word")
	for _, kind := range []struct {
		name  string
		start func(testing.TB, string, *url.Userinfo) *testproxy.Proxy
		user  *url.Userinfo
	}{
		{"HTTP", testproxy.HTTP, nil},
		{"HTTP with a password", testproxy.HTTP, user},
		{"SOCKS 5", testproxy.SOCKS, nil},
		{"SOCKS 5 with a password", testproxy.SOCKS, user},
	} {
		for _, route := range routes {
			t.Run(kind.name+" "+route.name, func(t *testing.T) {
				f := newFront(t, relayServer(t))
				p := kind.start(t, f.url.Host, kind.user)
				opts := transport.ClientOptions{URL: "http://tbm:secret@tbm.invalid:8080", Transports: route.transports, Proxy: always(p.URL)}
				if err := arrive(t, opts, route.last); err != nil {
					t.Fatal(err)
				}
				seen := strings.Join(p.Seen(), " ")
				if !strings.Contains(seen, "tbm.invalid:8080") {
					t.Errorf("the proxy saw %s", seen)
				}
				for _, r := range f.requests() {
					if _, password, _ := r.BasicAuth(); password != "secret" || r.Header.Get("Proxy-Authorization") != "" || r.Host != "tbm.invalid:8080" {
						t.Errorf("%s %s for %s came with %v", r.Method, r.URL, r.Host, r.Header)
					}
				}
			})
		}
		if kind.user == nil {
			continue
		}
		for _, route := range routes[:2] {
			t.Run(kind.name+" that is wrong "+route.name, func(t *testing.T) {
				p := kind.start(t, "127.0.0.1:1", kind.user)
				wrong := *p.URL
				wrong.User = url.UserPassword("site", "wrong-secret")
				opts := transport.ClientOptions{URL: "http://tbm:secret@tbm.invalid:8080", Transports: route.transports, Proxy: always(&wrong)}
				err := arrive(t, opts, route.last)
				if err == nil || strings.Contains(err.Error(), "secret") {
					t.Errorf("error is %v", err)
				}
			})
		}
	}
}

// always is a proxy for every URL.
func always(proxy *url.URL) func(*url.URL) (*url.URL, error) {
	return func(*url.URL) (*url.URL, error) { return proxy, nil }
}
