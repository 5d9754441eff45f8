package transport

import (
	"encoding/json"
	"errors"
	"net/http"
)

// HTTPError is an error of the Engine.IO handshake, as clients know it: the body is
// {"code":Code,"message":Message}.
type HTTPError struct {
	Status  int
	Code    int
	Message string
}

func (e *HTTPError) Error() string { return e.Message }

// The errors of Engine.IO; the numbers and texts are those of its reference server, which
// clients and people look for.
var (
	ErrUnknownTransport = &HTTPError{http.StatusBadRequest, 0, "Transport unknown"}
	ErrUnknownSession   = &HTTPError{http.StatusBadRequest, 1, "Session ID unknown"}
	ErrBadMethod        = &HTTPError{http.StatusBadRequest, 2, "Bad handshake method"}
	ErrBadRequest       = &HTTPError{http.StatusBadRequest, 3, "Bad request"}
	ErrForbidden        = &HTTPError{http.StatusForbidden, 4, "Forbidden"}
	ErrVersion          = &HTTPError{http.StatusBadRequest, 5, "Unsupported protocol version"}
	ErrPayloadTooLarge  = &HTTPError{http.StatusRequestEntityTooLarge, 3, "Payload too large"}
	ErrServerFull       = &HTTPError{http.StatusServiceUnavailable, 4, "Server is full"}
	ErrServerStopping   = &HTTPError{http.StatusServiceUnavailable, 4, "Server is shutting down"}
)

// WriteHTTPError answers a request with an error. An error that is no [*HTTPError] is what an
// [Acceptor] refused with.
func WriteHTTPError(w http.ResponseWriter, err error) {
	var he *HTTPError
	switch {
	case errors.As(err, &he):
	case errors.Is(err, errFull):
		he = ErrServerFull
	case errors.Is(err, ErrClosed):
		he = ErrServerStopping
	default:
		he = ErrBadRequest
	}
	if he.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	if he == ErrPayloadTooLarge { // the reference server answers this one without a body, and clients pass bodies on
		w.WriteHeader(he.Status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(he.Status)
	// Without a line feed at the end: clients compare the text.
	body, _ := json.Marshal(struct { // which holds nothing that cannot be encoded
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{he.Code, he.Message})
	_, _ = w.Write(body)
}

// ServeHTTP answers what stands on the Socket.IO path, with or without its last slash, and
// nothing else.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := r.URL.Path; p != s.opts.Path && p+"/" != s.opts.Path {
		http.NotFound(w, r)
		return
	}
	query := r.URL.Query()
	engine := s.engineFor(query.Get("EIO"))
	if isJSONP(engine, query) {
		if !s.allowJSONP(r) {
			s.refuse(w, r, RefusedJSONP)
			return
		}
	} else if err := s.origins.apply(w, r); err != nil {
		s.opts.Refuse(w, r, err)
		return
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if engine == nil {
		s.opts.Refuse(w, r, ErrVersion)
		return
	}
	engine.ServeHTTP(w, r)
}

// refuse answers 403 for a reason that [ErrForbidden] alone does not tell.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, reason RefusedReason) {
	s.opts.NoteRefused(r, reason, ErrForbidden)
	WriteHTTPError(w, ErrForbidden)
}

// RefuseHost answers a request that came by a name which is not the server's.
func (s *Server) RefuseHost(w http.ResponseWriter, r *http.Request) { s.refuse(w, r, RefusedHost) }

// AllowOrigins answers for h as the Socket.IO endpoint does who may ask from which page
// ([ServerOptions.Origins]).
func (s *Server) AllowOrigins(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.origins.apply(w, r); err != nil {
			s.opts.Refuse(w, r, err)
			return
		}
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// engineFor returns the engine for the value of the EIO parameter, which alone tells the revisions apart; nil if there
// is none. Like the reference server it takes a client that names no revision for one of revision 3: the Swift client
// did so before version 15.2, and clients of revision 2 understand revision 3.
func (s *Server) engineFor(eio string) Engine {
	if eio == "" || eio == "2" {
		eio = "3"
	}
	return s.engines[eio]
}
