package wire

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// zipped makes w compress a payload of at least from bytes, if the client takes gzip (RFC 9110 section
// 12.5.3); 0: never. A codec writes a payload in one call of Write.
func zipped(w http.ResponseWriter, r *http.Request, from int) http.ResponseWriter {
	if from <= 0 || !takesGzip(r.Header) {
		return w
	}
	return &zipWriter{w, from}
}

type zipWriter struct {
	http.ResponseWriter
	from int
}

type zipper struct {
	gzip *gzip.Writer
	out  bytes.Buffer
}

var zippers = sync.Pool{New: func() any {
	z := new(zipper)
	z.gzip, _ = gzip.NewWriterLevel(&z.out, level) // the level is one that there is
	return z
}}

func (w *zipWriter) Write(payload []byte) (int, error) {
	if len(payload) < w.from {
		return w.ResponseWriter.Write(payload)
	}
	z := zippers.Get().(*zipper)
	defer func() {
		if z.out.Cap() > keptSpace {
			z.out = bytes.Buffer{}
		}
		zippers.Put(z)
	}()
	z.out.Reset()
	z.gzip.Reset(&z.out)
	// A buffer takes everything: there are no errors.
	_, _ = z.gzip.Write(payload)
	_ = z.gzip.Close()
	if z.out.Len() >= len(payload) {
		return w.ResponseWriter.Write(payload)
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Add("Vary", "Accept-Encoding")
	if _, err := w.ResponseWriter.Write(z.out.Bytes()); err != nil {
		return 0, err
	}
	return len(payload), nil
}

// takesGzip tells whether the client names gzip, or any coding, and does not refuse it by a weight of 0.
func takesGzip(h http.Header) bool {
	takes := false
	for _, line := range h.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(line, ",") {
			coding, weight, _ := strings.Cut(item, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			if coding != "gzip" && coding != "*" {
				continue
			}
			q, given := strings.CutPrefix(strings.ToLower(strings.TrimSpace(weight)), "q=")
			v, err := strconv.ParseFloat(q, 64)
			wanted := !given || err == nil && v > 0
			if coding == "gzip" { // said by name, it counts more than any other
				return wanted
			}
			takes = wanted
		}
	}
	return takes
}
