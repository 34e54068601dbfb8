"""The exact decoder against enumeration and the beam search; the certificate of a beam."""

import re
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import PrefixBackbone, index_of, log_probability, prefix_free, sources
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import NO_HYPOTHESIS
from genrec_bench.decoders import exact
from genrec_bench.decoders.exact import (
    ExactConfig,
    ExactDecoder,
    _best,
    _first,
)
from genrec_bench.decoders.filter import FilterDecoder
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.errors import ConfigError, OutOfMemory, UsageError
from genrec_bench.host.config import make_config
from genrec_bench.protocol.validity import CERTAIN, ranking_from, validity

users_lists = st.lists(st.integers(0, 99), min_size=1, max_size=3)


@settings(max_examples=50, deadline=None)
@given(prefix_free(), users_lists, st.integers(1, 3), st.data())
def test_it_is_the_full_ranking_whatever_the_chunk(codes, users, most, data):
    backbone, index = PrefixBackbone(6), index_of(codes, 6)
    decoder = ExactDecoder()
    trie = decoder.trie(index, "cpu")
    scores = decoder.scores(backbone, sources(users), index, trie, most).numpy()
    expected = [[log_probability(backbone, user, code) for code in codes] for user in users]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    assert max(width for _, width in backbone.calls) <= most
    inner = {tuple(code[:place]) for code in codes for place in range(len(code))}
    assert sum(width for _, width in backbone.calls) == len(inner)  # one position per inner node


@settings(max_examples=50, deadline=None)
@given(prefix_free(), users_lists, st.data())
def test_a_beam_as_wide_as_the_trie_equals_it(codes, users, data):
    exclude = Ragged.of([data.draw(st.lists(st.integers(0, len(codes) - 1), max_size=4)) for _ in users])
    index = index_of(codes, 6)
    exact, wide = (
        decoder.generate(PrefixBackbone(6), sources(users), index, beams=len(codes), exclude=exclude)
        for decoder in (ExactDecoder(), TrieDecoder())
    )
    np.testing.assert_array_equal(exact.items, wide.items)
    np.testing.assert_array_equal(exact.tokens, wide.tokens)
    np.testing.assert_allclose(exact.scores, wide.scores, rtol=1e-4, atol=1e-4)
    assert (exact.bound == -np.inf).all()


@settings(max_examples=80, deadline=None)
@given(prefix_free(), st.integers(0, 99), st.integers(1, 4), st.integers(1, 4))
def test_where_a_beam_is_certified_its_first_items_are_the_true_ones(codes, user, beams, k):
    index = index_of(codes, 6)
    narrow = TrieDecoder().generate(PrefixBackbone(6), sources([user]), index, beams=beams)
    exact = ExactDecoder().generate(PrefixBackbone(6), sources([user]), index, beams=len(codes))
    kth = narrow.scores[0][k - 1] if k <= beams else -np.inf
    assume(kth > narrow.bound[0] + CERTAIN)
    np.testing.assert_array_equal(narrow.items[0][:k], exact.items[0][:k])


def test_the_certified_share_counts_users_whose_tenth_is_above_the_bound():
    codes = [[a, b, c] for a in range(5) for b in range(5) for c in range(5)]
    users = list(range(40))
    none = Ragged.empty(len(users))
    index, exact = index_of(codes, 6), ExactDecoder()
    truth = exact.generate(PrefixBackbone(6, 2.0), sources(users), index, beams=10)
    found = TrieDecoder().generate(PrefixBackbone(6, 2.0), sources(users), index, beams=12)
    sure = found.scores[:, 9] > found.bound + CERTAIN
    assert 0 < sure.sum() < len(users)
    assert validity(found, none)["certified@10"] == pytest.approx(sure.mean())
    np.testing.assert_array_equal(found.items[sure, :10], truth.items[sure, :10])
    wide = TrieDecoder().generate(PrefixBackbone(6, 2.0), sources(users), index, beams=len(codes))
    assert validity(wide, none)["certified@10"] == 1.0


