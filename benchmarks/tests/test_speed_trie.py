"""The trie's benchmark: both sides have equal constraints, no row is missing, and sizes are counted by hand."""

import sys

import numpy as np
import pytest
import torch
from genrec_speed import trie as benchmark
from genrec_speed.agreement import ListsDiffer
from genrec_speed.goals import GOALS

from genrec_bench.core.progress import Quiet

pytest.importorskip("transformers")


@pytest.mark.filterwarnings("error")
def test_every_goal_of_the_trie_has_its_row(monkeypatch):
    monkeypatch.setattr(benchmark, "MILLION", ((4, 4, 4), 600))
    monkeypatch.setattr(benchmark, "TEN_MILLION", ((10, 10, 1), 1000))
    monkeypatch.setattr(benchmark, "TEN_THOUSAND", ((10,), 100))
    monkeypatch.setattr(benchmark, "ROUNDS", 2)
    monkeypatch.setattr(benchmark, "STEPS", 1)
    network = benchmark.synthetic.network
    small = {"layers": 1, "d_model": 32, "heads": 2, "d_ff": 8}
    monkeypatch.setattr(benchmark.synthetic, "network", lambda tokens, device: network(tokens, device, **small))
    result = benchmark.run("small", Quiet())
    assert {row.goal for row in result.rows} - {None} == {goal.number for goal in GOALS if goal.benchmark == "trie"}
    assert all(row.value > 0 and np.isfinite(row.value) for row in result.rows)


def test_a_trie_of_other_codes_is_not_timed():
    codes = benchmark.table((4, 4), 60)
    trie, nested = benchmark.Trie.build(codes), benchmark.peers.NestedTrie(codes.codes)
    benchmark.check_build(trie, codes, nested)
    with pytest.raises(ListsDiffer, match="hold different codes"):
        benchmark.check_build(
            trie, codes, benchmark.peers.NestedTrie(np.pad(codes.codes, ((0, 0), (0, 1)), constant_values=1))
        )
    with pytest.raises(ListsDiffer, match="hold different codes"):
        benchmark.check_build(trie, codes, benchmark.peers.NestedTrie(codes.codes[1:]))
    with pytest.raises(ListsDiffer, match="hold different codes"):
        benchmark.check_build(benchmark.Trie.build(benchmark.CodeTable(codes.codes[::-1].copy())), codes, nested)


def test_dictionaries_are_counted_with_each_number_once():
    big = 10**6
    root = {big: {1: {}}, 1: {}}
    expected = sum(map(sys.getsizeof, (root, root[big], {}, {}, big, 1)))
    assert benchmark.dictionary_bytes(root) == expected


def test_a_step_that_allows_something_else_is_not_timed():
    token, child = torch.tensor([[[0, 2]]]), torch.zeros(1, 1, 2)
    added = torch.tensor([[[-1.0, -2.0]]])
    inf = torch.inf
    benchmark.check_step(token, child, added, torch.tensor([[-inf, -1.0, -inf, -2.0]]))
    with pytest.raises(ListsDiffer, match="allow different tokens"):
        benchmark.check_step(token, child, added, torch.tensor([[-inf, -1.0, -2.0, -2.0]]))
