package recording

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Closed files stand beside the open one: of packets.jsonl they are packets-20260302T060000.123Z.jsonl,
// by the time at which they were closed, and packets-….jsonl.gz when they have been compressed.
const closedStamp = "20060102T150405.000Z"

// rotate closes the file under its stamped name and begins a new one. If that fails the old file goes on.
func (f *File) rotate() error {
	f.sync()
	ext := filepath.Ext(f.opts.Path)
	base := strings.TrimSuffix(f.opts.Path, ext)
	name := base + "-" + f.opts.Now().UTC().Format(closedStamp) + ext
	for n := 2; exists(name) || exists(name+".gz"); n++ {
		name = fmt.Sprintf("%s-%s.%d%s", base, f.opts.Now().UTC().Format(closedStamp), n, ext)
	}
	// The new file is made before the old one has lost its name, so that a full disk changes nothing.
	fresh := f.opts.Path + ".new"
	next, err := os.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	discard := func(err error) error {
		_ = next.Close()
		_ = os.Remove(fresh)
		return err
	}
	if _, err := next.Write(f.opts.Header); err != nil {
		return discard(err)
	}
	if err := lock(next); err != nil {
		return discard(err)
	}
	if err := os.Rename(f.opts.Path, name); err != nil {
		return discard(err)
	}
	if err := os.Rename(fresh, f.opts.Path); err != nil {
		_ = os.Rename(name, f.opts.Path)
		return discard(err)
	}
	syncDir(f.dir)
	_ = f.f.Close()
	f.f, f.size, f.dirty = next, int64(len(f.opts.Header)), true
	f.period = f.periodOf(f.opts.Now())
	select {
	case f.packing <- struct{}{}:
	default:
	}
	return nil
}

// syncDir makes renames lasting; a file system that cannot do it is no trouble of ours.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// pack compresses closed files, and removes those that are too many, beside the writing.
func (f *File) pack() {
	defer f.done.Done()
	for {
		select {
		case <-f.stop:
			return
		case <-f.packing:
		}
		if !f.opts.Plain {
			f.compressAll()
		}
		f.prune()
	}
}

func (f *File) compressAll() {
	for _, c := range closedFiles(f.opts.Path) {
		if c.packed {
			continue
		}
		if err := compress(c.path, f.stop); err != nil {
			if !errors.Is(err, errStopped) {
				f.opts.Report(err, "the closed file stays as it is")
			}
			return
		}
	}
}

func (f *File) prune() {
	if f.opts.Keep == 0 {
		return
	}
	for all := closedFiles(f.opts.Path); len(all) > f.opts.Keep; all = all[1:] {
		if err := os.Remove(all[0].path); err != nil {
			f.opts.Report(err, "an old file cannot be removed")
		}
	}
}

// closedFile is one that has been closed, by what its name says.
type closedFile struct {
	path   string
	at     string // the stamp
	n      int    // among those of one stamp, from 1
	packed bool
}

// closedFiles lists those that a logger with this file has closed, the oldest first.
func closedFiles(path string) []closedFile {
	ext := filepath.Ext(path)
	base := filepath.Base(strings.TrimSuffix(path, ext)) + "-"
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	var all []closedFile
	for _, e := range entries {
		c := closedFile{path: filepath.Join(filepath.Dir(path), e.Name())}
		rest, ok := strings.CutPrefix(e.Name(), base)
		if !ok {
			continue
		}
		// The stamp's own end is at a known place: without an extension of the name that alone tells a closed file from another's.
		if len(rest) < len(closedStamp) {
			continue
		}
		c.at, rest = rest[:len(closedStamp)], rest[len(closedStamp):]
		if _, err := time.Parse(closedStamp, c.at); err != nil {
			continue
		}
		rest, c.packed = strings.CutSuffix(rest, ext+".gz")
		if !c.packed {
			if rest, ok = strings.CutSuffix(rest, ext); !ok {
				continue
			}
		}
		if c.n = 1; rest != "" {
			if c.n, err = strconv.Atoi(strings.TrimPrefix(rest, ".")); err != nil || rest != fmt.Sprintf(".%d", c.n) {
				continue
			}
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b closedFile) int {
		return cmp.Or(strings.Compare(a.at, b.at), cmp.Compare(a.n, b.n))
	})
	return all
}

var errStopped = errors.New("stopped")

// compress replaces the file by one with .gz behind its name. What it leaves when it is killed is done
// again by the next run.
func compress(name string, stop <-chan struct{}) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	tmp := name + ".gz.part"
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, &stoppable{in, stop})
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = out.Sync()
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp, name+".gz")
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	syncDir(filepath.Dir(name))
	return os.Remove(name)
}

// stoppable is a reader that ends with an error when the program does.
type stoppable struct {
	r    io.Reader
	stop <-chan struct{}
}

func (s *stoppable) Read(b []byte) (int, error) {
	select {
	case <-s.stop:
		return 0, errStopped
	default:
		return s.r.Read(b)
	}
}
