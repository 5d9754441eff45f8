package transport

import (
	"context"
	"errors"
	"iter"
	"time"
)

// JournalEntry is one log_telemetry event as the journal keeps it. Entries are shared: nobody may change one,
// or the bytes of its value, once it has been handed over.
type JournalEntry struct {
	Offset uint64    // its place, from 1; set by the journal. Offsets grow, mostly by 1
	Stored time.Time // when it was appended, by the clock of the node that took it; set by the journal
	Node   string    // the server that took it from its client; set by the journal

	Source string    // of the envelope; empty for any other value
	Boot   string    // of the envelope
	Seq    uint64    // of the envelope; 0 for any other value, which is then never taken for a repeat
	Time   time.Time // of the envelope, by the source's clock

	Room      string // that it is for; empty for everyone
	Namespace string // in which it was sent
	Sid       string // of the client that sent it, and so does not get it back

	Value Value // the event's one argument, exactly as it came
}

// JournalState is how much a journal holds.
type JournalState struct {
	// ID tells this journal from any other: made with it, the same for all nodes, and after any restart. Offsets mean
	// something in the journal with the ID alone.
	ID    string
	First uint64 // offset of the oldest entry; 0 if there is none
	Last  uint64 // offset given last; it stays when the entry itself has aged out
	Bytes uint64 // on disk, or in memory, with all that is around the entries
}

// JournalStart names a place in a journal: an offset, a time, or how many of the last entries.
// The one that is not zero counts; all zero is the oldest entry.
type JournalStart struct {
	Offset uint64
	Time   time.Time // first entry that was stored at that time or later; later ones are stamped earlier if the clock was set back
	Last   uint64    // that many of the entries there are
}

// Journal is the ordered, durable log of the log_telemetry events of all nodes. All methods are safe for
// concurrent use. Package journal has the one on NATS JetStream.
type Journal interface {
	// Append hands an entry over. done is called exactly once, with the entry's offset once it is as
	// durable as the journal is set to make it, or with an error that is one of the ErrJournal...
	// below. duplicate means that (source, boot, seq) was there before; the offset is then that of the
	// entry that is there, or 0 where the journal no longer knows it. Calls of done come one at a time, for new entries of
	// one (source, boot) in the order of their Append, and must not block. Append itself blocks only while
	// more waits than the journal's queue takes. What does not get into that, because ctx ends meanwhile or the journal is
	// closed or only read, has its answer before Append returns.
	//
	// Order: when an entry is refused, those that wait behind it are refused too, and for a moment those
	// of the same (source, boot) with a higher seq. A publisher that resends from the first refused one keeps its order.
	//
	// The bytes of the entry's value are copied before Append returns.
	Append(ctx context.Context, e JournalEntry, done func(offset uint64, duplicate bool, err error))
	// Tail calls next with all entries from the offset on, in order, without a hole and without a
	// repeat, first what is kept, then what comes. It returns when ctx ends, next returns an error, or the
	// journal is closed. next runs on the caller's goroutine; a slow one holds up nobody else. An offset beyond the
	// last means: what comes from now on. If entries were given up to the limits before Tail came to them, the next
	// one's offset shows it. The slice is next's until it returns; the entries may be kept.
	Tail(ctx context.Context, from uint64, next func([]JournalEntry) error) error
	// Read yields the entries from offset from to offset to, both inclusive, reading a bounded batch at a
	// time as they are taken. An error is yielded last. It does not wait for what is not there yet.
	Read(ctx context.Context, from, to uint64) iter.Seq2[JournalEntry, error]
	// Locate returns the offset of the first entry at or after the place; if there is none yet, the one
	// that the next entry will at least have.
	Locate(ctx context.Context, start JournalStart) (uint64, error)
	// State tells how much there is.
	State(ctx context.Context) (JournalState, error)
}

// What a Journal answers when it does not take an entry, or cannot be read. They come wrapped, with what is known.
var (
	// ErrJournalFull: no room, on the disk or within the journal's limits. It may be taken later.
	ErrJournalFull = errors.New("journal full")
	// ErrJournalUnavailable: the journal cannot be reached or cannot write. It may be taken later.
	ErrJournalUnavailable = errors.New("journal unavailable")
	// ErrJournalClosed: the journal has been closed, or is being closed.
	ErrJournalClosed = errors.New("journal closed")
	// ErrJournalTooLarge: the entry will never fit.
	ErrJournalTooLarge = errors.New("too large for the journal")
	// ErrJournalTooLate: the entry's seq is so far behind in a run with so many holes that the journal
	// cannot tell whether it has it. Sending it again does not help.
	ErrJournalTooLate = errors.New("too late for the journal")
)
