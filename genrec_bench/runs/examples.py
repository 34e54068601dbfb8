"""What a backbone trains on, each source with its targets.

A source stands for one user (`direct`), for one training position, or for a user's sequence with every position after its
first a target (`sequential`, by `Backbone.trains_on`).

Sources are rendered in chunks. Several chunks go to an unnamed, memory-mapped file, which disappears with its last reader.
Training then holds batches and targets in memory, never all histories.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from genrec_bench.core.arrays import Int32, Int64, Ragged, spread
from genrec_bench.core.sequences import Examples, Queries, Sources
from genrec_bench.host.contracts import Task, Template
from genrec_bench.host.faults import fault, held_to
from genrec_bench.runs.decoding import Generator
from genrec_bench.runs.handover import check_sources

CHUNK = 2**17  # sources rendered at once
MOST_HISTORY = 512  # items of history handed to a template in training; templates show far fewer


def make_examples(train: Ragged, task: Task, generator: Generator, folder: Path) -> Examples:
    """Training examples from the training items of each user, `train`.

    `direct` gives one source per user, with all their items as targets; `sequential` one per item after a user's first, or
    one per window of a user's items where the backbone trains on sequences. Examples too large for memory go to `folder`.
    """
    if task == "sequential" and generator.backbone.trains_on == "sequences":
        return _of_sequences(train, generator, folder)
    if task == "direct":
        users = np.flatnonzero(train.lengths > 0)
        sequences = train.take(users)
        count, targets, offsets = len(users), sequences.values, sequences.offsets

        def queries_of(chunk: slice) -> Queries:
            return Queries(users[chunk].astype(np.int32), Ragged.empty(len(users[chunk])))
    else:
        user, starts = train.rows, train.offsets[:-1]
        positions = np.flatnonzero(np.arange(len(train.values)) > starts[user])
        count, targets = len(positions), train.values[positions]
        offsets = np.arange(len(positions) + 1, dtype=np.int64)

        def queries_of(chunk: slice) -> Queries:
            ends = positions[chunk]
            recent = np.maximum(starts[user[ends]], ends - MOST_HISTORY)
            return Queries(user[ends].astype(np.int32), train.slice(recent, ends))

    def redraw(rng: np.random.Generator) -> Sources:
        def draw(queries: Queries) -> Sources:
            with held_to(generator.info, "template.training"):
                sources = generator.template.training(queries, rng)
            return check_sources(generator.info, sources, len(queries))

        return in_chunks(draw, queries_of, count, folder)

    index = generator.index
    sources = in_chunks(generator.render, queries_of, count, folder)
    draws_anew = type(generator.template).training is not Template.training
    return Examples(
        sources,
        index.items.codes[targets],
        offsets,
        index.n_tokens,
        index.items,
        train,
        vectors=index.vectors,
        redraw=redraw if draws_anew else None,
    )


def _of_sequences(train: Ragged, generator: Generator, folder: Path) -> Examples:
    """A source per window of a user's items: every item but the last is shown, every item but the first is a target."""
    index = generator.index
    users, windows = windows_of(train, generator.template.history)
    shown = windows.slice(windows.offsets[:-1], windows.offsets[1:] - 1)
    learned = windows.slice(windows.offsets[:-1] + 1, windows.offsets[1:])

    def queries_of(chunk: slice) -> Queries:
        rows = np.arange(len(users))[chunk]
        return Queries(users[rows], shown.take(rows))

    sources = in_chunks(generator.render, queries_of, len(users), folder)
    codes = index.items.codes[shown.values]
    lengths = (codes >= 0).sum(axis=1)

    # What stands before a window's codes, every target sees; of the codes, those up to the item before it.
    upto = np.concatenate([[0], np.cumsum(lengths)])
    before = sources.lengths - np.diff(upto[shown.offsets])
    visible = before[shown.rows] + upto[1:] - upto[shown.offsets[:-1]][shown.rows]

    written = spread(sources.offsets[:-1] + before, upto[shown.offsets].astype(np.int64))
    if (before < 0).any() or not np.array_equal(sources.tokens[written], codes[codes >= 0]):
        raise fault(
            generator.info,
            "template.render",
            "a backbone that trains on sequences shows the items' codes last, in order",
        )
    targets = index.items.codes[learned.values]
    return Examples(sources, targets, learned.offsets, index.n_tokens, index.items, train, visible, index.vectors)


def windows_of(train: Ragged, most: int) -> tuple[Int32, Ragged]:
    """Each user's items in windows of at most `most` targets and the item before them, latest window first.

    Every item after a user's first is a target once. Returns the user of each window, and the windows.
    """
    targets = np.maximum(train.lengths - 1, 0)
    counts = -(-targets // most)
    user = np.repeat(np.arange(len(train)), counts)
    back = spread(np.zeros(len(train), np.int64), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    ends = train.offsets[1:][user] - back * most
    starts = np.maximum(train.offsets[:-1][user], ends - most - 1)
    return user.astype(np.int32), train.slice(starts, ends)


def in_chunks(
    render: Callable[[Queries], Sources], queries_of: Callable[[slice], Queries], count: int, folder: Path
) -> Sources:
    """`render(queries_of(...))` of all `count` queries, a chunk at a time; several chunks become one mapped file."""
    if count <= CHUNK:
        return render(queries_of(slice(0, count)))

    folder.mkdir(parents=True, exist_ok=True)
    lengths: list[Int64] = []
    files = [tempfile.TemporaryFile(dir=folder) for _ in range(3)]  # noqa: SIM115 - closed below, once they are mapped
    try:
        for start in range(0, count, CHUNK):
            sources = render(queries_of(slice(start, min(start + CHUNK, count))))
            lengths.append(sources.lengths)
            for file, column in zip(files, (sources.tokens, sources.levels, sources.words), strict=True):
                column.astype(np.int32, copy=False).tofile(file)

        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
        tokens, levels, words = map(_mapped, files)
        return Sources(tokens, levels, words, offsets)
    finally:
        for file in files:
            file.close()


def _mapped(file: IO[bytes]) -> Int32:
    """The integers in a file, read when they are used."""
    file.flush()
    if not file.seek(0, 2):
        return np.zeros(0, np.int32)
    return np.asarray(np.memmap(file, np.int32, "r"))
