package roles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/oklog/run"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
	"tbmsock/transport"
)

func loggerCommand() *cli.Command {
	return &cli.Command{
		Name:  "logger",
		Usage: "listen for log_telemetry and log every packet",
		Description: "Packets go to stdout, one a line, and what passes a limit of the dictionary, or becomes stale, is a\n" +
			"line of its own; at the end, and on SIGUSR1, a summary of what was received and what is missing\n" +
			"goes to the log. In text a * behind a number stands for a warning, a ! for an alarm, a ? for stale.\n" +
			"SIGHUP makes a logger without a terminal open its --output again; one with a terminal ends.\n" +
			"Without --output it ends with code 141 when the reader of its stdout exits.\n\n" +
			"Examples:\n" +
			"  tbmsock logger --room ops --channels thrust.*,derived.fpi\n" +
			"  tbmsock logger --room ops --alarms-only\n" +
			"  tbmsock logger --room ops --output packets.jsonl --keep 30 > /dev/null",
		Flags: append(loggerFlags(), logFlags()...),
		Action: func(c *cli.Context) error {
			hangups := hangups()
			l, err := newLoggerRole(c, newLog(c, c.App.ErrWriter), c.App.Writer)
			if err != nil {
				return &usageError{c.Command.Name, err}
			}
			l.hangups = hangups
			return l.run(c.Context)
		},
	}
}

// loggerRole is a listener that does not run yet.
type loggerRole struct {
	log    *logrus.Logger
	client *transport.Client
	clock  clock
	ctx    context.Context // of run, for what the client calls
	ready  chan struct{}   // closed when the rooms have been joined for the first time

	hangups <-chan os.Signal // nil: SIGHUP is not for the role

	mu       sync.Mutex
	out      io.Writer // a queuedWriter while it runs
	form     *lineForm // of what goes to out
	file     *recording.File
	fileForm *lineForm // nil without a file
	tracker  transport.Tracker
	watches  *watches
	packet   telemetry.Packet   // the last one, whose memory is used again
	began    bool               // out has its header
	place    recording.Place    // in the journal, of the last event
	lastName string             // that event's
	begins   uint64             // where the journal was followed from, if nothing has come since; 0: it never was
	gone     uint64             // offsets that were wanted, and which the server no longer had
	skipped  bool               // that event was not logged: it had been
	path     string             // of the file; empty without one
	unplaced bool               // packets without an offset were logged, which a journal may get later
	anew     bool               // another journal was met
	logged   *transport.Tracker // not nil once offsets do not tell what was logged; what the file held then
	received uint64
	others   uint64 // events that carry no envelope
	dropped  uint64 // by the server, because this logger was slow
	withheld uint64 // by the server, because no client can read them
	unread   uint64 // lines for stdout that its reader has not taken
	failed   chan error
}

func newLoggerRole(c *cli.Context, log *logrus.Logger, out io.Writer) (*loggerRole, error) {
	l := &loggerRole{log: log, clock: systemClock, out: out, ready: make(chan struct{}), failed: make(chan error, 1)}
	dictionary, err := loadDictionary(c)
	if err != nil {
		return nil, err
	}
	var channels []string
	if patterns := listOf(c, "channels"); len(patterns) > 0 {
		if channels, err = telemetry.MatchChannels(patterns); err != nil {
			return nil, fmt.Errorf("--channels: %w", err)
		}
	}
	only := c.Bool("alarms-only")
	l.watches = newWatches(dictionary, log)
	l.form = newLineForm(choiceOf(c, "format"), channels, wantsColor(choiceOf(c, "color"), out), only, dictionary)
	l.form.spreadsheet(c.Bool("csv-safe"))
	opts, err := clientOptions(c, log)
	if err != nil {
		return nil, err
	}
	var readyOnce sync.Once
	ready := func() { readyOnce.Do(func() { close(l.ready) }) }
	rooms := listOf(c, "room")
	if len(rooms) == 0 {
		connected := opts.OnConnect
		opts.OnConnect = func(sid string, conn transport.Conn) { connected(sid, conn); ready() }
	} else {
		joined := opts.OnJoin
		opts.OnJoin = func(room string, err error) {
			joined(room, err)
			if room == rooms[len(rooms)-1] { // the answers come in order
				ready()
			}
		}
	}
	if l.client, err = transport.NewClient(opts); err != nil {
		return nil, err
	}
	l.path = c.String("output")
	if err := l.follow(c, rooms); err != nil {
		return nil, err
	}
	for _, event := range listOf(c, "event") {
		if err := transport.CheckEvent(event); err != nil {
			return nil, fmt.Errorf("--event: %w", err)
		}
		l.client.On(event, l.event)
	}
	l.client.On("dropped", l.droppedByServer)
	l.client.On(transport.EventSkipped, l.skippedByServer)
	// Last, since it has to be closed again.
	if path := l.path; path != "" {
		l.fileForm = newLineForm(formOfFile(path), channels, false, only, dictionary)
		l.fileForm.spreadsheet(c.Bool("csv-safe"))
		if l.file, err = openOutput(c, log, l.fileForm); err != nil {
			return nil, err
		}
		l.goOn(l.file.Place())
	}
	return l, nil
}

