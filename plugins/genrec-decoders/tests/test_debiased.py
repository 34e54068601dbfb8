"""Popularity taken out: the scores, the bound, and what a strong correction prefers."""

import numpy as np
import pytest
import torch
from genrec_decoders.debiased import DebiasedConfig, DebiasedDecoder, least_below
from toys import CODES, GRID, FixedLogits, bought, certified, index_of, sources

from genrec_bench.api import DecoderContext, ExactDecoder, GenrecError, Trie

USERS = list(range(30))
COUNTS = np.random.default_rng(0).permutation(len(GRID)) * 3  # all different, one item never bought


def decoded(alpha, beams=10, backbone=None):
    decoder = DebiasedDecoder(DebiasedConfig(alpha=alpha))
    decoder.prepare(bought(COUNTS), DecoderContext())
    return decoder.generate(backbone or FixedLogits(), sources(USERS), index_of(GRID), beams=beams)


def truth(alpha, backbone=None):
    """The debiased score of every item, (users, items), from the exact ranking."""
    generations = ExactDecoder().generate(backbone or FixedLogits(), sources(USERS), index_of(GRID), beams=len(GRID))
    scores = np.empty_like(generations.scores)
    np.put_along_axis(scores, generations.items, generations.scores, axis=1)
    return scores - alpha * np.log1p(COUNTS)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 20.0])
def test_a_wide_beam_is_the_full_ranking_by_the_debiased_score(alpha):
    generations, scores = decoded(alpha, beams=len(GRID)), truth(alpha)
    np.testing.assert_allclose(generations.scores, -np.sort(-scores, axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        np.take_along_axis(scores, generations.items, 1), generations.scores, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("alpha", [0.3, 1.0, 20.0])
def test_the_bound_covers_what_a_narrow_beam_missed_and_certified_lists_are_the_true_ones(alpha):
    backbone = FixedLogits(scale=3.0)
    generations, scores = decoded(alpha, beams=6, backbone=backbone), truth(alpha, backbone)
    for row, items in enumerate(generations.items):
        missed = np.delete(scores[row], items)
        assert generations.bound[row] >= missed.max() - 1e-3
    sure = certified(generations, 2)
    assert sure.any()
    np.testing.assert_array_equal(generations.items[sure, :2], np.argsort(-scores[sure], axis=1)[:, :2])


def test_a_larger_alpha_lists_rarer_items_until_it_lists_the_rarest():
    popularity = [COUNTS[decoded(alpha).items].mean() for alpha in (0.0, 0.3, 1.0, 3.0)]
    assert popularity == sorted(popularity, reverse=True)
    rarest = set(np.argsort(COUNTS)[:3].tolist())
    for row in decoded(1000.0, beams=len(GRID)).items:
        assert set(row[:3].tolist()) == rarest


def test_a_node_counts_its_least_popular_item():
    counts = np.array([9, 4, 7, 1, 5, 6, 2, 8])
    trie = Trie.build(index_of(CODES).items)
    least = least_below(trie, counts)
    assert least[0] == 1
    for node, item in enumerate(trie.item_at(torch.arange(len(trie.token))).tolist()):
        if item >= 0:
            assert least[node] == counts[item]
        _, children, there = trie.children(torch.tensor([node]))
        assert not there.any() or least[node] == least[children[there].numpy()].min()


def test_without_a_look_at_training_it_says_so():
    with pytest.raises(GenrecError, match=r"call prepare\(train, ctx\) first"):
        DebiasedDecoder().generate(FixedLogits(), sources([1]), index_of(CODES), beams=5)
