"""The third: a client that prints what it hears."""
import sys

import socketio

sio = socketio.Client()


@sio.event
def connect():
    print("connected", flush=True)


@sio.event
def log_telemetry(data):
    print("log", data, flush=True)


sio.connect(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080")
sio.wait()
