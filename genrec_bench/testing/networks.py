"""What the checks of backbones work on: an index, its examples, a fitted network and its logits along chosen paths.

Knows tokens and paths of tokens; nothing of architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrec_bench.core.arrays import PAD, Int32
from genrec_bench.core.codes import Index, add_suffix
from genrec_bench.core.sequences import Examples, Queries, Sources
from genrec_bench.decoders.beam_search import beam_search
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.errors import NeedsMissing
from genrec_bench.host.contracts import (
    START,
    Backbone,
    BackboneContext,
    FitReport,
    Task,
    Template,
)
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.runs.decoding import Generator
from genrec_bench.runs.examples import make_examples
from genrec_bench.testing.kit import Breach, Subject, folder

TASKS: tuple[Task, ...] = ("direct", "sequential")
BEAMS = 5


@dataclass
class Fitted:
    """A trained backbone with what it was trained on."""

    backbone: Backbone
    template: Template
    index: Index
    report: FitReport


def planted_index(subject: Subject) -> Index:
    """Codes of different lengths for the planted data: the group, then a running number in two digits, none where an
    item is alone. A user's code is the group of its first item and a running number, in tokens of their own."""
    train = subject.data.train
    group = np.zeros(train.n_items, np.int32)
    if train.item_features is not None:
        some = np.flatnonzero(train.item_features.lengths)
        group[some] = train.item_features.values[train.item_features.offsets[:-1][some]]
    first = train.sequences.offsets[:-1]
    users = np.zeros(train.n_users, np.int32)
    users[train.sequences.lengths > 0] = group[train.sequences.values[first[train.sequences.lengths > 0]]]
    info = {"method": "planted groups"}
    return Index.from_labels(_numbered(group, 6), _numbered(users, 6), info=info)


def _numbered(group: Int32, base: int) -> Int32:
    """Label rows: the group, and two digits that tell its members apart; the group alone where it has one member."""
    running, _ = add_suffix(group[:, None])
    if running.shape[1] == 1:
        return running
    high, low = np.divmod(running[:, 1], base)
    alone = (running[:, 1] < 0)[:, None]
    return np.hstack([group[:, None], np.where(alone, PAD, np.stack([high, low], axis=1))]).astype(np.int32)


def tasks_of(subject: Subject) -> dict[Task, Template]:
    """The tasks that a backbone has a template for; Breach if there is none."""
    templates: dict[Task, Template] = {}
    index = planted_index(subject)
    for task in TASKS:
        try:
            templates[task] = subject.make().template(task, index)
        except NeedsMissing:
            continue
    if not templates:
        raise Breach("it has a template for no task", "Support direct, sequential or both.")
    return templates


def examples(subject: Subject, backbone: Backbone, template: Template, index: Index, most: int | None) -> Examples:
    """Training examples as a run makes them, of the first `most` users (None: all)."""
    train = subject.data.train.sequences
    train = train.take(np.arange(len(train))[:most])
    info = ComponentInfo("backbone", subject.name, subject.distribution, "", "", ())
    with folder() as here:
        return make_examples(train, subject.task, Generator(backbone, template, index, info), here)


def fit(
    subject: Subject,
    seed: int = 0,
    most: int | None = None,
    folder: Path | None = None,
    validate: Callable[[], float] | None = None,
    **facts: Any,
) -> Fitted:
    """A fresh backbone, trained on the first `most` of the planted users (None: all). `facts` are more of its context."""
    backbone, index = subject.make(), planted_index(subject)
    template = backbone.template(subject.task, index)
    training = examples(subject, backbone, template, index, most)
    report = backbone.fit(training, BackboneContext(seed, folder=folder, validate=validate, **facts))
    return Fitted(backbone, template, index, report)


def fitted(subject: Subject) -> Fitted:
    """The backbone trained on all planted examples, once for all checks."""
    trained: Fitted = subject.once("fitted", lambda: fit(subject))
    return trained


def queries_of(subject: Subject, users: Sequence[int] = range(6)) -> Queries:
    """Some test queries, with histories of different lengths; the last one's is a single item."""
    some = subject.data.queries.take(np.asarray(users))
    lengths = some.history.lengths - np.arange(len(some)) % 3
    lengths[-1] = 1
    ends = some.history.offsets[1:]
    return replace(some, history=some.history.slice(ends - lengths, ends))


def walk(backbone: Backbone, batch: Sources, paths: Sequence[Sequence[int]]) -> torch.Tensor:
    """Logits behind each of `paths` (of equal length), `(users, paths, n_tokens)`, one slot per path."""
    state = backbone.start(batch)
    logits, state = first(backbone, state, len(batch))
    for step in range(len(paths[0])):
        slots = [0] * len(paths) if step == 0 else list(range(len(paths)))
        logits, state = call(backbone, state, len(batch), [path[step] for path in paths], slots)
    return logits


def first(backbone: Backbone, state: Any, users: int) -> tuple[torch.Tensor, Any]:
    """The first call: one START token per user."""
    return call(backbone, state, users, [START], [0])


def call(
    backbone: Backbone, state: Any, users: int, tokens: Sequence[int], parents: Sequence[int]
) -> tuple[torch.Tensor, Any]:
    """The logits of `advance` with the same tokens and parents for every user, and the new state."""
    hidden, state = advance(backbone, state, users, tokens, parents)
    return backbone.logits(hidden), state


def advance(
    backbone: Backbone, state: Any, users: int, tokens: Sequence[int], parents: Sequence[int]
) -> tuple[torch.Tensor, Any]:
    """`advance` with the same tokens and parents for every user."""
    shape = (users, len(tokens))
    given = [torch.tensor(row, dtype=torch.long, device=backbone.device).expand(shape) for row in (tokens, parents)]
    return backbone.advance(state, given[0].contiguous(), given[1].contiguous())


def hits(subject: Subject, trained: Fitted) -> float:
    """hit@5 of the trie search on the planted test cases; a user's own items are left out in the direct task."""
    queries = subject.data.queries
    exclude = queries.history if subject.task == "direct" else None
    trie = Trie.build(trained.index.items, trained.backbone.device)
    batch = trained.template.render(queries)
    lists = beam_search(trained.backbone, batch, trie, beams=BEAMS, free=False, exclude=exclude)
    return float((lists.items == subject.data.split.test.target[:, None]).any(axis=1).mean())
