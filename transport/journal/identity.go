package journal

import (
	"crypto/rand"
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
