"""A real python-socketio client, steered like node/driver.js."""
import base64
import json
import math
import sys
import threading

import socketio

options = json.loads(sys.argv[1])
lock = threading.Lock()
namespace = options.get("namespace") or "/"


def tell(**message):
    with lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def encode(v):
    if isinstance(v, (bytes, bytearray)):
        return {"$binary": base64.b64encode(v).decode()}
    if isinstance(v, (list, tuple)):
        return [encode(x) for x in v]
    if isinstance(v, dict):
        return {k: encode(x) for k, x in v.items()}
    if isinstance(v, float) and not math.isfinite(v):
        return None  # as JavaScript writes it
    return v


def decode(v):
    if isinstance(v, list):
        return [decode(x) for x in v]
    if isinstance(v, dict):
        if isinstance(v.get("$binary"), str):
            return base64.b64decode(v["$binary"])
        return {k: decode(x) for k, x in v.items()}
    return v


sio = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2, randomization_factor=0)


ready = False


def tell_connect():
    tell(on="connect", sid=sio.get_sid(namespace), transport=sio.transport())


@sio.on("connect", namespace=namespace)
def connect():
    if ready:
        tell_connect()
    for n in range(1, options.get("burst", 0) + 1):
        sio.emit("n", n, namespace=namespace)


@sio.on("disconnect", namespace=namespace)
def disconnect():
    tell(on="disconnect", reason="")


@sio.on("connect_error", namespace=namespace)
def connect_error(data):
    tell(on="connect_error", message=str(data))


def listen(event):
    # Exactly one parameter, as in the scripts that tbmsock began as.
    def handler(data):
        tell(on="event", event=event, args=[encode(data)])
        return data

    sio.on(event, handler, namespace=namespace)


for name in options.get("listen", []):
    listen(name)

sio.connect(options["url"], transports=options.get("transports"), namespaces=[namespace])
# A connection that ends before connect() has returned is one that the client does not mourn.
ready = True
tell_connect()

for line in sys.stdin:
    c = json.loads(line)
    if c["do"] == "emit":
        callback = None
        if c.get("ack"):
            callback = lambda *answer, id=c["ack"]: tell(on="ack", id=id, args=encode(answer))
        args = tuple(decode(a) for a in c.get("args") or [])
        sio.emit(c["event"], args, namespace=namespace, callback=callback)
    elif c["do"] == "transport":
        tell(on="transport", transport=sio.transport())
    elif c["do"] == "close":
        break
sio.disconnect()
