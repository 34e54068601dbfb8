"""The beam search against exhaustive enumeration, and what each decoder promises."""

import itertools

import numpy as np
import pytest
from fakes import PrefixBackbone, index_of, log_probability, prefix_free, sources
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import CodeTable
from genrec_bench.core.rankings import NO_HYPOTHESIS, NOT_AN_ITEM
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.decoders.filter import FilterDecoder
from genrec_bench.decoders.trie import TrieDecoder

CODES = [[0, 3], [0, 4, 1], [0, 4, 2], [1], [2, 0, 0], [2, 0, 5], [2, 3], [5, 5, 5]]


def ranked(backbone, codes, user, exclude=()):
    scores = {item: log_probability(backbone, user, code) for item, code in enumerate(codes) if item not in exclude}
    return sorted(scores, key=lambda item: -scores[item]), scores


@settings(max_examples=60, deadline=None)
@given(prefix_free(), st.lists(st.integers(0, 99), min_size=1, max_size=3), st.data())
def test_a_wide_trie_search_is_the_full_ranking(codes, users, data):
    backbone = PrefixBackbone(6)
    exclude = [data.draw(st.lists(st.integers(0, len(codes) - 1), max_size=4)) for _ in users]
    found = TrieDecoder().generate(backbone, sources(users), index_of(codes, 6), beams=40, exclude=Ragged.of(exclude))
    for row, user in enumerate(users):
        order, scores = ranked(backbone, codes, user, exclude[row])
        items = [int(item) for item in found.items[row] if item >= 0]
        assert items == order
        np.testing.assert_allclose(found.scores[row][: len(items)], [scores[i] for i in items], rtol=1e-4, atol=1e-4)
        assert found.bound[row] == -np.inf  # nothing was discarded


@settings(max_examples=40, deadline=None)
@given(prefix_free(), st.integers(0, 99), st.integers(1, 4))
def test_a_narrow_trie_search_emits_items_only_and_its_bound_covers_what_it_missed(codes, user, beams):
    backbone = PrefixBackbone(6)
    found = TrieDecoder().generate(backbone, sources([user]), index_of(codes, 6), beams=beams)
    items = found.items[0][found.items[0] != NO_HYPOTHESIS]
    assert (items >= 0).all()
    order, scores = ranked(backbone, codes, user)
    missed = [scores[item] for item in order if item not in items]
    assert not missed or found.bound[0] >= max(missed) - 1e-4


def test_a_free_search_ends_at_codes_and_reports_what_is_no_item():
    backbone, index = PrefixBackbone(6, scale=1.0), index_of(CODES, 6)
    found = FilterDecoder().generate(backbone, sources([7]), index, beams=300)
    codes = [tuple(code) for code in CODES]
    expected = []
    for length in (1, 2, 3):
        for prefix in itertools.product(range(6), repeat=length):
            ends_before = any(prefix[: len(code)] == code for code in codes if len(code) < length)
            if not ends_before and (prefix in codes or length == 3):
                expected.append(
                    (log_probability(backbone, 7, prefix), codes.index(prefix) if prefix in codes else NOT_AN_ITEM)
                )
    expected.sort(key=lambda pair: -pair[0])
    there = found.items[0] != NO_HYPOTHESIS
    assert there.sum() == len(expected)
    assert found.items[0][there].tolist() == [item for _, item in expected]
    np.testing.assert_allclose(found.scores[0][there], [score for score, _ in expected], rtol=1e-4)


def test_the_first_call_has_one_hypothesis_per_user():
    backbone = PrefixBackbone(6)
    TrieDecoder().generate(backbone, sources([1, 2, 3]), index_of(CODES, 6), beams=20)
    assert backbone.calls[0] == (3, 1)
    assert len(backbone.calls) == 3  # the width of the longest code: no end-token step


def test_excluding_everything_leaves_no_hypothesis():
    everything = Ragged.of([list(range(len(CODES)))])
    found = TrieDecoder().generate(PrefixBackbone(6), sources([1]), index_of(CODES, 6), beams=5, exclude=everything)
    assert (found.items == NO_HYPOTHESIS).all()


@pytest.mark.parametrize("codes", [[[0]], [[3, 1, 2]], [[0], [1]]])
def test_tiny_catalogues_are_decoded(codes):
    found = TrieDecoder().generate(PrefixBackbone(6), sources([4]), index_of(codes, 6), beams=5)
    assert sorted(item for item in found.items[0].tolist() if item >= 0) == list(range(len(codes)))


@settings(max_examples=60, deadline=None)
@given(prefix_free(most=6, width=4))
def test_the_trie_leads_every_code_to_its_item_and_nothing_else(codes):
    width = max(map(len, codes))
    table = np.array([code + [-1] * (width - len(code)) for code in codes], np.int32)
    trie = Trie.build(CodeTable(table))
    import torch

    for prefix in itertools.product(range(6), repeat=min(width, 2)):
        node = torch.zeros(1, dtype=torch.int32)
        for place, token in enumerate(prefix):
            node = trie.step(node, torch.tensor([token], dtype=torch.int32))
            alive = any(tuple(code[: place + 1]) == prefix[: place + 1] for code in codes)
            assert (int(node) >= 0) == alive
    for item, code in enumerate(codes):
        node = torch.zeros(1, dtype=torch.int32)
        for token in code:
            node = trie.step(node, torch.tensor([token], dtype=torch.int32))
        assert int(trie.item_at(node)) == item
