package telemetry

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"tbmsock/telemetry/telemetrypb"
)

//go:generate protoc --plugin=protoc-gen-go=telemetrypb/protoc-gen-go.sh --go_out=.. --go_opt=module=tbmsock --proto_path=.. telemetry/telemetrypb/packet.proto transport/envelopepb/envelope.proto

// AppendProto appends the packet as protobuf, telemetrypb.Packet. Fields of the packet it was read
// from that this program does not know are kept.
func (p *Packet) AppendProto(dst []byte) ([]byte, error) {
	if p.origin == nil {
		p.origin = new(telemetrypb.Packet)
	}
	p.toProto(p.origin)
	out, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, p.origin)
	if err != nil {
		return dst, fmt.Errorf("packet: %w", err)
	}
	return out, nil
}

// UnmarshalProto reads what AppendProto has written, into a packet whose groups are used again.
func (p *Packet) UnmarshalProto(data []byte) error {
	if p.origin == nil {
		p.origin = new(telemetrypb.Packet)
	}
	if err := proto.Unmarshal(data, p.origin); err != nil {
		return fmt.Errorf("packet: %w", err)
	}
	p.fromProto(p.origin)
	return nil
}

func (p *Packet) toProto(dst *telemetrypb.Packet) {
	dst.Machine = p.Machine
	dst.State = telemetrypb.State(p.State)
	dst.Phase = telemetrypb.Phase(p.Phase)
	dst.Ring = uint32(p.Ring)
	for i := range groups {
		groups[i].toProto(p, dst)
	}
}

func (p *Packet) fromProto(src *telemetrypb.Packet) {
	p.Machine = src.Machine
	p.State = State(src.State)
	p.Phase = Phase(src.Phase)
	p.Ring = int(src.Ring)
	for i := range groups {
		groups[i].fromProto(src, p)
	}
}
