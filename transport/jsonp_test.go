package transport_test

import (
	"net/http"
	"strings"
	"testing"

	"tbmsock/transport"
)

// TestJSONP: any page can load a script from any server that its browser reaches, and read what the script carries.
func TestJSONP(t *testing.T) {
	page := "http://old.example"
	for _, tc := range []struct {
		name   string
		allow  []string
		query  string // after EIO
		header http.Header
		ok     bool
		origin string // that is told of
	}{
		{"not enabled, no Referer", nil, "3&j=0", nil, false, ""},
		{"not enabled, a page", nil, "3&j=0", http.Header{"Referer": {page + "/x"}}, false, page},
		{"not enabled, a page of localhost", nil, "3&j=0", http.Header{"Referer": {"http://localhost:4200/"}}, false, "http://localhost:4200"},
		{"not enabled, an empty j", nil, "3&j=", http.Header{"Referer": {page + "/"}}, false, page},
		{"not enabled, no revision", nil, "&j=0", http.Header{"Referer": {page + "/"}}, false, page},
		{"not enabled, revision 2", nil, "2&j=0", http.Header{"Referer": {page + "/"}}, false, page},
		{"not enabled, an escaped j", nil, "3&%6a=0", http.Header{"Referer": {page + "/"}}, false, page},
		{"enabled, the page", []string{page}, "3&j=0", http.Header{"Referer": {page + "/dir/x?y"}}, true, ""},
		{"enabled, the page in capitals", []string{page}, "3&j=0", http.Header{"Referer": {"HTTP://OLD.example/"}}, true, ""},
		{"enabled, any port", []string{page + ":*"}, "3&j=0", http.Header{"Referer": {page + ":99/"}}, true, ""},
		{"enabled, another port", []string{page}, "3&j=0", http.Header{"Referer": {page + ":99/"}}, false, page + ":99"},
		{"enabled, no Referer", []string{page}, "3&j=0", nil, false, ""},
		{"enabled, another page", []string{page}, "3&j=0", http.Header{"Referer": {"http://evil.example/" + page}}, false, "http://evil.example"},
		{"enabled, a page with a longer name", []string{page}, "3&j=0", http.Header{"Referer": {page + ".evil.example/"}}, false, page + ".evil.example"},
		{"enabled, a name before an @", []string{page}, "3&j=0", http.Header{"Referer": {page + "@evil.example/"}}, false, "http://evil.example"},
		{"enabled, Origin goes before Referer", []string{page}, "3&j=0", http.Header{"Origin": {"http://evil.example"}, "Referer": {page + "/"}}, false, "http://evil.example"},
		{"enabled, no URL in Referer", []string{page}, "3&j=0", http.Header{"Referer": {"old.example"}}, false, ""},
		{"no JSONP", nil, "3", http.Header{"Referer": {page + "/"}}, true, ""},
		{"revision 4 answers no scripts", nil, "4&j=0", nil, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused := make(chan transport.Refused, 1)
			_, url := startServer(t, transport.ServerOptions{Engines: bothEngines, JSONP: tc.allow,
				EngineOptions: transport.EngineOptions{OnRefused: func(r transport.Refused) { refused <- r }}})
			res, body := do(t, http.MethodGet, url+"/socket.io/?transport=polling&EIO="+tc.query, "", tc.header)
			if tc.ok {
				if res.StatusCode != http.StatusOK || strings.HasPrefix(body, "___eio[0](") != (tc.allow != nil) {
					t.Errorf("answered %d %s", res.StatusCode, body)
				}
				return
			}
			if res.StatusCode != http.StatusForbidden || strings.Contains(body, "sid") {
				t.Errorf("answered %d %s", res.StatusCode, body)
			}
			if r := receive(t, refused); r.Reason != transport.RefusedJSONP || r.Origin != tc.origin {
				t.Errorf("told of %+v", r)
			}
		})
	}
}

// A form of a page that may use JSONP reaches its session, and no form of another does.
func TestJSONPPosts(t *testing.T) {
	_, url := startServer(t, transport.ServerOptions{Engines: bothEngines, JSONP: []string{"http://old.example"}})
	_, body := do(t, http.MethodGet, url+"/socket.io/?EIO=3&transport=polling&j=0", "", http.Header{"Referer": {"http://old.example/"}})
	_, rest, _ := strings.Cut(body, `\"sid\":\"`)
	sid, _, ok := strings.Cut(rest, `\"`)
	if !ok {
		t.Fatalf("opened with %s", body)
	}
	for origin, status := range map[string]int{"http://evil.example": http.StatusForbidden, "http://old.example": http.StatusOK} {
		res, body := do(t, http.MethodPost, url+"/socket.io/?EIO=3&transport=polling&j=0&sid="+sid, "d=1%3A2",
			http.Header{"Origin": {origin}, "Content-Type": {"application/x-www-form-urlencoded"}})
		if res.StatusCode != status {
			t.Errorf("%s: answered %d %s", origin, res.StatusCode, body)
		}
	}
}

func TestCheckJSONP(t *testing.T) {
	for _, o := range []string{"http://old.example", "https://old.example:8443", "http://old.example:*"} {
		if err := transport.CheckJSONP(o); err != nil {
			t.Error(err)
		}
	}
	for _, o := range []string{"*", "null", "file://", "old.example", "http://old.example/page", ""} {
		if transport.CheckJSONP(o) == nil {
			t.Errorf("%q is taken", o)
		}
	}
}
