package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tbmsock/transport"
)

// sequenceError is the answer to a block that was not published behind the last one.
type sequenceError struct{ last uint64 }

func (e *sequenceError) Error() string {
	return fmt.Sprintf("the stream has gone on to message %d", e.last)
}

// errUnknown is wrapped by the errors of a publish that may have been done all the same.
var errUnknown = errors.New("no answer")

// publish appends a block behind the message last. It returns a *sequenceError if that is not the
// latest any more.
func (s *store) publish(ctx context.Context, data []byte, last uint64) (seq uint64, err error) {
	m := &nats.Msg{Subject: s.blockSubject(), Data: data, Header: nats.Header{
		jetstream.ExpectedLastSeqHeader: []string{strconv.FormatUint(last, 10)},
	}}
	return s.request(ctx, m)
}

// JetStream's error codes (https://github.com/nats-io/nats-server/blob/main/server/errors.json).
const (
	codeWrongLastSequence = 10071
	codeResources         = 10023
	codeStorageResources  = 10047
	codeAccountResources  = 10002
	codeStoreFailed       = 10077
	codeMessageTooLarge   = 10054
)

// request publishes the message and waits for JetStream's answer.
func (s *store) request(ctx context.Context, m *nats.Msg) (uint64, error) {
	nc, _, err := s.conn()
	if err != nil {
		return 0, err
	}
	wait := s.opts.ackTimeout
	if s.embedded != nil {
		wait = max(wait, s.opts.AppendTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if m := s.embedded; m != nil {
		// A slow disk is waited for. After an error nothing comes, and the server has said what it is.
		said := m.log.count()
		defer time.AfterFunc(s.opts.ackTimeout, func() {
			if m.log.count() != said {
				cancel()
			}
		}).Stop()
	}
	s.mu.RLock()
	up := s.up
	s.mu.RUnlock()
	defer context.AfterFunc(up, cancel)()
	resp, err := nc.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return 0, fmt.Errorf("%w: %d bytes, and the NATS server takes %d", transport.ErrJournalTooLarge, len(m.Data), nc.MaxPayload())
	case errors.Is(err, nats.ErrNoResponders):
		return 0, fmt.Errorf("%w: JetStream does not answer", transport.ErrJournalUnavailable)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return 0, fmt.Errorf("%w: no connection to %s", transport.ErrJournalUnavailable, s.place())
	case err != nil:
		return 0, fmt.Errorf("%w: %w: %w", transport.ErrJournalUnavailable, errUnknown, err)
	}
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(resp.Data, &ack); err != nil || ack.Error == nil && ack.Seq == 0 {
		return 0, fmt.Errorf("%w: %w: unreadable acknowledgement %.100q", transport.ErrJournalUnavailable, errUnknown, resp.Data)
	}
	if ack.Error == nil {
		return ack.Seq, nil
	}
	switch int(ack.Error.ErrorCode) {
	case codeWrongLastSequence:
		e := &sequenceError{}
		if _, err := fmt.Sscanf(ack.Error.Description, "wrong last sequence: %d", &e.last); err != nil {
			return 0, fmt.Errorf("%w: %s", transport.ErrJournalUnavailable, ack.Error.Description)
		}
		return 0, e
	case codeResources, codeStorageResources, codeAccountResources, codeStoreFailed:
		return 0, fmt.Errorf("%w: %s", transport.ErrJournalFull, ack.Error.Description)
	case codeMessageTooLarge:
		return 0, fmt.Errorf("%w: %s", transport.ErrJournalTooLarge, ack.Error.Description)
	}
	return 0, fmt.Errorf("%w: %s", transport.ErrJournalUnavailable, ack.Error.Description)
}

// purge deletes the blocks up to the message with sequence number upTo.
func (s *store) purge(ctx context.Context, upTo uint64) error {
	_, js, err := s.conn()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.AppendTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, s.opts.Stream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", transport.ErrJournalUnavailable, err)
	}
	return nil
}
