"""A python-socketio server with the relay's events, for our clients to be tested against."""
import asyncio

import socketio
from aiohttp import web

sio = socketio.AsyncServer(async_mode="aiohttp")
app = web.Application()
sio.attach(app)


def room_of(r):
    return r if isinstance(r, str) else r["room"]


@sio.event
async def log_telemetry(sid, data):
    room = data.get("room") if isinstance(data, dict) else None
    await sio.emit("log_telemetry", data, room=room, skip_sid=sid)
    return {"ok": True}


@sio.event
async def join(sid, r):
    sio.enter_room(sid, room_of(r))
    return {"ok": True, "room": room_of(r)}


@sio.event
async def leave(sid, r):
    sio.leave_room(sid, room_of(r))
    return {"ok": True, "room": room_of(r)}


async def main():
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("listening on http://127.0.0.1:%d" % site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
