"""Reads telemetry of protobuf with the code that protoc makes from the project's own files."""
import json
import sys

import socketio

sys.path.insert(0, sys.argv[2])
from telemetry.telemetrypb import packet_pb2  # noqa: E402
from transport.envelopepb import envelope_pb2  # noqa: E402

sio = socketio.Client()


@sio.event
def connect():
    print("connected", flush=True)


@sio.event
def log_telemetry(data):
    e = envelope_pb2.Envelope.FromString(data)
    p = packet_pb2.Packet.FromString(e.packet)
    print(json.dumps({"source": e.source, "seq": e.seq, "total": p.thrust.total, "chamber": p.chamber.pressure_1, "ring": p.ring}), flush=True)


sio.connect(sys.argv[1])
sio.wait()
