package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/oklog/run"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/telemetry"
	"tbmsock/telemetry/simulator"
	"tbmsock/transport"
	"tbmsock/transport/spool"
)

func telemetryFlags() []cli.Flag {
	return append(append(append(clientFlags(), outboxFlags()...),
		valueFlag("rate", "how often a reading is taken and sent: 10hz, 0.5hz, 2khz, 600/min, or the time between two, 100ms", &rateValue{100 * time.Millisecond, "10hz"}),
		textFlag("source", "name of the machine", "tbm-1"),
		textFlag("room", "room that the packets are for; empty for everyone", ""),
		choiceFlag("encoding", "how a packet is written", "json", "protobuf"),
		noAcksFlag(),
		countFlag("count", "end after so many packets, 0 for never", 0, 1<<62),
		durationFlag("duration", "end after this time, 0 for never", 0, 0, 100*365*24*time.Hour),
	), machineFlags()...)
}

func telemetryCommand() *cli.Command {
	return &cli.Command{
		Name:  "telemetry",
		Usage: "take readings from a machine and send each as log_telemetry",
		Description: "Waits for the server if it is not there yet, keeps what has not been acknowledged, and\n" +
			"sends it again after a broken link; with --outbox DIR also after its own end.\n\n" +
			"Example: tbmsock telemetry --rate 10hz --source tbm-1 --room ops",
		Flags: append(telemetryFlags(), logFlags()...),
		Action: func(c *cli.Context) error {
			hangups := hangups()
			t, err := newTelemetryRole(c, newLog(c, c.App.ErrWriter))
			if err != nil {
				return &usageError{c.Command.Name, err}
			}
			t.hangups = hangups
			return t.run(c.Context)
		},
	}
}

// telemetryRole is a source of packets that does not run yet.
type telemetryRole struct {
	log      *logrus.Logger
	client   *transport.Client
	envelope transport.Envelope // of the last packet
	spool    *spool.Options     // nil: packets wait in the client's memory
	outbox   *outbox            // while it runs, if spool is not nil
	protobuf bool
	period   time.Duration
	count    int64
	duration time.Duration
	drain    time.Duration
	clock    clock
	steps    stepWatch
	hangups  <-chan os.Signal // nil: SIGHUP is not for the role

	mu      sync.Mutex // of the machine: faults come from the connection
	machine *simulator.Machine
	down    bool // the machine's link is
}

