"""The worker's end of the conversation: one JSON object per line, in on stdin, out on a copy of stdout.

The real stdout is turned into the log before RecBole can print there.
"""

import json
import os
import sys


class Host:
    """Who started this process."""

    def __init__(self):
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, **message):
        """Tell the host something. A host that is gone ends this process."""
        try:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()
        except BrokenPipeError:
            os._exit(1)

    def receive(self):
        """What the host says next; None when it has closed the conversation."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None
