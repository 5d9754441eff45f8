package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"tbmsock/transport"
)

// handshake is the server's first packet (Engine.IO protocol, "Handshake").
type handshake struct {
	Sid          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"` // ms
	PingTimeout  int64    `json:"pingTimeout"`  // ms
	MaxPayload   int64    `json:"maxPayload"`   // bytes; 0: not said
}

func parseHandshake(p Packet) (handshake, error) {
	var h handshake
	if p.Type != transport.EngineOpen || p.Binary {
		return h, fmt.Errorf("wire: the server began with a packet of type %q", p.Type)
	}
	if err := json.Unmarshal(p.Data, &h); err != nil {
		return h, fmt.Errorf("wire: handshake: %w", err)
	}
	const day = 24 * 60 * 60 * 1000
	if h.Sid == "" || h.PingInterval <= 0 || h.PingTimeout <= 0 || h.PingInterval > day || h.PingTimeout > day {
		return h, fmt.Errorf("wire: handshake %.200q is not one", p.Data)
	}
	return h, nil
}

// address is the URL of a request.
func (d *Dialed) address(transportName string) string {
	u := d.url
	q := u.Query()
	q.Set("transport", transportName)
	if d.shake.Sid != "" {
		q.Set("sid", d.shake.Sid)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func (d *Dialed) dialSocket(ctx context.Context) (*Socket, error) {
	// ws for http, wss for https.
	return DialCompress(ctx, "ws"+strings.TrimPrefix(d.address("websocket"), "http"), d.opts.Header, d.opts.MaxPayload, d.opts.Compress)
}

func (d *Dialed) openSocket(ctx context.Context) error {
	s, err := d.dialSocket(ctx)
	if err != nil {
		return err
	}
	d.socket = s
	if t, ok := ctx.Deadline(); ok {
		if err := s.SetReadDeadline(t); err != nil {
			return err
		}
	}
	binary, data, err := s.Read()
	if err != nil {
		return fmt.Errorf("wire: handshake: %w", err)
	}
	p, err := d.codec.ParseMessage(binary, data)
	if err != nil {
		return err
	}
	if d.shake, err = parseHandshake(p); err != nil {
		return err
	}
	return s.SetReadDeadline(time.Time{})
}

func (d *Dialed) openPolling(ctx context.Context) ([]Packet, error) {
	packets, err := d.poll(ctx)
	if err != nil {
		return nil, err
	}
	if len(packets) == 0 {
		return nil, errors.New("wire: empty handshake")
	}
	if d.shake, err = parseHandshake(packets[0]); err != nil {
		return nil, err
	}
	return packets[1:], nil
}

// poll makes one GET.
func (d *Dialed) poll(ctx context.Context) ([]Packet, error) {
	body, err := d.request(ctx, http.MethodGet, nil)
	if err != nil {
		return nil, err
	}
	packets, err := d.codec.ParsePayload(nil, body)
	// The length in front of revision 3's first packet, 101 for one, reads as a packet of another type.
	began := err == nil && len(packets) > 0 && packets[0].Type == transport.EngineOpen
	if d.shake.Sid == "" && !began && otherRevision(body) {
		return nil, transport.ErrUnsupportedVersion
	}
	return packets, err
}

// otherRevision tells whether a handshake is that of revision 3 or 4. Servers of revision 3 do
// not look at the revision that is asked for.
func otherRevision(body []byte) bool {
	digits := bytes.TrimLeft(body, "0123456789")
	return bytes.HasPrefix(body, []byte("0{")) || len(digits) < len(body) && bytes.HasPrefix(digits, []byte(":0{")) ||
		len(body) > 0 && body[0] == 0 // the binary form of revision 3
}

// emptyBody is an empty body that net/http does not know to be one.
type emptyBody struct{ io.ReadCloser }

func (d *Dialed) request(ctx context.Context, method string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.address("polling"), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	for k, v := range d.opts.Header {
		req.Header[k] = v
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	} else {
		// A poll must not be repeated: the server may have answered it, and has these packets no more. Without a
		// body, or with GetBody, net/http repeats a GET when a connection that it has used before is reset.
		req.Body, req.GetBody = emptyBody{http.NoBody}, nil
	}
	res, err := d.http.Do(req)
	if err != nil {
		return nil, &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: err}
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, d.opts.MaxPayload+1))
	switch {
	case err != nil:
		return nil, &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: err}
	case int64(len(data)) > d.opts.MaxPayload:
		return nil, &transport.DisconnectError{Reason: transport.ReasonPayloadTooLarge,
			Err: fmt.Errorf("answer of more than %d bytes", d.opts.MaxPayload)}
	case res.StatusCode == http.StatusOK:
		return data, nil
	}
	var he struct {
		Code    *int
		Message string
	}
	if json.Unmarshal(data, &he) == nil && he.Code != nil && *he.Code == transport.ErrVersion.Code {
		return nil, transport.ErrUnsupportedVersion
	}
	if bytes.Contains(data, []byte("unsupported version")) { // python-engineio
		return nil, transport.ErrUnsupportedVersion
	}
	return nil, &transport.DisconnectError{Reason: transport.ReasonTransportError,
		Err: fmt.Errorf("%s: %.200q", res.Status, bytes.TrimSpace(data))}
}
