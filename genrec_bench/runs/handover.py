"""Checks what components return against their contracts, and raises the component's fault if it does not fit.

Knows shapes and types, never a component by name.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations, Ranking
from genrec_bench.core.sequences import Queries, Sources
from genrec_bench.host.contracts import FitReport, Template
from genrec_bench.host.faults import fault, held_to
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.protocol.validity import contained
from genrec_bench.runs.record import misfit

if TYPE_CHECKING:
    from torch import Tensor

    from genrec_bench.host.contracts import Backbone, Candidates


def check_template(info: ComponentInfo, template: Any) -> Template:
    """`template`, if it is one."""
    if not isinstance(template, Template):
        raise fault(info, "template", f"it gave {_size(template)}; expected a genrec_bench.host.contracts.Template")
    return template


def check_index(info: ComponentInfo, index: Any, n_users: int, n_items: int) -> Index:
    """`index`, if it has one code for every item, and for every user or for none."""
    if not isinstance(index, Index):
        raise fault(info, "an Index", f"it gave a {type(index).__name__}")
    for what, table, count in (("item", index.items, n_items), ("user", index.users, n_users)):
        if table is not None and len(table) != count:
            raise fault(info, f"a code for every {what}", f"it gave {len(table)} codes for {count} {what}s")
        if table is not None and table.codes.dtype != np.int32:
            raise fault(info, "whole tokens", f"its {what} codes are {table.codes.dtype}, codes are int32")
    if not 0 <= index.collision_rate <= 1:
        raise fault(info, "collision rate", f"{index.collision_rate} is not a share of the items")

    check_plain(info, "info", index.info)
    warnings = index.info.get("warnings", [])
    if not isinstance(warnings, list) or not all(isinstance(warning, str) for warning in warnings):
        raise fault(info, "warnings", f"info['warnings'] is {str(warnings)[:60]!r}, and should be a list of sentences")
    return index


def check_plain(info: ComponentInfo, what: str, values: Any) -> None:
    """A fault unless `values` can go into a record: plain numbers, texts, lists and tables."""
    try:
        json.dumps(values, allow_nan=False, ensure_ascii=False).encode()  # a lone surrogate is in no Unicode text
    except (TypeError, ValueError, RecursionError) as error:
        raise fault(info, what, f"it is not plain data, which a record needs: {error}") from error


def check_report(info: ComponentInfo, report: Any) -> FitReport:
    """`report`, if it is a FitReport whose best epoch was run."""
    if not isinstance(report, FitReport) or not 0 <= report.best_epoch <= report.epochs:
        raise fault(info, "fit report", f"fit gave {report!r:.120}; expected a FitReport whose best epoch was run")
    return report


def check_description(info: ComponentInfo, backbone: Backbone) -> dict[str, Any]:
    """Parameter counts, size and variant of a trained backbone, as they go into the record."""
    with held_to(info, "description"):
        counts, size, variant = dict(backbone.parameters_count()), backbone.size(), backbone.variant()
    if set(counts) != {"embedding", "other"} or not all(type(count) is int and count >= 0 for count in counts.values()):
        raise fault(info, "parameters_count", f"it gave {counts!r:.120}; expected whole numbers of embedding and other")
    if not isinstance(size, str) or not isinstance(variant, str):
        raise fault(info, "description", f"size and variant are texts, not {size!r:.60} and {variant!r:.60}")
    return {**counts, "total": sum(counts.values()), "size": size, "variant": variant}


def check_sources(info: ComponentInfo, sources: Any, n: int) -> Sources:
    """`sources`, if there is one per query and their arrays fit together."""
    if not isinstance(sources, Sources) or len(sources) != n:
        raise fault(info, "one source per query", f"it gave {_size(sources)} for {n} queries")
    columns = (sources.tokens, sources.levels, sources.words)
    if len({len(column) for column in columns} | {int(sources.offsets[-1])}) != 1 or (sources.tokens < 0).any():
        raise fault(info, "source tokens", "its tokens, levels, words and offsets do not fit, or a token is negative")
    return sources


def check_logits(info: ComponentInfo, logits: Any, shape: tuple[int, ...]) -> None:
    """A fault unless one step's logits have the contract's shape and type."""
    given_shape, given_type = tuple(getattr(logits, "shape", ())), str(getattr(logits, "dtype", type(logits).__name__))
    if (given_shape, given_type) != (shape, "torch.float32"):
        raise fault(info, "logits", f"it gave {given_shape} {given_type}, expected {shape} torch.float32")


def check_generations(
    info: ComponentInfo, generations: Any, queries: Queries, index: Index, beams: int, exclude: bool
) -> None:
    """A fault unless hypotheses are sorted, and `items` are those whose codes the tokens are."""
    if not isinstance(generations, Generations) or generations.items.shape != (len(queries), beams):
        is_generations = isinstance(generations, Generations)
        shape = f"items of shape {generations.items.shape}" if is_generations else _size(generations)
        raise fault(info, "generations", f"it gave {shape}, expected {(len(queries), beams)}: queries and beams")

    tokens, scores, items = generations.tokens, generations.scores, generations.items
    check_whole(info, "item numbers", items)
    check_whole(info, "tokens", tokens)
    if np.isnan(generations.bound).any():
        raise fault(info, "bound", "its bound is NaN; use inf where nothing can be certified")
    if np.isnan(scores).any() or (scores[:, 1:] > scores[:, :-1]).any():
        raise fault(info, "sorted scores", "its scores rise along a list, or are NaN")
    if ((items == NO_HYPOTHESIS) != np.isneginf(scores)).any():
        raise fault(info, "empty places", "an empty place has item -2 and score -inf, any other has neither")

    emitted = items != NO_HYPOTHESIS
    true_items = index.items.find(tokens[emitted])
    wrong = np.flatnonzero(true_items != items[emitted])
    if len(wrong):
        first = wrong[0]
        claimed, code = items[emitted][first], tokens[emitted][first].tolist()
        raise fault(
            info, "items of tokens", f"it said item {claimed} for the tokens {code}, which are item {true_items[first]}"
        )
    if exclude and contained(items, queries.history).any():
        raise fault(info, "exclude", "it emitted an item that was to be left out")


def check_ranking(info: ComponentInfo, ranking: Any, queries: Queries, policy: str, n_items: int) -> Ranking:
    """`ranking`, if it has one list per query, of known items, none of them excluded."""
    if not isinstance(ranking, Ranking) or len(ranking) != len(queries):
        raise fault(info, "one list per query", f"it gave {_size(ranking)} for {len(queries)} queries")
    check_whole(info, "item numbers", ranking.items)
    if int(ranking.items.max(initial=-1)) >= n_items:
        raise fault(info, "known items", f"it listed item {int(ranking.items.max())} of a catalogue of {n_items}")
    if policy == "mask" and contained(ranking.items, queries.history).any():
        raise fault(info, "exclude", "it listed an item that was to be excluded: Baseline.rank must respect `exclude`")
    return ranking


def check_whole(info: ComponentInfo, what: str, numbers: Any) -> None:
    """A fault unless an array holds whole numbers: a fraction would be cut off, and the number be another item's."""
    dtype = getattr(numbers, "dtype", type(numbers).__name__)
    if not (isinstance(numbers, np.ndarray) and np.issubdtype(numbers.dtype, np.integer)):
        raise fault(info, "whole numbers", f"its {what} are {dtype}, expected int32")


