package roles

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/transport"
	"tbmsock/transport/journal"
)

// journalFlags say what a server keeps.
func journalFlags() []cli.Flag {
	return []cli.Flag{
		textFlag("data-dir", "directory of the journal; memory keeps it until the server ends, off keeps none and relays live only", defaultDataDir),
		textFlag("nats", "keep the journal in this NATS cluster instead, nats://host:port[,nats://…]: the servers of one cluster are one hub", ""),
		countFlag("nats-replicas", "NATS servers that keep each entry, when this server is the first to make the journal", 1, 5),
		durationFlag("retain-age", "how long entries are kept, counting the time for which the server runs; with --nats by the clocks of the NATS servers", 72*time.Hour, time.Minute, 100*365*24*time.Hour),
		bytesFlag("retain-bytes", "how much is kept; beyond it the oldest goes", 4<<30, 1<<20, 1<<50),
		valueFlag("fsync", "when an event is acknowledged: always, when it is on the disk; interval=1s, when it is written, and a power cut can take that much; a crash of the server takes nothing in both", &fsyncValue{}),
	}
}

const (
	dataMemory = "memory"
	dataOff    = "off"
)

// journalOptions are what the flags say; ok is false if no journal is kept.
func journalOptions(c *cli.Context, log *logrus.Logger) (opts journal.Options, ok bool) {
	opts = journal.Options{
		RetainAge:    durationOf(c, "retain-age"),
		RetainBytes:  bytesOf(c, "retain-bytes"),
		SyncInterval: fsyncOf(c, "fsync").interval,
		OnWarning:    func(s string) { log.WithField("journal", s).Warn("the journal's server has something to say") },
	}
	switch dir := c.String("data-dir"); {
	case c.String("nats") != "":
		opts.URL, opts.Replicas = c.String("nats"), int(countOf(c, "nats-replicas"))
		opts.SyncInterval = 0
	case dir == dataOff:
		return opts, false
	case dir == dataMemory:
		opts.Memory, opts.SyncInterval = true, 0
		if !c.IsSet("retain-bytes") {
			opts.RetainBytes = 0 // the journal's own limit for memory
		}
	default:
		opts.Dir = dir
	}
	return opts, true
}

// journalOpenTimeout bounds the wait for the other nodes, and for the first answers of a journal that has been read. Reading
// it takes as long as it is.
const journalOpenTimeout = 30 * time.Second

// openJournal opens what the flags name, and the feed between it and the relays; nil if none is kept.
func (s *serverRole) openJournal(ctx context.Context, c *cli.Context) error {
	opts, ok := journalOptions(c, s.log)
	if !ok {
		return nil
	}
	opts.OnHealth = s.journalHealth
	began := time.Now()
	j, err := journal.Open(ctx, opts)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, journalOpenTimeout)
	defer cancel()
	feed, err := transport.NewFeed(ctx, j, func(err error) { s.log.WithError(err).Error("journal") })
	if err != nil {
		return errors.Join(fmt.Errorf("journal: %w", err), j.Close(context.WithoutCancel(ctx)))
	}
	state, err := j.State(ctx)
	if err != nil {
		return errors.Join(fmt.Errorf("journal: %w", err), j.Close(context.WithoutCancel(ctx)))
	}
	s.log.WithFields(logrus.Fields{"place": j.Place(), "id": state.ID, "first": state.First, "last": state.Last, "bytes": state.Bytes,
		"took": time.Since(began).Round(time.Millisecond).String()}).Info("journal open")
	s.mu.Lock()
	s.journal, s.feed = j, feed
	s.mu.Unlock()
	return nil
}

// journalHealth tells log and clients when the journal stops taking events, and when it takes them again.
func (s *serverRole) journalHealth(err error) {
	if err != nil {
		s.log.WithError(err).Error("the journal takes nothing: publishers are refused, and send again")
		why := "the journal takes nothing: " + err.Error()
		s.ends.trouble.Store(&why)
	} else {
		s.ends.trouble.Store(nil)
		s.log.Info("the journal takes events again")
	}
	s.mu.Lock()
	feed := s.feed
	s.mu.Unlock()
	if feed != nil {
		feed.Health(err)
	}
}

// closeJournal writes what waits, and closes it.
func (s *serverRole) closeJournal() error {
	if s.journal == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(s.drain, time.Second))
	defer cancel()
	if err := s.journal.Close(ctx); err != nil {
		return fmt.Errorf("tbmsock server: journal: %w", err)
	}
	return nil
}
