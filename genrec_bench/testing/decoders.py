"""Checks of decoders, on a backbone whose logits are a fixed function of the prefix.

Knows codes and hypotheses, and does not judge how good a search is: a decoder may emit few hypotheses, or codes of no item,
if it marks them as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from genrec_bench.core.arrays import PAD, Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import NO_HYPOTHESIS, NOT_AN_ITEM, Generations
from genrec_bench.core.sequences import TrainView
from genrec_bench.host.contracts import START, Decoder, DecoderContext
from genrec_bench.testing.fakes import (
    PrefixBackbone,
    index_of,
    log_probability,
    sources,
)
from genrec_bench.testing.held_out import near_held_out
from genrec_bench.testing.kit import (
    Breach,
    NotApplicable,
    Subject,
    check,
    expect,
    without_global_randomness,
)
from genrec_bench.testing.networks import planted_index

CODES = [[0, 3], [0, 4, 1], [0, 4, 2], [1], [2, 0, 0], [2, 0, 5], [2, 3], [5, 5, 5]]
OTHER_CODES = [[0, 3], [0, 4, 2], [0, 4, 1], [2, 3], [2, 0, 5], [2, 0, 0], [1], [5, 5, 5]]  # the same, other items
USERS = (7, 3, 7, 11)
TOLERANCE = 1e-4


class StrictBackbone(PrefixBackbone):
    """A prefix backbone that refuses calls outside `Backbone.advance`'s contract."""

    def start(self, batch: Any) -> Any:
        return (*super().start(batch), 0)

    def advance(self, state: Any, tokens: torch.Tensor, parents: torch.Tensor) -> tuple[torch.Tensor, Any]:
        users, prefixes, width = state
        remedy = "Backbone.advance says what a call looks like; genrec_bench.api.beam_search makes them."

        expect(
            tokens.shape == parents.shape and tokens.ndim == 2 and tokens.shape[0] == len(users),
            f"advance was called with tokens {tuple(tokens.shape)} and parents {tuple(parents.shape)} for "
            f"{len(users)} users",
            remedy,
        )
        expect(
            tokens.dtype == parents.dtype == torch.int64,
            f"advance was called with tokens {tokens.dtype} and parents {parents.dtype}, not int64",
            remedy,
        )

        if prefixes is None:
            first = tokens.shape[1] == 1 and bool((tokens == START).all()) and bool((parents == 0).all())
            expect(first, "the first call is not one START token of parent 0 per user", remedy)
        else:
            low, high = int(tokens.min()), int(tokens.max())
            expect(
                low >= 0 and high < self.n_tokens,
                f"advance was called with tokens {low} to {high} of an alphabet of {self.n_tokens}",
                remedy,
            )
            expect(
                int(parents.min()) >= 0 and int(parents.max()) < width,
                f"advance was called with parent {int(parents.max())} after a call of width {width}",
                remedy,
            )

        logits, (users, grown) = super().advance((users, prefixes), tokens, parents)
        return logits, (users, grown, tokens.shape[1])


def ready(subject: Subject, n_items: int) -> Decoder:
    """A fresh decoder, prepared on a training part of that many items."""
    decoder: Decoder = subject.make()
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, n_items, 5).tolist() for _ in range(6)]
    titles = np.array([f"item {number}" for number in range(n_items)])
    view = TrainView(Ragged.of(rows), n_items, titles, Ragged.of([[number % 2] for number in range(n_items)]))
    decoder.prepare(view, DecoderContext())
    return decoder


def generate(
    subject: Subject,
    users: Sequence[int] = USERS,
    codes: Sequence[Sequence[int]] = CODES,
    beams: int = 4,
    exclude: Ragged | None = None,
    decoder: Decoder | None = None,
    index: Index | None = None,
) -> Generations:
    """The decoder's hypotheses from the fixed logits."""
    index = index or index_of(codes, 6)
    decoder = decoder or ready(subject, len(index.items))
    generations: Generations = decoder.generate(StrictBackbone(6), sources(users), index, beams=beams, exclude=exclude)
    return generations


@check("decoder", essential=True)
def generations_have_the_agreed_shape(subject: Subject) -> None:
    """A search gives `beams` places per source, in the agreed types, with -inf, -1 and -2 in the empty ones."""
    check_shape(generate(subject), len(USERS), 4, 3)


