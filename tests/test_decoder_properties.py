"""What the decoders owe each other: one score per code, certificates that hold per user, exclusions that hold at any width.

That a wide beam is the exact ranking, that a trie search emits items only, and that a filtered list keeps its order stand
in `test_exact.py` and `test_search.py`.
"""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from fakes import PrefixBackbone, index_of, log_probability, prefix_free, sources
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations
from genrec_bench.decoders.beam_search import INF, beam_search, extend
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.decoders.exact import ExactDecoder
from genrec_bench.decoders.filter import FilterDecoder
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.protocol.validity import (
    certified,
    contained,
    ranking_from,
    validity,
)

DECODERS = {"trie": TrieDecoder, "filter": FilterDecoder, "exact": ExactDecoder}
users_lists = st.lists(st.integers(0, 99), min_size=1, max_size=4)


@st.composite
def searches(draw):
    """Codes, users, and a few items that each user has."""
    codes, users = draw(prefix_free()), draw(users_lists)
    own = st.lists(st.integers(0, len(codes) - 1), max_size=4)
    return codes, users, Ragged.of([draw(own) for _ in users])


def decoded(name, codes, users, beams, exclude=None, scale=3.0):
    return DECODERS[name]().generate(
        PrefixBackbone(6, scale), sources(users), index_of(codes, 6), beams=beams, exclude=exclude
    )


def good(found, history):
    """What validity counts as good in lists without repeats: items the user does not have."""
    return (found.items >= 0) & ~contained(found.items, history)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=30, deadline=None)
@given(drawn=searches(), beams=st.integers(1, 12))
def test_a_score_is_the_plain_sum_of_its_tokens_item_or_not(name, drawn, beams):
    codes, users, _ = drawn
    found, backbone = decoded(name, codes, users, beams), PrefixBackbone(6)
    for row, user in enumerate(users):
        there = found.items[row] != NO_HYPOTHESIS
        written = [[token for token in tokens if token >= 0] for tokens in found.tokens[row][there].tolist()]
        expected = [log_probability(backbone, user, tokens) for tokens in written]
        np.testing.assert_allclose(found.scores[row][there], expected, rtol=1e-4, atol=1e-4)
        for item, tokens in zip(found.items[row][there].tolist(), written, strict=True):
            assert (codes[item] == tokens) if item >= 0 else (tokens not in codes)


@settings(max_examples=40, deadline=None)
@given(searches(), st.integers(1, 12))
def test_what_survives_the_filter_scores_as_in_the_full_ranking(drawn, beams):
    codes, users, _ = drawn
    found, exact = (decoded(name, codes, users, width) for name, width in (("filter", beams), ("exact", len(codes))))
    for row in range(len(users)):
        true = dict(zip(exact.items[row].tolist(), exact.scores[row].tolist(), strict=True))
        kept = found.items[row] >= 0
        expected = [true[item] for item in found.items[row][kept].tolist()]
        np.testing.assert_allclose(found.scores[row][kept], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["trie", "exact"])
@settings(max_examples=40, deadline=None)
@given(drawn=searches(), beams=st.integers(1, 12))
def test_nothing_excluded_is_emitted_by_a_beam_of_any_width(name, drawn, beams):
    codes, users, exclude = drawn
    found = decoded(name, codes, users, beams, exclude)
    assert not contained(found.items, exclude).any()
    if name == "exact":
        left = [len(codes) - len(np.unique(own)) for own in exclude]
        assert (found.items >= 0).sum(axis=1).tolist() == [min(beams, n) for n in left]


@settings(max_examples=30, deadline=None)
@given(searches(), st.integers(1, 12))
def test_a_free_search_does_not_look_at_exclusions(drawn, beams):
    codes, users, exclude = drawn
    with_, without = decoded("filter", codes, users, beams, exclude), decoded("filter", codes, users, beams)
    np.testing.assert_array_equal(with_.items, without.items)
    np.testing.assert_array_equal(with_.scores, without.scores)


