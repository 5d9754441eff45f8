package wire

import (
	"net/http"
	"strings"

	"tbmsock/transport"
)

// Request is what a request to the Socket.IO path asks for.
type Request struct {
	Transport string // "polling" or "websocket"
	Sid       string // Engine.IO session id; empty: a handshake
	Upgrade   bool   // to a WebSocket
}

// ParseRequest reads the query of a request (Engine.IO protocol, "Transports"). The error is one of
// package transport's HTTP errors.
func ParseRequest(r *http.Request) (Request, error) {
	q := r.URL.Query()
	req := Request{
		Transport: q.Get("transport"),
		Sid:       q.Get("sid"),
		Upgrade:   strings.EqualFold(r.Header.Get("Upgrade"), "websocket"),
	}
	switch {
	case req.Transport != "polling" && req.Transport != "websocket":
		return req, transport.ErrUnknownTransport
	case req.Upgrade != (req.Transport == "websocket"):
		return req, transport.ErrBadRequest
	case req.Sid == "" && r.Method != http.MethodGet, r.Method != http.MethodGet && r.Method != http.MethodPost:
		return req, transport.ErrBadMethod
	}
	return req, nil
}
