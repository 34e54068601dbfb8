"""The worker's end of the conversation: one JSON object per line, in on stdin, out on a copy of stdout.

The real stdout is turned into the log before RecBole can print there.
"""

import json
import os
import shutil
import sys


class Host:
    """Who started this process, and gave it `folder` to work in."""

    def __init__(self, folder):
        self.folder = folder
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def send(self, **message):
        """Tell the host something. A host that is gone ends this process."""
        try:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()
        except BrokenPipeError:
            self._leave()

    def receive(self):
        """What the host says next. A host that has closed the conversation, or died, ends this process."""
        line = sys.stdin.readline()
        if not line:
            self._leave()
        return json.loads(line)

    def _leave(self):
        """Nobody is there to work for, nor perhaps to tidy up."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(1)
