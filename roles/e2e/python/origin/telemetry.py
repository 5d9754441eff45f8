"""The second: a client that emits random numbers."""
import random
import sys
import time

import socketio

sio = socketio.Client()
sio.connect(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080")
for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 10**9):
    number = random.randint(0, 100)
    sio.emit("log_telemetry", number)
    print("emitted", number, flush=True)
    time.sleep(0.02)
time.sleep(1)
sio.disconnect()
