package roles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/telemetry/simulator"
	"tbmsock/transport"
)

// faultMessage is the argument of the event inject: a fault for the simulated machine of a source.
type faultMessage struct {
	Source   string  `json:"source"`
	Kind     string  `json:"kind"`
	Channel  string  `json:"channel,omitempty"`
	For      string  `json:"for,omitempty"` // "10m"
	Severity float64 `json:"severity,omitempty"`
}

// fault reads the message.
func (m *faultMessage) fault() (simulator.Fault, error) {
	f := simulator.Fault{Kind: simulator.FaultKind(m.Kind), Channel: m.Channel, Severity: m.Severity}
	if m.For != "" {
		d, err := time.ParseDuration(m.For)
		if err != nil {
			return f, fmt.Errorf("for %q: use a time with a unit, such as 90s or 10m", m.For)
		}
		f.For = d
	}
	return f, f.Check()
}

// inject is the handler of the event in the telemetry role.
func (t *telemetryRole) inject(_ context.Context, ev *transport.Event) {
	var m faultMessage
	var f simulator.Fault
	err := ev.Args.Decode(&m)
	if err == nil {
		f, err = m.fault()
	}
	if err == nil {
		t.mu.Lock()
		err = t.machine.Inject(f)
		t.mu.Unlock()
	}
	if err != nil {
		_ = ev.Ack(transport.Ack{Error: &transport.AckError{Code: transport.CodeBadArguments, Message: err.Error()}})
		return
	}
	t.log.WithFields(logrus.Fields{"kind": f.Kind, "for": f.For.String(), "severity": f.Severity, "channel": f.Channel}).Warn("a fault was injected")
	_ = ev.Ack(transport.Ack{OK: true})
}

func injectCommand() *cli.Command {
	kinds := make([]string, len(simulator.FaultKinds))
	for i, k := range simulator.FaultKinds {
		kinds[i] = string(k)
	}
	return &cli.Command{
		Name:  "inject",
		Usage: "let something go wrong on a simulated machine",
		Description: "Asks a running telemetry, through the server, to rehearse a fault.\n\n" +
			"Examples:\n" +
			"  tbmsock inject --kind gas --for 2m\n" +
			"  tbmsock inject --kind sensor_freeze --channel chamber.pressure_1",
		Flags: append(append(clientFlags(),
			textFlag("source", "name of the machine", "tbm-1"),
			choiceFlagDefault("kind", "what goes wrong", string(simulator.Gas), kinds...),
			textFlag("channel", "channel of a sensor_freeze or sensor_drift", ""),
			durationFlag("for", "how long", 10*time.Minute, time.Second, 24*time.Hour),
			valueFlag("severity", "how bad, above 0, up to 2; 1 is what data of real machines show", &numberValue{1, 0.01, 2}),
		), logFlags()...),
		Action: func(c *cli.Context) error {
			m := faultMessage{c.String("source"), choiceOf(c, "kind"), c.String("channel"), durationOf(c, "for").String(), c.Generic("severity").(*numberValue).v}
			if _, err := m.fault(); err != nil {
				return &usageError{c.Command.Name, fmt.Errorf("--%w", err)}
			}
			if err := sendInject(c, newLog(c, c.App.ErrWriter), &m); err != nil {
				return fmt.Errorf("tbmsock inject: %w", err)
			}
			_, err := fmt.Fprintf(c.App.Writer, "%s on %s for %s\n", m.Kind, m.Source, m.For)
			return err
		},
	}
}

// sendInject connects, asks, and waits for the answer.
func sendInject(c *cli.Context, log *logrus.Logger, m *faultMessage) error {
	opts, err := clientOptions(c, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(c.Context, 15*time.Second, errors.New("no answer within 15s"))
	defer cancel()
	connected := make(chan struct{}, 1)
	opts.OnConnect = func(string, transport.Conn) {
		select {
		case connected <- struct{}{}:
		default:
		}
	}
	opts.OnDisconnect = nil
	var last error
	tries := 1 + len(opts.Others)
	opts.OnRetry = func(err error, _ time.Duration) { // a person waits: one attempt for each address
		last = errors.Join(last, err)
		if tries--; tries == 0 {
			cancel()
		}
	}
	client, err := transport.NewClient(opts)
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = client.Run(runCtx) // nil: it has ComeBack, and ends by its context
	}()
	defer func() { stop(); <-done }()
	select {
	case <-connected:
	case <-ctx.Done():
		stop()
		<-done
		if cause := context.Cause(ctx); last == nil || !errors.Is(cause, context.Canceled) {
			return errors.Join(last, cause)
		}
		return last // it was the attempts that ended ctx
	}
	arg, err := json.Marshal(m)
	if err != nil {
		return err
	}
	args, err := client.EmitAck(ctx, transport.EventInject, json.RawMessage(arg))
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	var answer transport.Ack
	if err := args.Decode(&answer); err != nil {
		return fmt.Errorf("the server answers what we do not know: %w", err)
	}
	if !answer.OK && answer.Error != nil {
		return answer.Error
	}
	return nil
}