// run logs until ctx ends.
func (l *loggerRole) run(ctx context.Context) error {
	var g run.Group
	clientCtx, stop := context.WithCancel(ctx)
	l.ctx = clientCtx
	out := newQueuedWriter(l.out, stdoutLimit, true, l.stdoutFailed)
	l.out = out
	g.Add(func() error { return l.client.Run(clientCtx) }, func(error) { stop() })
	asked := make(chan os.Signal, 1)
	if s := summarySignal(); s != nil {
		signal.Notify(asked, s)
		defer signal.Stop(asked)
	}
	g.Add(func() error {
		for {
			select {
			case <-asked:
				l.summary()
			case <-l.hangups:
				l.reopen()
			case err := <-l.failed:
				return err
			case <-clientCtx.Done():
				return nil
			}
		}
	}, func(error) { stop() })
	g.Add(func() error { l.watch(clientCtx); return nil }, func(error) { stop() })
	// A reader of stdout that has stalled must not hold up the end: handlers may wait for it.
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-clientCtx.Done():
			out.abandonStalled(ended)
		case <-ended:
		}
	}()
	err := g.Run()
	close(ended)
	<-watched
	if l.unread = out.close(); l.unread > 0 && l.file == nil && err == nil {
		err = fmt.Errorf("%d lines were not read from stdout", l.unread)
	}
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
	}
	l.summary()
	if err != nil {
		return fmt.Errorf("tbmsock logger: %w", err)
	}
	return nil
}

// stdoutLimit is how many bytes may be queued for stdout. A logger then waits for the reader and, if it follows a
// journal, falls behind in it: nothing is lost.
const stdoutLimit = 64 << 10

// stdoutFailed ends a logger whose lines go nowhere else.
func (l *loggerRole) stdoutFailed(err error) {
	if l.file != nil {
		l.log.WithError(err).Warn("stdout failed: packets go to the file only")
		return
	}
	select {
	case l.failed <- fmt.Errorf("stdout: %w", err):
	default:
	}
}

// reopen opens the output file again if it was moved.
func (l *loggerRole) reopen() {
	if l.file == nil {
		l.log.Info("SIGHUP: nothing to reopen")
		return
	}
	l.log.WithField("file", l.path).Info("SIGHUP: reopening the output file")
	l.file.Reopen()
}

// settle waits until so many events have been received, but no longer than that.
func (l *loggerRole) settle(n uint64, most time.Duration) {
	deadline := time.NewTimer(most)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		l.mu.Lock()
		received := l.received
		l.mu.Unlock()
		if received >= n {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			return
		}
	}
}

// watch looks, twice a second, for what has become stale.
func (l *loggerRole) watch(ctx context.Context) {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.checkStale()
	}
}

// checkStale looks for channels of which nothing has come for too long.
func (l *loggerRole) checkStale() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, now := l.clock()
	for _, s := range l.watches.bySource {
		s.changes = s.changes[:0]
		s.monitor.Check(now, s.note)
		l.changed(s, now)
	}
}

