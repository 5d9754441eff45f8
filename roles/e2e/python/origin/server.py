"""The first of the three scripts that tbmsock began as: a server on eventlet."""
import sys

import eventlet
import socketio

sio = socketio.Server()
app = socketio.WSGIApp(sio)


@sio.event
def connect(sid, environ):
    print("connect", sid, flush=True)


@sio.event
def log_telemetry(sid, data):
    print("telemetry", sid, data, flush=True)
    sio.emit("log_telemetry", data, skip_sid=sid)


@sio.event
def begin_chat(sid):
    sio.enter_room(sid, "chat_users")


@sio.event
def exit_chat(sid):
    sio.leave_room(sid, "chat_users")


@sio.on("my event")
def my_event(sid, data):
    sio.emit("my reply", data, room=sid)


if __name__ == "__main__":
    listener = eventlet.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8080))
    print("listening on http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    eventlet.wsgi.server(listener, app, log_output=False)
