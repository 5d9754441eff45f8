package transport

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// nodeMessage is what one node tells the others. On the bus it is a protobuf message, so that fields can be added
// and nodes of two versions understand each other while a cluster is brought up to date:
//
//	message NodeMessage {
//	  fixed32 magic = 1;              // "TBN" and 1, little-endian
//	  string node = 2;                // that says it
//	  uint64 seq = 3;                 // of all that the node says, from 1
//	  uint64 kind = 4;
//	  string to = 5;                  // the one node that it is for; empty for all
//	  uint64 id = 6;                  // of a question
//	  string namespace = 7;
//	  repeated string room = 8;       // receivers, as in Target
//	  repeated string except = 9;
//	  repeated string sid = 10;       // those asked, or the one that answers
//	  uint64 number = 11;             // clients of the node; milliseconds to answer in
//	  string error = 12;              // in place of an answer
//	  repeated bytes attachment = 13;
//	  bytes packet = 14;              // Socket.IO, revision 5, with its namespace
//	}
type nodeMessage struct {
	node        string
	seq         uint64
	kind        nodeKind
	to          string
	id          uint64
	namespace   string
	rooms       []string
	except      []string
	sids        []string
	number      uint64
	err         string
	attachments [][]byte
	packet      []byte
}

// nodeKind is what a message is about.
type nodeKind uint64

const (
	nodeAlive      nodeKind = iota + 1 // number: clients. To all: now and then; to one: the answer to nodeHello
	nodeHello                          // nodeAlive of one that is new
	nodeBye                            // it ends
	nodeEmit                           // packet, attachments, rooms, except
	nodeDisconnect                     // namespace, rooms, except
	nodeCloseRoom                      // namespace, rooms: the one
	nodeAsk                            // as nodeEmit, with id and number: milliseconds to answer in
	nodeAsked                          // to, id, sids: those who have been asked
	nodeAnswer                         // to, id, sids: the one; packet (an ACK) and attachments, or err
)

const nodeMagic = uint32('T') | 'B'<<8 | 'N'<<16 | 1<<24

const (
	nodeFieldMagic = iota + 1
	nodeFieldNode
	nodeFieldSeq
	nodeFieldKind
	nodeFieldTo
	nodeFieldID
	nodeFieldNamespace
	nodeFieldRoom
	nodeFieldExcept
	nodeFieldSid
	nodeFieldNumber
	nodeFieldError
	nodeFieldAttachment
	nodeFieldPacket
)

// maxNodeNames bounds the rooms, exceptions and sids of a message, and the time in which a question is answered.
const (
	maxNodeNames   = 100_000
	maxAskDuration = 10 * time.Minute
)

// append appends the message as it stands on the bus.
func (m *nodeMessage) append(dst []byte) []byte {
	text := func(n protowire.Number, s string) {
		dst = protowire.AppendTag(dst, n, protowire.BytesType)
		dst = protowire.AppendString(dst, s)
	}
	some := func(n protowire.Number, s string) {
		if s != "" {
			text(n, s)
		}
	}
	number := func(n protowire.Number, v uint64) {
		if v != 0 {
			dst = protowire.AppendTag(dst, n, protowire.VarintType)
			dst = protowire.AppendVarint(dst, v)
		}
	}
	dst = protowire.AppendTag(dst, nodeFieldMagic, protowire.Fixed32Type)
	dst = protowire.AppendFixed32(dst, nodeMagic)
	some(nodeFieldNode, m.node)
	number(nodeFieldSeq, m.seq)
	number(nodeFieldKind, uint64(m.kind))
	some(nodeFieldTo, m.to)
	number(nodeFieldID, m.id)
	some(nodeFieldNamespace, m.namespace)
	for _, r := range m.rooms {
		text(nodeFieldRoom, r)
	}
	for _, r := range m.except {
		text(nodeFieldExcept, r)
	}
	for _, s := range m.sids {
		text(nodeFieldSid, s)
	}
	number(nodeFieldNumber, m.number)
	some(nodeFieldError, m.err)
	for _, a := range m.attachments {
		dst = protowire.AppendTag(dst, nodeFieldAttachment, protowire.BytesType)
		dst = protowire.AppendBytes(dst, a)
	}
	if len(m.packet) > 0 {
		dst = protowire.AppendTag(dst, nodeFieldPacket, protowire.BytesType)
		dst = protowire.AppendBytes(dst, m.packet)
	}
	return dst
}

