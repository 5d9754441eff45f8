package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const page = "<!doctype html><title>page</title>"

// buildDir is what ng build might write, beside a file that is nobody's business.
func buildDir(t *testing.T) string {
	t.Helper()
	outer := t.TempDir()
	dir := filepath.Join(outer, "app")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte("main();"))
	_ = z.Close()
	for name, content := range map[string]string{
		"../secret.txt": "secret", "index.html": page, "main-3F2A1B9C.js": "main();", "main-3F2A1B9C.js.gz": zipped.String(),
		"main-3F2A1B9C.js.br": "br of main", "styles.css": "a{}", "media/f.woff2": "font", "media/index.html": "inner", "favicon.svg": "<svg/>",
		".env": "key", ".well-known/security.txt": "who", "data.json": "{}", "strange.qqq": "?",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret.txt", filepath.Join(dir, "out.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outer, filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func serve(t *testing.T, opts Options) *httptest.Server {
	t.Helper()
	h, err := NewHandler(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// ask sends the path as it stands: http.NewRequest would not, but a hostile client does.
func ask(t *testing.T, s *httptest.Server, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = path
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestFiles(t *testing.T) {
	dir := buildDir(t)
	files, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Files: files, Policy: PolicyOther})
	const html, js = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
	for _, tc := range []struct {
		path   string
		accept string
		status int
		kind   string
		body   string
	}{
		{"/", "text/html", 200, html, page},
		{"/index.html", "", 200, html, page},
		{"/main-3F2A1B9C.js", "*/*", 200, js, "main();"},
		{"/media/f.woff2", "*/*", 200, "font/woff2", "font"},
		{"/data.json", "application/json", 200, "application/json", "{}"},
		{"/.well-known/security.txt", "", 200, "text/plain; charset=utf-8", "who"},
		{"/strange.qqq", "", 200, "application/octet-stream", "?"},
		// Places of the application.
		{"/trends", "text/html,*/*;q=0.8", 200, html, page},
		{"/metricsview", "text/html", 200, html, page},
		{"/a/b/c?d=e.f", "text/html", 200, html, page},
		{"/media", "text/html", 200, html, page},
		{"/media/", "text/html", 200, html, page},
		{"/%ff%00", "text/html", 200, html, page},
		// What is missing is not a page.
		{"/main-00000000.js", "*/*", 404, "", ""},
		{"/thing", "application/json", 404, "", ""},
		{"/thing", "*/*", 404, "", ""},
		{"/thing", "", 404, "", ""},
		// Nor is what programs ask for.
		{"/metrics", "text/html", 404, "", ""},
		{"/./metrics/", "text/html", 404, "", ""},
		{"/api", "text/html", 404, "", ""},
		{"/api/thing", "text/html", 404, "", ""},
		{"/events", "text/html", 404, "", ""},
		{"/debug/pprof/", "text/html", 404, "", ""},
		{"/styles.css/", "text/html", 404, "", ""},
		// Outside, and hidden.
		{"/.env", "text/html", 404, "", ""},
		{"/.git/config", "text/html", 404, "", ""},
		{"/../secret.txt", "text/html", 404, "", ""},
		{"/..%2fsecret.txt", "*/*", 404, "", ""},
		{"/media/../../secret.txt", "*/*", 404, "", ""},
		{"/%2e%2e/secret.txt", "*/*", 404, "", ""},
		{"/..%5csecret.txt", "*/*", 404, "", ""},
		{"//etc/passwd.txt", "*/*", 404, "", ""},
		{"/out.txt", "*/*", 404, "", ""},
		{"/up/secret.txt", "*/*", 404, "", ""},
	} {
		t.Run(tc.path+" "+tc.accept, func(t *testing.T) {
			res, body := ask(t, s, "GET", tc.path, "Accept", tc.accept)
			if res.StatusCode != tc.status {
				t.Fatalf("status %d, body %.80q", res.StatusCode, body)
			}
			if strings.Contains(body, "secret") {
				t.Fatal("a file outside was served")
			}
			if tc.status != 200 {
				plain(t, res)
				return
			}
			if body != tc.body || res.Header.Get("Content-Type") != tc.kind {
				t.Errorf("%s: %.80q", res.Header.Get("Content-Type"), body)
			}
			if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Content-Security-Policy") != PolicyOther {
				t.Errorf("headers %v", res.Header)
			}
		})
	}
	if res, _ := ask(t, s, "POST", "/"); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", res.StatusCode)
	}
	if res, body := ask(t, s, "HEAD", "/"); res.StatusCode != http.StatusOK || body != "" || res.ContentLength != int64(len(page)) {
		t.Errorf("HEAD: %d, %d bytes of %d", res.StatusCode, len(body), res.ContentLength)
	}
}

// plain holds an error to what a browser cannot take for anything else.
func plain(t *testing.T, res *http.Response) {
	t.Helper()
	if res.Header.Get("Content-Type") != "text/plain; charset=utf-8" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", res.Header)
	}
}

// A script of the page's that fetches is not a browser that navigates.
func TestNavigation(t *testing.T) {
	files, err := OpenDir(buildDir(t))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Files: files})
	for mode, want := range map[string]int{"navigate": 200, "": 200, "cors": 404, "no-cors": 404, "same-origin": 404} {
		res, _ := ask(t, s, "GET", "/some/place", "Accept", "text/html", "Sec-Fetch-Mode", mode)
		if res.StatusCode != want || !strings.Contains(strings.Join(res.Header["Vary"], ","), "Sec-Fetch-Mode") {
			t.Errorf("%q: %d %v", mode, res.StatusCode, res.Header["Vary"])
		}
	}
}

