"""What a backbone trains on: one source per user (`direct`) or per training position (`sequential`), with its targets.

Sources are rendered in chunks. More than one chunk lies in a file without a name that is mapped into memory and gone with
its last reader, so that training needs memory for its batches and targets, not for all histories at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from genrec_bench.core.arrays import Int32, Int64, Ragged
from genrec_bench.core.sequences import Examples, Queries, Sources
from genrec_bench.host.contracts import Task, Template
from genrec_bench.host.faults import held_to
from genrec_bench.runs.decoding import Generator
from genrec_bench.runs.handover import check_sources

CHUNK = 2**17  # sources rendered at once
MOST_HISTORY = 512  # items of history handed to a template in training; templates show far fewer


def make_examples(train: Ragged, task: Task, generator: Generator, folder: Path) -> Examples:
    """Training examples of the users' training items. `direct`: one source per user, with all its items as targets;
    `sequential`: one per item after a user's first. `folder` is where large ones are put."""
    if task == "direct":
        users = np.flatnonzero(train.lengths > 0)
        part = train.take(users)
        count, targets, offsets = len(users), part.values, part.offsets

        def ask(some: slice) -> Queries:
            return Queries(users[some].astype(np.int32), Ragged.empty(len(users[some])))
    else:
        user, starts = train.rows, train.offsets[:-1]
        rows = np.flatnonzero(np.arange(len(train.values)) > starts[user])
        count, targets, offsets = len(rows), train.values[rows], np.arange(len(rows) + 1, dtype=np.int64)

        def ask(some: slice) -> Queries:
            at = rows[some]
            recent = np.maximum(starts[user[at]], at - MOST_HISTORY)
            return Queries(user[at].astype(np.int32), train.slice(recent, at))

    def redraw(rng: np.random.Generator) -> Sources:
        def draw(queries: Queries) -> Sources:
            with held_to(generator.info, "template.training"):
                sources = generator.template.training(queries, rng)
            return check_sources(generator.info, sources, len(queries))

        return in_chunks(draw, ask, count, folder)

    drawn = type(generator.template).training is not Template.training
    index = generator.index
    sources = in_chunks(generator.render, ask, count, folder)
    return Examples(sources, index.items.codes[targets], offsets, index.n_tokens, redraw if drawn else None)


def in_chunks(
    render: Callable[[Queries], Sources], ask: Callable[[slice], Queries], count: int, folder: Path
) -> Sources:
    """`render(ask(...))` of all `count` queries, a chunk at a time; several chunks as one mapped file."""
    if count <= CHUNK:
        return render(ask(slice(0, count)))
    folder.mkdir(parents=True, exist_ok=True)
    lengths: list[Int64] = []
    files = [tempfile.TemporaryFile(dir=folder) for _ in range(3)]  # noqa: SIM115 - closed below, once they are mapped
    try:
        for at in range(0, count, CHUNK):
            part = render(ask(slice(at, min(at + CHUNK, count))))
            lengths.append(part.lengths)
            for file, column in zip(files, (part.tokens, part.levels, part.words), strict=True):
                column.astype(np.int32, copy=False).tofile(file)
        return Sources(*map(_mapped, files), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64))
    finally:
        for file in files:
            file.close()


def _mapped(file: IO[bytes]) -> Int32:
    """The whole numbers in a file, read from it when they are looked at."""
    file.flush()
    if not file.seek(0, 2):
        return np.zeros(0, np.int32)
    return np.asarray(np.memmap(file, np.int32, "r"))