@settings(max_examples=40, deadline=None)
@given(prefix_free(), st.integers(0, 99), st.integers(1, 8))
def test_what_survives_the_filter_keeps_its_order(codes, user, beams):
    found = FilterDecoder().generate(PrefixBackbone(6), sources([user]), index_of(codes, 6), beams=beams)
    listed = ranking_from(found, depth=beams)
    items = found.items[0][found.items[0] >= 0]
    np.testing.assert_array_equal(listed.items[0][listed.items[0] >= 0], items)


@pytest.mark.parametrize("codes", [[[0]], [[3, 1, 2]], [[0], [1]]])
@pytest.mark.parametrize("users", [[4], [1, 2]])
def test_tiny_catalogues_and_one_user(codes, users):
    found = ExactDecoder().generate(PrefixBackbone(6), sources(users), index_of(codes, 6), beams=5)
    for row in found.items:
        assert sorted(row[row != NO_HYPOTHESIS].tolist()) == list(range(len(codes)))


def test_a_catalogue_beyond_the_memory_bound_is_one_line_that_names_the_option():
    codes = [[a, b, c] for a in range(60) for b in range(60) for c in range(40)]
    index = index_of(codes)
    decoder = ExactDecoder(make_config(ExactConfig, {"memory_mb": 1}, "decoder"))
    with pytest.raises(ConfigError, match=r"memory_mb is 1, .* 144,000 items .* needs 2: ") as caught:
        decoder.generate(PrefixBackbone(60), sources([1]), index, beams=50)
    assert "\n" not in str(caught.value)
    enough = ExactDecoder(make_config(ExactConfig, {"memory_mb": 2}, "decoder"))
    assert len(enough.generate(PrefixBackbone(60), sources([1]), index, beams=50)) == 1


def test_the_bound_is_checked_before_anything_is_allocated():
    codes = [[a, b, c] for a in range(60) for b in range(60) for c in range(40)]
    backbone, decoder = PrefixBackbone(60), ExactDecoder(ExactConfig(memory_mb=1))
    backbone.start = lambda _: pytest.fail("it was searched")
    with pytest.raises(ConfigError, match="memory_mb"):
        decoder.generate(backbone, sources([1]), index_of(codes), beams=50)


@given(st.lists(st.sampled_from([-np.inf, -2.0, -1.0, 0.5]), min_size=1, max_size=12), st.integers(1, 14))
def test_the_best_are_chosen_as_by_sorting_all_ties_by_number(values, most):
    scores = np.array(values, np.float32)
    assert _first(scores, most).tolist() == np.argsort(-scores, kind="stable")[:most].tolist()


def test_choosing_the_best_takes_no_more_memory_than_is_counted():
    index = SimpleNamespace(items=SimpleNamespace(codes=np.zeros((10**6, 1), np.int32)))
    scores = torch.rand(1, 10**6, generator=torch.Generator().manual_seed(0))
    tracemalloc.start()
    _best(scores, index, 50, None)
    beyond = tracemalloc.get_traced_memory()[1] / 10**6
    tracemalloc.stop()
    assert beyond <= 5.1  # bytes an item; the scores themselves are 4


GRID = [[a, b] for a in range(50) for b in range(50)]


def test_a_small_bound_takes_more_calls_and_gives_the_same():
    index, users = index_of(GRID), list(range(30))
    calls = []
    for memory in (1, 1000):
        backbone = PrefixBackbone(50)
        decoder = ExactDecoder(make_config(ExactConfig, {"memory_mb": memory}, "decoder"))
        calls.append((decoder.generate(backbone, sources(users), index, beams=20), backbone.calls))
    (small, many), (large, few) = calls
    np.testing.assert_array_equal(small.items, large.items)
    assert few == [(30, 1), (30, 50)]
    assert len(many) > len(few) and max(users for users, _ in many) < 30
    per_node = 4 * exact.COPIES * 50 + exact.EDGE * 50
    assert max(users * (exact.ITEM * 2500 + nodes * per_node) for users, nodes in many) <= 10**6


