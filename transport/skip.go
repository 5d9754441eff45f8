package transport

import (
	"errors"
	"strconv"
	"strings"
)

// EventSkipped tells a follower with offsets that an entry of the journal is not sent to it, since its parser could
// fail on the event: {offset, replayed, error:{code, message}}. Other clients are sent nothing for such an entry.
const EventSkipped = "skipped"

type skippedNote struct {
	offsetNote
	Error *AckError `json:"error"`
}

// entryFault is the reason why an entry is not sent to every client; nil for nearly all. The relay takes no such event,
// but a journal may hold entries that another version has taken.
func entryFault(e *JournalEntry) *AckError {
	if len(e.Value.Attachments) == 0 {
		return nil
	}
	var fault *AckError
	if err := checkSafe(e.Value.JSON, len(e.Value.Attachments)); errors.As(err, &fault) {
		return fault
	}
	return nil
}

// accepts reports whether s is sent an entry with the fault: one with many attachments, if it has declared that it
// takes so many. A placeholder that is wrong is wrong for everybody.
func (s *Socket) accepts(e *JournalEntry, fault *AckError) bool {
	n := len(e.Value.Attachments)
	return fault == nil ||
		fault.Code == CodeTooManyAttachments && n <= s.attachments && checkBinary(e.Value.JSON, n) == nil
}

// skippedFrame is what a follower with offsets gets in place of the entry.
func skippedFrame(nsp string, e *JournalEntry, fault *AckError, replayed bool) *Frame {
	f, err := eventFrame(nsp, EventSkipped, []any{skippedNote{offsetNote{e.Offset, replayed}, fault}}, 0, false)
	if err != nil {
		panic(err) // cannot be: the name and the note are ours
	}
	f.droppable = false // who asks for offsets has no holes
	return f
}

// declaredAttachments is the number of attachments that a client declared to take when it connected: attachments=N in
// the query of the connection, {"attachments": N} in the auth payload of the namespace, or, in revision 4, the query
// behind the namespace's name. [SafeAttachments] if it declared nothing.
func declaredAttachments(h *Handshake, auth Value) int {
	const name = "attachments"
	if h != nil && strings.Contains(h.RawQuery, name) {
		if n, err := strconv.Atoi(h.Query().Get(name)); err == nil {
			return max(min(n, maxAttachments), SafeAttachments)
		}
	}
	var a struct {
		Attachments jsonText `json:"attachments"`
	}
	if len(auth.JSON) == 0 || !strings.Contains(string(auth.JSON), name) || auth.Decode(&a) != nil {
		return SafeAttachments
	}
	n, err := strconv.Atoi(string(a.Attachments))
	if err != nil {
		return SafeAttachments
	}
	return max(min(n, maxAttachments), SafeAttachments)
}

// jsonText is a JSON number, or a string, which a query holds in its place.
type jsonText string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *jsonText) UnmarshalJSON(data []byte) error {
	*t = jsonText(strings.Trim(string(data), `"`))
	return nil
}
