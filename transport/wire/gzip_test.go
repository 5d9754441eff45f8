package wire

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTakesGzip(t *testing.T) {
	for in, want := range map[string]bool{
		"": false, "gzip": true, "gzip, deflate, br, zstd": true, "deflate, GZIP;q=0.5": true, "identity": false, "br": false,
		"gzip;q=0": false, "gzip; q=0.000, *": false, "*": true, "*;q=0": false, "*;q=0, gzip": true, "gzip;q=x": false, "xgzip": false,
	} {
		if got := takesGzip(http.Header{"Accept-Encoding": {in}}); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

// An answer to a poll is compressed for who takes that, from the threshold on, and where it gains something.
func TestZipped(t *testing.T) {
	long := strings.Repeat("4log_telemetry", 100)
	for _, tc := range []struct {
		name, payload, accept string
		from                  int
		want                  bool
	}{
		{"switched off", long, "gzip", 0, false},
		{"not taken", long, "", 1024, false},
		{"small", long[:1023], "gzip", 1024, false},
		{"large", long[:1024], "gzip", 1024, true},
		{"nothing to gain", "2", "gzip", 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept-Encoding", tc.accept)
			rec := httptest.NewRecorder()
			rec.Header().Set("Vary", "Origin")
			if n, err := zipped(rec, r, tc.from).Write([]byte(tc.payload)); err != nil || n != len(tc.payload) {
				t.Fatalf("%d, %v", n, err)
			}
			var body io.Reader = rec.Body
			if got := rec.Header().Get("Content-Encoding") == "gzip"; got != tc.want {
				t.Errorf("compressed: %v", got)
			}
			if tc.want {
				if v := rec.Header().Values("Vary"); len(v) != 2 {
					t.Errorf("varies by %q", v)
				}
				var err error
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := io.ReadAll(body); err != nil || string(got) != tc.payload {
				t.Errorf("reads %.40q, %v", got, err)
			}
		})
	}
}
