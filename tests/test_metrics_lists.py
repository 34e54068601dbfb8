"""Ranked lists and generations on disk: in external ids, and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec_bench.core.rankings import Generations, Ranking
from genrec_bench.errors import InvalidRanking, RecordError
from genrec_bench.runs.lists import (
    fingerprint,
    read_generations,
    read_lists,
    write_generations,
    write_lists,
)

USERS = np.array(["ann", "böb", "cy"])
ITEMS = np.array(["i10", "i20", "i30", "i40"])


def example() -> dict[str, Ranking]:
    none = -np.inf
    mask = Ranking(
        np.array([[2, 0, -1], [-1, -1, -1], [3, 1, 0]], np.int32),
        np.array([[0.5, 0.1, none], [none, none, none], [3, 2, 2]], np.float32),
        depth=3,
    )
    keep = Ranking(np.array([[0], [1], [2]], np.int32), np.array([[1], [1], [1]], np.float32), depth=7)
    return {"mask": mask, "keep": keep}


def test_lists_come_back_as_they_were(tmp_path) -> None:
    write_lists(tmp_path / "lists.parquet", example(), USERS, ITEMS)
    back = read_lists(tmp_path / "lists.parquet")
    assert list(back) == ["mask", "keep"]
    for policy, ranking in example().items():
        again = back[policy].ranking(USERS, ITEMS)
        assert again.items.tolist() == ranking.items.tolist()
        assert again.scores.tolist() == ranking.scores.tolist()
        assert again.depth == ranking.depth


def test_the_file_speaks_external_ids_to_any_reader(tmp_path) -> None:
    write_lists(tmp_path / "lists.parquet", example(), USERS, ITEMS)
    table = pq.read_table(tmp_path / "lists.parquet")
    assert table.num_rows == 6
    first = table.slice(0, 1).to_pylist()[0]
    assert first == {"policy": "mask", "user": "ann", "items": ["i30", "i10"], "scores": [0.5, pytest.approx(0.1)]}


def test_one_users_list_is_read_without_numbers(tmp_path) -> None:
    write_lists(tmp_path / "lists.parquet", example(), USERS, ITEMS)
    lists = read_lists(tmp_path / "lists.parquet")["mask"]
    assert lists.of("cy") == [("i40", 3.0), ("i20", 2.0), ("i10", 2.0)]
    assert lists.of("böb") == []
    with pytest.raises(RecordError, match="no list for user 'dan'"):
        lists.of("dan")


def test_the_fingerprint_survives_renumbering_and_padding_but_no_edit(tmp_path) -> None:
    written = write_lists(tmp_path / "lists.parquet", example(), USERS, ITEMS)
    flip = np.array([3, 2, 1, 0])
    renumbered = {
        name: Ranking(np.where(r.items >= 0, flip[r.items], -1).astype(np.int32), r.scores, r.depth)
        for name, r in example().items()
    }
    assert fingerprint(renumbered, USERS, ITEMS[flip]) == written
    edited = example()
    edited["keep"].items[1, 0] = 3
    assert fingerprint(edited, USERS, ITEMS) != written


def test_lists_of_other_users_or_items_are_refused(tmp_path) -> None:
    write_lists(tmp_path / "lists.parquet", example(), USERS, ITEMS)
    lists = read_lists(tmp_path / "lists.parquet")["mask"]
    with pytest.raises(RecordError, match="do not belong"):
        lists.ranking(USERS[::-1], ITEMS)
    with pytest.raises(RecordError, match="'i40' is not in the catalogue"):
        lists.ranking(USERS, ITEMS[:3])


def test_an_item_outside_the_catalogue_is_never_written(tmp_path) -> None:
    with pytest.raises(InvalidRanking, match="do not fit"):
        write_lists(tmp_path / "lists.parquet", example(), USERS, ITEMS[:2])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["missing", "garbled", "foreign", "truncated"])
def test_a_file_that_is_none_of_ours_is_named(tmp_path, content: str) -> None:
    path = tmp_path / "lists.parquet"
    if content == "garbled":
        path.write_text("no parquet")
    if content == "foreign":
        pq.write_table(pa.table({"a": [1]}), path)
    if content == "truncated":
        write_lists(path, example(), USERS, ITEMS)
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RecordError, match=r"lists\.parquet"):
        read_lists(path)


def test_generations_come_back_as_they_were(tmp_path) -> None:
    found = Generations(
        np.arange(8, dtype=np.int32).reshape(1, 2, 4),
        np.array([[-0.5, -1]], np.float32),
        np.array([[3, -1]], np.int32),
        np.array([-np.inf], np.float32),
    )
    write_generations(tmp_path / "generations.npz", {"mask": found})
    back = read_generations(tmp_path / "generations.npz")
    assert list(back) == ["mask"]
    for name in ("tokens", "scores", "items", "bound"):
        assert np.array_equal(getattr(back["mask"], name), getattr(found, name))
        assert getattr(back["mask"], name).dtype == getattr(found, name).dtype


def test_garbled_generations_are_named(tmp_path) -> None:
    (tmp_path / "generations.npz").write_text("no archive")
    with pytest.raises(RecordError, match=r"generations\.npz"):
        read_generations(tmp_path / "generations.npz")
    with pytest.raises(RecordError, match="no generations"):
        read_generations(tmp_path / "other.npz")
