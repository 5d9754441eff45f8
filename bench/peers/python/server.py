"""The relay's events on python-socketio and eventlet, as its documentation has them."""
import sys

import eventlet

eventlet.monkey_patch()

import socketio  # noqa: E402

sio = socketio.Server(async_mode="eventlet", cors_allowed_origins="*")
app = socketio.WSGIApp(sio)


@sio.event
def join(sid, room):
    sio.enter_room(sid, room)
    return {"ok": True, "room": room}


@sio.event
def log_telemetry(sid, data):
    room = data.get("room") if isinstance(data, dict) else None
    sio.emit("log_telemetry", data, room=room, skip_sid=sid)
    return {"ok": True}


host, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0").split(":")
listener = eventlet.listen((host, int(port)), backlog=1024)
print("listening on http://%s:%d" % listener.getsockname()[:2], flush=True)
eventlet.wsgi.server(listener, app, log_output=False, max_size=20000)
