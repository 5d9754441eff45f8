package transport

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// RefusedReason is the reason for which a request was refused.
type RefusedReason uint8

// The reasons. A request that ends a session is not among them: that session has a [Reason].
const (
	RefusedRequest   RefusedReason = iota // malformed, or not for the state of its session
	RefusedOrigin                         // a page from an origin that is not allowed
	RefusedVersion                        // a revision of Engine.IO that is not served
	RefusedTransport                      // neither polling nor websocket
	RefusedMethod                         // of HTTP
	RefusedSession                        // an unknown session id
	RefusedUpgrade                        // a WebSocket for a session that has one, or that did not go through the upgrade
	RefusedHandshake                      // a malformed WebSocket handshake
	RefusedFull                           // as many clients as there may be
	RefusedStopping                       // the server is shutting down
	RefusedJSONP                          // polling by script elements, which is not enabled for that page
	RefusedHost                           // the name of another server
	refusedCount
)

var refusedNames = [refusedCount]string{
	"bad request", "origin", "version", "transport", "method", "unknown session", "upgrade", "handshake", "server full",
	"server shutting down", "JSONP", "host",
}

func (r RefusedReason) String() string {
	if r < refusedCount {
		return refusedNames[r]
	}
	return "unknown"
}

// RefusedReasons returns all reasons, in the order of their values.
func RefusedReasons() []RefusedReason {
	all := make([]RefusedReason, refusedCount)
	for i := range all {
		all[i] = RefusedReason(i)
	}
	return all
}

// Refused describes a request that was refused. The strings are the client's, cut to a length that is safe to log; the
// session id is left out, since another node may know it.
type Refused struct {
	Reason     RefusedReason
	Err        error
	RemoteAddr string
	Method     string
	Origin     string // empty: none was sent; of JSONP it may be that of the Referer
	Host       string // as which the server was asked for
	Version    string // the parameter EIO
	Transport  string // the parameter transport
}

// refusedText is the longest text of a client's that a Refused holds, in bytes.
const refusedText = 200

// NoteRefused counts a request that is refused, and passes it to OnRefused.
func (o *EngineOptions) NoteRefused(r *http.Request, reason RefusedReason, err error) {
	o.Counters.countRefused(reason)
	if o.OnRefused == nil {
		return
	}
	q := r.URL.Query()
	origin := r.Header.Get("Origin")
	if reason == RefusedJSONP {
		origin = jsonpOrigin(r)
	}
	o.OnRefused(Refused{
		Reason: reason, Err: err, RemoteAddr: r.RemoteAddr, Method: cutText(r.Method), Origin: cutText(origin), Host: cutText(r.Host),
		Version: cutText(q.Get("EIO")), Transport: cutText(q.Get("transport")),
	})
}

// Refuse answers a request with an error, counts it, and passes it to OnRefused.
func (o *EngineOptions) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	o.NoteRefused(r, refusedReason(err), err)
	WriteHTTPError(w, err)
}

func refusedReason(err error) RefusedReason {
	switch {
	case errors.Is(err, ErrForbidden):
		return RefusedOrigin
	case errors.Is(err, ErrVersion):
		return RefusedVersion
	case errors.Is(err, ErrUnknownTransport):
		return RefusedTransport
	case errors.Is(err, ErrBadMethod):
		return RefusedMethod
	case errors.Is(err, ErrUnknownSession):
		return RefusedSession
	case errors.Is(err, errFull), errors.Is(err, ErrServerFull):
		return RefusedFull
	case errors.Is(err, ErrClosed), errors.Is(err, ErrServerStopping):
		return RefusedStopping
	}
	return RefusedRequest
}

// cutText returns s, or its beginning if it is long, in memory of its own: s is part of a request.
func cutText(s string) string {
	if len(s) <= refusedText {
		return strings.Clone(s)
	}
	end := refusedText
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// RefusedFor returns how many requests were refused for the reason.
func (c *Counters) RefusedFor(r RefusedReason) uint64 {
	if r >= refusedCount {
		return 0
	}
	return c.refused[r].Load()
}

func (c *Counters) countRefused(r RefusedReason) {
	if r >= refusedCount {
		r = RefusedRequest
	}
	c.refused[r].Add(1)
	c.Refused.Add(1)
}

// refusedCounters are indexed by reason.
type refusedCounters [refusedCount]atomic.Uint64
