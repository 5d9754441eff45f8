package engine3

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// maxPackets bounds the packets in one payload.
const maxPackets = 16384

// codec is the wire form of revision 3, after engine.io-parser 2: a binary message begins with
// the byte 4; in a payload each packet has its length before it.
type codec struct{}

var _ wire.Codec = codec{}

func (codec) SocketFrame(f *transport.Frame) []byte {
	return f.Wire(transport.FormWebSocket3, encodeSocket)
}

func (codec) CompressedFrame(f *transport.Frame, c transport.Compressor) []byte {
	return f.Compressed(transport.FormWebSocket3, encodeSocket, c)
}

// binaryMessage is the type byte of a binary message.
const binaryMessage = 4

func encodeSocket(f *transport.Frame, prefixed []byte) []byte {
	var text []byte
	if !f.IsRest() {
		text = wire.TextFrame(f, prefixed)
	}
	if len(f.Attachments()) == 0 {
		return text
	}
	out := append(make([]byte, 0, len(text)+f.Size()), text...)
	for _, a := range f.Attachments() {
		out = wire.AppendFrame(out, true, []byte{binaryMessage}, a)
	}
	return out
}

func (codec) ParseMessage(binary bool, data []byte) (wire.Packet, error) {
	if binary {
		return parseBinary(data)
	}
	return parseText(data)
}

func parseBinary(data []byte) (wire.Packet, error) {
	if len(data) == 0 || data[0] != binaryMessage {
		return wire.Packet{}, parseError("binary packet that is no message")
	}
	return wire.Packet{Type: transport.EngineMessage, Binary: true, Data: data[1:]}, nil
}

func parseText(data []byte) (wire.Packet, error) {
	if len(data) == 0 {
		return wire.Packet{}, parseError("empty packet")
	}
	if data[0] == 'b' { // base64, from a client that has no binary
		if len(data) < 2 || data[1] != transport.EngineMessage {
			return wire.Packet{}, parseError("binary packet that is no message")
		}
		b, err := wire.DecodeBase64(data[2:])
		if err != nil {
			return wire.Packet{}, parseError("binary packet: %w", err)
		}
		return wire.Packet{Type: transport.EngineMessage, Binary: true, Data: b}, nil
	}
	if data[0] < transport.EngineOpen || data[0] > transport.EngineNoop {
		return wire.Packet{}, parseError("unknown packet type %q", data[0])
	}
	return wire.Packet{Type: data[0], Data: data[1:]}, nil
}

// encodePolling writes <length>:<packet> for the text and for each attachment, which goes as base64.
func encodePolling(f *transport.Frame, _ []byte) []byte {
	var out []byte
	if !f.IsRest() {
		out = strconv.AppendInt(out, int64(1+unitCount(f.Text())), 10)
		out = append(out, ':', f.Kind())
		out = append(out, f.Text()...)
	}
	for _, a := range f.Attachments() {
		out = strconv.AppendInt(out, int64(2+base64.StdEncoding.EncodedLen(len(a))), 10)
		out = append(out, ':', 'b', transport.EngineMessage)
		out = base64.StdEncoding.AppendEncode(out, a)
	}
	return out
}

// unitCount is the length of the text as JavaScript counts it: in UTF-16 code units.
func unitCount(text []byte) (n int) {
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			n++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		i += size
		n += units(r)
	}
	return n
}

func units(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}

func (codec) BinaryPrefix() []byte { return []byte{binaryMessage} }

func (codec) Payload(frames []*transport.Frame) []byte {
	parts := make([][]byte, len(frames))
	for i, f := range frames {
		parts[i] = f.Wire(transport.FormPolling3, encodePolling)
	}
	return bytes.Join(parts, nil)
}

func (c codec) WritePayload(w http.ResponseWriter, r *http.Request, frames []*transport.Frame, textOnly bool) error {
	w.Header().Set("Cache-Control", "no-store")
	if j := r.URL.Query().Get("j"); j != "" {
		return writeJSONP(w, j, c.Payload(frames))
	}
	payload, kind := []byte(nil), "text/plain; charset=UTF-8"
	if !textOnly && slices.ContainsFunc(frames, hasBinary) {
		payload, kind = binaryPayload(frames), "application/octet-stream"
	} else {
		payload = c.Payload(frames)
	}
	w.Header().Set("Content-Type", kind)
	_, err := w.Write(payload)
	return err
}

func hasBinary(f *transport.Frame) bool { return len(f.Attachments()) > 0 }

// binaryPayload is the payload for clients that take binary; [parseBinaryPayload] has its form. Unlike the others it is
// made anew for each client: few poll in this revision, fewer with attachments, and nothing has to be encoded.
func binaryPayload(frames []*transport.Frame) []byte {
	size := 0
	for _, f := range frames {
		size += f.Size()
	}
	out := make([]byte, 0, size)
	for _, f := range frames {
		if !f.IsRest() {
			out = appendBinaryHead(out, 0, 1+len(f.Text()))
			out = append(append(out, f.Kind()), f.Text()...)
		}
		for _, a := range f.Attachments() {
			out = appendBinaryHead(out, 1, 1+len(a))
			out = append(append(out, binaryMessage), a...)
		}
	}
	return out
}

