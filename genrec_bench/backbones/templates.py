"""ID-only templates: a user becomes code tokens and nothing else.

`direct` shows the user's own code; `sequential` the codes of the last items, oldest first, and no user code.
"""

from __future__ import annotations

import numpy as np

from genrec_bench.codes import CodeTable, Index
from genrec_bench.contracts import Task, Template
from genrec_bench.errors import NeedsMissing
from genrec_bench.types import Int64, Queries, Sources


class IdTemplate(Template):
    """Source tokens of one task. Each code is one word (whole-word numbers from 1); `levels` is the place in the code."""

    def __init__(self, task: Task, index: Index, history: int) -> None:
        self.task, self.index, self.history = task, index, history
        if task == "direct" and index.users is None:
            raise NeedsMissing("the direct task names the user by a code, and this index has none", needs="user codes")

    def render(self, queries: Queries) -> Sources:
        """One source per query; a user without history gets an empty one."""
        if self.task == "direct" and self.index.users is not None:
            return _codes_of(self.index.users, queries.user, np.arange(len(queries) + 1, dtype=np.int64))
        recent = queries.history.tail(self.history)
        return _codes_of(self.index.items, recent.values, recent.offsets)


def _codes_of(table: CodeTable, numbers: np.ndarray, offsets: Int64) -> Sources:
    """The codes of `numbers`, one after another; `offsets` groups the numbers into sources."""
    codes = table.codes[numbers]
    there = codes >= 0
    word = np.repeat(offsets[1:], np.diff(offsets)) - np.arange(len(numbers))
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    levels = np.broadcast_to(np.arange(codes.shape[1], dtype=np.int32), codes.shape)
    words = np.broadcast_to(word[:, None].astype(np.int32), codes.shape)
    return Sources(codes[there], levels[there], words[there], ends[offsets].astype(np.int64))