// size is at least what append appends.
func (m *nodeMessage) size() int {
	const each = 6 // tag and length
	n := 64 + len(m.node) + len(m.to) + len(m.namespace) + len(m.err) + len(m.packet) + each
	for _, names := range [][]string{m.rooms, m.except, m.sids} {
		for _, s := range names {
			n += each + len(s)
		}
	}
	for _, a := range m.attachments {
		n += each + len(a)
	}
	return n
}

var errNodeMessage = errors.New("this is no message of a node")

// parseNodeMessage reads a message and holds it against what its kind needs. Packet and attachments are parts of data.
func parseNodeMessage(data []byte) (m nodeMessage, err error) {
	magic := false
	names := func(list []string, v []byte) ([]string, error) {
		if len(list) == maxNodeNames {
			return nil, fmt.Errorf("more than %d names", maxNodeNames)
		}
		return append(list, string(v)), nil
	}
	for len(data) > 0 {
		num, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return m, protowire.ParseError(n)
		}
		data = data[n:]
		var v []byte
		var u uint64
		switch kind {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			u, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var u32 uint32
			u32, n = protowire.ConsumeFixed32(data)
			u = uint64(u32)
		default:
			n = protowire.ConsumeFieldValue(num, kind, data)
		}
		if n < 0 {
			return m, protowire.ParseError(n)
		}
		data = data[n:]
		switch {
		case num == nodeFieldMagic && kind == protowire.Fixed32Type:
			magic = u == uint64(nodeMagic)
		case !magic:
			return m, errNodeMessage
		case kind == protowire.VarintType:
			switch num {
			case nodeFieldSeq:
				m.seq = u
			case nodeFieldKind:
				m.kind = nodeKind(u)
			case nodeFieldID:
				m.id = u
			case nodeFieldNumber:
				m.number = u
			}
		case kind == protowire.BytesType:
			switch num {
			case nodeFieldNode:
				m.node = string(v)
			case nodeFieldTo:
				m.to = string(v)
			case nodeFieldNamespace:
				m.namespace = string(v)
			case nodeFieldRoom:
				m.rooms, err = names(m.rooms, v)
			case nodeFieldExcept:
				m.except, err = names(m.except, v)
			case nodeFieldSid:
				m.sids, err = names(m.sids, v)
			case nodeFieldError:
				m.err = string(v)
			case nodeFieldAttachment:
				if len(m.attachments) == maxAttachments {
					return m, fmt.Errorf("more than %d attachments", maxAttachments)
				}
				m.attachments = append(m.attachments, v[:len(v):len(v)])
			case nodeFieldPacket:
				m.packet = nil // an empty one is none: it is not written either
				if len(v) > 0 {
					m.packet = v[:len(v):len(v)]
				}
			}
			if err != nil {
				return m, err
			}
		}
	}
	if !magic || m.node == "" || len(m.node) > maxNameLen || m.seq == 0 {
		return m, errNodeMessage
	}
	return m, m.check()
}

// check holds the message against what its kind needs. A kind that is not known is another version's.
func (m *nodeMessage) check() error {
	switch m.kind {
	case nodeDisconnect, nodeCloseRoom:
		if err := CheckNamespace(m.namespace); err != nil {
			return err
		}
		if m.kind == nodeCloseRoom && len(m.rooms) != 1 {
			return fmt.Errorf("%d rooms to be closed, want one", len(m.rooms))
		}
	case nodeAsked, nodeAnswer:
		if m.to == "" || m.kind == nodeAnswer && len(m.sids) != 1 {
			return errors.New("answer without receiver or sender")
		}
	}
	return nil
}

// readPacket is the message's packet, checked as one that a client sends; its type is this one, or the binary form of it.
func (m *nodeMessage) readPacket(kind byte) (packet, error) {
	p, err := decodePacket(m.packet)
	if err != nil {
		return p, err
	}
	if p.kind != kind && p.kind != kind+packetBinaryEvent-packetEvent {
		return p, fmt.Errorf("packet of type %c, want %c", p.kind, kind)
	}
	if kind == packetEvent && p.hasID {
		return p, errors.New("event that asks for an ack of the node's own")
	}
	if p.announced != len(m.attachments) {
		return p, fmt.Errorf("%d attachments, %d announced", len(m.attachments), p.announced)
	}
	if p.kind == kind {
		return p, nil
	}
	p.attachments = m.attachments
	return p, p.checkPlaceholders()
}
