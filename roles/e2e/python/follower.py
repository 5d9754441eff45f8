"""A follower as the README shows it, with the stock python-socketio. Its output is that of node/follower.js.

socketio.Client handles each message in a thread of its own: nothing guarantees their order, nor that an event gets its
own bytes. socketio.AsyncClient keeps the order, if the handler does not await anything before it has taken the event.

With reconnection=True a client allows one second for each new connection to a namespace (wait_timeout), too little for
a slow link, and one whose link is cut within the answer to a poll does not reconnect at all. So this one makes a new
client for each connection.
"""
import asyncio
import base64
import json
import os
import sys
import threading

import socketio

options = json.loads(sys.argv[1])
next_offset = 1  # of the first event that this follower does not have yet


def tell(**line):
    print(json.dumps(line), flush=True)


async def follow():
    """Follow until the connection ends."""
    sio = socketio.AsyncClient(reconnection=False, request_timeout=30)

    @sio.event
    async def connect():
        tell(on="connect")
        join = {"since": {"offset": next_offset}, "offsets": True}
        if options.get("room"):
            join["room"] = options["room"]
        await sio.emit("join", join, callback=joined)

    async def joined(answer):
        tell(on="join", answer=answer)
        if not answer["ok"]:
            await sio.disconnect()  # main connects and joins again

    @sio.event
    def log_telemetry(value, at=None):
        global next_offset
        if at:
            next_offset = at["offset"] + 1
        if isinstance(value, bytes):
            value = {"$binary": base64.b64encode(value).decode()}
        tell(on="event", offset=at["offset"] if at else 0, value=value)

    @sio.event
    def journal(status):
        tell(on="journal", status=status)

    @sio.event
    def disconnect():
        tell(on="disconnect", reason="")

    url, auth = options["url"], None
    if options.get("auth"):
        auth = {"follow": True}
    else:
        url += "/?follow=1"
    try:
        await sio.connect(url, auth=auth, transports=options.get("transports"), wait_timeout=30)
        await sio.wait()
    finally:
        await sio.disconnect()


async def main():
    while True:
        try:
            await follow()
        except Exception as err:
            tell(on="connect_error", reason=f"{type(err).__name__}: {err}")
        await asyncio.sleep(1)


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_stdin, daemon=True).start()
asyncio.run(main())
