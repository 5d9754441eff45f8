package transport_test

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"tbmsock/transport"
)

// A connection keeps of its request what tells of the client, and none of what asked for the WebSocket.
func TestHandshakeKeeps(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=websocket&token=a%26b&token=c", nil)
	r.RemoteAddr = "192.0.2.1:1234"
	r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Key": {"x"}, "Sec-Websocket-Version": {"13"}}
	if h := transport.NewHandshake(r); h.Header != nil {
		t.Errorf("header is %v", h.Header)
	}
	r.Header.Set("User-Agent", "me")
	r.Header["Cookie"] = []string{"a=1", "b=2"}
	h := transport.NewHandshake(r)
	if want := (http.Header{"User-Agent": {"me"}, "Cookie": {"a=1", "b=2"}}); !reflect.DeepEqual(h.Header, want) {
		t.Errorf("header is %v, want %v", h.Header, want)
	}
	if q := h.Query(); q.Get("EIO") != "4" || !reflect.DeepEqual(q["token"], []string{"a&b", "c"}) {
		t.Errorf("query is %v", q)
	}
	if h.RemoteAddr != "192.0.2.1:1234" || h.Time.IsZero() {
		t.Errorf("%+v", h)
	}
}
