package recording

import (
	"encoding/json"
	"fmt"
	"time"

	"tbmsock/internal/printable"
	"tbmsock/telemetry"
	"tbmsock/transport"
)

// Record is one event as a logger has received it.
type Record struct {
	Received time.Time           // by the logger's clock, UTC
	Event    string              // "log_telemetry"
	Offset   uint64              // place in the server's journal; 0: not known
	Journal  string              // id of the journal that Offset is of; empty: not known
	Envelope *transport.Envelope // nil if the event carries none
	Value    *transport.Value    // what an event without an envelope carries

	Packet  *telemetry.Packet // the envelope's packet; nil if it is not one that we know
	Derived telemetry.Derived // what follows from it, and from those before
}

// Reading is the record's packet and what follows from it; ok is false if it has none.
func (r *Record) Reading() (reading telemetry.Reading, ok bool) {
	return telemetry.Reading{Packet: r.Packet, Derived: r.Derived}, r.Packet != nil
}

// ReadPacket reads the packet of an envelope, JSON or protobuf, into dst, whose memory is used again.
// It is false, and dst is not to be used, if the envelope carries something else.
func ReadPacket(e *transport.Envelope, dst *telemetry.Packet) bool {
	if e.Proto != nil {
		return dst.UnmarshalProto(e.Proto) == nil && known(dst)
	}
	*dst = telemetry.Packet{}
	return json.Unmarshal(e.Packet, dst) == nil && known(dst)
}

// known tells a packet of a machine from any other object, which reads as a packet without groups.
func known(p *telemetry.Packet) bool {
	return p.State != telemetry.StateUnknown || p.HasGroup()
}

// line is a record as JSON.
type line struct {
	Received time.Time           `json:"received"`
	Event    string              `json:"event"`
	Offset   uint64              `json:"offset,omitempty"`
	Journal  string              `json:"journal,omitempty"`
	Envelope *transport.Envelope `json:"envelope,omitempty"`
	Value    *transport.Value    `json:"value,omitempty"` // binary parts as base64
	Error    string              `json:"error,omitempty"`
}

// AppendJSON appends the record as one line of JSON (JSON Lines): the envelope as it came, or the value
// of a client that sends none. A packet of protobuf is written as JSON; bytes that are no packet as
// base64. What is not printable is escaped: the line may go to a terminal.
func (r *Record) AppendJSON(dst []byte) []byte {
	out := line{Received: r.Received, Event: r.Event, Offset: r.Offset, Journal: r.Journal, Envelope: r.Envelope, Value: r.Value}
	if e := r.Envelope; e != nil && e.Packet == nil {
		readable := *e
		var err error
		if r.Packet != nil {
			readable.Packet, err = json.Marshal(r.Packet)
		}
		if r.Packet == nil || err != nil {
			readable.Packet, _ = json.Marshal(e.Proto)
		}
		out.Envelope = &readable
	}
	b, err := json.Marshal(out)
	if err != nil { // what arrived is valid JSON: only a value that no JSON can hold comes here
		b, _ = json.Marshal(line{Received: r.Received, Event: r.Event, Error: err.Error()})
	}
	return append(append(dst, printable.JSON(b)...), '\n')
}

// ParseJSON reads a line that AppendJSON has written.
func ParseJSON(b []byte) (*Record, error) {
	var in struct {
		Received time.Time           `json:"received"`
		Event    string              `json:"event"`
		Offset   uint64              `json:"offset"`
		Journal  string              `json:"journal"`
		Envelope *transport.Envelope `json:"envelope"`
		Value    json.RawMessage     `json:"value"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("no line of a logger: %w", err)
	}
	if in.Event == "" {
		return nil, fmt.Errorf("no line of a logger: it has no event")
	}
	r := &Record{Received: in.Received, Event: in.Event, Offset: in.Offset, Journal: in.Journal, Envelope: in.Envelope}
	if in.Value != nil {
		r.Value = &transport.Value{JSON: in.Value}
	}
	if r.Envelope != nil {
		r.Packet = new(telemetry.Packet)
		if !ReadPacket(r.Envelope, r.Packet) {
			r.Packet = nil
		}
	}
	r.Derived = telemetry.NoDerived()
	return r, nil
}
