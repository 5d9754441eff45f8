package journal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tbmsock/transport"
)

// store is the NATS side of a journal: its two streams, behind a few calls that say what became of them.
type store struct {
	opts     Options
	embedded *embedded // nil with a URL, or a window
	window   string    // path of the socket through which another process's journal is read; else empty
	onLive   func(*message)
	onLost   func() // messages for onLive may have been missed

	maxMessage atomic.Int64 // what the stream takes as one message, as seen last; 0 or less if it has no limit of its own

	mu sync.RWMutex // held for writing while the embedded server is started again
	nc *nats.Conn   // nil while there is none
	rc *nats.Conn   // for reading, so that a replay is not in the way of what is written
	js jetstream.JetStream

	up   context.Context // of nc: ends when the connection is lost, since no answer comes any more
	lost context.CancelFunc
}

// message is one message of the stream of blocks.
type message struct {
	seq  uint64
	data []byte
}

const (
	fetchTimeout = 5 * time.Second
	setUpTimeout = 30 * time.Second

	fetchMessages = 1024
	fetchBytes    = 256 << 10
	// Of those who replay: smaller, so that those who are live need not wait long for the server.
	readMessages = 128
	readBytes    = 64 << 10
)

func (s *store) blockSubject() string { return s.opts.Stream + ".block" }
func (s *store) liveSubject() string  { return s.opts.Stream + ".live" }
func (s *store) tableSubject() string { return s.opts.Stream + ".table" }
func (s *store) tableStream() string  { return s.opts.Stream + "_table" }

// open connects, and makes the streams unless the journal is only to be read.
func (s *store) open(ctx context.Context) error {
	s.up, s.lost = context.WithCancel(context.Background())
	if s.opts.URL == "" {
		var err error
		s.embedded, err = newEmbedded(s.opts)
		if s.opts.readOnly && (errors.Is(err, ErrInUse) || errors.Is(err, errOtherUser)) {
			// A server that uses it lets others read.
			path := windowPath(s.opts.Dir)
			if nc, dialErr := net.Dial("unix", path); dialErr == nil {
				_ = nc.Close()
				s.window, err = path, nil
			} else if !errors.Is(dialErr, os.ErrNotExist) {
				err = fmt.Errorf("%w; nor does it answer: %w", err, dialErr)
			}
		}
		if err != nil {
			return err
		}
	}
	if err := s.connect(ctx, setUpTimeout); err != nil {
		if s.embedded != nil {
			err = errors.Join(fmt.Errorf("journal in %s: %w", s.place(), err), s.embedded.close())
		} else {
			err = fmt.Errorf("journal at %s: %w", s.place(), err)
		}
		return err
	}
	if s.embedded != nil {
		s.embedded.openWindow()
	}
	return nil
}

// place names where the journal is, for people.
func (s *store) place() string {
	switch {
	case s.opts.Memory:
		return "memory"
	case s.opts.Dir != "":
		return s.opts.Dir
	}
	return redact(s.opts.URL)
}

// connect makes the connections and the streams, within a time that does not count the start of an embedded server, which reads files.
func (s *store) connect(ctx context.Context, timeout time.Duration) error {
	options := []nats.Option{
		nats.Name("tbmsock " + s.opts.Node),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.ReconnectBufSize(-1), // what cannot be sent now is tried again by us
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(5 * time.Second),
		nats.ReconnectHandler(func(*nats.Conn) { s.onLost() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				s.onLost()
				return
			}
			s.opts.OnWarning("NATS: " + err.Error())
		}),
	}
	if s.embedded != nil {
		if err := s.embedded.start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var nc, rc *nats.Conn
	fail := func(err error) error {
		for _, c := range []*nats.Conn{nc, rc} {
			if c != nil {
				c.Close()
			}
		}
		if s.embedded != nil {
			s.embedded.stop()
		}
		return err
	}
	var err error
	nc, err = s.dial(append(options, nats.DisconnectErrHandler(func(nc *nats.Conn, _ error) { s.down(nc) })))
	if err == nil {
		// For as many messages as get asks for; the default of 64 Ki costs 512 KiB a call.
		rc, err = s.dial(append(options, nats.SyncQueueLen(fetchMessages+16)))
	}
	if err != nil {
		return fail(fmt.Errorf("%w: %w", transport.ErrJournalUnavailable, err))
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return fail(err)
	}
	if err := s.setUp(ctx, nc, js); err != nil {
		return fail(err)
	}
	if s.opts.URL != "" {
		sub, err := nc.Subscribe(s.liveSubject(), s.live)
		if err != nil {
			return fail(err)
		}
		if err := sub.SetPendingLimits(-1, 64<<20); err != nil {
			return fail(err)
		}
		if err := nc.FlushWithContext(ctx); err != nil {
			return fail(err)
		}
	}
	s.mu.Lock()
	s.nc, s.rc, s.js = nc, rc, js
	s.mu.Unlock()
	return nil
}

