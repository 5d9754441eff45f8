package journal

import (
	"errors"
	"fmt"
	"time"
)

// Options says where a journal is kept and how. The zero value of each field means the default named. Exactly one
// of Dir, Memory and URL is to be given.
type Options struct {
	Dir    string // embedded server, files in this directory; made if missing
	Memory bool   // embedded server, nothing on disk
	URL    string // outside NATS server or cluster: nats://host:port[,nats://...]

	Node string // name of this server in the journal; default: made up

	// RetainAge is the age from which on entries are given up; 72 h. It counts the time for which the journal was open,
	// and not that of a wall clock that may have been wrong; with a URL it is NATS's, by the clocks of the NATS
	// servers.
	RetainAge   time.Duration
	RetainBytes int64 // 4 GiB (Memory: 256 MiB); beyond it the oldest are given up
	// RefuseWhenFull refuses new entries at RetainBytes, where otherwise the oldest are given up.
	RefuseWhenFull bool

	// SyncInterval, if not 0, is how long an acknowledged entry may wait for its fsync; 0 means fsync
	// before each acknowledgement. Entries survive the end of the process in both. It is
	// for Dir only: outside servers have their own setting.
	SyncInterval time.Duration
	// Reserve is how much of the disk is left free: below it entries are refused with
	// [transport.ErrJournalFull]; 64 MiB. For Dir only. Where it is negative by more than the
	// disk holds, nobody looks, and a full disk is met when it is.
	Reserve int64

	Stream   string // name of the stream; "TBM"
	Replicas int    // in how many outside servers each entry is kept; 1. For URL only, and only when the stream is made

	AppendTimeout time.Duration // 5 s; how long an entry is tried before it is refused
	QueueBytes    int64         // 16 MiB of memory for what waits to be written; beyond it Append blocks
	CacheBytes    int64         // 4 MiB of the last entries are kept in memory for those who follow

	// OnHealth is told when entries cannot be written any more, with the reason, and with nil when they can
	// again. It must neither block nor call the journal.
	OnHealth func(error)
	// OnWarning is told what the embedded server, or the journal, has to say. It must neither block nor
	// call the journal.
	OnWarning func(string)

	// Now reads the wall clock, which stamps entries; time.Now.
	Now func() time.Time

	readOnly bool
	elapsed  func() time.Duration // of a steady clock

	poll      time.Duration // 1 s; how often the writer looks for what does not come by itself
	stall     time.Duration // 30 s; how long opening may stand still, for instance without a leader
	tellAfter time.Duration // 5 s; how often it is told that the journal is being read
	// brokenFor is how long the entries behind a refused one are refused too: time enough to resend it, and little for those who
	// never will. 2 s.
	brokenFor  time.Duration
	ackTimeout time.Duration // 2 s; how long an answer is awaited over a connection that stands
}

// Limits of a block.
const (
	maxBlockBytes   = 256 << 10 // a larger entry has a block of its own
	maxBlockEntries = 4096
	// So many blocks are written a second at most, in the long run. Nobody waits below that rate of
	// entries; above it they share blocks, and wait a millisecond.
	blocksPerSecond = 3000
	blocksAtOnce    = 100
)

func (o Options) withDefaults() (Options, error) {
	n := 0
	for _, given := range []bool{o.Dir != "", o.Memory, o.URL != ""} {
		if given {
			n++
		}
	}
	if n != 1 {
		return o, errors.New("journal: give one of a directory, memory, or the URL of a NATS server")
	}
	if o.SyncInterval < 0 || o.RetainAge < 0 || o.RetainBytes < 0 {
		return o, errors.New("journal: a limit or interval is negative")
	}
	if o.RetainBytes == 0 {
		o.RetainBytes = 4 << 30
		if o.Memory {
			o.RetainBytes = 256 << 20
		}
	}
	if o.RetainBytes < 1<<20 {
		return o, fmt.Errorf("journal: %d bytes are too few to retain; 1 MiB is the least", o.RetainBytes)
	}
	if o.RetainAge == 0 {
		o.RetainAge = 72 * time.Hour
	}
	if o.RetainAge < time.Second {
		return o, fmt.Errorf("journal: %v is too short to retain; 1 s is the least", o.RetainAge)
	}
	if o.Reserve == 0 {
		o.Reserve = 64 << 20
	}
	if o.Stream == "" {
		o.Stream = "TBM"
	}
	if err := checkStream(o.Stream); err != nil {
		return o, err
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.AppendTimeout == 0 {
		o.AppendTimeout = 5 * time.Second
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 16 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 4 << 20
	}
	if o.poll == 0 {
		o.poll = time.Second
	}
	if o.stall == 0 {
		o.stall = setUpTimeout
	}
	if o.brokenFor == 0 {
		o.brokenFor = 2 * time.Second
	}
	if o.ackTimeout == 0 {
		o.ackTimeout = 2 * time.Second
	}
	if o.tellAfter == 0 {
		o.tellAfter = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.elapsed == nil {
		began := time.Now()
		o.elapsed = func() time.Duration { return time.Since(began) }
	}
	if o.OnHealth == nil {
		o.OnHealth = func(error) {}
	}
	if o.OnWarning == nil {
		o.OnWarning = func(string) {}
	}
	return o, nil
}

// checkStream refuses what cannot be part of a NATS subject.
func checkStream(name string) error {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return fmt.Errorf("journal: stream %q: use letters, digits, - and _", name)
		}
	}
	return nil
}