@pytest.mark.parametrize("name", ["trie", "filter"])
@settings(max_examples=60, deadline=None)
@given(drawn=searches(), beams=st.integers(1, 14), k=st.integers(1, 5))
def test_certified_users_have_the_first_items_of_the_full_ranking(name, drawn, beams, k):
    codes, users, history = drawn
    found = decoded(name, codes, users, beams, history)
    truth = decoded("exact", codes, users, len(codes), history)
    listed = ranking_from(found, depth=beams, exclude=history)
    for row in np.flatnonzero(certified(found, good(found, history), k)):
        expected = truth.items[row][truth.items[row] >= 0][:k]
        assert listed.items[row][:k][listed.items[row][:k] >= 0].tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["trie", "filter"])
def test_the_first_ten_of_certified_users_are_the_true_ten_and_there_are_such_users(name):
    codes = [[a, b, c] for a in range(5) for b in range(5) for c in range(5)]
    users = list(range(40))
    history = Ragged.of([[user, (7 * user) % 125] for user in users])
    found = decoded(name, codes, users, 60, history)
    truth = decoded("exact", codes, users, 10, history)
    sure = certified(found, good(found, history), 10)
    assert sure.sum() > 0
    listed = ranking_from(found, depth=60, exclude=history)
    np.testing.assert_array_equal(listed.items[sure, :10], truth.items[sure])
    assert validity(found, history)["certified@10"] == pytest.approx(sure.mean())


@settings(max_examples=30, deadline=None)
@given(searches(), st.integers(1, 12))
def test_a_certificate_for_more_places_is_one_for_fewer(drawn, beams):
    codes, users, _ = drawn
    found = decoded("trie", codes, users, beams)
    sure = [certified(found, found.items >= 0, k) for k in range(1, 13)]
    for fewer, more in itertools.pairwise(sure):
        assert (fewer | ~more).all()


def test_a_bound_of_plus_infinity_certifies_nobody_and_one_of_minus_infinity_everybody():
    items = np.arange(12, dtype=np.int32)[None].repeat(2, 0)
    scores = np.zeros((2, 12), np.float32)
    found = Generations(np.zeros((2, 12, 1), np.int32), scores, items, np.array([np.inf, -np.inf], np.float32))
    assert certified(found, items >= 0, 10).tolist() == [False, True]
    assert validity(found, Ragged.empty(2))["certified@10"] == 0.5
    assert ranking_from(found, depth=12).items.tolist() == items.tolist()


@settings(max_examples=30, deadline=None)
@given(searches(), st.integers(1, 12))
def test_a_rule_of_survival_that_changes_nothing_changes_nothing(drawn, beams):
    codes, users, exclude = drawn
    trie = Trie.build(index_of(codes, 6).items)

    def by_score(beam, added, node):
        return (beam.score[..., None] + added,) * 2

    plain, ruled = (
        beam_search(PrefixBackbone(6), sources(users), trie, beams=beams, free=False, exclude=exclude, grow=grow)
        for grow in (None, partial(extend, rank=by_score))
    )
    for part in ("tokens", "scores", "items", "bound"):
        np.testing.assert_array_equal(getattr(plain, part), getattr(ruled, part))


@settings(max_examples=30, deadline=None)
@given(searches(), st.integers(1, 12), st.integers(0, 4))
def test_a_rule_of_survival_decides_who_survives_and_what_is_emitted(drawn, beams, token):
    """Here: no code with a child of `token`'s node survives, and the keys, not the sums, are the scores."""
    codes, users, _ = drawn
    trie = Trie.build(index_of(codes, 6).items)
    banned = trie.step(torch.zeros(1, dtype=torch.int32), torch.tensor([token], dtype=torch.int32))

    def rule(beam, added, node):
        sums = beam.score[..., None] + added
        return sums, (sums - 7).masked_fill((node == banned) & (banned >= 0), -INF)

    grow = partial(extend, rank=rule)
    found = beam_search(PrefixBackbone(6), sources(users), trie, beams=beams, free=False, grow=grow)
    backbone = PrefixBackbone(6)
    for row, user in enumerate(users):
        for item, score in zip(found.items[row].tolist(), found.scores[row].tolist(), strict=True):
            if item >= 0:
                assert codes[item][0] != token
                assert score == pytest.approx(log_probability(backbone, user, codes[item]) - 7, abs=1e-3)