func (s *store) dial(options []nats.Option) (*nats.Conn, error) {
	switch {
	case s.embedded != nil:
		return nats.Connect("", append(options, s.embedded.options()...)...)
	case s.window != "":
		return nats.Connect("", append(options, nats.SetCustomDialer(windowDialer{s.window}))...)
	}
	return nats.Connect(s.opts.URL, options...)
}

// down ends the wait for answers that a lost connection owes, and lets the next connection begin anew. It may be called late, when there
// is another one already.
func (s *store) down(nc *nats.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nc == nc {
		s.answersEnd()
	}
}

// answersEnd is for when s.mu is held.
func (s *store) answersEnd() {
	s.lost()
	s.up, s.lost = context.WithCancel(context.Background())
}

// live takes what the server sends of each block once that is in the stream.
func (s *store) live(m *nats.Msg) {
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		s.onLost()
		return
	}
	s.onLive(&message{seq, m.Data})
}

// setUp makes the streams, or brings their limits up to date. Just after a cluster's start it may take a
// while until there is a leader to do it.
func (s *store) setUp(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) error {
	if !versionAtLeast(nc.ConnectedServerVersion(), 2, 11) {
		return fmt.Errorf("NATS server %s is too old: the journal needs 2.11 or later", nc.ConnectedServerVersion())
	}
	for {
		err := s.makeStreams(ctx, js)
		if err == nil || !transient(err) {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", transport.ErrJournalUnavailable, err)
		}
	}
}

// errStreamIsNew: another node is just making the stream. The servers refuse the name to others before they know the stream.
var errStreamIsNew = errors.New("another node is making it")

func transient(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code >= 500
	}
	return errors.Is(err, errStreamIsNew) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrReconnectBufExceeded)
}

func (s *store) makeStreams(ctx context.Context, js jetstream.JetStream) error {
	storage := jetstream.FileStorage
	if s.opts.Memory {
		storage = jetstream.MemoryStorage
	}
	discard := jetstream.DiscardOld
	if s.opts.RefuseWhenFull {
		discard = jetstream.DiscardNew
	}
	blocks := func(c *jetstream.StreamConfig) {
		c.Subjects = []string{s.blockSubject()}
		c.MaxAge, c.MaxBytes, c.Discard = 0, s.opts.RetainBytes, discard // see age.go
		c.Duplicates = min(2*time.Minute, s.opts.RetainAge)
		c.AllowDirect = true
		if s.embedded == nil {
			c.MaxAge = s.opts.RetainAge
			c.RePublish = &jetstream.RePublish{Source: s.blockSubject(), Destination: s.liveSubject()}
		}
	}
	table := func(c *jetstream.StreamConfig) {
		c.Subjects = []string{s.tableSubject()}
		c.MaxMsgsPerSubject, c.AllowDirect = 1, true
	}
	// The table first: it knows the journal's id where the other has been lost.
	if err := s.makeStream(ctx, js, s.tableStream(), storage, "which events the journal of tbmsock has", table); err != nil {
		return err
	}
	return s.makeStream(ctx, js, s.opts.Stream, storage, "telemetry events of tbmsock", blocks)
}

