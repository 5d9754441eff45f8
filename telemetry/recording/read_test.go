package recording

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// forms are the same records as the files of a logger hold them.
func forms(all []Record) map[string][]byte {
	table := NewCSV([]string{"thrust.total"})
	files := map[string][]byte{".csv": table.Header(), ".jsonl": nil}
	for i := range all {
		files[".csv"] = append(files[".csv"], table.Row(&all[i])...)
		files[".jsonl"] = all[i].AppendJSON(files[".jsonl"])
	}
	return files
}

func packed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// drain reads to the end, and fails if there is none.
func drain(t *testing.T, r *Reader, size int) (records int, err error) {
	t.Helper()
	for range size + 2 { // no line is shorter than a byte
		_, err = r.Next()
		var line *LineError
		switch {
		case err == nil:
			records++
		case !errors.As(err, &line):
			if _, again := r.Next(); !errors.Is(again, err) {
				t.Errorf("after %v comes %v", err, again)
			}
			return records, err
		}
	}
	t.Fatalf("it has not ended after %d bytes: %v", size, err)
	return 0, nil
}

// A compressed file that was cut off ends with an error. Its last line was taken for one that can be left out, for ever.
func TestCompressedFileCutAtEveryByte(t *testing.T) {
	all := logged(t)[:3]
	for ext, data := range forms(all) {
		whole := packed(t, data)
		dir := t.TempDir()
		cut := filepath.Join(dir, "p-20260302T060000.000Z"+ext+".gz")
		for n := range len(whole) + 1 {
			if err := os.WriteFile(cut, whole[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			records := 0
			r, err := OpenReader(cut)
			opened := err == nil
			if opened {
				records, err = drain(t, r, len(data))
				_ = r.Close()
			}
			complete := n == len(whole)
			if opened && n > 1 && !complete && errors.Is(err, io.EOF) {
				t.Fatalf("%s cut after %d bytes of %d ends as if it were whole, after %d records", ext, n, len(whole), records)
			}
			if complete && records != len(all) {
				t.Fatalf("%s: %d records of %d", ext, records, len(all))
			}
			place, err := LastPlace(filepath.Join(dir, "p"+ext))
			if complete && (err != nil || place.Offset != all[len(all)-1].Offset) || !complete && n > 1 && err == nil {
				t.Fatalf("%s cut after %d bytes of %d has the place %+v, %v", ext, n, len(whole), place, err)
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, data := range []string{"", "received,event\n2026-03-02T06:00:00.000000Z,e\n", "{\"event\":\"e\"}\nx\n", "\x1f\x8b", "received,\"\n"} {
		f.Add([]byte(data))
		f.Add(packed(f, []byte(data)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReader(path)
		if err != nil {
			return
		}
		defer func() { _ = r.Close() }()
		_, _ = drain(t, r, 1100*len(data)+1) // what a compressor can make of a byte
	})
}