def check_shape(generations: Any, users: int, beams: int, width: int) -> None:
    """Breach unless these are Generations of that size whose empty places are marked as such."""
    expect(
        isinstance(generations, Generations),
        f"generate gave {type(generations).__name__}",
        "Return genrec_bench.core.rankings.Generations.",
    )

    shapes = (generations.tokens.shape, generations.scores.shape, generations.items.shape, generations.bound.shape)
    wanted = ((users, beams, width), (users, beams), (users, beams), (users,))
    expect(
        shapes == wanted,
        f"tokens, scores, items and bound have the shapes {shapes}, not {wanted}",
        "Give every source exactly `beams` places; pad tokens with -1, scores with -inf, items with -2.",
    )

    types = tuple(
        str(part.dtype) for part in (generations.tokens, generations.scores, generations.items, generations.bound)
    )
    expect(
        types == ("int32", "float32", "int32", "float32"),
        f"tokens, scores, items and bound are {', '.join(types)}",
        "They are int32, float32, int32 and float32.",
    )

    empty = generations.items == NO_HYPOTHESIS
    expect(
        (generations.tokens[empty] == PAD).all() and np.isneginf(generations.scores[empty]).all(),
        "a place without a hypothesis holds tokens or a score",
        "Where items is -2, tokens are -1 and the score is -inf.",
    )
    expect(
        np.isfinite(generations.scores[~empty]).all() and not np.isnan(generations.bound).any(),
        "the score of a hypothesis is infinite or NaN",
        "Mask with -inf after the softmax, and mark masked hypotheses as empty places (-2).",
    )


@check("decoder")
def scores_are_sorted_best_first(subject: Subject) -> None:
    """Scores do not rise along a list, and empty places come last."""
    scores = generate(subject, beams=6).scores
    rising = np.flatnonzero((scores[:, 1:] > scores[:, :-1]).any(axis=1))
    expect(
        not len(rising),
        f"the scores of source {rising[:1].tolist()} rise along the list: {scores[rising[:1]].tolist()}",
        "Sort hypotheses by score, best first.",
    )


@check("decoder")
def items_are_those_of_the_tokens(subject: Subject) -> None:
    """`items` holds the item whose code was emitted, or -1 if the tokens are not an item's code."""
    for codes in (CODES, OTHER_CODES):
        generations = generate(subject, codes=codes, beams=6)
        number = {tuple(code): item for item, code in enumerate(codes)}

        for tokens, item in zip(
            generations.tokens.reshape(-1, 3).tolist(), generations.items.reshape(-1).tolist(), strict=True
        ):
            code = tuple(token for token in tokens if token != PAD)
            wanted = number.get(code, NOT_AN_ITEM) if code else NO_HYPOTHESIS
            expect(
                item == wanted,
                f"the tokens {code} were called item {item}, and are {wanted}",
                "Look the tokens up in index.items; -1 says no item, -2 no hypothesis.",
            )


@check("decoder")
def the_bound_covers_what_was_missed(subject: Subject) -> None:
    """`bound` is at least the score of every item that was not emitted, where scores are sums of log-probabilities."""
    fixed = PrefixBackbone(6)
    generations = generate(subject, beams=3)
    for source, user in enumerate(USERS):
        scores = [log_probability(fixed, user, code) for code in CODES]
        emitted = {int(item): place for place, item in enumerate(generations.items[source]) if item >= 0}
        if any(abs(generations.scores[source, place] - scores[item]) > 1e-3 for item, place in emitted.items()):
            raise NotApplicable("its scores are not sums of log-probabilities, so what it missed cannot be scored here")
        missed = max((score for item, score in enumerate(scores) if item not in emitted), default=-np.inf)

        bound = float(generations.bound[source])
        expect(
            bound >= missed - 1e-3,
            f"source {source} has the bound {bound:.3f}, and an item of score {missed:.3f} was not emitted",
            "Keep the best score that the search ever discards, -inf if none: certified@10 is computed from it.",
        )


