"""The one scorer: ranks, ties, short lists, hit/ndcg/mrr, the mask ceiling."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.rankings import Ranking
from genrec_bench.core.sequences import Queries
from genrec_bench.errors import InvalidRanking, RecordError
from genrec_bench.protocol.consistency import contradictions
from genrec_bench.protocol.ranks import ranks_digest, read_ranks, target_ranks
from genrec_bench.protocol.scores import ceiling, from_ranks, score


def ranking(items: list[list[int]], scores: list[list[float]], depth: int) -> Ranking:
    return Ranking(np.array(items, np.int32), np.array(scores, np.float32), depth)


def targets(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[Ranking, np.ndarray]:
    """Up to six lists of different lengths over twelve items with few different scores, and a target for each."""
    depth = draw(st.integers(1, 8))
    rows = draw(st.lists(st.lists(st.integers(0, 11), unique=True, max_size=depth), min_size=1, max_size=6))
    items, scores = np.full((len(rows), depth), -1, np.int32), np.full((len(rows), depth), -np.inf, np.float32)
    for i, row in enumerate(rows):
        level = draw(st.lists(st.integers(0, 3), min_size=len(row), max_size=len(row)))
        items[i, : len(row)], scores[i, : len(row)] = row, sorted(level, reverse=True)
    wanted = draw(st.lists(st.integers(0, 11), min_size=len(rows), max_size=len(rows)))
    return Ranking(items, scores, depth), targets(*wanted)


def rank_by_loop(items: list[int], scores: list[float], depth: int, target: int) -> int:
    """The rule in words, one list at a time."""
    items = [item for item in items if item >= 0]
    if target not in items:
        return 0
    mine = scores[items.index(target)]
    tied = [place for place in range(len(items)) if scores[place] == mine]
    if len(tied) > 1 and len(items) == depth and tied[-1] == depth - 1:
        return 0
    return tied[-1] + 1


@given(rankings())
def test_pessimistic_ranks_agree_with_a_plain_loop(drawn: tuple[Ranking, np.ndarray]) -> None:
    lists, wanted = drawn
    rows = zip(lists.items.tolist(), lists.scores.tolist(), wanted.tolist(), strict=True)
    assert target_ranks(lists, wanted).tolist() == [rank_by_loop(i, s, lists.depth, t) for i, s, t in rows]


@given(rankings())
def test_an_optimist_never_ranks_a_target_lower(drawn: tuple[Ranking, np.ndarray]) -> None:
    lists, wanted = drawn
    high, low = target_ranks(lists, wanted, "optimistic"), target_ranks(lists, wanted)
    assert ((high > 0) == (lists.items == wanted[:, None]).any(axis=1)).all()
    assert (high[low > 0] <= low[low > 0]).all()


def test_a_tie_counts_from_its_last_place() -> None:
    lists = ranking([[4, 7, 2, 9]], [[3.0, 2.0, 2.0, 1.0]], depth=10)
    assert target_ranks(lists, targets(7)).tolist() == [3]
    assert target_ranks(lists, targets(7), "optimistic").tolist() == [2]


def test_the_last_of_a_tie_in_the_middle_of_a_list_counts_from_its_first_place_for_an_optimist() -> None:
    lists = ranking([[4, 7, 2, 9]], [[3.0, 2.0, 2.0, 1.0]], depth=10)
    assert target_ranks(lists, targets(2)).tolist() == [3]
    assert target_ranks(lists, targets(2), "optimistic").tolist() == [2]
    assert target_ranks(lists, targets(2)).dtype == np.int32


def test_a_tie_that_touches_the_end_of_a_full_list_may_go_on_beyond_it() -> None:
    lists = ranking([[4, 7, 2]], [[3.0, 2.0, 2.0]], depth=3)
    assert target_ranks(lists, targets(7)).tolist() == [0]
    assert target_ranks(lists, targets(7), "optimistic").tolist() == [2]


def test_a_tie_that_ends_a_short_list_is_known_whole() -> None:
    lists = ranking([[4, 7, 2, -1]], [[3.0, 2.0, 2.0, -np.inf]], depth=4)
    assert target_ranks(lists, targets(7)).tolist() == [3]


def test_the_last_place_of_a_full_list_counts_when_it_is_alone_with_its_score() -> None:
    assert target_ranks(ranking([[4, 7]], [[3.0, 2.0]], depth=2), targets(7)).tolist() == [2]


def test_an_empty_list_finds_nothing() -> None:
    lists = Ranking(np.zeros((2, 0), np.int32), np.zeros((2, 0), np.float32), depth=5)
    assert target_ranks(lists, targets(0, 1)).tolist() == [0, 0]


def test_every_case_needs_a_list() -> None:
    with pytest.raises(InvalidRanking, match="1 ranked lists for 2 cases"):
        target_ranks(ranking([[1]], [[1.0]], 1), targets(1, 2))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 25))
def test_metrics_are_means_over_all_cases(ranks: list[int], k: int) -> None:
    inside = [rank for rank in ranks if 0 < rank <= k]
    metrics = from_ranks(ranks, [k])
    assert metrics[f"hit@{k}"] == pytest.approx(len(inside) / len(ranks), abs=1e-12)
    assert metrics[f"mrr@{k}"] == pytest.approx(sum(1 / rank for rank in inside) / len(ranks), abs=1e-12)
    assert metrics[f"ndcg@{k}"] == pytest.approx(sum(1 / math.log2(r + 1) for r in inside) / len(ranks), abs=1e-12)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 11), min_size=1, max_size=8), st.integers(0, 2**31))
def test_ndcg_equals_scikit_learns(wanted: list[int], seed: int) -> None:
    scores = np.random.default_rng(seed).permuted(np.tile(np.arange(12.0), (len(wanted), 1)), axis=1)
    order = np.argsort(-scores, axis=1)
    lists = Ranking(order.astype(np.int32), np.take_along_axis(scores, order, 1).astype(np.float32), depth=12)
    metrics, _ = score(lists, targets(*wanted))
    for k in (5, 10):
        expected = ndcg_score(np.eye(12)[wanted], scores, k=k)
        assert metrics[f"ndcg@{k}"] == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=50), st.randoms())
def test_the_order_of_cases_moves_no_bit(ranks: list[int], random: object) -> None:
    shuffled = list(ranks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert from_ranks(ranks) == from_ranks(shuffled)


def test_score_reports_what_ties_are_worth() -> None:
    metrics, ranks = score(ranking([[4, 7, 2]], [[1.0, 1.0, 1.0]], depth=5), targets(4))
    assert ranks.tolist() == [3]
    assert metrics["ndcg@10"] == 0.5
    assert metrics["tie_gap"] == 0.5


def test_scoring_no_cases_is_refused() -> None:
    with pytest.raises(InvalidRanking, match="nothing to score"):
        from_ranks([])


def test_the_ceiling_is_the_share_of_targets_that_are_new_to_their_user() -> None:
    queries = Queries(targets(0, 1, 2), Ragged.of([[1, 2], [3], []]))
    assert ceiling(queries, targets(2, 2, 0)) == pytest.approx(2 / 3)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_honest_metrics_contradict_nothing(ranks: list[int]) -> None:
    assert contradictions(from_ranks(ranks), ranks, len(ranks), 1.0) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ndcg@10": 0.9}, "ndcg@10 0.9000 is above hit@10"),
        ({"hit@5": 0.95}, "hit@5 0.9500 is above hit@10"),
        ({"mrr@10": 0.7}, "mrr@10 0.7000 is above ndcg@10"),
        ({"hit@10": 1.5}, "is not a share"),
        ({"ndcg@10": 0.6}, "is not the .* that its ranks give"),
        ({"ndcg@20": None}, "no ndcg@20"),
        ({"ndcg@20": "high"}, "no ndcg@20"),
        ({"hit@10": float("nan")}, "is not a share"),
    ],
)
def test_a_contradiction_is_named(change: dict[str, float], said: str) -> None:
    ranks = [1, 2, 7, 0]
    found = contradictions({**from_ranks(ranks), **change}, ranks, 4)
    assert any(re.search(said, sentence) for sentence in found)


def test_a_hit_rate_above_the_ceiling_is_a_contradiction() -> None:
    assert contradictions(from_ranks([1, 1, 0]), None, 3, 0.5)[0].endswith("above the reachable ceiling 0.5000")


def test_a_wrong_number_of_ranks_is_a_contradiction() -> None:
    assert contradictions(from_ranks([1, 1]), [1, 1], 3) == ["2 ranks for 3 test cases"]


def test_ranks_are_read_from_the_record_or_from_the_file_beside_it(tmp_path) -> None:
    np.save(tmp_path / "ranks.npy", np.array([3, 0], np.int32))
    assert read_ranks("ranks.npy", tmp_path) == read_ranks([3, 0], tmp_path) == [3, 0]


@pytest.mark.parametrize("ranks", [None, [1, "2"], [0.5]])
def test_ranks_that_are_not_whole_numbers_are_refused(tmp_path, ranks: object) -> None:
    with pytest.raises(RecordError, match="not whole numbers"):
        read_ranks(ranks, tmp_path)


@pytest.mark.parametrize("name", ["missing.npy", "../ranks.npy", "garbled.npy", "table.npy"])
def test_a_bad_sidecar_is_refused_by_name(tmp_path, name: str) -> None:
    np.save(tmp_path / "ranks.npy", np.array([1], np.int32))
    np.save(tmp_path / "table.npy", np.zeros((2, 2)))
    (tmp_path / "garbled.npy").write_text("no array")
    (tmp_path / "run").mkdir()
    folder = tmp_path / "run" if name.startswith("..") else tmp_path
    with pytest.raises(RecordError, match=name.replace(".", r"\.")):
        read_ranks(name, folder)


def test_score_takes_other_depths() -> None:
    metrics, _ = score(ranking([[4, 7, 2]], [[3.0, 2.0, 1.0]], depth=5), targets(7), ks=(1, 3))
    assert set(metrics) == {"hit@1", "ndcg@1", "mrr@1", "hit@3", "ndcg@3", "mrr@3", "tie_gap"}
    assert (metrics["hit@1"], metrics["hit@3"]) == (0, 1)


ROUNDING = 1e-9  # what somebody else's arithmetic may be off by


@pytest.mark.parametrize("key", ["ndcg@5", "mrr@5", "hit@5"])
def test_a_rounding_error_is_no_contradiction_and_twice_as_much_is(key: str) -> None:
    zeros = from_ranks([0, 0])
    assert contradictions({**zeros, key: ROUNDING}, [0, 0], 2, 0.0) == []
    assert contradictions({**zeros, key: 2 * ROUNDING}, None, 2, 0.0)
    assert contradictions({**zeros, key: 2 * ROUNDING}, [0, 0], 2)


def test_contradictions_name_what_is_missing_and_the_wrong_rank() -> None:
    metrics = from_ranks([1, 2])
    assert contradictions({**metrics, "hit@5": None, "mrr@20": None}, [1, 2], 2) == ["no hit@5, mrr@20"]
    assert contradictions(metrics, [2, -1], 2) == ["a rank of -1: ranks count from 1, 0 is absent"]


def test_the_digest_of_ranks_depends_on_policies_and_ranks_alone() -> None:
    digest = "5c24e8e4a9a8eb8d175700b8a2a1cabf9c5892ab3ca5d6c0b2da9665b5d0bfc4"
    assert ranks_digest({"mask": [1, 0], "keep": [2, 3]}) == digest
    assert ranks_digest({"keep": np.array([2, 3], np.int64), "mask": np.array([1, 0], np.int32)}) == digest
    assert ranks_digest({"mask": [1, 0], "keep": [2, 4]}) != digest


@pytest.mark.parametrize("ranks", [np.array([0.5, 1]), np.array([[1, 2]]), np.array(["1"]), np.array([None])])
def test_a_sidecar_that_is_no_row_of_whole_numbers_is_refused(tmp_path, ranks: np.ndarray) -> None:
    np.save(tmp_path / "ranks.npy", ranks)
    with pytest.raises(RecordError, match="no readable ranks"):
        read_ranks("ranks.npy", tmp_path)


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_a_sidecar_may_hold_whole_numbers_of_any_size(tmp_path, kind: type) -> None:
    np.save(tmp_path / "ranks.npy", np.array([3, 0], kind))
    assert read_ranks("ranks.npy", tmp_path) == [3, 0]


def test_ties_are_counted_within_each_list_and_a_tie_before_the_end_of_a_full_list_keeps_its_rank() -> None:
    lists = ranking([[4, 2, 7, 1], [3, 5, 6, 0]], [[9.0, 5.0, 5.0, 1.0], [8.0, 8.0, 8.0, 2.0]], depth=4)
    assert target_ranks(lists, targets(2, 5)).tolist() == [3, 3]
    assert target_ranks(lists, targets(2, 5), "optimistic").tolist() == [2, 1]