func newTelemetryRole(c *cli.Context, log *logrus.Logger) (*telemetryRole, error) {
	t := &telemetryRole{
		log:      log,
		period:   rateOf(c, "rate").period,
		protobuf: choiceOf(c, "encoding") == "protobuf",
		count:    countOf(c, "count"),
		duration: durationOf(c, "duration"),
		drain:    durationOf(c, "drain"),
		clock:    systemClock,
		envelope: transport.Envelope{Source: c.String("source"), Room: c.String("room"), Boot: transport.NewID()},
	}
	if t.envelope.Source == "" {
		return nil, errors.New("--source: the name is empty; use one such as tbm-1")
	}
	if t.envelope.Room != "" {
		if err := transport.CheckRoom(t.envelope.Room); err != nil {
			return nil, fmt.Errorf("--room: %w", err)
		}
	}
	opts, err := clientOptions(c, log)
	if err != nil {
		return nil, err
	}
	onlyAcks := c.String("outbox") != inMemory && !c.Bool("no-acks")
	opts.Publish = transport.PublishOptions{
		WhenFull: transport.FullDropOldest,
		OnlyAcks: onlyAcks,
		OnNoAcks: func() {
			if onlyAcks {
				log.Warn("the server acknowledges nothing; packets stay in the outbox (--no-acks counts a heartbeat as delivery)")
				return
			}
			log.Warn("the server acknowledges nothing; a packet counts as delivered after a heartbeat")
		},
		OnRefused: func(event string, err *transport.AckError) {
			log.WithError(err).WithField("event", event).Error("the server refuses a packet")
		},
		OnDelayed: func(err *transport.AckError) {
			if err != nil {
				log.WithError(err).Warn("the server cannot take packets now: they wait, and are sent again")
				return
			}
			log.Info("the server takes packets again")
		},
	}
	if t.spool, err = outboxOptions(c); err != nil {
		return nil, err
	}
	if t.spool != nil {
		opts.Publish.WhenFull, opts.Publish.MaxBytes = transport.FullBlock, outboxFlight
	}
	if t.client, err = transport.NewClient(opts); err != nil {
		return nil, err
	}
	if t.machine, err = newMachine(c, time.Now()); err != nil {
		return nil, err
	}
	t.client.On(transport.EventInject, t.inject)
	if room := transport.InjectRoom(t.envelope.Source); transport.CheckRoom(room) == nil {
		if err := t.client.Join(room); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// run samples until ctx ends, or as much as was asked for, and then sends what is left.
func (t *telemetryRole) run(ctx context.Context) error {
	var g run.Group
	if t.spool != nil {
		var err error
		if t.outbox, err = openOutbox(*t.spool, t.client, t.log); err != nil {
			return fmt.Errorf("tbmsock telemetry: %w", err)
		}
		outboxCtx, stopOutbox := context.WithCancel(context.Background())
		g.Add(func() error { return t.outbox.run(outboxCtx) }, func(error) { stopOutbox() })
	}
	clientCtx, stopClient := context.WithCancel(context.Background())
	g.Add(func() error { return t.client.Run(clientCtx) }, func(error) { stopClient() })
	hangupCtx, stopHangups := context.WithCancel(context.Background())
	g.Add(func() error { ignoreHangups(t.log, t.hangups, hangupCtx.Done()); return nil }, func(error) { stopHangups() })
	sampleCtx, stopSampling := context.WithCancel(ctx)
	g.Add(func() error {
		err := t.sample(sampleCtx)
		drainCtx, cancel := context.WithTimeout(context.Background(), t.drain)
		defer cancel()
		flush := t.client.Flush
		if t.outbox != nil {
			flush = t.outbox.flush
		}
		if flushErr := flush(drainCtx); flushErr != nil {
			t.log.WithError(flushErr).Warn("not everything could be sent")
			err = errors.Join(err, t.lost())
		}
		return err
	}, func(error) { stopSampling() })
	err := g.Run()
	s := t.client.PublishStats()
	entry := t.log.WithFields(logrus.Fields{"packets": t.envelope.Seq, "acknowledged": s.Acked, "refused": s.Refused,
		"dropped": s.Dropped, "resent": s.Resent, "waiting": s.Waiting})
	if s.Confirmed > 0 {
		entry = entry.WithField("confirmed", s.Confirmed)
	}
	if t.outbox != nil {
		entry = entry.WithFields(t.outbox.close())
		if n := len(t.outbox.pending); n > 0 { // nobody else has it any more
			err = errors.Join(err, fmt.Errorf("%d packets could not be written to --outbox %s, and are lost", n, t.spool.Dir))
		}
	}
	entry.Info("telemetry ends")
	if err != nil {
		return fmt.Errorf("tbmsock telemetry: %w", err)
	}
	return nil
}

// lost returns an error if packets end with the process. In an outbox they wait for the next run. If the server has
// never acknowledged anything, packets that have been sent are no error: nothing better can be known of them.
func (t *telemetryRole) lost() error {
	s := t.client.PublishStats()
	if t.outbox != nil || s.Acked == 0 && s.UnderWay == s.Waiting {
		return nil
	}
	return fmt.Errorf("%d packets were not acknowledged within --drain %s, and are lost; --outbox DIR keeps them for the next run", s.Waiting, shortDuration(t.drain))
}

func (t *telemetryRole) sample(ctx context.Context) error {
	if t.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.duration)
		defer cancel()
	}
	tick := ticker{start: time.Now(), period: t.period}
	var dropped uint64
	var packet telemetry.Packet
	for n := int64(0); t.count == 0 || n < t.count; n++ {
		at, skipped, ok := tick.next(ctx)
		if !ok {
			return nil
		}
		if skipped > 0 {
			t.log.WithField("readings", skipped).Warn("the process was stopped, or too slow: readings left out")
		}
		t.read(at, &packet)
		if err := t.publish(ctx, t.wallTime(at), &packet); err != nil {
			return err
		}
		if d := t.client.PublishStats().Dropped; d > dropped {
			if dropped == 0 {
				t.log.Error("the outbox is full: the oldest packets are dropped")
			}
			dropped = d
		}
	}
	return nil
}

// wallTime returns the time of a reading that was due at a time of the steady clock, by the wall clock as it stands
// now: a source runs for months, and meanwhile the wall clock is set, or the computer sleeps.
func (t *telemetryRole) wallTime(due time.Time) time.Time {
	wall, steady := t.clock()
	if step := t.steps.step(wall, steady); step != 0 {
		t.log.WithField("step", step.Round(time.Millisecond).String()).Warn("wall clock stepped: the packets' time follows it")
	}
	return wall.Add(due.Sub(steady))
}

// read takes a reading, and breaks the link if the machine's is.
func (t *telemetryRole) read(at time.Time, packet *telemetry.Packet) {
	t.mu.Lock()
	t.machine.Next(at, packet)
	down := t.machine.LinkDown()
	t.mu.Unlock()
	if down == t.down {
		return
	}
	if t.down = down; down {
		t.log.Warn("the machine's link is down: packets wait")
		t.client.Hold()
	} else {
		t.log.Info("the machine's link is up again")
		t.client.Release()
	}
}

// publish sends one reading in its envelope.
func (t *telemetryRole) publish(ctx context.Context, at time.Time, packet *telemetry.Packet) error {
	t.envelope.Seq++
	t.envelope.Time = at.UTC()
	arg, err := t.encode(packet)
	if err != nil {
		return err
	}
	if t.outbox != nil {
		t.outbox.put(arg)
		return nil
	}
	if err := t.client.Publish(ctx, transport.EventTelemetry, arg); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// encode puts the packet into the envelope, as JSON or as bytes of protobuf.
func (t *telemetryRole) encode(packet *telemetry.Packet) (any, error) {
	if t.protobuf {
		body, err := packet.AppendProto(nil)
		if err != nil {
			return nil, err
		}
		t.envelope.Proto = body
		return t.envelope.AppendProto(nil), nil
	}
	body, err := json.Marshal(packet)
	if err != nil {
		return nil, fmt.Errorf("packet: %w", err)
	}
	t.envelope.Packet = body
	data, err := json.Marshal(&t.envelope)
	if err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	return json.RawMessage(data), nil
}
