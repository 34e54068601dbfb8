"""Decoding a run's cases: batches that fit, reduced precision and second searches that say so, input at the edges."""

import numpy as np
import pytest
from fakes import PrefixBackbone, index_of, sources
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import spec_for

from genrec_bench import run
from genrec_bench.cli.results import conditions
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.rankings import NO_HYPOTHESIS, NOT_AN_ITEM, Generations
from genrec_bench.decoders.exact import ExactConfig, ExactDecoder
from genrec_bench.decoders.filter import FilterDecoder
from genrec_bench.decoders.trie import TrieConfig, TrieDecoder
from genrec_bench.errors import ConfigError
from genrec_bench.host.config import make_config
from genrec_bench.runs import decoding
from genrec_bench.runs.decoding import batches_of
from genrec_bench.testing import synthetic

EVERY = {"trie": TrieDecoder, "filter": FilterDecoder, "exact": ExactDecoder}
CUBE = [[a, b, c] for a in range(5) for b in range(5) for c in range(5)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=300), st.sampled_from([1, 20, 50]))
def test_batches_hold_every_source_once_within_both_bounds(lengths, beams):
    lengths = np.array(lengths)
    batches = batches_of(lengths, beams)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for rows in batches:
        padded = len(rows) * int(lengths[rows].max()) * beams
        assert 1 <= len(rows) <= decoding.BATCH and (padded <= decoding.BATCH_TOKENS or len(rows) == 1)
    assert (np.diff(lengths[np.concatenate(batches)]) >= 0).all()


def test_short_sources_come_in_full_batches_and_one_giant_alone():
    assert [len(rows) for rows in batches_of(np.full(130, 80), 50)] == [64, 64, 2]
    assert [len(rows) for rows in batches_of(np.array([10**6, 4, 4]), 50)] == [2, 1]


def test_escalation_gives_the_true_first_ten_and_counts_whom_it_searched_again():
    users, index = list(range(40)), index_of(CUBE, 6)
    decoder = TrieDecoder(make_config(TrieConfig, {"escalate": True}, "decoder"))
    narrow = TrieDecoder().generate(PrefixBackbone(6, 2.0), sources(users), index, beams=12)
    found = decoder.generate(PrefixBackbone(6, 2.0), sources(users), index, beams=12)
    truth = ExactDecoder().generate(PrefixBackbone(6, 2.0), sources(users), index, beams=12)
    np.testing.assert_array_equal(found.items[:, :10], truth.items[:, :10])
    again = (narrow.scores[:, 9] <= narrow.bound + 1e-5).sum()
    assert 0 < again < 40 and decoder.counts() == {"escalated_users": again} and TrieDecoder().counts() == {}


def test_an_escalated_search_leaves_out_what_each_user_has():
    users, index = list(range(10)), index_of(CUBE, 6)
    best = ExactDecoder().generate(PrefixBackbone(6, 2.0), sources(users), index, beams=3)
    exclude = Ragged.of([sorted(items) for items in best.items.tolist()])  # or nothing would be left out
    decoder = TrieDecoder(TrieConfig(escalate=True))
    found = decoder.generate(PrefixBackbone(6, 2.0), sources(users), index, beams=10, exclude=exclude)
    truth = ExactDecoder().generate(PrefixBackbone(6, 2.0), sources(users), index, beams=10, exclude=exclude)
    np.testing.assert_array_equal(found.items, truth.items)
    assert decoder.counts()["escalated_users"] > 0


