package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var browserDir once[string]

// browserPackages returns the directory with the browser's driver, its packages installed.
func browserPackages(t *testing.T) string {
	return browserDir.get(t, func() (string, error) { return installed("browser", "--legacy-peer-deps") })
}

// chromium returns the browser to test with.
func chromium() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium (Debian: chromium); CHROMIUM may name one")
}

// browser is a real Chromium with any number of pages.
type browser struct {
	*process
	calls int
}

// page is one of them, with storage of its own.
type page struct {
	*browser
	name string
}

type browserAnswer struct {
	ID      int
	Value   json.RawMessage
	Error   string
	Problem string
	Page    string
	Text    string
	Ready   bool
}

// startBrowser starts a Chromium until the test ends. The application that the pages show must have
// been built.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	if _, err := os.Stat(filepath.Join("..", "dashboard", "dist", "app", "index.html")); err != nil {
		missing(t, "the web application has not been built: make dashboard")
	}
	path, err := chromium()
	if err != nil {
		missing(t, "%v", err)
	}
	opts, err := json.Marshal(map[string]string{"chromium": path})
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{process: start(t, "node", filepath.Join(browserPackages(t), "browser.js"), string(opts))}
	if a := b.answer(); !a.Ready {
		t.Fatalf("the browser says %+v", a)
	}
	t.Cleanup(func() {
		_ = b.stdin.Close() // it ends in order, and leaves no children behind
		select {
		case <-b.done:
		case <-time.After(patience):
		}
		for line := range b.lines {
			var a browserAnswer
			if json.Unmarshal([]byte(line), &a) == nil && a.Problem != "" {
				t.Errorf("page %s: %s: %s", a.Page, a.Problem, a.Text)
			}
		}
	})
	return b
}

func (b *browser) answer() browserAnswer {
	b.t.Helper()
	var a browserAnswer
	line := b.line()
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		b.t.Fatalf("the browser wrote %.200q: %v", line, err)
	}
	return a
}

func (b *browser) call(command map[string]any) (json.RawMessage, error) {
	b.t.Helper()
	b.calls++
	command["id"] = b.calls
	line, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.stdin.Write(append(line, '\n')); err != nil {
		b.t.Fatalf("browser: %v\n%s", err, b.log())
	}
	for {
		a := b.answer()
		switch {
		case a.Problem != "":
			b.t.Errorf("page %s: %s: %s", a.Page, a.Problem, a.Text)
		case a.Error != "":
			return nil, errors.New(a.Error)
		case a.ID == b.calls:
			return a.Value, nil
		}
	}
}

// open shows the address on a new page. opts are the driver's: viewport, scheme, touch.
func (b *browser) open(name, url string, opts map[string]any) *page {
	b.t.Helper()
	p := &page{b, name}
	command := map[string]any{"do": "open", "url": url}
	for k, v := range opts {
		command[k] = v
	}
	p.do(command)
	return p
}

func (p *page) do(command map[string]any) json.RawMessage {
	p.t.Helper()
	command["page"] = p.name
	v, err := p.call(command)
	if err != nil {
		p.t.Fatalf("page %s, %v: %v\nit shows:\n%s", p.name, command, err, p.shown())
	}
	return v
}

// shown is the page's text, for a test that fails.
func (p *page) shown() string {
	v, err := p.call(map[string]any{"do": "eval", "page": p.name, "js": "return document.body.innerText.slice(0, 3000)"})
	if err != nil {
		return err.Error()
	}
	var s string
	_ = json.Unmarshal(v, &s)
	return s
}

// wait waits until the script, a function's body, returns something that is true, and returns it.
func (p *page) wait(js string) json.RawMessage {
	p.t.Helper()
	return p.do(map[string]any{"do": "wait", "js": js, "timeout": (patience - 5*time.Second).Milliseconds()})
}

// waitNumber is wait for a script that returns a number.
func (p *page) waitNumber(js string) float64 {
	p.t.Helper()
	var v float64
	if err := json.Unmarshal(p.wait(js), &v); err != nil {
		p.t.Fatal(err)
	}
	return v
}

// waitText waits until the first element that the selector finds contains the text.
func (p *page) waitText(selector, text string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("return document.querySelector(%q)?.innerText.includes(%q)", selector, text))
}

func (p *page) waitGone(selector string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("return !document.querySelector(%q)", selector))
}

func (p *page) text(selector string) string {
	p.t.Helper()
	var s string
	if err := json.Unmarshal(p.wait(fmt.Sprintf("return document.querySelector(%q)?.innerText", selector)), &s); err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

func (p *page) press(key string) { p.t.Helper(); p.do(map[string]any{"do": "press", "key": key}) }
func (p *page) click(selector string) {
	p.t.Helper()
	p.do(map[string]any{"do": "click", "at": selector})
}

// choose takes a value of a select, once it has it.
func (p *page) choose(selector, value string) {
	p.t.Helper()
	p.wait(fmt.Sprintf(`const s = document.querySelector(%q);
		if (![...s?.options ?? []].some((o) => o.value === %q)) return false;
		s.value = %q; s.dispatchEvent(new Event('change', { bubbles: true })); return true;`, selector, value, value))
}

// shot keeps a picture of the page if TBMSOCK_SCREENSHOTS names a directory, as CI does.
func (p *page) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("TBMSOCK_SCREENSHOTS")
	if dir == "" {
		dir = p.t.TempDir()
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	path, err := filepath.Abs(filepath.Join(dir, name+".png"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.do(map[string]any{"do": "shot", "path": path})
	if info, err := os.Stat(path); err != nil || info.Size() < 10_000 {
		p.t.Errorf("the picture %s shows nothing: %v", name, err)
	}
}
