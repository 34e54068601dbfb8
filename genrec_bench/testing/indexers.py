"""Checks of indexers: every item gets a code, which depends only on the training part and the seed.

Knows codes and training views; what a code means is the indexer's business.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.hashing import digest
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import CodeClash
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.protocol.constants import EXTERNAL_IDS
from genrec_bench.testing.held_out import near_held_out
from genrec_bench.testing.kit import (
    Breach,
    Subject,
    check,
    expect,
    folder,
    without_global_randomness,
)
from genrec_bench.testing.planted_data import tiny_views


def build(subject: Subject, train: TrainView | None = None, seed: int = 0, **facts: Any) -> Index:
    """An index from a fresh indexer."""
    indexer = subject.make()
    index: Index = indexer.build(
        shown(subject, subject.data.train if train is None else train), IndexerContext(seed, **facts)
    )
    return index


def shown(subject: Subject, view: TrainView) -> TrainView:
    """`view` with the external ids that the component needs, as a run shows them."""
    wanted, data = EXTERNAL_IDS & subject.make().needs, subject.data.data
    if "item_ids" in wanted:
        view = replace(view, item_ids=data.item_ids[: view.n_items])
    if "user_ids" in wanted:
        view = replace(view, user_ids=data.user_ids[: view.n_users])
    return view


@check("indexer", essential=True)
def every_item_has_a_code_of_its_own(subject: Subject) -> None:
    """Every catalogue item, cold items included, gets one code, and no code is a prefix of another."""
    check_items(build(subject), subject.data.train.n_items)


def check_items(index: Any, n_items: int) -> None:
    """Breach unless `index` is an Index with `n_items` prefix-free codes."""
    expect(isinstance(index, Index), f"build gave {type(index).__name__}", "Return a genrec_bench.core.codes.Index.")

    codes = index.items.codes
    expect(
        len(codes) == n_items,
        f"{len(codes)} item codes for a catalogue of {n_items}",
        "Give a code to each of train.n_items items: cold items occur in no sequence, but belong to the catalogue.",
    )
    expect(codes.dtype == np.int32, f"item codes are {codes.dtype}", "Codes are int32.")

    try:
        CodeTable(codes)
    except CodeClash as error:
        raise Breach(str(error).rstrip("."), "genrec_bench.core.codes.add_suffix numbers equal rows.") from error


@check("indexer")
def tokens_lie_in_the_alphabet(subject: Subject) -> None:
    """Every token of every code is below `n_tokens`."""
    index = build(subject)
    tables = [table.codes for table in (index.items, index.users) if table is not None]
    highest = max(int(codes.max()) for codes in tables)
    expect(
        highest < index.n_tokens,
        f"token {highest} lies outside the alphabet of {index.n_tokens}",
        "Index.from_labels gives tokens their ids.",
    )


@check("indexer")
def users_have_codes_all_or_none(subject: Subject) -> None:
    """User codes, if there are any, are prefix-free and cover every user."""
    index = build(subject)
    if index.users is None:
        return
    expect(
        len(index.users) == subject.data.train.n_users,
        f"{len(index.users)} user codes for {subject.data.train.n_users} users",
        "Give every user a code, or none (users=None): then a run adds random ones and says so.",
    )

    try:
        CodeTable(index.users.codes)
    except CodeClash as error:
        raise Breach(f"user codes: {str(error).rstrip('.')}", "Each user needs a code of its own.") from error


@check("indexer")
def the_same_seed_gives_the_same_index(subject: Subject) -> None:
    """Equal input and equal `ctx.seed` give equal indexes, from a fresh indexer and from a used one."""
    first = build(subject, seed=3)
    used = subject.make()
    view = shown(subject, subject.data.train)
    used.build(view, IndexerContext(1))

    for how, again in (
        ("a fresh indexer", build(subject, seed=3)),
        ("a used indexer", used.build(view, IndexerContext(3))),
    ):
        expect(
            first.fingerprint == again.fingerprint,
            f"two builds with seed 3 differ, the second by {how}: {first.fingerprint[:8]} and {again.fingerprint[:8]}",
            "Draw everything random from ctx.rng, keep nothing from one build to the next, and order sets before use.",
        )


@check("indexer")
def global_randomness_is_left_alone(subject: Subject) -> None:
    """Building neither draws from nor seeds the global generators of random, NumPy and torch."""
    without_global_randomness(lambda: build(subject), "build")


@check("indexer")
def the_input_is_left_alone(subject: Subject) -> None:
    """Building changes no array of the training view."""
    view = subject.data.train
    before = view_digest(view)
    build(subject, view)
    expect(view_digest(view) == before, "build changed the training view's arrays", "Copy an array before changing it.")


def view_digest(view: TrainView) -> str:
    """SHA-256 of everything in a training view."""
    parts: list[Any] = [view.n_items, view.sequences.values, view.sequences.offsets]
    if view.item_titles is not None:
        parts.append(np.asarray(view.item_titles))
    if view.item_features is not None:
        parts += [view.item_features.values, view.item_features.offsets]
    return digest(*parts)


@check("indexer")
def held_out_events_cannot_reach_it(subject: Subject) -> None:
    """The indexer opens no data file, and its index does not change with the held-out interactions on disk and in memory."""
    fingerprints = []
    for data in (subject.data, subject.data.other_held_out()):
        with near_held_out(subject, data):
            fingerprints.append(build(subject, data.train).fingerprint)
    expect(
        fingerprints[0] == fingerprints[1],
        f"other held-out interactions gave another index ({fingerprints[0][:8]} and {fingerprints[1][:8]})",
        "Learn from `train` alone: read no data file, and nothing behind the arrays you are given.",
    )


@check("indexer")
def the_index_survives_a_round_trip(subject: Subject) -> None:
    """Saving and loading preserve an index, including its facts."""
    index = build(subject)
    with folder() as here:
        try:
            index.save(here / "index")
        except TypeError as error:
            raise Breach(f"its info is not JSON: {error}", "Put plain numbers and strings into Index.info.") from error
        again = Index.load(here / "index")

    expect(
        again.fingerprint == index.fingerprint and again.token_scope == index.token_scope,
        "the loaded index differs from the saved one",
        "Codes are int32 arrays, padded with -1 on the right.",
    )
    expect(0 <= index.collision_rate <= 1, f"collision_rate is {index.collision_rate}", "It is a share of the items.")


@check("indexer")
def tiny_data_is_indexed(subject: Subject) -> None:
    """Indexing works for one user and one item, for two of each, and for a catalogue of cold items but one."""
    for what, view in tiny_views().items():
        try:
            index = build(subject, view)
        except Exception as error:
            seen = f"with {what} it raised {type(error).__name__}: {str(error).rstrip('.')}"
            raise Breach(seen, "Bound cluster counts and sizes by what there is.") from error
        try:
            check_items(index, view.n_items)
        except Breach as breach:
            raise Breach(f"with {what}: {breach.seen}", breach.remedy) from breach
