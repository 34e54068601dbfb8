"""Diverse beam search: groups spread over prefixes, and what they miss is covered by the bound."""

import numpy as np
import pytest
from genrec_decoders.diverse import DiverseConfig, DiverseDecoder, shares
from toys import GRID, FixedLogits, certified, index_of, listed, sources

from genrec_bench.api import ExactDecoder

USERS = list(range(40))


def decoded(beams=12, backbone=None, **options):
    decoder = DiverseDecoder(DiverseConfig(**options))
    return decoder.generate(backbone or FixedLogits(), sources(USERS), index_of(GRID), beams=beams)


def first_tokens(generations):
    """How many different first tokens a list has, on average over users."""
    return np.mean([len({GRID[item][0] for item in listed(row)}) for row in generations.items])


def test_a_higher_penalty_spreads_the_list_over_more_first_tokens():
    spread = [first_tokens(decoded(groups=4, penalty=penalty)) for penalty in (0.0, 0.5, 2.0, 100.0)]
    assert spread == sorted(spread)
    assert spread[-1] > spread[0] + 1


def test_under_a_huge_penalty_no_two_groups_of_one_share_a_first_token():
    assert first_tokens(decoded(beams=6, groups=6, penalty=1e6)) == 6


def test_scores_are_true_log_probabilities_whatever_the_penalty():
    generations = decoded(groups=4, penalty=2.0)
    truth = ExactDecoder().generate(FixedLogits(), sources(USERS), index_of(GRID), beams=len(GRID))
    for items, scores, all_items, all_scores in zip(
        generations.items, generations.scores, truth.items, truth.scores, strict=True
    ):
        true = dict(zip(all_items.tolist(), all_scores.tolist(), strict=True))
        np.testing.assert_allclose(scores, [true[item] for item in items.tolist()], atol=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 0.5, 5.0])
def test_certified_lists_begin_with_the_true_best(penalty):
    backbone = FixedLogits(scale=4.0)
    generations = decoded(beams=16, backbone=backbone, groups=2, penalty=penalty)
    truth = ExactDecoder().generate(backbone, sources(USERS), index_of(GRID), beams=16)
    sure = certified(generations, 3)
    assert sure.any()
    np.testing.assert_array_equal(generations.items[sure, :3], truth.items[sure, :3])
    for row in range(len(USERS)):
        missed = [
            s for item, s in zip(truth.items[row], truth.scores[row], strict=True) if item not in generations.items[row]
        ]
        assert not missed or generations.bound[row] >= max(missed) - 1e-4


def test_beams_are_shared_out_evenly():
    assert shares(50, 5) == [10] * 5
    assert shares(7, 3) == [3, 2, 2]
    assert shares(2, 5) == [1, 1]
