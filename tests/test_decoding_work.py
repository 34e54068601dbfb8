"""What decoding computes, counted and never timed: nothing per beam that belongs to the user, no position twice."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from genrec_bench.decoders.exact import ExactDecoder
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.testing import synthetic

LAYERS, USERS, BEAMS, SOURCE = 2, 3, 6, 12
WIDTH = 4


@pytest.fixture(scope="module")
def setting():
    index = synthetic.catalogue(900)
    return index, synthetic.network(index.n_tokens, "cpu", layers=LAYERS, d_model=32, heads=2, d_ff=8)


@pytest.fixture
def counted(setting):
    """Rows that each matrix of the decoder was multiplied with, and the queries of each attention call, by beam width."""
    index, backbone = setting
    rows, hooks = Counter(), []
    for name, module in backbone.net.named_modules():
        if isinstance(module, torch.nn.Linear):

            def count(module, given, result, name=name):
                rows[name] += given[0].numel() // given[0].shape[-1]

            hooks.append(module.register_forward_hook(count))
    yield index, backbone, rows
    for hook in hooks:
        hook.remove()


def search(index, backbone, decoder, beams=BEAMS):
    return decoder.generate(backbone, synthetic.sources(index, USERS, SOURCE), index, beams=beams)


def test_sources_are_encoded_and_their_keys_and_values_projected_once_per_user(counted):
    index, backbone, rows = counted
    search(index, backbone, TrieDecoder())
    for name, count in rows.items():
        if name.startswith("encoder") or name.endswith(("cross.attention.k", "cross.attention.v")):
            assert count == USERS * SOURCE, name


@pytest.mark.parametrize("beams", [1, 6, 40])
def test_a_beam_takes_one_position_for_the_first_token_and_one_per_beam_for_each_further_one(counted, beams):
    index, backbone, rows = counted
    search(index, backbone, TrieDecoder(), beams)
    positions = USERS * (1 + beams * (WIDTH - 1))
    decoder = {
        name: count for name, count in rows.items() if name.startswith("decoder") and "cross.attention.k" not in name
    }
    assert {count for name, count in decoder.items() if "cross.attention.v" not in name} == {positions}


def test_the_exact_ranking_takes_one_position_per_inner_node(counted):
    index, backbone, rows = counted
    decoder = ExactDecoder()
    search(index, backbone, decoder)
    trie = decoder.trie(index, "cpu")
    inner = int((~trie.is_item(torch.arange(len(trie.token)))).sum())
    assert rows["decoder.0.self_.attention.q"] == rows["decoder.1.cross.attention.q"] == USERS * inner


def test_all_beams_of_a_user_are_queries_of_one_attention_over_the_users_own_keys(setting, monkeypatch):
    index, backbone = setting
    calls, true = [], F.scaled_dot_product_attention

    def watched(q, k, v, **how):
        calls.append((tuple(q.shape[:3]), tuple(k.shape[:3])))
        return true(q, k, v, **how)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    search(index, backbone, TrieDecoder())
    crosses = calls[LAYERS:]  # the first ones are the encoder's
    assert len(crosses) == LAYERS * WIDTH
    assert {key for _, key in crosses} == {(USERS, 2, SOURCE)}
    assert [query for query, _ in crosses[::LAYERS]] == [(USERS, 2, 1)] + [(USERS, 2, BEAMS)] * (WIDTH - 1)


def test_twice_the_beams_cost_nothing_where_the_source_is_read(setting):
    index, backbone = setting
    batch = synthetic.sources(index, USERS, SOURCE)
    with FlopCounterMode(display=False) as reading:
        backbone.start(batch)
    totals = []
    for beams in (BEAMS, 2 * BEAMS):
        with FlopCounterMode(display=False) as all_of_it:
            TrieDecoder().generate(backbone, batch, index, beams=beams)
        totals.append(all_of_it.get_total_flops() - reading.get_total_flops())
    first_position = 1 / (1 + BEAMS * (WIDTH - 1))
    np.testing.assert_allclose(totals[1] / totals[0], 2 - first_position, rtol=0.02)