@check("decoder")
def excluded_items_are_not_emitted(subject: Subject) -> None:
    """With `excludes_in_search`, no item of `exclude` is emitted; excluding every item leaves nothing."""
    if not subject.make().excludes_in_search:
        raise NotApplicable("excludes_in_search is False: seen items are dropped after the search")

    some = [[3, 0, 3], [], [6, 2, 1], [7]]
    for rows in (some, [list(range(len(CODES)))] * len(USERS)):
        generations = generate(subject, beams=10, exclude=Ragged.of(rows))
        check_shape(generations, len(USERS), 10, 3)

        for source, (row, items) in enumerate(zip(rows, generations.items.tolist(), strict=True)):
            wrong = sorted(set(row) & set(items))
            expect(
                not wrong,
                f"source {source} excludes {sorted(set(row))}, but {wrong} were emitted",
                "Mask an excluded item's leaf, and a prefix all of whose leaves are excluded; or set "
                "excludes_in_search = False.",
            )


@check("decoder")
def the_same_question_has_the_same_answer(subject: Subject) -> None:
    """Repeating a search gives the same generations, by a fresh decoder and by one used in between."""
    first, used = generate(subject), ready(subject, len(CODES))
    generate(subject, users=(1,), decoder=used)
    for how, again in (("a fresh decoder", generate(subject)), ("one used before", generate(subject, decoder=used))):
        expect(
            same(first, again),
            f"the same search by {how} gave other hypotheses",
            "Keep nothing of one search for the next; take random numbers from the seed that `prepare` gets.",
        )


@check("decoder")
def another_index_is_noticed(subject: Subject) -> None:
    """After a search with one index, a decoder searches another of the same size by the codes of that one."""
    decoder = ready(subject, len(CODES))
    generate(subject, decoder=decoder)
    generations = generate(subject, codes=OTHER_CODES, decoder=decoder)
    expect(
        same(generations, generate(subject, codes=OTHER_CODES)),
        "after a search with one index, a search with another gave other hypotheses than a fresh decoder",
        "Tie what you keep of an index to that index (`is`), not to its size.",
    )


@check("decoder")
def global_randomness_is_left_alone(subject: Subject) -> None:
    """A search neither draws from nor seeds the global generators of random, NumPy and torch."""
    without_global_randomness(partial(generate, subject), "generate")


@check("decoder")
def a_batch_is_invisible(subject: Subject) -> None:
    """A source gets the same hypotheses alone as in a batch, with the same scores within 1e-4."""
    together = generate(subject)
    for place, user in enumerate(USERS):
        alone = generate(subject, users=(user,))
        expect(
            same(together.take(np.array([place])), alone),
            f"source {place} of a batch of {len(USERS)} got other hypotheses than alone",
            "Search every source on its own: a batch shares no threshold or count.",
        )


def same(one: Generations, other: Generations) -> bool:
    """Whether two searches found the same, scores within a tolerance."""
    equal = np.array_equal(one.tokens, other.tokens) and np.array_equal(one.items, other.items)
    first, second = (np.where(np.isneginf(search.scores), 0, search.scores) for search in (one, other))
    return equal and bool(np.allclose(first, second, rtol=TOLERANCE, atol=TOLERANCE))


@check("decoder")
def no_held_out_data_is_read(subject: Subject) -> None:
    """The decoder opens no data file, and its hypotheses do not change with the held-out interactions on disk and in memory."""
    index, generations = planted_index(subject), []
    for data in (subject.data, subject.data.other_held_out()):
        with near_held_out(subject, data):
            decoder: Decoder = subject.make()
            decoder.prepare(data.train, DecoderContext())
            backbone = StrictBackbone(index.n_tokens)
            generations.append(decoder.generate(backbone, sources(USERS), index, beams=20))
    expect(
        same(*generations),
        "other held-out interactions gave other hypotheses",
        "Go by the backbone, the index and the training view alone: read no data file, and nothing behind the arrays.",
    )


@check("decoder")
def tiny_catalogues_and_many_beams_are_searched(subject: Subject) -> None:
    """Searches work for one item, for one level, for a single beam, and for more beams than items."""
    for codes in ([[0]], [[3, 1, 2]], [[0], [1]], CODES):
        for beams in (1, 2, 30):
            what = f"{len(codes)} items of up to {max(map(len, codes))} levels and {beams} beams"
            try:
                check_shape(generate(subject, codes=codes, beams=beams), len(USERS), beams, max(map(len, codes)))
            except Breach as breach:
                raise Breach(f"with {what}: {breach.seen}", breach.remedy) from breach
            except Exception as error:
                seen = f"with {what} it raised {type(error).__name__}: {str(error).rstrip('.')}"
                raise Breach(seen, "Bound widths by what there is, and pad to `beams` places.") from error
