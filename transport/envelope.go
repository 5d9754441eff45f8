package transport

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Envelope is what a source of telemetry sends as the one argument of "log_telemetry": enough to
// route a packet, to know it again when it is sent twice, and to see that none is missing.
type Envelope struct {
	Source string          `json:"source"`         // the machine's name, "tbm-1"
	Boot   string          `json:"boot"`           // id of one run of the source
	Seq    uint64          `json:"seq"`            // from 1, without holes, within one boot
	Time   time.Time       `json:"time"`           // of the reading, by the source's clock, UTC
	Room   string          `json:"room,omitempty"` // empty: for everyone
	Packet json.RawMessage `json:"packet"`         // the reading; nobody on the way looks inside
	Proto  []byte          `json:"-"`              // the reading, if the envelope is protobuf; Packet is then empty
}

// EnvelopeOf reads an envelope from the argument of an event: a JSON object, or bytes that are a
// protobuf envelope. ok is false if the argument is anything else, which is no error: clients may
// send any value. Packet or Proto is part of the value's bytes, unless the packet has binary parts: these are base64
// strings in Packet.
func EnvelopeOf(v Value) (e Envelope, ok bool) {
	if len(v.Attachments) > 0 {
		if b, bytes := v.Bytes(); bytes {
			return envelopeOfProto(b)
		}
	}
	var source, boot, seq, packet bool
	eachField(v.JSON, func(key, value []byte) bool {
		switch string(key) {
		case `"source"`:
			source = json.Unmarshal(value, &e.Source) == nil && e.Source != ""
		case `"boot"`:
			boot = json.Unmarshal(value, &e.Boot) == nil && e.Boot != ""
		case `"seq"`:
			n, err := strconv.ParseUint(string(value), 10, 64)
			e.Seq, seq = n, err == nil && n > 0
		case `"time"`:
			_ = json.Unmarshal(value, &e.Time) // an envelope without a readable time is one still
		case `"room"`:
			_ = json.Unmarshal(value, &e.Room)
		case `"packet"`:
			e.Packet, packet = json.RawMessage(value), true
		}
		return true
	})
	if !source || !boot || !seq || !packet {
		return Envelope{}, false
	}
	if len(v.Attachments) > 0 {
		text, err := Value{JSON: e.Packet, Attachments: v.Attachments}.MarshalJSON()
		if err != nil {
			return Envelope{}, false
		}
		e.Packet = text
	}
	return e, true
}

// Check tells what a source has to mend before the envelope can be sent.
func (e *Envelope) Check() error {
	switch {
	case e.Source == "":
		return fmt.Errorf("envelope: source is empty")
	case e.Boot == "":
		return fmt.Errorf("envelope: boot is empty")
	case e.Seq == 0:
		return fmt.Errorf("envelope: seq is 0; it counts from 1")
	case e.Room != "":
		return CheckRoom(e.Room)
	}
	return nil
}

// roomOf returns the room that an event's argument is for, "" for everyone: that of the envelope, if
// the argument is one. Every event passes here, so it reads no more of the argument than that takes.
func roomOf(v Value) string {
	if b, bytes := v.Bytes(); bytes {
		e, _ := envelopeOfProto(b)
		return e.Room
	}
	var source, boot, seq, packet bool
	var room []byte
	eachField(v.JSON, func(key, value []byte) bool {
		switch string(key) {
		case `"source"`:
			source = isText(value)
		case `"boot"`:
			boot = isText(value)
		case `"seq"`:
			n, err := strconv.ParseUint(string(value), 10, 64)
			seq = err == nil && n > 0
		case `"room"`:
			if value[0] == '"' {
				room = value
			}
		case `"packet"`:
			packet = true
		}
		return true
	})
	if !source || !boot || !seq || !packet || room == nil {
		return ""
	}
	return keyText(room)
}

// isText tells whether valid JSON is a string that is not empty.
func isText(value []byte) bool { return value[0] == '"' && len(value) > 2 }
