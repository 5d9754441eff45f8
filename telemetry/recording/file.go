// Package recording keeps telemetry in files: lines that are written once, whole, in order, into a
// file that is closed and compressed when it has become long or old. It knows lines and files, not
// where lines come from nor what stands in them.
package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
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
	// Report is called with each fault and what is done about it, once per fault, and when the fault is over (err nil).
	// [ErrRemoved] and [ErrTruncated] are faults that another program caused. It must not call the File.
	Report func(err error, what string)
}

const defaultPending = 64 << 20

// File is an append-only file of lines. It can be used by several goroutines. Another program may move, remove or
// truncate the file while it is open; see look.
type File struct {
	opts  Options
	place Place // at which it ended when it was opened

	mu sync.Mutex
	openFile
	fsync   func(*os.File) error
	syncBad bool     // that it cannot be synced has been told
	pending [][]byte // lines that the disk has not taken
	waiting int      // bytes of them
	dropped uint64
	trouble bool

	looked    time.Time // when look was called last
	lookEvery time.Duration

	blind   bool  // that the path cannot be checked has been reported
	removed int64 // bytes that were written here and that another program has removed or truncated

	rotateAfter time.Time // when a rotation that failed is tried again; zero: none has
	sequence    uint64    // of the last file that was closed

	stop    chan struct{}
	done    sync.WaitGroup
	packing chan struct{} // asks the packer to look
}

// openFile is the file that lines are written to.
type openFile struct {
	f      *os.File
	id     os.FileInfo // to recognize it at its path
	target string      // Options.Path with symbolic links resolved: rotation replaces this file, not the link
	size   int64       // up to the end of the last whole line
	begun  int64       // size at which this File began to write to it
	safe   int64       // size when the file was last seen to have a name; what follows may be in a removed file only
	period time.Time   // in which the file was begun; zero if files do not age
	dirty  bool        // written, not yet synced
	torn   bool        // part of a line stands behind size and could not be cut off yet
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
	f = &File{opts: opts, fsync: (*os.File).Sync, lookEvery: lookEvery, stop: make(chan struct{}), packing: make(chan struct{}, 1)}
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

// open opens or makes the file at the path, which lines go to from then on. After an error f is as it was before.
func (f *File) open() (cut int64, err error) {
	file, info, err := openLocked(f.opts.Path)
	if err != nil {
		return 0, err
	}
	before := f.openFile
	defer func() {
		if err != nil {
			_ = file.Close()
			f.openFile = before
		}
	}()
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", f.opts.Path)
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
	f.openFile = openFile{f: file, id: info, target: resolve(f.opts.Path), size: end, period: f.periodOf(f.opts.Now())}
	if err = f.dropSecondName(); err != nil {
		return 0, err
	}
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
	f.begun, f.safe = f.size, f.size
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
	if f.f == nil {
		return // closed
	}
	if len(f.pending) == 0 {
		var err error
		if time.Since(f.looked) >= f.lookEvery || f.due(len(line)) {
			err = f.look()
		}
		if err == nil && len(f.pending) == 0 {
			err = f.put(line)
			if err == nil {
				return
			}
		}
		if err != nil {
			f.told(err)
		}
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
	if !f.trouble { // it waits only for lines that look has found in a removed file
		f.retry()
	}
}

// told reports the first error of a fault.
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
	case err != nil && f.replaced(): // it was moved or removed meanwhile: look opens a new one
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
	if f.torn {
		if err := f.f.Truncate(f.size); err != nil {
			return err
		}
		f.torn = false
	}
	n, err := f.f.Write(line)
	if err != nil {
		if n > 0 {
			if cutErr := f.f.Truncate(f.size); cutErr != nil {
				f.torn = true
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

// retry writes what waits, in its order. Where it succeeds, all lines are in a file that has a name.
func (f *File) retry() {
	for {
		if err := f.look(); err != nil {
			f.told(err)
			return
		}
		if len(f.pending) == 0 {
			break
		}
		if err := f.put(f.pending[0]); err != nil {
			f.told(err)
			return
		}
		f.waiting -= len(f.pending[0])
		f.pending[0] = nil
		f.pending = f.pending[1:]
	}
	f.pending = nil
	if f.trouble {
		f.trouble = false
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
		if !f.trouble && f.due(0) && !time.Now().Before(f.rotateAfter) {
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
	n := f.dropped + uint64(len(f.pending))
	if f.trouble && links(f.f) == 0 { // what was written last went into a removed file
		unsafe, _ := f.tail()
		n += uint64(len(unsafe))
	}
	var err error
	if n > 0 {
		err = fmt.Errorf("%s: %d lines could not be written", f.opts.Path, n)
		f.dropped, f.pending = n, nil
	}
	err = errors.Join(err, f.fsync(f.f), f.f.Close())
	f.f = nil
	return err
}

// ErrInUse is returned by Open if another process has the file open.
var ErrInUse = errors.New("another process writes this file")
