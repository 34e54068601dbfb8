"""The sentence above a board: ahead, behind, maybe chance, one seed, and what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_records import RANKS, baseline_spec, finished, generator_spec

from genrec_bench.leaderboard.headline import headline, verdict
from genrec_bench.leaderboard.standings import standings
from genrec_bench.runs.record import RunRecord

MANY = 40  # times the ten users of the example records
SAME = RANKS * MANY
BETTER = (1, 1, 1, 2, 1, 1, 3, 1, 1, 0) * MANY  # below the ceiling of .9
WORSE = (9, 0, 0, 12, 4, 0, 0, 2, 7, 0) * MANY
SWAPPED = (*RANKS[1:], RANKS[0]) * MANY  # the same score from other users
NOTHING = (0,) * 10 * MANY


def counted(ranks: tuple[int, ...] = SAME) -> RunRecord:
    """item-counts, which no seed moves."""
    return ours("item-counts", ranks)


def ours(name: str, ranks: tuple[int, ...]) -> RunRecord:
    components = {"baseline": {"name": name, "distribution": "genrec-bench"}}
    return finished(baseline_spec(baseline=name), ranks, parameters={}, components=components)


def generated(ranks: tuple[int, ...], seeds: int = 3, **parts: str) -> list[RunRecord]:
    return [finished(generator_spec(seed, **parts), ranks) for seed in range(seeds)]


def said(*records: RunRecord) -> str:
    return headline(standings(records, "mask"))


def test_a_generator_that_is_ahead() -> None:
    assert said(counted(), *generated(BETTER)) == (
        "The only generator is ahead of untrained counting by more than chance: sci / lightlm / trie has ndcg@10 0.8131, "
        "135 % above item-counts (0.3464), p < 0.001."
    )


def test_some_of_several_generators_are_ahead() -> None:
    text = said(counted(), *generated(BETTER), *generated(WORSE, indexer="random"))
    assert text.startswith(
        "1 of 2 generators is ahead of untrained counting by more than chance: sci / lightlm / trie has"
    )
    text = said(counted(), *generated(BETTER), *generated(BETTER, indexer="gci"), *generated(WORSE, indexer="random"))
    assert text.startswith(
        "2 of 3 generators are ahead of untrained counting by more than chance: the best, gci / lightlm /"
    )
    text = said(counted(), *generated(BETTER), *generated(BETTER, indexer="gci"))
    assert text.startswith(
        "Every generator is ahead of untrained counting by more than chance: the best, gci / lightlm /"
    )


def test_decoders_of_one_model_count_once() -> None:
    text = said(counted(), *generated(BETTER), *generated(BETTER, decoder="filter"))
    assert text.startswith(
        "The only generator is ahead of untrained counting by more than chance: sci / lightlm / filter has"
    )


def test_a_higher_score_of_one_seed_is_told_after_what_is_ahead_by_more_than_chance() -> None:
    best = tuple(1 if rank else 0 for rank in BETTER)
    text = said(counted(), *generated(BETTER), *generated(best, seeds=1, indexer="gci"))
    first, second = text.split(". ")
    assert first.startswith(
        "1 of 2 generators is ahead of untrained counting by more than chance: sci / lightlm / trie has"
    )
    assert second == (
        "gci / lightlm / trie has the highest ndcg@10, 0.9000, 160 % above item-counts (0.3464), and one seed cannot tell "
        "whether that is chance."
    )


def test_generators_that_are_all_behind() -> None:
    text = said(counted(), *generated(WORSE), *generated(WORSE, indexer="gci"))
    assert text.startswith(
        "Every generator is behind untrained counting by more than chance: the best, gci / lightlm / trie,"
    )
    assert text.endswith("% below item-counts (0.3464), p < 0.001.")


def test_no_row_is_best_where_its_distance_from_the_best_floor_may_be_chance() -> None:
    """The two comparisons are one, corrected for more rows beside the floor: rows with too few seeds count there."""
    slightly = tuple(1 if at % 60 == 2 else rank for at, rank in enumerate(SAME))
    few = standings([counted(), *generated(slightly, seeds=5)], "mask")
    assert few.rows[0].standing == "best" and few.rows[0].against["floor"].separable

    others = [run for name in "abcdefgh" for run in generated(SWAPPED, seeds=2, indexer=name)]
    many = standings([counted(), *generated(slightly, seeds=5), *others], "mask")
    assert not many.rows[0].against["floor"].separable
    assert [row.standing for row in many.rows if row.standing != "unranked"] == ["tied", "tied"]


def test_a_difference_that_may_be_chance() -> None:
    nearly = (4, *SAME[1:])
    text = said(counted(), *generated(nearly))
    assert text.startswith(
        "No generator is ahead of untrained counting by more than chance: sci / lightlm / trie has ndcg@10"
    )
    assert ", less than 1 % below item-counts (0.3464), which may be chance (p = 0." in text


def test_a_generator_that_is_level_with_counting() -> None:
    text = said(counted(), *generated(SWAPPED))
    assert "has ndcg@10 0.3464, level with item-counts (0.3464), which may be chance (p = 1)." in text


@pytest.mark.parametrize(("ranks", "side"), [(BETTER, "135 % above"), (WORSE, "% below")])
def test_one_seed_cannot_tell(ranks: tuple[int, ...], side: str) -> None:
    text = said(counted(), *generated(ranks, seeds=1))
    assert text.startswith("No generator is shown to be ahead of untrained counting: sci / lightlm / trie has ndcg@10")
    assert text.endswith(f"{side} item-counts (0.3464), and one seed cannot tell whether that is chance.")


def test_a_board_without_generators_tells_of_its_baselines() -> None:
    assert said(counted(), ours("ease", BETTER)) == (
        "No generator has run on this board yet. The only baseline is ahead of untrained counting by more than chance: ease "
        "has ndcg@10 0.8131, 135 % above item-counts (0.3464), p < 0.001."
    )
    assert said(counted()) == "No generator has run on this board yet."


def test_a_board_without_counting_says_so() -> None:
    assert said(*generated(BETTER)) == (
        "No untrained counting has run on this board yet, so nothing says what its best generator is worth: "
        "sci / lightlm / trie has ndcg@10 0.8131."
    )


def test_a_floor_of_zero_gives_no_distance() -> None:
    assert said(counted(NOTHING), *generated(BETTER)) == (
        "Untrained counting finds nothing here: the best generator, sci / lightlm / trie, has ndcg@10 0.8131."
    )


def test_the_canary_and_lists_from_elsewhere_are_neither_ahead_nor_behind() -> None:
    canary = ours("id-canary", BETTER)
    elsewhere = replace(ours("lists", BETTER), tier="re-scored")
    board = standings([counted(), canary, elsewhere, *generated(WORSE)], "mask")
    assert verdict(board, "baseline") == "" and headline(board).startswith("The only generator is behind")
