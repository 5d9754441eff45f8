// Package recording keeps telemetry in files: lines that are written once, whole, in order, into a
// file that is closed and compressed when it has become long or old. It knows lines and files, not
// where lines come from nor what stands in them.
package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// SyncPolicy is when written lines are forced to the disk (fsync). The zero value never forces them:
// a crash of the process loses nothing, a power cut what the system had not yet written.
type SyncPolicy struct {
	Always   bool          // after each write: a power cut loses nothing that was written
	Interval time.Duration // at most so long after it: a power cut loses no more than that
}

// Options configures a [File]. Path is required; the zero value of every other field is usable.
type Options struct {
	Path     string
	MaxBytes int64         // the file is closed before it grows beyond; 0: no limit
	MaxAge   time.Duration // the file is closed at each multiple of it, in UTC: 24h closes at midnight; 0: never
	Keep     int           // closed files that are kept, the oldest go first; 0: all
	Plain    bool          // closed files are not compressed
	Sync     SyncPolicy
	Resume   bool   // look for the place at which the file ends, see File.Place
	Header   []byte // first line of each file, with its newline; a file with another one is closed
	// Ours tells by its beginning whether a file can have been written here: another one is refused, and not touched. Nil: any
	// can. A crash may have left less than the beginning.
	Ours func(start []byte) bool
	// MaxPending bounds, in bytes, what waits in memory while the disk takes nothing; 64 MiB.
	MaxPending int
	Now        func() time.Time // time.Now
	// Report is told of what goes wrong and what is done about it, once for each trouble, and of its end
	// (err nil). It must not call the File.
	Report func(err error, what string)
}

const defaultPending = 64 << 20

// File is an append-only file of lines. It can be used by several goroutines.
type File struct {
	opts  Options
	dir   string
	place Place // at which it ended when it was opened

	mu      sync.Mutex
	f       *os.File
	size    int64     // up to the end of the last whole line
	period  time.Time // in which the file was begun; zero if files do not age
	fsync   func(*os.File) error
	dirty   bool     // written, not yet synced
	syncBad bool     // that it cannot be synced has been told
	pending [][]byte // lines that the disk has not taken
	waiting int      // bytes of them
	dropped uint64
	trouble bool

	rotateAfter time.Time // when a rotation that failed is tried again; zero: none has

	stop    chan struct{}
	done    sync.WaitGroup
	packing chan struct{} // asks the packer to look
}

// Open opens or makes the file, and appends to it. Half a line at its end, left by a crash, is cut off;
// cut is its length in bytes. Only one process can have the file open.
func Open(opts Options) (f *File, cut int64, err error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxPending == 0 {
		opts.MaxPending = defaultPending
	}
	if opts.Report == nil {
		opts.Report = func(error, string) {}
	}
	f = &File{opts: opts, dir: filepath.Dir(opts.Path), fsync: (*os.File).Sync, stop: make(chan struct{}), packing: make(chan struct{}, 1)}
	if cut, err = f.open(); err != nil {
		return nil, 0, err
	}
	// Now nobody else writes it, and nothing is being compressed yet.
	if opts.Resume {
		if f.place, err = LastPlace(opts.Path); err != nil {
			_ = f.f.Close()
			return nil, 0, fmt.Errorf("where to go on cannot be read; move the damaged file elsewhere to begin without it: %w", err)
		}
	}
	f.done.Add(2)
	go f.keepTime()
	go f.pack()
	f.packing <- struct{}{} // what the last run has left
	return f, cut, nil
}

// Place is where the file ended when it was opened, if Options.Resume asked for it.
func (f *File) Place() Place { return f.place }

