package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Socket.IO packet types (Socket.IO protocol, "Packet types").
const (
	packetConnect      = '0'
	packetDisconnect   = '1'
	packetEvent        = '2'
	packetAck          = '3'
	packetConnectError = '4' // revision 4: ERROR
	packetBinaryEvent  = '5'
	packetBinaryAck    = '6'
)

// maxAttachments is how many attachments any packet may announce: what our own clients take from a journal that has
// entries with more than [SafeAttachments]. Each is a message of its own, so a packet with more costs a hundred times
// its size.
const maxAttachments = 256

// maxQuery bounds the query behind a namespace's name, in bytes: as long as servers take a URL.
const maxQuery = 8 << 10

// maxArgs is how many elements the array of a packet may have. Each becomes a [Value], which takes
// forty times the two bytes that it may have on the wire.
const maxArgs = 1024

// packet is a Socket.IO packet. Its slices are parts of the text it was read from.
type packet struct {
	kind        byte
	announced   int    // attachments that follow
	nsp         []byte // "/" if the text names none
	id          uint64
	hasID       bool
	data        json.RawMessage // checked by validJSON, or empty
	commas      int             // between the elements of data, if it is an array
	depth       int             // of data
	attachments [][]byte
	fault       *AckError // not nil: an event that is refused, since it could harm a receiver
}

func protocolError(format string, args ...any) error {
	return &DisconnectError{Reason: ReasonParseError, Err: fmt.Errorf(format, args...)}
}

var rootNamespace = []byte("/")

// decodePacket reads <type>[<attachments>-][<namespace>,][<ack id>][JSON] (Socket.IO protocol,
// "Packet encoding").
func decodePacket(text []byte) (packet, error) {
	if len(text) == 0 {
		return packet{}, protocolError("empty packet")
	}
	p := packet{kind: text[0], nsp: rootNamespace}
	if p.kind < packetConnect || p.kind > packetBinaryAck {
		return p, protocolError("unknown packet type %q", text[0])
	}
	i := 1
	if p.kind == packetBinaryEvent || p.kind == packetBinaryAck {
		n, end, err := parseDigits(text, i)
		if err != nil || end == i || end >= len(text) || text[end] != '-' {
			return p, protocolError("binary packet without a number of attachments")
		}
		if n > maxAttachments {
			return p, protocolError("%d attachments announced, %d allowed", n, maxAttachments)
		}
		p.announced = int(n)
		i = end + 1
	}
	if i < len(text) && text[i] == '/' {
		end := i
		for end < len(text) && text[end] != ',' {
			end++
		}
		p.nsp = text[i:end]
		name := p.nsp
		if q := bytes.IndexByte(name, '?'); q >= 0 { // revision 4 has a query behind the name
			name = name[:q]
		}
		if len(name) > maxNameLen || len(p.nsp) > maxNameLen+maxQuery {
			return p, protocolError("namespace of %d bytes, %d allowed, and %d of a query", len(p.nsp), maxNameLen, maxQuery)
		}
		i = min(end+1, len(text))
	}
	id, end, err := parseDigits(text, i)
	if err != nil {
		return p, protocolError("ack id: %w", err)
	}
	if end > i {
		p.id, p.hasID = id, true
		i = end
	}
	if i < len(text) {
		p.data = json.RawMessage(text[i:])
		var ok bool
		if p.commas, p.depth, ok = validJSON(p.data); !ok {
			return p, protocolError("packet data: %w", whyNotJSON(p.data))
		}
	}
	return p, p.check()
}

// check holds the packet against what its type allows.
func (p *packet) check() error {
	if p.commas >= maxArgs {
		return protocolError("%d arguments, %d allowed", p.commas+1, maxArgs)
	}
	first := byte(0)
	if i := skipSpace(p.data, 0); i < len(p.data) {
		first = p.data[i]
	}
	switch p.kind {
	case packetEvent, packetBinaryEvent:
		if first != '[' {
			return protocolError("event without an array of arguments")
		}
	case packetAck, packetBinaryAck:
		if first != '[' {
			return protocolError("ack without an array of arguments")
		}
		if !p.hasID {
			return protocolError("ack without an id")
		}
	case packetDisconnect:
		if first != 0 {
			return protocolError("disconnect with data")
		}
	}
	return nil
}

// checkPlaceholders refuses a complete binary packet of a server in which a placeholder names an attachment
// that is not there, or one that another names: see [checkBinary], which asks more of what clients send.
func (p *packet) checkPlaceholders() error {
	var err error
	var seen [maxAttachments]bool
	eachPlaceholder(p.data, func(_, _, num int) {
		switch {
		case err != nil:
		case num < 0 || num >= len(p.attachments):
			err = protocolError("placeholder for an attachment that is not there")
		case seen[num]:
			err = protocolError("two placeholders for attachment %d", num)
		default:
			seen[num] = true
		}
	})
	return err
}

