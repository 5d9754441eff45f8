package dashboard

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Policies of what a page may load and do (https://www.w3.org/TR/CSP3/).
const (
	// PolicyOwn is for the embedded application: nothing that is not its own, no inline code.
	PolicyOwn = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
		"connect-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types angular"
	// PolicyOther is for an application of somebody else: still nothing from elsewhere, but the
	// style elements that Angular makes for components, and the one inline handler (its hash)
	// with which ng build loads a style sheet late.
	PolicyOther = "default-src 'self'; script-src 'self' 'unsafe-hashes' 'sha256-MhtPZXr7+LpJUY5qtMutB+qWfQtMaPccfe7QXtCcEYc='; " +
		"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; " +
		"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)

// Options configures [NewHandler].
type Options struct {
	Files  fs.FS  // with index.html at its root
	Policy string // Content-Security-Policy; empty for none
	// Views are the paths, without slashes around them, at which the application has views of its own; nil: not known.
	Views []string
}

// Views are those of the embedded application, which names them in src/app/prefs.ts.
func Views() []string {
	return []string{"overview", "trends", "channels", "alarms", "inspector", "line"}
}

// programs are the beginnings of paths that are for programs, not for a browser's window. A server that has nothing
// there must say so: a monitor would take a page for an answer.
var programs = []string{"metrics", "api", "events", "debug"}

// handler serves a single-page application.
type handler struct {
	opts Options
}

// NewHandler serves the files. A view of the application gets index.html. Where the views are not known, so does each
// path without an extension to which a browser navigates, but for /metrics, /api, /events, /debug and what is below
// them. Anything else is 404. It is an error if there is no index.html.
func NewHandler(opts Options) (http.Handler, error) {
	h := &handler{opts: opts}
	info, err := fs.Stat(opts.Files, "index.html")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is no index.html; name the directory that ng build has written it to, such as dist/app/browser")
	case err != nil:
		return nil, fmt.Errorf("index.html: %w", err)
	case !info.Mode().IsRegular():
		return nil, errors.New("index.html is no file")
	}
	return h, nil
}

// OpenDir opens a directory for [Options.Files]. Whatever path is asked for, and wherever symbolic
// links in it lead, nothing outside the directory is served. The directory stays open.
func OpenDir(dir string) (fs.FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return root.FS(), nil
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	if h.opts.Policy != "" {
		header.Set("Content-Security-Policy", h.opts.Policy)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	name, ok := h.find(r)
	if h.opts.Views == nil && (!ok || name == "index.html") {
		header.Add("Vary", "Accept, Sec-Fetch-Mode")
	}
	if !ok {
		header.Set("Cache-Control", "no-cache")
		http.Error(w, "there is no such file", http.StatusNotFound)
		return
	}
	header.Set("Content-Type", contentType(name))
	if hashed.MatchString(path.Base(name)) {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		header.Set("Cache-Control", "no-cache") // kept, but asked for again with its ETag
	}
	// The address never tells what is compressed: the answer differs by this header alone.
	header.Add("Vary", "Accept-Encoding")
	for _, v := range variants {
		if accepts(r.Header.Values("Accept-Encoding"), v.coding) && h.regular(name+v.suffix) {
			header.Set("Content-Encoding", v.coding)
			name += v.suffix
			break
		}
	}
	if err := h.serve(w, r, name); err != nil {
		header.Del("Content-Encoding")
		header.Del("ETag")
		header.Set("Cache-Control", "no-cache")
		http.Error(w, "the file cannot be read", http.StatusInternalServerError)
	}
}

// hashed are the names that ng build gives to files whose content they stand for: main-3F2A1B9C.js;
// builders before it wrote main.3f2a1b9c5d6e7f80.js. A new content has a new name.
var hashed = regexp.MustCompile(`(-[A-Z0-9]{8}|\.[0-9a-f]{16,20})\.[a-z0-9]+$`)

// variants are the compressed forms of a file that may stand beside it, the smaller first.
var variants = []struct{ coding, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// find returns the file that answers a request.
func (h *handler) find(r *http.Request) (name string, ok bool) {
	p := r.URL.Path
	for segment := range strings.SplitSeq(p, "/") {
		// No hidden files (a directory may hold .git or .env), and no way up: Clean would turn
		// the rest of such a path into a different one.
		if strings.HasPrefix(segment, ".") && segment != "." && segment != ".well-known" {
			return "", false
		}
	}
	name = strings.TrimPrefix(path.Clean("/"+p), "/")
	if name == "" {
		return "index.html", true
	}
	if fs.ValidPath(name) && !strings.HasSuffix(p, "/") && h.regular(name) {
		return name, true
	}
	if !h.view(r, name) {
		return "", false
	}
	return "index.html", true
}

// view reports whether the application shows something at the path.
func (h *handler) view(r *http.Request, name string) bool {
	if h.opts.Views != nil {
		return slices.Contains(h.opts.Views, name)
	}
	first, _, _ := strings.Cut(name, "/")
	// What has an extension was meant as a file: a script that is missing must not come as a page.
	return path.Ext(name) == "" && !slices.Contains(programs, first) && navigates(r)
}

func (h *handler) regular(name string) bool {
	info, err := fs.Stat(h.opts.Files, name)
	return err == nil && info.Mode().IsRegular()
}

// navigates reports whether a browser asks for a page to show (https://www.w3.org/TR/fetch-metadata/; older browsers
// tell it by the types that they accept).
func navigates(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// accepts tells whether the header names the coding and does not weigh it 0.
func accepts(headers []string, coding string) bool {
	for _, header := range headers {
		for item := range strings.SplitSeq(header, ",") {
			name, params, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), coding) {
				q := strings.ReplaceAll(strings.ToLower(params), " ", "")
				return q != "q=0" && strings.Trim(q, "0.") != "q="
			}
		}
	}
	return false
}

// serve writes the file, or 304 if the client has it. Nothing has been written if it fails.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, name string) error {
	f, err := h.opts.Files.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	content, ok := f.(io.ReadSeeker)
	if !ok {
		return fmt.Errorf("%s: cannot be read from any place", name)
	}
	tag, err := etag(content, info)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", tag)
	http.ServeContent(w, r, "", info.ModTime(), content) // the type is set already
	return nil
}

// etag stands for the bytes of one form of a file. Embedded files have no time; those that have one
// are told apart by it and their size, as web servers do, and so need not be read for it.
func etag(content io.ReadSeeker, info fs.FileInfo) (string, error) {
	if t := info.ModTime(); !t.IsZero() {
		return fmt.Sprintf(`"%x-%x"`, t.UnixNano(), info.Size()), nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return "", err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return fmt.Sprintf(`"%x"`, sum.Sum(nil)[:12]), nil
}