// Where the views are known nothing else is a page, whoever asks.
func TestKnownViews(t *testing.T) {
	files, _ := Embedded()
	s := serve(t, Options{Files: files, Policy: PolicyOwn, Views: Views()})
	for _, accept := range []string{"text/html", "*/*", "application/json", ""} {
		for path, want := range map[string]int{
			"/": 200, "/line": 200, "/line/": 200, "/trends?room=ops": 200, "/overview": 200,
			"/metrics": 404, "/api/x": 404, "/events": 404, "/debug/pprof/": 404, "/lines": 404, "/line/x": 404, "/x/line": 404, "/some/place": 404, "/wp-login.php": 404,
		} {
			res, body := ask(t, s, "GET", path, "Accept", accept)
			if res.StatusCode != want {
				t.Errorf("%s, %q: %d", path, accept, res.StatusCode)
			}
			if want == 404 {
				plain(t, res)
			} else if !strings.Contains(body, "<title>tbmsock") {
				t.Errorf("%s: %.80q", path, body)
			}
		}
	}
}

// The application and its server know the same views.
func TestViews(t *testing.T) {
	source, err := os.ReadFile("src/app/prefs.ts")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VIEWS: readonly View\[\] = \[(.*)\];`).FindSubmatch(source)
	if m == nil {
		t.Fatal("prefs.ts names no views")
	}
	if got, want := strings.NewReplacer("'", "", " ", "").Replace(string(m[1])), strings.Join(Views(), ","); got != want {
		t.Errorf("the application has %s, the server %s", got, want)
	}
}

func TestCaching(t *testing.T) {
	dir := buildDir(t)
	files, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Files: files})
	for path, want := range map[string]string{"/": "no-cache", "/styles.css": "no-cache", "/main-3F2A1B9C.js": "public, max-age=31536000, immutable", "/nothing.js": "no-cache"} {
		if res, _ := ask(t, s, "GET", path); res.Header.Get("Cache-Control") != want {
			t.Errorf("%s: %s", path, res.Header.Get("Cache-Control"))
		}
	}
	res, _ := ask(t, s, "GET", "/")
	tag := res.Header.Get("ETag")
	if res, body := ask(t, s, "GET", "/", "If-None-Match", tag); tag == "" || res.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("asked again with %s: %d %q", tag, res.StatusCode, body)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(page+"2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res, body := ask(t, s, "GET", "/", "If-None-Match", tag); res.StatusCode != http.StatusOK || body != page+"2" {
		t.Errorf("a new build is not seen: %d %q", res.StatusCode, body)
	}
}

func TestVariants(t *testing.T) {
	files, err := OpenDir(buildDir(t))
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Files: files})
	tags := map[string]bool{}
	for accept, want := range map[string]string{"": "", "gzip, deflate, br": "br", "gzip": "gzip", "br;q=0, gzip;q=0.5": "gzip", "br; q=0.0": "", "identity": "", "xbr": ""} {
		res, body := ask(t, s, "GET", "/main-3F2A1B9C.js", "Accept-Encoding", accept)
		if res.Header.Get("Content-Encoding") != want || res.Header.Get("Vary") != "Accept-Encoding" || res.Header.Get("Content-Type") != "text/javascript; charset=utf-8" {
			t.Errorf("%q: %v", accept, res.Header)
		}
		tags[want+res.Header.Get("ETag")] = true
		if want == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			plain, err := io.ReadAll(z)
			if err != nil || string(plain) != "main();" {
				t.Errorf("unpacked: %q, %v", plain, err)
			}
		}
	}
	if len(tags) != 3 {
		t.Errorf("the three forms have the tags %v", tags)
	}
	if res, _ := ask(t, s, "GET", "/styles.css", "Accept-Encoding", "br, gzip"); res.Header.Get("Content-Encoding") != "" {
		t.Errorf("a form that is not there: %v", res.Header)
	}
}

// Whatever this program was built with is a page, within its policy.
func TestEmbedded(t *testing.T) {
	files, built := Embedded()
	s := serve(t, Options{Files: files, Policy: PolicyOwn})
	res, body := ask(t, s, "GET", "/", "Accept", "text/html")
	if res.StatusCode != http.StatusOK || !strings.Contains(body, "<title>tbmsock") {
		t.Fatalf("%d %.200s", res.StatusCode, body)
	}
	if strings.Contains(body, "<style") || strings.Contains(body, " style=") || strings.Contains(body, "onload") || strings.Contains(body, "<script>") {
		t.Errorf("inline code, which its policy forbids:\n%s", body)
	}
	tag := res.Header.Get("ETag")
	if res, _ := ask(t, s, "GET", "/", "If-None-Match", tag); tag == "" || res.StatusCode != http.StatusNotModified {
		t.Errorf("asked again with %q: %d", tag, res.StatusCode)
	}
	if !built && !strings.Contains(body, "make dashboard") {
		t.Error("the placeholder does not say how to build the page")
	}
}

func TestNoPage(t *testing.T) {
	empty := t.TempDir()
	files, err := OpenDir(empty)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewHandler(Options{Files: files}); err == nil || !strings.Contains(err.Error(), "index.html") {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := OpenDir(filepath.Join(empty, "nowhere")); err == nil {
		t.Error("a directory that is not there was opened")
	}
}

// The hash in the policy is that of the handler that ng build writes.
func TestPolicyHash(t *testing.T) {
	sum := sha256.Sum256([]byte("this.media='all'"))
	if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(PolicyOther, want) {
		t.Errorf("the policy lacks %s", want)
	}
}
