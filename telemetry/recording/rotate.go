package recording

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Closed files stand beside the open one: those of packets.jsonl are packets-000001-20260302T060000.123Z.jsonl, with a
// number that counts up and the time at which they were closed, and packets-….jsonl.gz once they are compressed. The
// number is their order: the clock can be set back.
const closedStamp = "20060102T150405.000Z"

// closedName is the name for the file that is closed now.
func (f *File) closedName() string {
	for _, c := range closedFiles(f.target) {
		f.sequence = max(f.sequence, c.sequence)
	}
	ext := filepath.Ext(f.target)
	base := strings.TrimSuffix(f.target, ext)
	for {
		f.sequence++
		name := fmt.Sprintf("%s-%06d-%s%s", base, f.sequence, f.opts.Now().UTC().Format(closedStamp), ext)
		if !exists(name) && !exists(name+".gz") {
			return name
		}
	}
}

// rotate closes the file under its closed name and begins a new one. After an error the old file goes on.
func (f *File) rotate() error {
	f.sync()
	name := f.closedName()
	// The new file is made before the old one has lost its name, so that a full disk changes nothing.
	fresh := f.target + ".new"
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
	info, err := next.Stat()
	if err != nil {
		return discard(err)
	}
	if err := f.replace(fresh, name); err != nil {
		return discard(err)
	}
	syncDir(filepath.Dir(f.target))
	_ = f.f.Close()
	begun := int64(len(f.opts.Header))
	f.openFile = openFile{f: next, id: info, target: f.target, size: begun, begun: begun, safe: begun, dirty: true,
		period: f.periodOf(f.opts.Now())}
	f.askPacker()
	return nil
}

// replace gives the open file the closed name and its own name to the fresh file. The path always names a file: a
// second logger could take one that is missing for a moment.
func (f *File) replace(fresh, name string) error {
	undo := func() { _ = os.Remove(name) }
	if err := os.Link(f.target, name); err != nil { // a file system may have no hard links
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Rename(f.target, name); err != nil {
			return err
		}
		undo = func() { _ = os.Rename(name, f.target) }
	}
	info, err := os.Stat(name)
	if err == nil && !os.SameFile(info, f.id) {
		err = fmt.Errorf("%s was replaced by another program", f.target)
	}
	if err == nil {
		err = os.Rename(fresh, f.target)
	}
	if err != nil {
		undo()
	}
	return err
}

// dropSecondName removes the closed name of the open file: a crash within replace leaves both.
func (f *File) dropSecondName() error {
	if links(f.f) < 2 {
		return nil
	}
	for _, c := range closedFiles(f.target) {
		if info, err := os.Stat(c.path); err == nil && os.SameFile(info, f.id) {
			return os.Remove(c.path)
		}
	}
	return nil
}

// askPacker makes the packer look for closed files.
func (f *File) askPacker() {
	select {
	case f.packing <- struct{}{}:
	default:
	}
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
	path     string
	sequence uint64 // 0: closed by a build that did not number them
	at       string // the stamp
	n        int    // among those of one stamp without a number, from 1
	packed   bool
}

// closedFiles lists those that a logger with this file has closed, the oldest first.
func closedFiles(path string) []closedFile {
	path = resolve(path)
	ext := filepath.Ext(path)
	base := filepath.Base(strings.TrimSuffix(path, ext)) + "-"
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil
	}
	var all []closedFile
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), base)
		if !ok {
			continue
		}
		if c, ok := parseClosed(rest, ext); ok {
			c.path = filepath.Join(filepath.Dir(path), e.Name())
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b closedFile) int {
		return cmp.Or(cmp.Compare(a.sequence, b.sequence), strings.Compare(a.at, b.at), cmp.Compare(a.n, b.n))
	})
	return all
}

// parseClosed reads what follows the base in a closed file's name; ok is false for a file of another kind.
func parseClosed(rest, ext string) (c closedFile, ok bool) {
	if number, behind, found := strings.Cut(rest, "-"); found {
		n, err := strconv.ParseUint(number, 10, 63)
		if err != nil || n == 0 || number != fmt.Sprintf("%06d", n) {
			return c, false
		}
		c.sequence, rest = n, behind
	}
	// The stamp has a fixed length: where the name has no extension, that alone tells a closed file from another.
	if len(rest) < len(closedStamp) {
		return c, false
	}
	c.at, rest = rest[:len(closedStamp)], rest[len(closedStamp):]
	if _, err := time.Parse(closedStamp, c.at); err != nil {
		return c, false
	}
	rest, c.packed = strings.CutSuffix(rest, ext+".gz")
	if !c.packed {
		if rest, ok = strings.CutSuffix(rest, ext); !ok {
			return c, false
		}
	}
	if c.n = 1; rest != "" {
		var err error
		if c.n, err = strconv.Atoi(strings.TrimPrefix(rest, ".")); err != nil || rest != fmt.Sprintf(".%d", c.n) || c.sequence > 0 {
			return c, false
		}
	}
	return c, true
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