def check_facts(info: ComponentInfo, facts: Any) -> dict[str, Any]:
    """A baseline's facts as plain JSON data.

    A fault unless they are a mapping that JSON can hold, and their keys fit the schema of the record's `training`.
    """
    try:
        text = json.dumps(dict(facts), allow_nan=False, ensure_ascii=False)
        plain = dict(json.loads(text.encode()))  # a lone surrogate is in no Unicode text
    except (TypeError, ValueError, RecursionError) as error:
        raise fault(info, "plain facts", f"facts gave what JSON cannot hold: {error}") from error
    if complaint := misfit(plain, "training"):
        raise fault(
            info, "facts of the record", f"facts gave a key of the record that does not fit its schema: {complaint}"
        )
    return plain


def _size(value: Any) -> str:
    return f"{len(value)} {type(value).__name__}" if hasattr(value, "__len__") else f"a {type(value).__name__}"


class Watched:
    """A backbone as decoders get it: logits are checked, and an error in any of its methods is the backbone's fault."""

    def __init__(self, backbone: Backbone, info: ComponentInfo, n_tokens: int) -> None:
        self._backbone, self._info = backbone, info
        self._columns = n_tokens + backbone.extra_columns

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._backbone, name)
        return held_to(self._info, name)(value) if inspect.ismethod(value) else value

    def advance(self, state: Any, tokens: Tensor, parents: Tensor) -> tuple[Tensor, Any]:
        with held_to(self._info, "advance"):
            hidden, state = self._backbone.advance(state, tokens, parents)
        if tuple(getattr(hidden, "shape", ()))[:2] != tuple(tokens.shape):
            given = tuple(getattr(hidden, "shape", ()))
            raise fault(self._info, "hidden", f"advance gave {given} for {tuple(tokens.shape)} users and beams")
        return hidden, state

    def logits(self, hidden: Tensor, candidates: Candidates | None = None) -> Tensor:
        with held_to(self._info, "logits"):
            logits = self._backbone.logits(hidden, candidates)
        columns = self._columns if candidates is None else candidates.tokens.shape[1]
        check_logits(self._info, logits, (*hidden.shape[:2], columns))
        return logits