// harmful looks for what could harm another client in a binary packet that a client has begun: an event is then refused
// for the fault, and read to its end; the answer to an event ends the connection.
func harmful(kind byte, data []byte, announced int) (fault *AckError, err error) {
	if announced == 0 {
		err = checkBinary(data, 0) // a receiver of such a packet would look for placeholders too
	} else {
		err = checkSafe(data, announced)
	}
	switch {
	case err == nil:
		return nil, nil
	case kind == packetBinaryAck:
		return nil, protocolError("%w", err)
	case !errors.As(err, &fault):
		fault = &AckError{Code: CodeBadArguments, Message: err.Error()}
	}
	return fault, nil
}

// args splits the packet's array into values. Each holds all attachments of the packet if it
// refers to any: placeholders keep their numbers.
func (p *packet) args() Args {
	var space [4]json.RawMessage
	elems := space[:0]
	if p.commas == 1 {
		elems = splitPair(p.data, elems)
	} else {
		elems, _ = splitArray(p.data, elems)
	}
	args := make(Args, len(elems))
	for i, e := range elems {
		args[i].JSON = e
		if len(p.attachments) == 0 {
			continue
		}
		eachPlaceholder(e, func(_, _, _ int) { args[i].Attachments = p.attachments })
	}
	return args
}

var errNumber = errors.New("number too large")

// parseDigits reads decimal digits from text[i]; end == i means there are none.
func parseDigits(text []byte, i int) (n uint64, end int, err error) {
	for end = i; end < len(text) && text[end] >= '0' && text[end] <= '9'; end++ {
		// JavaScript clients count in doubles: nothing above 2^53 is an id.
		if n > 1<<53/10 {
			return 0, end, errNumber
		}
		n = n*10 + uint64(text[end]-'0')
	}
	return n, end, nil
}

// appendHead appends everything of a packet that stands before its data.
func appendHead(dst []byte, kind byte, attachments int, nsp string, id uint64, hasID bool) []byte {
	dst = append(dst, kind)
	if kind == packetBinaryEvent || kind == packetBinaryAck {
		dst = strconv.AppendInt(dst, int64(attachments), 10)
		dst = append(dst, '-')
	}
	if nsp != "/" && nsp != "" {
		dst = append(dst, nsp...)
		dst = append(dst, ',')
	}
	if hasID {
		dst = strconv.AppendUint(dst, id, 10)
	}
	return dst
}

// controlFrame makes a packet without arguments of a handler: CONNECT, CONNECT_ERROR, DISCONNECT.
func controlFrame(kind byte, nsp string, data []byte) *Frame {
	buf := make([]byte, PrefixRoom, PrefixRoom+len(nsp)+len(data)+2)
	buf = appendHead(buf, kind, 0, nsp, 0, false)
	return frameOf(EngineMessage, append(buf, data...), nil, false)
}

// eventFrame makes an EVENT or BINARY_EVENT. With an id it asks for an ack, and is then not
// dropped for a slow client.
func eventFrame(nsp, event string, args []any, id uint64, hasID bool) (*Frame, error) {
	if err := CheckEvent(event); err != nil {
		return nil, err
	}
	return argsFrame(packetEvent, nsp, &event, args, id, hasID)
}

// ackFrame makes an ACK or BINARY_ACK.
func ackFrame(nsp string, args []any, id uint64) (*Frame, error) {
	return argsFrame(packetAck, nsp, nil, args, id, true)
}

func argsFrame(kind byte, nsp string, event *string, args []any, id uint64, hasID bool) (*Frame, error) {
	size := len(nsp) + 48
	if event != nil {
		size += len(*event)
	}
	binary := 0 // known only once the arguments are read; guessed for the head
	var last [][]byte
	for _, a := range args {
		switch v := a.(type) {
		case Value:
			size += len(v.JSON) + 1
			if !sameSlice(v.Attachments, last) { // of one packet, if they are
				binary += len(v.Attachments)
			}
			last = v.Attachments
		case json.RawMessage:
			size += len(v) + 1
		case []byte:
			binary++
		}
	}
	for try := 0; ; try++ {
		k := kind
		if binary > 0 {
			k += packetBinaryEvent - packetEvent
		}
		buf := make([]byte, PrefixRoom, PrefixRoom+size)
		buf = appendHead(buf, k, binary, nsp, id, hasID)
		head := len(buf)
		buf = append(buf, '[')
		if event != nil {
			buf = appendQuoted(buf, *event)
		}
		buf, attachments, err := appendArgs(buf, nil, event == nil, args)
		if err != nil {
			return nil, err
		}
		if len(attachments) != binary && try == 0 {
			binary = len(attachments)
			continue
		}
		buf = append(buf, ']')
		if err := checkSafe(buf[head:], len(attachments)); err != nil {
			return nil, err
		}
		return frameOf(EngineMessage, buf, attachments, kind == packetEvent && !hasID), nil
	}
}
