package roles

import (
	"context"
	"encoding/json"
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
	"tbmsock/transport"
)

func loggerFlags() []cli.Flag {
	return append(clientFlags(),
		listFlag("room", "room to join (repeatable); what is for everyone is logged too", transport.CheckRoom),
		listFlag("event", "event to log (repeatable)", nil, transport.EventTelemetry),
		choiceFlag("format", "form of the lines on stdout", "text", "json"),
	)
}

func loggerCommand() *cli.Command {
	return &cli.Command{
		Name:  "logger",
		Usage: "listen for log_telemetry and log every packet",
		Description: "Packets go to stdout, one a line; at the end, and on SIGUSR1, a summary of what was received\n" +
			"and what is missing goes to the log.\n\n" +
			"Example: tbmsock logger --room ops --format json > packets.jsonl",
		Flags: append(loggerFlags(), logFlags()...),
		Action: func(c *cli.Context) error {
			l, err := newLoggerRole(c, newLog(c, c.App.ErrWriter), c.App.Writer)
			if err != nil {
				return &usageError{c.Command.Name, err}
			}
			return l.run(c.Context)
		},
	}
}

// loggerRole is a listener that does not run yet.
type loggerRole struct {
	log    *logrus.Logger
	client *transport.Client
	now    func() time.Time
	json   bool
	ready  chan struct{} // closed when the rooms have been joined for the first time

	mu       sync.Mutex
	out      io.Writer
	tracker  transport.Tracker
	packet   telemetry.Packet // the last one of protobuf, whose memory is used again
	received uint64
	others   uint64 // events that carry no envelope
	dropped  uint64 // by the server, because this logger was slow
	failed   chan error
}

func newLoggerRole(c *cli.Context, log *logrus.Logger, out io.Writer) (*loggerRole, error) {
	l := &loggerRole{log: log, now: time.Now, out: out, json: choiceOf(c, "format") == "json", ready: make(chan struct{}), failed: make(chan error, 1)}
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
	for _, room := range rooms {
		if err := l.client.Join(room); err != nil {
			return nil, fmt.Errorf("--room: %w", err)
		}
	}
	for _, event := range listOf(c, "event") {
		if err := transport.CheckEvent(event); err != nil {
			return nil, fmt.Errorf("--event: %w", err)
		}
		l.client.On(event, l.event)
	}
	l.client.On("dropped", l.droppedByServer)
	return l, nil
}

// run logs until ctx ends.
func (l *loggerRole) run(ctx context.Context) error {
	var g run.Group
	clientCtx, stop := context.WithCancel(ctx)
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
			case err := <-l.failed:
				return err
			case <-clientCtx.Done():
				return nil
			}
		}
	}, func(error) { stop() })
	err := g.Run()
	l.summary()
	if err != nil {
		return fmt.Errorf("tbmsock logger: %w", err)
	}
	return nil
}

// settle waits until so many events have been received, but not for long.
func (l *loggerRole) settle(n uint64) {
	deadline := time.NewTimer(time.Second)
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

// line is one event as JSON: the envelope's fields, or the value of a client that sends none.
type line struct {
	Received time.Time           `json:"received"` // by this logger's clock, UTC
	Event    string              `json:"event"`
	Envelope *transport.Envelope `json:"envelope,omitempty"`
	Value    *transport.Value    `json:"value,omitempty"` // binary parts as base64
}

func (l *loggerRole) event(_ context.Context, ev *transport.Event) {
	if len(ev.Args) == 0 {
		ev.Args = transport.Args{{}}
	}
	at := l.now().UTC()
	for i := range ev.Args[:1] { // more than one argument is nothing that the contract knows
		v := ev.Args[i]
		e, ok := transport.EnvelopeOf(v)
		l.mu.Lock()
		l.received++
		if ok {
			l.tracker.Add(&e)
			l.readProto(&e)
		} else {
			l.others++
		}
		var text []byte
		if l.json {
			text = jsonLine(at, ev.Name, &e, ok, v)
		} else {
			text = textLine(at, ev.Name, &e, ok, v)
		}
		_, err := l.out.Write(text)
		l.mu.Unlock()
		if err != nil {
			select {
			case l.failed <- fmt.Errorf("stdout: %w", err):
			default:
			}
		}
	}
}

func jsonLine(at time.Time, event string, e *transport.Envelope, isEnvelope bool, v transport.Value) []byte {
	out := line{Received: at, Event: event}
	if isEnvelope {
		out.Envelope = e
	} else {
		out.Value = &v
	}
	b, err := json.Marshal(out)
	if err != nil { // cannot be: what arrived is valid JSON
		b, _ = json.Marshal(map[string]any{"received": at, "event": event, "error": err.Error()})
	}
	return append(b, '\n')
}

func textLine(at time.Time, event string, e *transport.Envelope, isEnvelope bool, v transport.Value) []byte {
	const clock = "15:04:05.000"
	if isEnvelope {
		room := ""
		if e.Room != "" {
			room = " [" + e.Room + "]"
		}
		return fmt.Appendf(nil, "%s %s #%d%s %s\n", e.Time.UTC().Format(clock), e.Source, e.Seq, room, e.Packet)
	}
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(err.Error())
	}
	return fmt.Appendf(nil, "%s %s %s\n", at.Format(clock), event, b)
}

// readProto gives an envelope of protobuf the packet that it would have in JSON. Bytes that are no
// packet stay what they are.
func (l *loggerRole) readProto(e *transport.Envelope) {
	if e.Proto == nil {
		return
	}
	body, err := json.Marshal(e.Proto)
	if l.packet.UnmarshalProto(e.Proto) == nil {
		body, err = json.Marshal(&l.packet)
	}
	if err == nil {
		e.Packet = body
	}
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

// summary logs what has been received, by source.
func (l *loggerRole) summary() {
	l.mu.Lock()
	stats, others, dropped := l.tracker.Stats(), l.others, l.dropped
	l.mu.Unlock()
	for _, s := range stats {
		e := l.log.WithFields(logrus.Fields{"source": s.Source, "boot": s.Boot, "first": s.First, "last": s.Last, "received": s.Received,
			"gaps": s.Gaps, "missing": s.Missing, "repeats": s.Repeats, "out_of_order": s.OutOfOrder})
		if s.Missing > 0 {
			e.Warn("summary: packets are missing")
		} else {
			e.Info("summary: complete")
		}
	}
	if others > 0 || dropped > 0 || len(stats) == 0 {
		l.log.WithFields(logrus.Fields{"without_envelope": others, "dropped_by_server": dropped}).Info("summary: other events")
	}
}