func (f *File) open() (cut int64, err error) {
	// O_APPEND: a line goes to the end whatever else happens to the file.
	file, err := os.OpenFile(f.opts.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	if err = lock(file); err != nil {
		return 0, fmt.Errorf("%s: %w", f.opts.Path, err)
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is no file", f.opts.Path)
	}
	if foreign, err := f.foreign(file); err != nil {
		return 0, err
	} else if foreign {
		return 0, fmt.Errorf("%s was not written by a logger, and stays as it is: name another file", f.opts.Path)
	}
	end, err := lastLineEnd(file, info.Size())
	if err != nil {
		return 0, err
	}
	if cut = info.Size() - end; cut > 0 {
		if err = file.Truncate(end); err != nil {
			return 0, err
		}
	}
	f.f, f.size = file, end
	f.period = f.periodOf(f.opts.Now())
	if end > 0 {
		f.period = f.periodOf(info.ModTime())
		if f.otherHeader() {
			if err = f.rotate(); err != nil {
				return 0, err
			}
		}
	}
	if f.size == 0 {
		if err = f.append(f.opts.Header); err != nil {
			return 0, err
		}
	}
	return cut, nil
}

func (f *File) foreign(file io.ReaderAt) (bool, error) {
	start := make([]byte, 64)
	n, err := file.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n > 0 && f.opts.Ours != nil && !f.opts.Ours(start[:n]), nil
}

// lastLineEnd finds the end of the last whole line.
func lastLineEnd(file io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(end-int64(len(buf)), 0)
		n, err := file.ReadAt(buf[:end-start], start)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

func (f *File) otherHeader() bool {
	if len(f.opts.Header) == 0 {
		return false
	}
	first := make([]byte, len(f.opts.Header))
	n, _ := f.f.ReadAt(first, 0)
	return !bytes.Equal(first[:n], f.opts.Header)
}

func (f *File) periodOf(t time.Time) time.Time {
	if f.opts.MaxAge == 0 {
		return time.Time{}
	}
	return t.UTC().Truncate(f.opts.MaxAge)
}

// Write appends a line, which ends with a newline. It returns at once even if the disk takes nothing:
// the line then waits in memory and is tried again, and Report is told. The line's bytes are used only
// until Write returns.
func (f *File) Write(line []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) == 0 {
		if f.f == nil {
			return // closed
		}
		err := f.put(line)
		if err == nil {
			return
		}
		f.told(err)
	}
	if f.waiting+len(line) > f.opts.MaxPending {
		if f.dropped == 0 {
			f.opts.Report(fmt.Errorf("%d bytes wait for the disk", f.waiting), "no room in memory: lines are dropped")
		}
		f.dropped++
		return
	}
	f.pending = append(f.pending, bytes.Clone(line))
	f.waiting += len(line)
}

// told reports the first error of a trouble.
func (f *File) told(err error) {
	if !f.trouble {
		f.trouble = true
		f.opts.Report(err, "lines wait in memory and are tried again each second")
	}
}

// put writes one line into the file that it belongs in; where there can be no new one, into the old one.
func (f *File) put(line []byte) error {
	if f.due(len(line)) && f.rotateAfter.IsZero() {
		f.tryRotate()
	}
	return f.append(line)
}

// rotatePause is the time between two tries of a rotation that fails.
const rotatePause = 10 * time.Second

func (f *File) tryRotate() {
	err := f.rotate()
	told := !f.rotateAfter.IsZero()
	switch {
	case err != nil:
		f.rotateAfter = time.Now().Add(rotatePause)
		if !told {
			f.opts.Report(err, "no new file can be begun: lines go on into the old one, and it is tried again")
		}
	case told:
		f.rotateAfter = time.Time{}
		f.opts.Report(nil, "a new file has been begun")
	}
}

func (f *File) due(more int) bool {
	if f.size <= int64(len(f.opts.Header)) {
		f.period = f.periodOf(f.opts.Now())
		return false
	}
	return f.opts.MaxBytes > 0 && f.size+int64(more) > f.opts.MaxBytes || !f.period.Equal(f.periodOf(f.opts.Now()))
}

// append writes the line whole or not at all: what a full disk took of it is cut off again.
func (f *File) append(line []byte) error {
	if len(line) == 0 {
		return nil
	}
	n, err := f.f.Write(line)
	if err != nil {
		if n > 0 {
			if cutErr := f.f.Truncate(f.size); cutErr != nil {
				err = errors.Join(err, cutErr)
			}
		}
		return err
	}
	f.size += int64(len(line))
	f.dirty = true
	if f.opts.Sync.Always {
		f.sync()
	}
	return nil
}

// sync forces what was written to the disk. That it fails makes no line wait: they all stand in the file.
func (f *File) sync() {
	if err := f.fsync(f.f); err != nil {
		if !f.syncBad {
			f.syncBad = true
			f.opts.Report(err, "lines are written, but cannot be forced to the disk: a power cut may take them")
		}
		return
	}
	f.dirty = false
	if f.syncBad {
		f.syncBad = false
		f.opts.Report(nil, "lines are forced to the disk again; those written meanwhile may not be on it")
	}
}

// retry tries what waits, in its order.
func (f *File) retry() {
	for len(f.pending) > 0 {
		if err := f.put(f.pending[0]); err != nil {
			f.told(err)
			return
		}
		f.waiting -= len(f.pending[0])
		f.pending[0] = nil
		f.pending = f.pending[1:]
	}
	if f.trouble {
		f.trouble = false
		f.pending = nil
		f.opts.Report(nil, "the disk takes lines again; what waited has been written")
	}
}

// Dropped is how many lines are lost: there was no room for them in memory while the disk took nothing, or, once the
// file is closed, they still waited.
func (f *File) Dropped() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dropped
}

// keepTime syncs, tries again, and closes the file of a period that is over.
func (f *File) keepTime() {
	defer f.done.Done()
	every := time.Second
	if i := f.opts.Sync.Interval; i > 0 && i < every {
		every = i
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
		}
		f.mu.Lock()
		f.retry()
		if f.dirty && (f.opts.Sync.Interval > 0 || f.syncBad) {
			f.sync()
		}
		if f.due(0) && !time.Now().Before(f.rotateAfter) {
			f.tryRotate()
		}
		f.mu.Unlock()
	}
}

// Close writes what waits, syncs and closes the file. The error tells of lines that the disk did not
// take.
func (f *File) Close() error {
	close(f.stop)
	f.done.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retry()
	var err error
	if n := f.dropped + uint64(len(f.pending)); n > 0 {
		err = fmt.Errorf("%s: %d lines could not be written", f.opts.Path, n)
		f.dropped, f.pending = n, nil
	}
	err = errors.Join(err, f.fsync(f.f), f.f.Close())
	f.f = nil
	return err
}

// ErrInUse is returned by Open if another process has the file open.
var ErrInUse = errors.New("another process writes this file")

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
