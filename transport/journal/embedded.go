package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"tbmsock/transport"
	"tbmsock/transport/internal/dirlock"
)

// ErrInUse is what Open returns for a directory that another process writes.
var ErrInUse = errors.New("another process is using this journal")

// errOtherUser is what OpenReader returns for a directory of somebody else's whose server does not run.
var errOtherUser = errors.New("the directory belongs to another user, and whoever reads it leaves files in it")

const (
	maxEmbeddedPayload = 32 << 20 // near what the file store takes as one record
	startTimeout       = 60 * time.Second
)

// embedded is a NATS server within the process. It listens on nothing.
type embedded struct {
	opts Options
	dir  string
	root string   // of the server's files: dir, or a mirror of it
	lock *os.File // nil for memory

	log     *serverLog
	broken  bool      // has to be started again; the writer's
	started time.Time // again, last; the writer's
	window  *window   // nil for memory, or if it could not be opened
	secret  string    // of the user who may write

	mu     sync.Mutex
	server *server.Server // nil while it is down
}

// users are this process, with all rights, and those who come without a name, to read.
func (m *embedded) users() []*server.User {
	return []*server.User{
		{Username: "owner", Password: m.secret},
		{Username: "reader", Password: rand.Text(), Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}},
	}
}

// newEmbedded prepares the directory and takes its lock; start starts the server.
func newEmbedded(opts Options) (*embedded, error) {
	m := &embedded{opts: opts, dir: opts.Dir, log: &serverLog{warn: opts.OnWarning}, secret: rand.Text()}
	if opts.Memory {
		// The server wants a directory even for what it never writes.
		dir, err := os.MkdirTemp("", "tbmsock-journal-")
		if err != nil {
			return nil, fmt.Errorf("journal in memory: %w", err)
		}
		m.dir, m.root = dir, dir
		return m, nil
	}
	fail := func(err error) (*embedded, error) {
		return nil, fmt.Errorf("journal in %s: %w", opts.Dir, err)
	}
	if opts.readOnly {
		if _, err := os.Stat(filepath.Join(opts.Dir, server.JetStreamStoreDir)); errors.Is(err, os.ErrNotExist) {
			return fail(ErrNoJournal)
		}
		if err := checkOwner(opts.Dir); err != nil {
			return fail(err)
		}
	}
	// What stands in it is nobody else's business, and who can write here can write history.
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return fail(explain(err))
	}
	if info, err := os.Stat(opts.Dir); err != nil {
		return fail(explain(err))
	} else if !info.IsDir() {
		return fail(errors.New("not a directory"))
	}
	lock, err := dirlock.Lock(opts.Dir, ErrInUse)
	if err != nil {
		return fail(explain(err))
	}
	if err := dirlock.Sign(lock); err != nil && !errors.Is(err, syscall.ENOSPC) {
		_ = lock.Close()
		return fail(explain(err))
	}
	m.lock, m.root = lock, m.dir
	err = removeMirrors(m.dir)
	if err == nil {
		err = m.checkWritable()
	}
	switch {
	case err != nil:
	case opts.readOnly:
		m.root, err = makeMirror(m.dir, opts.Stream)
	default:
		if err = m.dropDamaged(); err == nil {
			err = m.liftAge()
		}
	}
	if err != nil {
		_ = lock.Close()
		return fail(explain(err))
	}
	return m, nil
}

// explain says what is to be done, where the error alone would leave one guessing.
func explain(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; the journal's directory and all in it must belong to the user that the server runs as", err)
	case isReadOnly(err):
		return fmt.Errorf("%w; the journal needs a directory that can be written", err)
	}
	return err
}

func isReadOnly(err error) bool {
	return err != nil && strings.Contains(err.Error(), "read-only file system")
}

// checkWritable finds out before the server does what it would report one file at a time.
func (m *embedded) checkWritable() error {
	return filepath.WalkDir(m.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			f, err := os.CreateTemp(path, ".writable-")
			if err != nil {
				return err
			}
			_ = f.Close()
			return os.Remove(f.Name())
		case d.Type().IsRegular() && path != filepath.Join(m.dir, "lock"):
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			return f.Close()
		}
		return nil
	})
}

// start runs a server on the directory, again if need be.
func (m *embedded) start() error {
	o := &server.Options{
		ServerName: "tbmsock",
		DontListen: true,
		NoSigs:     true,
		MaxPayload: maxEmbeddedPayload,
		MaxPending: 4 * maxEmbeddedPayload,
		JetStream:  true,
		StoreDir:   m.root,
		// The limits are the streams', and the reserve.
		JetStreamMaxStore:      1 << 50,
		JetStreamMaxMemory:     64 << 20,
		Users:                  m.users(),
		NoAuthUser:             "reader",
		SyncAlways:             m.opts.SyncInterval == 0,
		SyncInterval:           m.opts.SyncInterval,
		DisableJetStreamBanner: true,
	}
	if m.opts.Memory {
		o.JetStreamMaxMemory = m.opts.RetainBytes + 64<<20
		o.SyncAlways, o.SyncInterval = false, time.Hour
	}
	s, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("embedded NATS server: %w", err)
	}
	s.SetLoggerV2(m.log, false, false, false)
	s.Start()
	m.mu.Lock()
	m.server = s
	m.mu.Unlock()
	if !s.ReadyForConnections(startTimeout) {
		m.stop()
		return fmt.Errorf("embedded NATS server: not ready within %v", startTimeout)
	}
	if !s.JetStreamEnabled() {
		m.stop()
		return fmt.Errorf("embedded NATS server: %s", m.log.latest("JetStream is disabled"))
	}
	return nil
}

// options connect this process to its server, which is up.
func (m *embedded) options() []nats.Option {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []nats.Option{nats.InProcessServer(m.server), nats.UserInfo("owner", m.secret)}
}

// stop ends the server and waits for it.
func (m *embedded) stop() {
	m.mu.Lock()
	s := m.server
	m.server = nil
	m.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// openWindow lets others read. Without it the journal works as well.
func (m *embedded) openWindow() {
	if m.opts.Memory || m.opts.readOnly {
		return
	}
	w, err := openWindow(m.dir, func() (net.Conn, error) {
		m.mu.Lock()
		s := m.server
		m.mu.Unlock()
		if s == nil {
			return nil, errors.New("the embedded server is down")
		}
		return s.InProcessConn()
	})
	if err != nil {
		m.opts.OnWarning("other processes cannot read the journal while this one runs: " + err.Error())
		return
	}
	m.window = w
}

// close ends all, and gives the directory free.
func (m *embedded) close() error {
	if m.window != nil {
		m.window.close()
	}
	m.stop()
	if m.opts.Memory {
		return os.RemoveAll(m.dir)
	}
	var err error
	if m.root != m.dir {
		err = os.RemoveAll(m.root)
	}
	return errors.Join(err, m.lock.Close())
}

// room tells whether the disk has room for n bytes more: transport.ErrJournalFull if not.
func (m *embedded) room(n int64) error {
	if m.opts.Memory {
		return nil
	}
	free, err := diskFree(m.dir)
	if err != nil {
		return fmt.Errorf("%w: %w", transport.ErrJournalUnavailable, err)
	}
	if free < m.opts.Reserve+n {
		return fmt.Errorf("%w: disk full: %d MiB are free on the disk of %s, and %d MiB have to stay so", transport.ErrJournalFull, free>>20, m.dir, m.opts.Reserve>>20)
	}
	return nil
}
