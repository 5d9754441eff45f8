package recording

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Faults that another program causes, for Options.Report. What was written before is lost with the file, what is
// written after goes on.
var (
	ErrRemoved   = errors.New("the file was removed by another program")
	ErrTruncated = errors.New("the file was truncated by another program")
)

// lookEvery is the least time between two looks for single lines: a look costs as much as writing a few of them.
const lookEvery = 10 * time.Millisecond

// look checks that the open file is still the one at the path, and opens the path again where it is not.
//
//   - It was moved (logrotate, mv): it keeps its lines, and a new file takes the next ones.
//   - It was removed: lines that were written after the last look are in no file that has a name. They are put before those
//     that wait, to be written to the new file.
//   - It was truncated: the next line goes to its new end.
//
// An error means that no file can be opened at the path: lines wait.
func (f *File) look() error {
	f.looked = time.Now()
	info, err := os.Stat(f.opts.Path)
	if errors.Is(err, fs.ErrPermission) && links(f.f) > 0 { // a directory may not be searched any more: the file is still there
		if !f.blind {
			f.blind = true
			f.opts.Report(err, "the path cannot be checked: lines go on into the open file")
		}
		f.safe = f.size
		return nil
	}
	if err != nil || !os.SameFile(info, f.id) {
		return f.reopen()
	}
	if f.blind {
		f.blind = false
		f.opts.Report(nil, "the path can be checked again")
	}
	if info.Size() < f.size {
		if err := f.truncated(info.Size()); err != nil {
			return err
		}
	} else if !f.torn {
		f.size = info.Size() // also if another program has appended to it
	}
	if f.size == 0 {
		if err := f.append(f.opts.Header); err != nil {
			return err
		}
		f.begun = max(f.begun, f.size)
	}
	f.safe = f.size
	return nil
}

// replaced reports whether the open file is known not to be the one at the path.
func (f *File) replaced() bool {
	info, err := os.Stat(f.opts.Path)
	return err == nil && !os.SameFile(info, f.id) || errors.Is(err, fs.ErrNotExist)
}

func (f *File) reopen() error {
	old := f.openFile
	if _, err := f.open(); err != nil {
		return fmt.Errorf("the file was moved or removed, and cannot be opened again: %w", err)
	}
	f.rotateAfter, f.blind = time.Time{}, false
	defer func() { _ = old.f.Close() }()
	if links(old.f) > 0 {
		if err := f.fsync(old.f); err != nil {
			f.opts.Report(err, "the moved file cannot be forced to the disk: a power cut may take its last lines")
		}
		f.opts.Report(nil, "the file was moved: a new one has been opened at its path")
		return nil
	}
	lines, err := old.tail()
	if err != nil {
		f.opts.Report(err, "the last lines of the removed file cannot be read: they are lost")
	}
	f.pending = append(lines, f.pending...)
	for _, line := range lines {
		f.waiting += len(line)
	}
	removed := max(0, old.safe-old.begun)
	f.removed += removed
	f.opts.Report(ErrRemoved, fmt.Sprintf("a new one has been opened at its path; %d bytes that were written here are gone", removed))
	return nil
}

// tail returns the lines that were written since the file was last seen to have a name.
func (o *openFile) tail() ([][]byte, error) {
	b := make([]byte, o.size-o.safe)
	n, err := o.f.ReadAt(b, o.safe)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	var lines [][]byte
	for line := range bytes.Lines(b[:n]) {
		lines = append(lines, line)
	}
	return lines, err
}

// truncated makes lines go on behind what another program has left of the file.
func (f *File) truncated(size int64) error {
	removed := max(0, f.size-max(size, f.begun))
	f.removed += removed
	end, err := lastLineEnd(f.f, size)
	if err != nil {
		return err
	}
	f.size, f.begun, f.torn = end, min(f.begun, end), end < size
	f.opts.Report(ErrTruncated, fmt.Sprintf("lines go on behind what is left; %d bytes that were written here are gone", removed))
	return nil
}

// Reopen checks at once whether the file is still the one at its path, as it is done while lines are written and each
// second: for a program that has moved the file and says so.
func (f *File) Reopen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil {
		f.retry()
	}
}

// Removed is how many bytes that this File has written were removed or truncated by another program.
func (f *File) Removed() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.removed
}

// openLocked opens or makes the file at the path and claims it for this process. Another process that rotates may give
// the path to a new file between the two: then the file that was opened is a closed one, and the path is tried again.
func openLocked(path string) (*os.File, os.FileInfo, error) {
	for tries := 1; ; tries++ {
		// O_APPEND: a line goes to the end whatever else happens to the file.
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return nil, nil, err
		}
		info, err := claim(file, path)
		if err == nil {
			return file, info, nil
		}
		_ = file.Close()
		if !errors.Is(err, errElsewhere) || tries == 100 {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
}

var errElsewhere = errors.New("the file is replaced again and again by another program")

func claim(file *os.File, path string) (os.FileInfo, error) {
	if err := lock(file); err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if at, err := os.Stat(path); err != nil || !os.SameFile(at, info) {
		return nil, errElsewhere
	}
	return info, nil
}

// resolve follows symbolic links at the end of the path, to a file that need not be there.
func resolve(path string) string {
	for range 40 { // as many as Linux follows
		link, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(link) {
			link = filepath.Dir(path) + string(filepath.Separator) + link // Join would drop a .. that follows a link
		}
		path = link
	}
	return path
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
