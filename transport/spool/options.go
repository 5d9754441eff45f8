package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// FullPolicy names what happens when no more may be kept.
type FullPolicy uint8

const (
	// DropOldest forgets the oldest segment, and counts what was in it.
	DropOldest FullPolicy = iota
	// Refuse lets Append return [ErrFull].
	Refuse
)

var (
	// ErrFull is returned by Append under [Refuse].
	ErrFull = errors.New("spool: full")
	// ErrTooLarge is returned for a record that is larger than [MaxRecord], or than the whole spool may be.
	ErrTooLarge = errors.New("spool: the record is too large")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("spool: closed")
	// ErrInUse is returned by Open if another process has the directory.
	ErrInUse = errors.New("another process uses this directory")
	// ErrPosition is returned by Ack for a record that Next has not returned.
	ErrPosition = errors.New("spool: nobody was given a record of this position")
)

const (
	// MaxRecord is the size of the largest record.
	MaxRecord = 64 << 20
	// MinBytes is the least that a spool may be limited to.
	MinBytes = 64 << 10

	defaultBytes = 1 << 30
	minSegment   = 4 << 10
	maxSegment   = 16 << 20
)

// Options configures a [Spool]. Dir is required; the zero value of every other field means the default named.
type Options struct {
	Dir      string
	MaxBytes int64 // 1 GiB of files; a segment is a 64th of it, 16 MiB at most
	WhenFull FullPolicy
	// SyncInterval is how much of the newest a power cut may take: records are forced to the disk (fsync) at
	// least so often. 0: before Append returns. A crash of the process takes none either way.
	SyncInterval time.Duration
	// Report is told of what goes wrong behind the calls, once for each trouble, and of its end (err nil). It
	// must not call the Spool.
	Report func(err error, what string)
}

// Recovered is what Open has found.
type Recovered struct {
	Records uint64 // that wait; those that the disk has spoilt are among them until they are read
	Bytes   int64  // of files
	Torn    int64  // bytes cut off the end: what a crash has left of records that no Append had returned for
	AckLost bool   // the file of the acknowledged position cannot be read: some records come again
}

// Stats counts what became of the records of this run, and of those that it has found. All but Waiting, Bytes
// and Dropped only grow.
type Stats struct {
	Appended uint64
	Acked    uint64
	// Dropped is what was forgotten for want of room. It shrinks when such a record, because it was under way,
	// is acknowledged yet.
	Dropped uint64
	Refused uint64 // by Append, for want of room
	Damaged uint64 // spoilt by the disk: skipped
	Waiting uint64 // now, handed out or not
	Bytes   int64  // of files, now
}

// hint tells people what to do about an error.
func hint(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; the directory and all in it must belong to the user that this process runs as", err)
	}
	return err
}
