"""The worker's end of the line: one JSON object per line, in on stdin, out on a copy of stdout.

The real stdout becomes the log before RecBole can print there. As `genrec_bench.host.workers.Host`, which cannot be
imported here.
"""

import json
import os
import shutil
import sys


class Host:
    """The process that started this one and gave it `folder` to work in."""

    def __init__(self, folder):
        self.folder = folder
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, **message):
        """Send a message. If the host is gone, this process ends."""
        try:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()
        except BrokenPipeError:
            self._leave()

    def receive(self):
        """The next message. If the host has closed the line, or died, this process ends."""
        line = sys.stdin.readline()
        if not line:
            self._leave()
        return json.loads(line)

    def _leave(self):
        """Nobody is left to work for, nor perhaps to remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(1)
