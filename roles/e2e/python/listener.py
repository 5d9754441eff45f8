"""A python-socketio client on asyncio, which hands on events in the order in which they came; the one of driver.py, on
threads, does not. It tells what it gets as JSON lines."""
import asyncio
import base64
import json
import sys

import socketio

options = json.loads(sys.argv[1])


def tell(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def encode(v):
    if isinstance(v, (bytes, bytearray)):
        return {"$binary": base64.b64encode(v).decode()}
    if isinstance(v, (list, tuple)):
        return [encode(x) for x in v]
    if isinstance(v, dict):
        return {k: encode(x) for k, x in v.items()}
    return v


async def main():
    sio = socketio.AsyncClient(reconnection=False)

    def listen(event):
        async def handler(*args):
            tell(on="event", event=event, args=encode(args))

        sio.on(event, handler)

    async def disconnected(*_):
        tell(on="disconnect")

    for name in options["listen"]:
        listen(name)
    sio.on("disconnect", disconnected)
    await sio.connect(options["url"], transports=options["transports"])
    tell(on="connect", sid=sio.get_sid(), transport=sio.transport())
    if "join" in options:
        await sio.emit("join", options["join"])
    await sio.wait()


asyncio.run(main())
