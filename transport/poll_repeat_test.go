package transport_test

import (
	"net/http"
	"testing"

	"tbmsock/transport"
)

// A browser repeats a poll by itself when its connection is reset. The response to the first try was lost, and the
// session continued without the packets in it.
func TestRepeatedPoll(t *testing.T) {
	for _, eio := range []string{"4", "3"} {
		for _, tc := range []struct {
			name   string
			stamps []string // of the polls; each is answered with an event
			ends   bool     // with the last one
		}{
			{"repeated", []string{"a", "b", "b"}, true},
			{"later", []string{"a", "b", "c"}, false},
			{"a constant of the client's own", []string{"x", "x", "x"}, false},
			{"no stamps", []string{"", "", ""}, false},
			{"the first of two", []string{"a", "b", "a"}, false},
		} {
			t.Run("Engine.IO "+eio+", "+tc.name, func(t *testing.T) {
				ends := make(chan transport.Reason, 1)
				srv, url := startServer(t, transport.ServerOptions{Engines: bothEngines,
					OnSessionClosed: func(_ *transport.Session, r transport.Reason, _ error) { ends <- r }})
				p := pollRaw(t, url, eio)
				for i, stamp := range tc.stamps {
					if err := srv.Of("/").Emit("n", i); err != nil {
						t.Fatal(err)
					}
					res, body := do(t, http.MethodGet, p.url+"&t="+stamp, "", nil)
					refused := tc.ends && i == len(tc.stamps)-1
					if want := map[bool]int{false: http.StatusOK, true: http.StatusBadRequest}[refused]; res.StatusCode != want {
						t.Fatalf("poll %d is answered %d %s, want %d", i, res.StatusCode, body, want)
					}
				}
				if tc.ends {
					if r := receive(t, ends); r != transport.ReasonTransportError {
						t.Errorf("the session ended for %v", r)
					}
				} else if len(ends) > 0 {
					t.Error("the session has ended")
				}
			})
		}
	}
}