def test_a_catalogue_too_large_to_escalate_is_told_in_one_line():
    decoder = TrieDecoder(TrieConfig(escalate=True))
    decoder._exact = ExactDecoder(ExactConfig(memory_mb=1))
    codes = [[a, b, c] for a in range(60) for b in range(60) for c in range(40)]
    with pytest.raises(
        ConfigError, match=r"decoder.escalate .* 144,000 items are more than it holds in 1 MB"
    ) as caught:
        decoder.generate(PrefixBackbone(60, 0.5), sources([1]), index_of(codes), beams=10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_bf16_is_the_networks_and_finds_nearly_the_same(name):
    index = synthetic.catalogue(800)
    backbone = synthetic.network(index.n_tokens, "cpu", layers=1, d_model=32, heads=2, d_ff=8)
    batch = synthetic.sources(index, 4, 8)
    lists = [
        EVERY[name](EVERY[name].Config(precision=precision)).generate(backbone, batch, index, beams=10)
        for precision in ("fp32", "bf16")
    ]
    assert not np.array_equal(lists[0].scores, lists[1].scores)
    np.testing.assert_allclose(lists[0].scores, lists[1].scores, atol=0.5)
    assert lists[1].scores.dtype == np.float32


def test_a_run_in_bf16_says_so_and_how_its_lists_overlap_with_those_in_fp32(planted_file, tmp_path):
    plain, reduced = (
        run(spec_for(planted_file, set=options), out=tmp_path / "runs")
        for options in ({"decoder.escalate": True}, {"decoder.precision": "bf16"})
    )
    assert plain.throughput["precision"] == "fp32" and "fp32_overlap@10" not in plain.throughput
    assert 0 <= plain.throughput["escalated_users"] <= plain.data["users"]
    assert plain.validity["certified@10"] == 1.0
    assert reduced.throughput["precision"] == "bf16" and 0.5 < reduced.throughput["fp32_overlap@10"] <= 1
    assert reduced.throughput["batch_tokens"] == decoding.BATCH_TOKENS
    share = f"{reduced.throughput['fp32_overlap@10']:.1%} of the first ten in fp32 are found"
    assert share in conditions(reduced) and "fp32 are" not in conditions(plain)


def test_the_share_of_the_first_ten_counts_every_hypothesis_once_be_it_an_item_or_not():
    def generations(codes, items):
        shape = np.shape(items)
        return Generations(
            np.array(codes, np.int32), np.zeros(shape, np.float32), np.array(items, np.int32), np.zeros(1)
        )

    plain = generations([[[1, 2], [1, 3], [4, -1], [-1, -1]]], [[0, NOT_AN_ITEM, NOT_AN_ITEM, NO_HYPOTHESIS]])
    assert decoding.shared(plain, plain) == 1
    other = generations([[[1, 2, -1], [1, 5, -1], [4, -1, -1]]], [[0, NOT_AN_ITEM, NOT_AN_ITEM]])
    assert decoding.shared(other, plain) == pytest.approx(2 / 3)
    assert decoding.shared(other, plain, k=1) == 1
    nothing = generations([[[-1, -1]]], [[NO_HYPOTHESIS]])
    assert decoding.shared(plain, nothing) is None


def test_another_precision_is_refused():
    with pytest.raises(ConfigError, match="fp32"):
        make_config(TrieConfig, {"precision": "fp8"}, "decoder")


@pytest.mark.parametrize("name", EVERY)
def test_a_catalogue_without_items_gives_empty_lists(name):
    index = Index(CodeTable(np.zeros((0, 2), np.int32)), None, 6)
    found = EVERY[name]().generate(PrefixBackbone(6), sources([1, 2]), index, beams=3)
    assert (found.items < 0).all() and found.items.shape == (2, 3)
    if name != "filter":
        assert (found.items == NO_HYPOTHESIS).all() and np.isneginf(found.scores).all()


@pytest.mark.parametrize("name", EVERY)
def test_no_users_get_no_lists(name):
    found = EVERY[name]().generate(PrefixBackbone(6), sources([1]).take(np.arange(0)), index_of([[2, 5]], 6), beams=3)
    assert found.items.shape == found.scores.shape == (0, 3) and found.bound.shape == (0,)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("users", [[3], [3, 4]])
def test_one_item_one_user_and_more_beams_than_items(name, users):
    found = EVERY[name]().generate(PrefixBackbone(6), sources(users), index_of([[2, 5]], 6), beams=7)
    assert found.items.shape == (len(users), 7) and (found.items == 0).sum(axis=1).tolist() in (
        [1] * len(users),
        [0] * len(users),
    )
    if name != "filter":
        assert (found.items[:, 0] == 0).all() and (found.items[:, 1:] == NO_HYPOTHESIS).all()


@pytest.mark.parametrize("name", EVERY)
def test_codes_wider_than_any_the_network_was_trained_on_are_searched(name):
    index = index_of([[0] * 40, [1] * 40, [1] * 39 + [0]], 2)
    backbone = synthetic.network(2, "cpu", layers=1, d_model=32, heads=2, d_ff=8)
    found = EVERY[name]().generate(backbone, synthetic.sources(index, 2, 6), index, beams=4)
    assert found.tokens.shape == (2, 4, 40) and np.isfinite(found.scores[found.items >= 0]).all()
