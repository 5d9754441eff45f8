package wire

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
)

const extensionsHeader = "Sec-WebSocket-Extensions"

// Parameters of permessage-deflate (RFC 7692 section 7.1). Package wsflate reads them too, but takes
// a window of "08" or "?" bits, and a second client_max_window_bits.
const (
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverWindow     = "server_max_window_bits"
	clientWindow     = "client_max_window_bits"
)

// Bits of a compressor's window. Ours has the most.
const (
	leastWindow = 8
	mostWindow  = 15
)

// agreement is what the two ends of a WebSocket have agreed to: that messages may be compressed, each
// by itself. Without context takeover one compressed form serves all receivers, and nobody keeps a
// window of what was sent before. The zero value is that of a connection without compression.
type agreement struct {
	from   int32 // messages of at least so many bytes are compressed; 0: no agreement
	window uint8 // bits of the largest window that the peer has room for
	asked  bool  // the peer asked for that window, and is told that it gets it
}

func (a agreement) on() bool { return a.from > 0 }

// packs tells whether so many bytes, one or more messages, are worth compressing, and may be. A
// message that is no longer than the peer's window refers to nothing outside of it, whatever the
// compressor's own is.
func (a agreement) packs(n int) bool {
	return a.from > 0 && n >= int(a.from) && (a.window == mostWindow || n <= 1<<a.window)
}

// answer is the value of the handshake's header.
func (a agreement) answer() string {
	s := wsflate.ExtensionName + "; " + serverNoTakeover + "; " + clientNoTakeover
	if a.asked {
		s += "; " + serverWindow + "=" + strconv.Itoa(int(a.window))
	}
	return s
}

func clampFrom(from int) int32 { return int32(min(from, math.MaxInt32)) }

// acceptOffer agrees to the first of a client's offers that can be kept (RFC 7692 section 5.1); from
// is [transport.EngineOptions.Compress]. A header that is malformed offers nothing.
func acceptOffer(h http.Header, from int) agreement {
	values := h.Values(extensionsHeader)
	if from <= 0 || len(values) == 0 {
		return agreement{}
	}
	var agreed agreement
	var p parameters
	index := -1
	look := func() {
		// What a client says of its own window needs no answer: we can read any.
		if !agreed.on() && index >= 0 && p.name == wsflate.ExtensionName && !p.wrong {
			agreed = agreement{from: clampFrom(from), window: mostWindow}
			if p.serverWindow > 0 {
				agreed.window, agreed.asked = p.serverWindow, true
			}
		}
	}
	ok := httphead.ScanOptions([]byte(strings.Join(values, ",")), func(i int, name, attr, value []byte) httphead.Control {
		if i != index {
			look()
			index, p = i, parameters{name: string(name)}
		}
		if attr != nil {
			p.add(string(attr), string(value), value != nil, true)
		}
		return httphead.ControlContinue
	})
	if !ok {
		return agreement{}
	}
	look()
	return agreed
}

// parameters are those of one offer, or of an answer.
type parameters struct {
	name                                                         string
	wrong                                                        bool // an end that gets it must not go into it
	serverAlone, clientAlone, serverWindowSeen, clientWindowSeen bool
	serverWindow                                                 uint8 // bits; 0: not said
}

// add takes a parameter. Only an offer may leave out the bits of the client's window.
func (p *parameters) add(name, value string, given, offer bool) {
	var seen *bool
	var ok bool
	switch name {
	case serverNoTakeover:
		seen, ok = &p.serverAlone, !given
	case clientNoTakeover:
		seen, ok = &p.clientAlone, !given
	case serverWindow:
		seen = &p.serverWindowSeen
		p.serverWindow, ok = windowBits(value)
	case clientWindow:
		seen = &p.clientWindowSeen
		_, ok = windowBits(value)
		ok = ok || offer && !given
	default:
		p.wrong = true
		return
	}
	if *seen || !ok {
		p.wrong = true
	}
	*seen = true
}

// windowBits reads "8" to "15", without leading zeros.
func windowBits(s string) (bits uint8, ok bool) {
	n, err := strconv.Atoi(s)
	if err != nil || n < leastWindow || n > mostWindow || strconv.Itoa(n) != s {
		return 0, false
	}
	return uint8(n), true
}

// offer is what a client asks for: that the server compresses each message by itself, as we do.
func offer(from int) []httphead.Option {
	if from <= 0 {
		return nil
	}
	o := httphead.Option{Name: wsflate.ExtensionNameBytes}
	o.Parameters.Set([]byte(serverNoTakeover), nil)
	o.Parameters.Set([]byte(clientNoTakeover), nil)
	return []httphead.Option{o}
}

var errAnswer = errors.New("wire: WebSocket dial: the server agrees to a compression that was not offered")

// checkAnswer reads the server's answer to offer. A client must end a connection whose server answers
// what it was not asked (RFC 7692 sections 5.1 and 7.1).
func checkAnswer(answer []httphead.Option, from int) (agreement, error) {
	if len(answer) == 0 {
		return agreement{}, nil
	}
	if from <= 0 || len(answer) > 1 {
		return agreement{}, errAnswer
	}
	p := parameters{name: string(answer[0].Name)}
	answer[0].Parameters.ForEach(func(name, value []byte) bool {
		p.add(string(name), string(value), len(value) > 0, false)
		return true
	})
	if p.wrong || p.name != wsflate.ExtensionName || !p.serverAlone || p.clientWindowSeen {
		return agreement{}, fmt.Errorf("%w: %v", errAnswer, answer[0])
	}
	return agreement{from: clampFrom(from), window: mostWindow}, nil
}

// agree makes the socket keep to what was agreed to. It is for before the first read.
func (s *Socket) agree(a agreement) *Socket {
	s.agreed = a
	s.reader.packed = a.on()
	return s
}