func (l *loggerRole) event(_ context.Context, ev *transport.Event) {
	v := transport.Value{}
	if len(ev.Args) > 0 {
		v = ev.Args[0]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := transport.EnvelopeOf(v)
	known := &e
	if !ok {
		known = nil
	}
	offset, repeat := l.isRepeat(ev, known)
	if repeat {
		return
	}
	l.received++
	wall, now := l.clock()
	r := recording.Record{Received: wall.UTC(), Event: ev.Name, Offset: offset}
	if offset > 0 {
		r.Journal = l.place.Journal
	}
	if !ok {
		l.others++
		r.Value = &v
		l.write(&r, normal)
		return
	}
	l.tracker.AddAs(ev.Name, &e)
	l.unplaced = l.unplaced || offset == 0
	r.Envelope = &e
	if !recording.ReadPacket(&e, &l.packet) {
		l.write(&r, normal)
		return
	}
	r.Packet = &l.packet
	s := l.watches.observe(&r, now)
	if s != nil {
		l.changed(s, now)
	}
	l.write(&r, s.state())
}

// write puts the record out, and into the file.
func (l *loggerRole) write(r *recording.Record, state func(string) telemetry.ChannelState) {
	if l.file != nil { // first: a reader of stdout may be slow
		if line := l.fileForm.record(r, state); line != nil {
			l.file.Write(line)
		}
	}
	l.print(l.form.record(r, state))
}

// changed puts a source's changes of state out, and into the file; now is the steady clock's. A table of packets has no
// place for them: there the log tells.
func (l *loggerRole) changed(s *sourceWatch, now time.Time) {
	if len(s.changes) == 0 {
		return
	}
	if l.form.format == "csv" && !l.form.only {
		for i := range s.changes {
			c := &s.changes[i]
			l.log.WithFields(logrus.Fields{"source": s.source, "channel": c.Channel.ID, "value": c.Value, "reason": c.Reason()}).Warn(c.To.String())
		}
	}
	if l.file != nil {
		for i := range s.changes {
			if line := l.fileForm.change(s.source, &s.changes[i]); line != nil {
				l.file.Write(line)
			}
		}
	}
	s.writeChanges(l.form, now, l.print)
}

// print writes to stdout.
func (l *loggerRole) print(line []byte) {
	if len(line) == 0 {
		return
	}
	if !l.began {
		l.began = true
		line = append(l.form.header(), line...)
	}
	_, _ = l.out.Write(line) // stdoutFailed is told of errors
}

func (l *loggerRole) droppedByServer(_ context.Context, ev *transport.Event) {
	var arg struct{ Count uint64 }
	if ev.Args.Decode(&arg) != nil {
		return
	}
	l.mu.Lock()
	l.dropped += arg.Count
	l.mu.Unlock()
	l.log.WithField("events", arg.Count).Warn("the server dropped events: this logger does not keep up")
}

// skippedByServer counts a journal entry that the server sends to no client, since it could break one.
func (l *loggerRole) skippedByServer(_ context.Context, ev *transport.Event) {
	var note struct {
		Offset uint64              `json:"offset"`
		Error  *transport.AckError `json:"error"`
	}
	if ev.Args.Decode(&note) != nil || note.Error == nil {
		return
	}
	l.mu.Lock()
	known := note.Offset <= l.place.Offset // on the connection before
	if !known {
		l.withheld++
		l.place.Offset, l.lastName = note.Offset, ""
	}
	l.mu.Unlock()
	if known {
		return
	}
	l.log.WithFields(logrus.Fields{"offset": note.Offset, "reason": note.Error.Message}).Warn("journal entry skipped by the server")
}

// summary logs what has been received, by source, and all that is known to be lost.
func (l *loggerRole) summary() {
	l.mu.Lock()
	stats, forgotten, others := l.tracker.Stats(), l.tracker.Forgotten(), l.others
	lost := l.lost()
	l.mu.Unlock()
	for _, s := range stats {
		e := l.log.WithFields(logrus.Fields{"source": s.Source, "boot": s.Boot, "first": s.First, "last": s.Last, "received": s.Received,
			"gaps": s.Gaps, "missing": s.Missing, "repeats": s.Repeats, "out_of_order": s.OutOfOrder})
		switch {
		case s.Missing > 0:
			e.Warn("summary: packets are missing")
		case s.Repeats > 0 || s.OutOfOrder > 0:
			e.Warn("summary: packets were repeated or out of order")
		case len(lost) > 0:
			e.Warn("summary: no gap from first to last, but packets were lost")
		case s.First > 1: // whether those before were wanted is not known
			e.Info("summary: complete from first to last")
		default:
			e.Info("summary: complete")
		}
	}
	if forgotten.Runs > 0 {
		l.log.WithFields(logrus.Fields{"runs": forgotten.Runs, "missing": forgotten.Missing}).Warn("summary: there were too many runs of sources: those silent longest are not listed")
	}
	if others > 0 || len(stats) == 0 {
		l.log.WithField("without_envelope", others).Info("summary: other events")
	}
	if len(lost) > 0 {
		l.log.WithFields(lost).Warn("summary: not everything is there")
	}
}

// lost counts what is known to be lost, whosever it was; what is not, is not in it. l.mu is held.
func (l *loggerRole) lost() logrus.Fields {
	f := logrus.Fields{}
	if l.dropped > 0 {
		f["dropped_by_server"] = l.dropped
	}
	if l.withheld > 0 {
		f["skipped_by_server"] = l.withheld
	}
	if l.gone > 0 {
		f["gone_from_journal"] = l.gone
	}
	if l.unread > 0 && l.file == nil {
		f["not_read_from_stdout"] = l.unread
	}
	if l.file != nil {
		if n := l.file.Dropped(); n > 0 {
			f["not_in_file"] = n
		}
		if n := l.file.Removed(); n > 0 {
			f["removed_from_file_bytes"] = n
		}
	}
	return f
}
