"""What components do and hand back, checked at the door.

Whatever a component breaks ends as one `ComponentFault` that names it, its distribution and the check; the host and all
other components go on. Knows the contracts, never a component by name.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from genrec_bench.codes import Index
from genrec_bench.errors import CodeClash, ComponentFault, GenrecError, InvalidRanking, OutOfMemory, lacks_memory
from genrec_bench.metrics.validity import contained
from genrec_bench.registry import ComponentInfo
from genrec_bench.types import NO_HYPOTHESIS, Generations, Int32, Queries, Ranking, Sources

if TYPE_CHECKING:
    from torch import Tensor

    from genrec_bench.contracts import Backbone

T = TypeVar("T")

BREAKS_A_CONTRACT = (CodeClash, InvalidRanking)  # raised where a component's own work is at fault
LESS_MEMORY = "use a smaller --profile or backbone.batch_size, fewer --beams, less data, or a larger machine"
NO_DATA_FILES = (".py", ".pyc", ".so", ".pyi")  # opened while data is read, because modules are imported then
NO_DATA_PLACES = ("/proc/", "/sys/", "/dev/", "/etc/")


def fault(info: ComponentInfo, check: str, why: str) -> ComponentFault:
    """The error for a component that broke `check`."""
    return ComponentFault(
        f"{info.kind} {info.name!r} ({info.distribution} {info.version}) broke the check {check!r}: {why}",
        kind=info.kind,
        name=info.name,
        distribution=info.distribution,
        check=check,
    )


@contextmanager
def held_to(info: ComponentInfo, check: str, data_files: frozenset[str] = frozenset()) -> Iterator[None]:
    """Run a component's code: its crashes become faults of `check`, and it may not open `data_files`, which hold what is
    held out. Errors that tell a person what to do (missing data, wrong options) pass as they are."""
    try:
        with _sealed(info, data_files):
            yield
    except BREAKS_A_CONTRACT as error:
        raise fault(info, check, str(error)) from error
    except GenrecError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise OutOfMemory(
                f"out of memory in {info.kind} {info.name!r} ({check}): {LESS_MEMORY}", part=info.kind
            ) from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # a full disk is nobody's fault
        raise fault(info, check, f"it raised {type(error).__name__}: {' '.join(str(error).split())}") from error


# An audit hook sees every file that Python opens. It cannot be removed, so there is one, and it looks only when asked to.
_opened: set[str] | None = None
_forbidden: tuple[ComponentInfo, frozenset[str]] | None = None
_hooked = False


def _watch(event: str, args: Any) -> None:
    if (
        event != "open"
        or (_opened is None and _forbidden is None)
        or not isinstance(args[0], str | bytes | os.PathLike)
    ):
        return
    path = os.path.realpath(os.fsdecode(args[0]))
    if _opened is not None:
        _opened.add(path)
    if _forbidden is not None and path in _forbidden[1]:
        raise fault(_forbidden[0], "training data only", f"it opened {path}, which holds validation and test events")


def _hook() -> None:
    global _hooked
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked = True


def opened_by(call: Callable[[], T]) -> tuple[T, frozenset[str]]:
    """What `call` returns, and the real paths of the data files that Python opened meanwhile."""
    global _opened
    _hook()
    before, _opened = _opened, set()
    try:
        result, seen = call(), _opened
    finally:
        _opened = before
    kept = (path for path in seen if not path.endswith(NO_DATA_FILES) and ".dist-info/" not in path)
    return result, frozenset(path for path in kept if not path.startswith(NO_DATA_PLACES))


@contextmanager
def _sealed(info: ComponentInfo, data_files: frozenset[str]) -> Iterator[None]:
    global _forbidden
    before = _forbidden
    if data_files:
        _hook()
        _forbidden = (info, data_files)
    try:
        yield
    finally:
        _forbidden = before


def check_index(info: ComponentInfo, index: Any, n_users: int, n_items: int) -> Index:
    """`index`, if it has one code for every item, and for every user or for none."""
    if not isinstance(index, Index):
        raise fault(info, "an Index", f"it gave a {type(index).__name__}")
    for what, table, count in (("item", index.items, n_items), ("user", index.users, n_users)):
        if table is not None and len(table) != count:
            raise fault(info, f"a code for every {what}", f"it gave {len(table)} codes for {count} {what}s")
    return index


def check_sources(info: ComponentInfo, sources: Any, n: int) -> Sources:
    """`sources`, if there is one per query and their arrays fit each other."""
    if not isinstance(sources, Sources) or len(sources) != n:
        raise fault(info, "one source per query", f"it gave {_size(sources)} for {n} queries")
    columns = (sources.tokens, sources.levels, sources.words)
    if len({len(column) for column in columns} | {int(sources.offsets[-1])}) != 1 or (sources.tokens < 0).any():
        raise fault(info, "source tokens", "its tokens, levels, words and offsets do not fit, or a token is negative")
    return sources


class Watched:
    """A backbone as decoders get it: every step is checked, everything else is the backbone's own."""

    def __init__(self, backbone: Backbone, info: ComponentInfo, n_tokens: int) -> None:
        self._backbone, self._info = backbone, info
        self._columns = n_tokens + backbone.extra_columns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def start(self, batch: Sources) -> Any:
        with held_to(self._info, "start"):
            return self._backbone.start(batch)

    def advance(self, state: Any, tokens: Tensor, parents: Tensor) -> tuple[Tensor, Any]:
        with held_to(self._info, "advance"):
            logits, state = self._backbone.advance(state, tokens, parents)
        check_logits(self._info, logits, (*tokens.shape, self._columns))
        return logits, state


