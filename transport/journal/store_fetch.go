package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"tbmsock/transport"
)

// fetch returns the messages from seq on, a batch of them; none if there are none yet, or not where it
// asked: of several servers one may lag behind.
func (s *store) fetch(ctx context.Context, seq uint64, messages, bytes int) ([]*message, error) {
	// Reading headers costs several times what the rest does. Without them the messages' numbers are
	// known if none is missing between them, which is so but for one that was given up or deleted.
	seq = max(seq, 1)
	got, last, err := s.get(ctx, seq, messages, bytes, true)
	if err != nil || len(got) == 0 {
		return nil, err
	}
	if last != seq+uint64(len(got))-1 {
		got, _, err = s.get(ctx, seq, messages, bytes, false)
		return got, err
	}
	for i, m := range got {
		m.seq = seq + uint64(i)
	}
	return got, nil
}

// get asks for a batch of messages, and returns them and the number of the last one.
func (s *store) get(ctx context.Context, seq uint64, messages, bytes int, bare bool) (got []*message, last uint64, err error) {
	s.mu.RLock()
	nc := s.rc
	s.mu.RUnlock()
	if nc == nil {
		_, _, err := s.conn()
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	fail := func(err error) ([]*message, uint64, error) {
		return nil, 0, fmt.Errorf("%w: reading: %w", transport.ErrJournalUnavailable, err)
	}
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	request := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d,"no_hdr":%t}`, seq, messages, bytes, bare)
	if err := nc.PublishRequest("$JS.API.DIRECT.GET."+s.opts.Stream, inbox, request); err != nil {
		return fail(err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return fail(err)
		}
		if m.Header == nil {
			got = append(got, &message{data: m.Data})
			continue
		}
		switch status := m.Header.Get("Status"); status {
		case "": // a server that does not know no_hdr
		case "404":
			return got, last, nil
		case "204":
			last, err = strconv.ParseUint(m.Header.Get("Nats-Last-Sequence"), 10, 64)
			if err != nil {
				return fail(fmt.Errorf("end of a batch without a sequence number: %w", err))
			}
			return got, last, nil
		default:
			return fail(fmt.Errorf("status %s %s", status, m.Header.Get("Description")))
		}
		n, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
		if err != nil {
			return fail(fmt.Errorf("message without a sequence number: %w", err))
		}
		got = append(got, &message{n, m.Data})
	}
}

// extent says what a stream holds: the numbers of its first and last message, how many between them are missing, and
// the bytes of all. Of an empty stream first is last + 1.
type extent struct {
	id                          string // of the journal
	first, last, missing, bytes uint64
}

func (s *store) extent(ctx context.Context) (extent, error) {
	_, js, err := s.conn()
	if err != nil {
		return extent{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, s.opts.Stream) // with its state
	if err != nil {
		return extent{}, fmt.Errorf("%w: %w", transport.ErrJournalUnavailable, err)
	}
	st, id := stream.CachedInfo().State, journalID(stream.CachedInfo())
	s.maxMessage.Store(int64(stream.CachedInfo().Config.MaxMsgSize))
	if st.Msgs == 0 {
		return extent{id: id, first: st.LastSeq + 1, last: st.LastSeq}, nil
	}
	return extent{id, st.FirstSeq, st.LastSeq, st.LastSeq + 1 - st.FirstSeq - st.Msgs, st.Bytes}, nil
}

// after returns the number of the first message at or behind seq, 0 if there is none. Unlike fetch it asks the server
// that leads the stream.
func (s *store) after(ctx context.Context, seq uint64) (uint64, error) {
	nc, _, err := s.conn()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request := fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, seq, s.blockSubject())
	m, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.opts.Stream, request)
	var resp struct {
		Message *struct {
			Seq uint64 `json:"seq"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	if err == nil {
		err = json.Unmarshal(m.Data, &resp)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: reading: %w", transport.ErrJournalUnavailable, err)
	case resp.Error != nil && resp.Error.Code == 404:
		return 0, nil
	case resp.Error != nil || resp.Message == nil:
		return 0, fmt.Errorf("%w: reading: %.200s", transport.ErrJournalUnavailable, m.Data)
	}
	return resp.Message.Seq, nil
}