func (s *store) makeStream(ctx context.Context, js jetstream.JetStream, name string, storage jetstream.StorageType, description string, set func(*jetstream.StreamConfig)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && s.opts.readOnly:
		return ErrNoJournal
	case errors.Is(err, jetstream.ErrStreamNotFound):
		c := jetstream.StreamConfig{Name: name, Description: description, Storage: storage, Replicas: s.opts.Replicas}
		id, known := newID(), false
		if name == s.opts.Stream {
			if id, known, err = s.idAgain(ctx, js, id); err != nil {
				break
			}
			c.Metadata = map[string]string{idKey: id}
		}
		set(&c)
		stream, err = js.CreateStream(ctx, c)
		if err == nil && (known || name == s.opts.Stream && stream.CachedInfo().State.LastSeq > 0) {
			s.opts.OnWarning(remade(id, known))
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // by another node, just now, with an id of its own
			err = errStreamIsNew
		}
	case err == nil && !s.opts.readOnly:
		old := stream.CachedInfo().Config
		c := old
		set(&c)
		if !sameLimits(old, c) {
			_, err = js.UpdateStream(ctx, c)
		}
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	return nil
}

// ErrNoJournal is what OpenReader returns where there is none.
var ErrNoJournal = errors.New("there is no journal")

func sameLimits(a, b jetstream.StreamConfig) bool {
	republish := func(c jetstream.StreamConfig) jetstream.RePublish {
		if c.RePublish == nil {
			return jetstream.RePublish{}
		}
		return *c.RePublish
	}
	return slices.Equal(a.Subjects, b.Subjects) && a.MaxAge == b.MaxAge && a.MaxBytes == b.MaxBytes && a.Discard == b.Discard &&
		a.AllowDirect == b.AllowDirect && a.MaxMsgsPerSubject == b.MaxMsgsPerSubject && republish(a) == republish(b)
}

// restart starts the embedded server again. Where JetStream has met an error in writing, it does not write again otherwise.
func (s *store) restart(ctx context.Context) error {
	s.disconnect()
	s.embedded.stop()
	if err := s.connect(ctx, s.opts.AppendTimeout); err != nil {
		return fmt.Errorf("%w: %w", transport.ErrJournalUnavailable, err)
	}
	return nil
}

func (s *store) disconnect() {
	s.mu.Lock()
	nc, rc := s.nc, s.rc
	s.nc, s.rc, s.js = nil, nil, nil
	s.answersEnd()
	s.mu.Unlock()
	if nc != nil {
		nc.Close()
		rc.Close()
	}
}

func (s *store) close() error {
	s.disconnect()
	s.mu.Lock()
	s.lost()
	s.mu.Unlock()
	if s.embedded != nil {
		return s.embedded.close()
	}
	return nil
}

func (s *store) conn() (*nats.Conn, jetstream.JetStream, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.nc == nil {
		return nil, nil, fmt.Errorf("%w: not connected to %s", transport.ErrJournalUnavailable, s.place())
	}
	return s.nc, s.js, nil
}

// maxPayload is the largest message that can be published; 0 if that is not known now.
func (s *store) maxPayload() int64 {
	nc, _, err := s.conn()
	if err != nil {
		return 0
	}
	return nc.MaxPayload()
}

// saveTable stores the table in place of the one before.
func (s *store) saveTable(ctx context.Context, data []byte) error {
	_, err := s.request(ctx, &nats.Msg{Subject: s.tableSubject(), Data: data})
	return err
}

// loadTable returns the table that was stored last, nil if there is none.
func (s *store) loadTable(ctx context.Context) ([]byte, error) {
	_, js, err := s.conn()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, s.tableStream())
	if err == nil {
		var m *jetstream.RawStreamMsg
		if m, err = stream.GetLastMsgForSubject(ctx, s.tableSubject()); err == nil {
			return m.Data, nil
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %w", transport.ErrJournalUnavailable, err)
}