def check_logits(info: ComponentInfo, logits: Any, shape: tuple[int, ...]) -> None:
    """A fault unless one step's logits have the contract's shape and type."""
    seen = (tuple(getattr(logits, "shape", ())), str(getattr(logits, "dtype", type(logits).__name__)))
    if seen != (shape, "torch.float32"):
        raise fault(info, "logits", f"advance gave {seen[0]} {seen[1]}, expected {shape} torch.float32")


def check_generations(
    info: ComponentInfo, found: Any, queries: Queries, index: Index, beams: int, exclude: bool
) -> None:
    """A fault unless hypotheses are sorted, and each is the item that its tokens are the code of."""
    if not isinstance(found, Generations) or found.items.shape != (len(queries), beams):
        raise fault(info, "generations", f"it gave {_size(found)}, expected {len(queries)} lists of {beams} hypotheses")
    if np.isnan(found.scores).any() or (found.scores[:, 1:] > found.scores[:, :-1]).any():
        raise fault(info, "sorted scores", "its scores rise along a list, or are NaN")
    if ((found.items == NO_HYPOTHESIS) != np.isneginf(found.scores)).any():
        raise fault(info, "empty places", "an empty place has item -2 and score -inf, any other has neither")
    places = found.items != NO_HYPOTHESIS
    known = _items_of(found.tokens[places], index.items.codes)
    odd = np.flatnonzero(known != found.items[places])
    if len(odd):
        tokens, said, true = found.tokens[places][odd[0]].tolist(), found.items[places][odd[0]], known[odd[0]]
        raise fault(info, "items of tokens", f"it said item {said} for the tokens {tokens}, which are item {true}")
    if exclude and contained(found.items, queries.history).any():
        raise fault(info, "exclude", "it emitted an item that was to be left out")


def _items_of(tokens: Int32, codes: Int32) -> Int32:
    """The item whose code each row of `tokens` is, -1 for none."""
    width = max(tokens.shape[1], codes.shape[1])
    rows, table = (np.pad(side, ((0, 0), (0, width - side.shape[1])), constant_values=-1) for side in (tokens, codes))
    everything = np.concatenate([table, rows])
    _, which = np.unique(everything, axis=0, return_inverse=True)
    item = np.full(len(everything), -1, np.int32)
    item[which.reshape(-1)[: len(table)]] = np.arange(len(table))
    return item[which.reshape(-1)[len(table) :]]


def check_ranking(info: ComponentInfo, ranking: Any, queries: Queries, policy: str, n_items: int) -> Ranking:
    """`ranking`, if it has one list per query, of known items, none of them excluded."""
    if not isinstance(ranking, Ranking) or len(ranking) != len(queries):
        raise fault(info, "one list per query", f"it gave {_size(ranking)} for {len(queries)} queries")
    if int(ranking.items.max(initial=-1)) >= n_items:
        raise fault(info, "known items", f"it listed item {int(ranking.items.max())} of a catalogue of {n_items}")
    if policy == "mask" and contained(ranking.items, queries.history).any():
        raise fault(info, "exclude", "it listed an item that was to be excluded: Baseline.rank must respect `exclude`")
    return ranking


def check_facts(info: ComponentInfo, facts: Any) -> dict[str, Any]:
    """A baseline's facts as plain JSON data, if they are a mapping that can be written as such."""
    try:
        return dict(json.loads(json.dumps(dict(facts), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise fault(info, "plain facts", f"facts gave what JSON cannot hold: {error}") from error


def _size(found: Any) -> str:
    return f"{len(found)} {type(found).__name__}" if hasattr(found, "__len__") else f"a {type(found).__name__}"
