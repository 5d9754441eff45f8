package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// idKey is where the stream's metadata has the journal's id. It goes where the stream goes: into the data directory, to all nodes of
// a cluster, into a backup of NATS's.
const idKey = "tbmsock-journal"

// newID makes an id: 65 random bits.
func newID() string { return rand.Text()[:13] }

// journalID reads it. Streams from before there were ids have the time when they were made.
func journalID(info *jetstream.StreamInfo) string {
	if id := info.Config.Metadata[idKey]; id != "" {
		return id
	}
	return "made-" + strconv.FormatInt(info.Created.UnixNano(), 36)
}

// idAgain returns the id that the table has, for a stream that has to be made though its table is there: the table says which offsets
// have been given, and its journal goes on. Where it knows none, known is false, and the id the one that was given.
func (s *store) idAgain(ctx context.Context, js jetstream.JetStream, id string) (_ string, known bool, err error) {
	stream, err := js.Stream(ctx, s.tableStream())
	if err != nil {
		return "", false, err
	}
	m, err := stream.GetLastMsgForSubject(ctx, s.tableSubject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return id, false, nil
	}
	if err != nil {
		return "", false, err
	}
	// One that cannot be read is told of when it is loaded.
	if t, err := parseTable(m.Data); err == nil && t.id != "" {
		return t.id, true, nil
	}
	return id, false, nil
}

// remade is what is to be said of that.
func remade(id string, known bool) string {
	if known {
		return fmt.Sprintf("the settings of the journal's stream were lost, and have been made again; it is journal %s still", id)
	}
	return fmt.Sprintf("the settings of the journal's stream were lost, and its id with them: it is journal %s now", id)
}

// dropDamaged removes the settings of streams that NATS would not take for such, and would not write again either: each start would find
// a journal without them.
func (m *embedded) dropDamaged() error {
	for _, stream := range []string{m.opts.Stream, m.opts.Stream + "_table"} {
		meta, sum, err := metaFiles(m.root, stream)
		if errors.Is(err, ErrNoJournal) {
			continue
		}
		if err == nil {
			_, err = readMeta(meta, sum, stream)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, errMetaDamaged) && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, name := range []string{meta, sum} {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		m.opts.OnWarning(err.Error())
	}
	return nil
}