def test_no_call_is_larger_than_a_network_profits_from(monkeypatch):
    monkeypatch.setattr(exact, "MOST", 100)
    backbone = PrefixBackbone(50)
    ExactDecoder().generate(backbone, sources([1, 2, 3, 4]), index_of(GRID), beams=5)
    assert max(users * nodes for users, nodes in backbone.calls) == 100


class Limited(PrefixBackbone):
    """One whose device holds so many hypotheses, and no more."""

    def __init__(self, most, error):
        super().__init__(50)
        self.most, self.error = most, error

    def advance(self, state, tokens, parents):
        if tokens.numel() > self.most:
            self.calls.append(tuple(tokens.shape))
            raise self.error
        return super().advance(state, tokens, parents)


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    MemoryError(),
    OutOfMemory("out of memory in backbone 'lightlm' (advance)"),  # as the host passes it on
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("most", [1, 7, 60])
def test_where_memory_runs_out_it_goes_on_with_half_the_nodes_and_users(most, error):
    index, users = index_of(GRID), list(range(5))
    exclude = Ragged.of([[user, 7] for user in users])
    backbone, decoder = Limited(most, error), ExactDecoder()
    halved = decoder.generate(backbone, sources(users), index, beams=20, exclude=exclude)
    whole = ExactDecoder().generate(PrefixBackbone(50), sources(users), index, beams=20, exclude=exclude)
    for name in ("items", "tokens", "scores", "bound"):
        np.testing.assert_array_equal(getattr(halved, name), getattr(whole, name))

    backbone.calls.clear()  # what fits is remembered
    decoder.generate(backbone, sources(users), index, beams=20)
    assert max(rows * nodes for rows, nodes in backbone.calls) <= most


def test_where_one_node_of_one_user_does_not_fit_it_is_one_line():
    with pytest.raises(OutOfMemory, match="single trie node of a single user") as caught:
        ExactDecoder().generate(Limited(0, MemoryError()), sources([1, 2]), index_of(GRID), beams=5)
    assert "\n" not in str(caught.value)


def test_another_error_of_the_network_is_not_taken_for_memory():
    backbone = Limited(0, RuntimeError("a shape that does not fit"))
    with pytest.raises(RuntimeError, match="a shape"):
        ExactDecoder().generate(backbone, sources([1, 2]), index_of(GRID), beams=5)
    assert len(backbone.calls) == 1


class Blank(PrefixBackbone):
    """One that holds nothing but the logits it gives."""

    def start(self, batch):
        return len(batch)

    def advance(self, state, tokens, parents):
        return torch.zeros(*tokens.shape, self.n_tokens), state


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process can be set back on Linux only"
)
def test_its_own_memory_stays_within_the_bound():
    codes = [[a, 23 + b, 46 + c] for a in range(23) for b in range(23) for c in range(23)]
    index, backbone = index_of(codes, 1024), Blank(1024)
    batch, decoder = sources(range(64)), ExactDecoder(ExactConfig(memory_mb=32))
    decoder.generate(backbone, batch.take(np.arange(1)), index, beams=10)  # what stays: the trie, buffers of libraries
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    held = _peak_mb()
    decoder.generate(backbone, batch, index, beams=10)
    assert _peak_mb() - held <= 1.25 * 32  # an allocator keeps some of what was let go


def _peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 10**6


@pytest.mark.parametrize("words", [0, 20])
@pytest.mark.parametrize("decoder", [TrieDecoder, ExactDecoder, FilterDecoder])
def test_codes_that_the_network_has_no_tokens_for_are_one_line(decoder, words):
    index = index_of([[a, b] for a in range(20) for b in range(20)])
    backbone = PrefixBackbone(10 + words)
    backbone.extra_columns = words
    with pytest.raises(UsageError, match="20 tokens and the backbone scores 10"):
        decoder().generate(backbone, sources([1, 2]), index, beams=5)
