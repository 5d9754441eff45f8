package recording

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
			for _, name := range f.closed("") {
				if err := compress(name, f.stop); err != nil {
					if !errors.Is(err, errStopped) {
						f.opts.Report(err, "the closed file stays as it is")
					}
					break
				}
			}
		}
		f.prune()
	}
}

func (f *File) prune() {
	if f.opts.Keep == 0 {
		return
	}
	// By name is by time.
	all := append(f.closed(""), f.closed(".gz")...)
	slices.SortFunc(all, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, ".gz"), strings.TrimSuffix(b, ".gz"))
	})
	for len(all) > f.opts.Keep {
		if err := os.Remove(all[0]); err != nil {
			f.opts.Report(err, "an old file cannot be removed")
		}
		all = all[1:]
	}
}

// closed lists the closed files, oldest first, with the suffix beyond the name's own.
func (f *File) closed(suffix string) []string {
	ext := filepath.Ext(f.opts.Path)
	base := filepath.Base(strings.TrimSuffix(f.opts.Path, ext)) + "-"
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), base)
		if !ok {
			continue
		}
		middle, ok = strings.CutSuffix(middle, ext+suffix)
		if ok && len(middle) >= len(closedStamp) && middle[8] == 'T' && middle[len(closedStamp)-1] == 'Z' {
			names = append(names, filepath.Join(f.dir, e.Name()))
		}
	}
	return names
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
