package transport_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"tbmsock/transport"
)

func do(t *testing.T, method, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func get(t *testing.T, url string, header http.Header) (int, string) {
	t.Helper()
	res, body := do(t, http.MethodGet, url, "", header)
	return res.StatusCode, body
}

func TestHTTPErrors(t *testing.T) {
	srv, url := startServer(t, transport.ServerOptions{})
	for _, tc := range []struct {
		name, method, query string
		status              int
		body                string
	}{
		{"no EIO", "GET", "transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"EIO of the future", "GET", "EIO=5&transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
		{"unknown transport", "GET", "EIO=4&transport=pigeon", 400, `{"code":0,"message":"Transport unknown"}`},
		{"no transport", "GET", "EIO=4", 400, `{"code":0,"message":"Transport unknown"}`},
		{"unknown sid", "GET", "EIO=4&transport=polling&sid=nobody", 400, `{"code":1,"message":"Session ID unknown"}`},
		{"handshake by POST", "POST", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
		{"websocket without an upgrade", "GET", "EIO=4&transport=websocket", 400, `{"code":3,"message":"Bad request"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := srv.Counters().Refused.Load()
			res, body := do(t, tc.method, url+"/socket.io/?"+tc.query, "", nil)
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("got %d %s", res.StatusCode, body)
			}
			if ct := res.Header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("content type %q", ct)
			}
			if srv.Counters().Refused.Load() != before+1 {
				t.Error("not counted")
			}
		})
	}
	t.Run("another path", func(t *testing.T) {
		if status, _ := get(t, url+"/elsewhere", nil); status != 404 {
			t.Errorf("status %d", status)
		}
	})
}

func TestCORS(t *testing.T) {
	for _, tc := range []struct {
		name    string
		origins []string
		origin  string
		ok      bool
	}{
		{"no origin: no browser", nil, "", true},
		{"localhost at any port, by default", nil, "http://localhost:4200", true},
		{"127.0.0.1 at any port, by default", nil, "http://127.0.0.1:4200", true},
		{"::1, by default", nil, "http://[::1]:4200", true},
		{"elsewhere, by default", nil, "http://evil.example", false},
		{"a name that looks like localhost", nil, "http://localhost.evil.example", false},
		{"a sandboxed page", nil, "null", false},
		{"named", []string{"http://ops.example:4200"}, "http://ops.example:4200", true},
		{"named in other letters", []string{"http://Ops.Example:4200"}, "http://ops.example:4200", true},
		{"named at another port", []string{"http://ops.example:4200"}, "http://ops.example:80", false},
		{"named with another scheme", []string{"http://ops.example"}, "https://ops.example", false},
		{"named at any port", []string{"http://ops.example:*"}, "http://ops.example:81", true},
		{"localhost when others are named", []string{"http://ops.example"}, "http://localhost:4200", false},
		{"everyone", []string{"*"}, "http://evil.example", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, url := startServer(t, transport.ServerOptions{Origins: tc.origins})
			header := http.Header{}
			if tc.origin != "" {
				header.Set("Origin", tc.origin)
			}
			res, body := do(t, "GET", url+"/socket.io/?EIO=4&transport=polling", "", header)
			if tc.ok != (res.StatusCode == http.StatusOK) {
				t.Fatalf("status %d: %s", res.StatusCode, body)
			}
			allowed := res.Header.Get("Access-Control-Allow-Origin")
			if tc.ok && allowed != tc.origin || !tc.ok && allowed != "" {
				t.Errorf("Access-Control-Allow-Origin is %q", allowed)
			}
		})
	}
	t.Run("the server's own origin", func(t *testing.T) {
		_, url := startServer(t, transport.ServerOptions{Origins: []string{"http://ops.example"}})
		if status, _ := get(t, url+"/socket.io/?EIO=4&transport=polling", http.Header{"Origin": {url}}); status != 200 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("preflight", func(t *testing.T) {
		_, url := startServer(t, transport.ServerOptions{})
		res, _ := do(t, "OPTIONS", url+"/socket.io/?EIO=4&transport=polling", "", http.Header{
			"Origin":                         {"http://localhost:4200"},
			"Access-Control-Request-Method":  {"POST"},
			"Access-Control-Request-Headers": {"content-type,x-token"},
		})
		h := res.Header
		if res.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != "http://localhost:4200" ||
			h.Get("Access-Control-Allow-Headers") != "content-type,x-token" ||
			!strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") || h.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("got %d %v", res.StatusCode, h)
		}
	})
}

func TestServerOptionErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts transport.ServerOptions
	}{
		{"no engine", transport.ServerOptions{}},
		{"relative path", transport.ServerOptions{Path: "socket.io"}},
		{"origin without a scheme", transport.ServerOptions{Origins: []string{"ops.example"}}},
		{"origin with a path", transport.ServerOptions{Origins: []string{"http://ops.example/app"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := transport.NewServer(tc.opts); err == nil {
				t.Error("no error")
			}
		})
	}
}