// appendBinaryHead appends what stands before a packet of n bytes: its kind, 0 for text or 1 for binary, its length as
// digits 0 to 9 (not their characters), and 255.
func appendBinaryHead(out []byte, kind byte, n int) []byte {
	out = append(out, kind)
	start := len(out)
	out = strconv.AppendInt(out, int64(n), 10)
	for i := start; i < len(out); i++ {
		out[i] -= '0'
	}
	return append(out, 0xff)
}

// writeJSONP answers browsers that poll by script elements.
func writeJSONP(w http.ResponseWriter, j string, payload []byte) error {
	// Only digits: the name of a function is the client's to say, its code is not.
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, j)
	quoted, err := json.Marshal(string(payload)) // escapes U+2028 and U+2029 too, as scripts need
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/javascript; charset=UTF-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, err = fmt.Fprintf(w, "___eio[%s](%s);", digits, quoted)
	return err
}

func (codec) ParsePayload(r *http.Request, body []byte) ([]wire.Packet, error) {
	if r != nil && r.URL.Query().Has("j") {
		var err error
		if body, err = jsonpBody(body); err != nil {
			return nil, err
		}
	}
	if len(body) > 0 && body[0] <= 1 {
		return parseBinaryPayload(body)
	}
	return parseTextPayload(body)
}

// jsonpBody undoes what a form does to a payload: it comes as the field d, with line ends
// escaped, as browsers change them.
func jsonpBody(body []byte) ([]byte, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("d") {
		return nil, parseError("form without the field d")
	}
	return []byte(strings.NewReplacer(`\\n`, `\n`, `\n`, "\n", `\\`, `\`).Replace(form.Get("d"))), nil
}

var errPayload = errors.New("length of a packet is missing, or larger than the payload")

// parseTextPayload reads packets that have their length in UTF-16 code units before them.
func parseTextPayload(body []byte) ([]wire.Packet, error) {
	var packets []wire.Packet
	for len(body) > 0 {
		n, rest, err := length(body, ':')
		if err != nil {
			return nil, err
		}
		end := unitsEnd(rest, n)
		if end < 0 {
			return nil, parseError("%w", errPayload)
		}
		p, err := parseText(rest[:end:end])
		if err != nil {
			return nil, err
		}
		if packets = append(packets, p); len(packets) > maxPackets {
			return nil, parseError("more than %d packets in one payload", maxPackets)
		}
		body = rest[end:]
	}
	return packets, nil
}

// unitsEnd returns the index after n UTF-16 code units of text, -1 if there are not so many or
// the last one is half a character.
func unitsEnd(text []byte, n int) int {
	i := 0
	for n > 0 && i < len(text) {
		if text[i] < utf8.RuneSelf {
			i++
			n--
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		i += size
		n -= units(r)
	}
	if n != 0 {
		return -1
	}
	return i
}

// parseBinaryPayload reads packets that have before them 0 for text or 1 for binary, their length
// in bytes as digits 0 to 9 (not their characters), and 255.
func parseBinaryPayload(body []byte) ([]wire.Packet, error) {
	var packets []wire.Packet
	for len(body) > 0 {
		kind := body[0]
		if kind > 1 {
			return nil, parseError("packet of kind %d in a binary payload", kind)
		}
		n, rest, err := length(body[1:], 0xff)
		if err != nil {
			return nil, err
		}
		if n > len(rest) {
			return nil, parseError("%w", errPayload)
		}
		data := rest[:n:n]
		parse := parseText
		if kind == 1 {
			parse = parseBinary
		}
		p, err := parse(data)
		if err != nil {
			return nil, err
		}
		if packets = append(packets, p); len(packets) > maxPackets {
			return nil, parseError("more than %d packets in one payload", maxPackets)
		}
		body = rest[n:]
	}
	return packets, nil
}

// length reads a length that ends with the given byte: in characters before ':', as bare numbers
// before 255.
func length(body []byte, end byte) (n int, rest []byte, err error) {
	zero := byte('0')
	if end == 0xff {
		zero = 0
	}
	for i, c := range body {
		if c == end && i > 0 {
			return n, body[i+1:], nil
		}
		if c < zero || c > zero+9 || i >= 9 {
			break
		}
		n = n*10 + int(c-zero)
	}
	return 0, nil, parseError("%w", errPayload)
}

func parseError(format string, args ...any) error {
	return &transport.DisconnectError{Reason: transport.ReasonParseError, Err: fmt.Errorf("engine3: "+format, args...)}
}
