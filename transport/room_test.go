package transport

import (
	"strings"
	"testing"
)

func TestSids(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		sid := NewSid()
		if seen[sid] || len(sid) != 27 || CheckRoom(sid) != nil {
			t.Fatalf("sid %q", sid)
		}
		seen[sid] = true
		for _, yes := range []string{sid, "/tbm#" + sid, "/#" + sid, "/a#b#" + sid} {
			if !isSid(yes) {
				t.Fatalf("%q is not known as a sid", yes)
			}
		}
		last := "A"
		if strings.HasSuffix(sid, last) {
			last = "Q"
		}
		for _, no := range []string{sid[:26], sid + "A", "tbm#" + sid, "#" + sid, sid[:26] + last, strings.ToLower(sid[:26]) + "!", NewID(), "", strings.Repeat("x", 27)} {
			if isSid(no) {
				t.Fatalf("%q is taken for a sid; %q was one", no, sid)
			}
		}
	}
}
