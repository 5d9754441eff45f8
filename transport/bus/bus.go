// Package bus carries messages between the nodes of a hub (a [transport.Bus]) over a NATS cluster: plain NATS, at most
// once, beside the journal that the same cluster keeps.
//
// It has a connection of its own: a burst of events then does not stand in the way of the journal's answers, and this
// node's own messages do not come back. A message waits in a queue in memory until it is written, so that a NATS
// server that has stopped reading holds up no client.
//
// The package does not know what a message says, who is connected, or how a log line is written.
package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"tbmsock/transport"
)

// Options says where a bus is. The zero value of each field but URL means the default named.
type Options struct {
	URL     string // NATS server or cluster: nats://host:port[,nats://...]
	Subject string // that the nodes of one hub share; "TBM.bus"

	QueueBytes int64 // 16 MiB may wait to be written
	// PendingBytes that have come may wait to be received; 64 MiB. Beyond it they are dropped, and OnWarning is told.
	PendingBytes int

	// OnHealth is told when the connection has ended, with the reason, and with nil when there is one again. It must
	// not block.
	OnHealth func(error)
	// OnWarning is told what NATS has to say. It must not block.
	OnWarning func(string)
}

// Bus is a [transport.Bus] on NATS.
type Bus struct {
	opts       Options
	nc         *nats.Conn
	up         atomic.Bool
	maxPayload atomic.Int64

	mu      sync.Mutex
	waiting [][]byte
	bytes   int64
	closed  bool
	wake    chan struct{} // has room for one; closed by Close
	writer  sync.WaitGroup
}

var _ transport.Bus = (*Bus)(nil)

// Open connects. ctx bounds the attempt.
func Open(ctx context.Context, opts Options) (*Bus, error) {
	if opts.URL == "" {
		return nil, errors.New("bus: give the URL of a NATS server")
	}
	if opts.Subject == "" {
		opts.Subject = "TBM.bus"
	}
	if opts.QueueBytes == 0 {
		opts.QueueBytes = 16 << 20
	}
	if opts.PendingBytes == 0 {
		opts.PendingBytes = 64 << 20
	}
	if opts.OnHealth == nil {
		opts.OnHealth = func(error) {}
	}
	if opts.OnWarning == nil {
		opts.OnWarning = func(string) {}
	}
	b := &Bus{opts: opts, wake: make(chan struct{}, 1)}
	timeout := 5 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	nc, err := nats.Connect(opts.URL,
		nats.Name("tbmsock bus"),
		nats.NoEcho(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200*time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.ReconnectBufSize(-1), // what cannot be sent now is lost: it would come at a time when it misleads
		nats.PingInterval(2*time.Second),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(5*time.Second),
		nats.Timeout(timeout),
		nats.DisconnectErrHandler(b.disconnected),
		nats.ReconnectHandler(b.connected),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				err = fmt.Errorf("messages of other nodes are dropped: %d bytes wait already", opts.PendingBytes)
			}
			opts.OnWarning("NATS: " + err.Error())
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("bus: %w: %w", transport.ErrBusDown, err)
	}
	b.nc = nc
	b.maxPayload.Store(nc.MaxPayload())
	b.up.Store(true)
	b.writer.Go(b.write)
	return b, nil
}

func (b *Bus) disconnected(_ *nats.Conn, err error) {
	b.mu.Lock()
	closed := b.closed
	b.mu.Unlock()
	if closed || !b.up.Swap(false) {
		return
	}
	if err == nil {
		err = errors.New("the connection has ended")
	}
	b.opts.OnHealth(fmt.Errorf("%w: %w", transport.ErrBusDown, err))
}

func (b *Bus) connected(nc *nats.Conn) {
	b.maxPayload.Store(nc.MaxPayload())
	b.up.Store(true)
	b.opts.OnHealth(nil)
}

// Publish implements [transport.Bus].
func (b *Bus) Publish(data []byte) error {
	if !b.up.Load() {
		return transport.ErrBusDown
	}
	if most := b.maxPayload.Load(); int64(len(data)) > most {
		return fmt.Errorf("%w: %d bytes, and the NATS server takes %d", transport.ErrBusTooLarge, len(data), most)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return transport.ErrBusDown
	}
	if b.bytes+int64(len(data)) > b.opts.QueueBytes {
		return fmt.Errorf("%w: %d bytes", transport.ErrBusFull, b.bytes)
	}
	b.waiting = append(b.waiting, data)
	b.bytes += int64(len(data))
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return nil
}

// write sends what waits, until Close.
func (b *Bus) write() {
	var batch [][]byte
	for range b.wake {
		b.mu.Lock()
		batch, b.waiting = b.waiting, batch[:0]
		b.mu.Unlock()
		for i, data := range batch {
			// That it fails shows where it is missed: each message has a number.
			_ = b.nc.Publish(b.opts.Subject, data)
			batch[i] = nil
			b.mu.Lock()
			b.bytes -= int64(len(data))
			b.mu.Unlock()
		}
	}
}

// Subscribe implements [transport.Bus].
func (b *Bus) Subscribe(receive func(data []byte)) (stop func(), err error) {
	var mu sync.Mutex // held while receive runs
	stopped := false
	sub, err := b.nc.Subscribe(b.opts.Subject, func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			receive(m.Data)
		}
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, b.opts.PendingBytes)
	}
	if err == nil {
		err = b.nc.FlushTimeout(5 * time.Second)
	}
	if err != nil {
		return nil, fmt.Errorf("bus: %w: %w", transport.ErrBusDown, err)
	}
	return func() {
		mu.Lock()
		stopped = true
		mu.Unlock()
		_ = sub.Unsubscribe() // fails without a connection, and then there is nothing to end
	}, nil
}

// Close sends what waits, for as long as ctx allows and a second at most, and ends the connection.
func (b *Bus) Close(ctx context.Context) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	close(b.wake) // the writer still gets a wake-up that stands in it
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Second) // a server that has just died answers no flush
	defer cancel()
	written := make(chan struct{})
	go func() {
		defer close(written)
		b.writer.Wait()
		if b.up.Load() {
			_ = b.nc.FlushWithContext(ctx)
		}
	}()
	select {
	case <-written:
	case <-ctx.Done():
	}
	b.nc.Close()
	<-written
}
