"""A worker that does what FAKE_WORKER says instead of training, to test how the host reacts."""

import json
import os
import subprocess
import sys
import time

job = json.loads(sys.stdin.readline())
print("\x1b[1;36mepoch 0 training\x1b[0m", file=sys.stderr)
print("something went wrong here", file=sys.stderr, flush=True)
what = os.environ["FAKE_WORKER"]
if what == "exits":
    sys.exit(3)
if what == "is killed":
    os.kill(os.getpid(), 9)
if what == "raises":
    print(json.dumps({"error": "ValueError: Training loss\n is nan"}), flush=True)
if what == "babbles":
    print("Segmentation fault, or so", flush=True)
if what == "lets another grow":
    subprocess.Popen([sys.executable, "-c", "held = bytearray(b'x') * 400_000_000; import time; time.sleep(60)"])
if what == "hangs when asked":
    print(json.dumps({"done": {"surroundings": {}, "settings": {}}}), flush=True)
if what == "grows":
    held = bytearray(os.urandom(1)) * 400_000_000
time.sleep(60)
