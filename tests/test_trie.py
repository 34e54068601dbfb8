"""The trie in sparse rows: nodes of a family are neighbours, runs of leaves are right, one sort does it at any width."""

import numpy as np
import pytest
import torch
from fakes import prefix_free
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec_bench.core.codes import CodeTable, Index, sort_codes
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.testing.fakes import code_table


def prefixes(codes):
    """Every prefix of every code, level by level in order: the nodes by their numbers."""
    width = max(map(len, codes))
    return [
        prefix
        for length in range(width + 1)
        for prefix in sorted({tuple(code[:length]) for code in codes if len(code) >= length})
    ]


@settings(max_examples=80, deadline=None)
@given(prefix_free(most=6, width=4))
def test_nodes_children_items_and_leaves_are_those_of_the_prefixes(codes):
    trie, nodes = Trie.build(code_table(codes)), prefixes(codes)
    every = torch.arange(len(nodes), dtype=torch.int32)
    assert len(trie.token) == len(nodes)
    token, child, there = trie.children(every)
    item, first, last = trie.item_at(every), *trie.leaves(every)
    order = sorted(map(tuple, codes))
    for number, prefix in enumerate(nodes):
        below = [place for place, code in enumerate(order) if code[: len(prefix)] == prefix]
        family = [node for node in nodes if len(node) == len(prefix) + 1 and node[:-1] == prefix]
        assert [nodes[at] for at in child[number][there[number]].tolist()] == family
        assert token[number][there[number]].tolist() == [node[-1] for node in family]
        assert int(item[number]) == (codes.index(list(prefix)) if list(prefix) in codes else -1)
        assert (int(first[number]), int(last[number])) == (below[0], below[-1] + 1)
    assert [order[place] for place in trie.places.tolist()] == [tuple(code) for code in codes]
    assert all(array.dtype == torch.int32 for array in vars(trie).values() if isinstance(array, torch.Tensor))


@settings(max_examples=60, deadline=None)
@given(prefix_free(most=6, width=4), st.data())
def test_a_node_is_blocked_when_all_below_it_is_excluded(codes, data):
    trie, nodes = Trie.build(code_table(codes)), prefixes(codes)
    items = data.draw(st.sets(st.integers(0, len(codes) - 1), min_size=1))
    leaves = torch.tensor([sorted(trie.places[list(items)].tolist())], dtype=torch.int32)
    blocked = trie.blocked(torch.arange(len(nodes), dtype=torch.int32)[None], leaves)[0]
    gone = [tuple(codes[item]) for item in items]
    for number, prefix in enumerate(nodes):
        below = [tuple(code) for code in codes if tuple(code[: len(prefix)]) == prefix]
        assert bool(blocked[number]) == all(code in gone for code in below)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 2**31 - 2), min_size=5, max_size=5), min_size=1, max_size=20), st.booleans())
def test_rows_sort_as_tuples_do_whether_they_fit_into_one_number_or_not(rows, small):
    codes = np.array(rows, np.int32) % (7 if small else 2**31 - 1)
    found = sort_codes(codes)
    assert found.order.tolist() == sorted(range(len(rows)), key=lambda row: (codes[row].tolist(), row))
    assert len(found.keys) == (1 if small else len(found.keys))
    for column, (key, shift, bits) in enumerate(found.where):
        read = ((found.keys[key] >> shift) & ((1 << bits) - 1)) - 1
        assert read.tolist() == codes[found.order, column].tolist()


@pytest.mark.parametrize("shape", [(0, 3), (0, 0)])
def test_a_catalogue_without_items_is_a_root(shape):
    trie = Trie.build(CodeTable(np.zeros(shape, np.int32)))
    assert len(trie.token) == 1 and not trie.children(torch.zeros(1, dtype=torch.int32))[2].any()


@settings(max_examples=60, deadline=None)
@given(prefix_free(most=6, width=4))
def test_the_children_of_one_level_take_no_more_room_than_its_largest_family(codes):
    trie, nodes = Trie.build(code_table(codes)), prefixes(codes)
    for depth in range(trie.width):
        level = torch.tensor([-1, *(at for at, node in enumerate(nodes) if len(node) == depth)], dtype=torch.int32)
        sizes = [sum(node[:-1] == nodes[at] for node in nodes if len(node) == depth + 1) for at in level[1:].tolist()]
        token, child, there = trie.children(level, depth)
        assert token.shape[1] == max([1, *sizes]) and there.sum(1).tolist() == [0, *sizes]
        for wide, narrow in zip(trie.children(level), (token, child, there), strict=True):
            assert torch.equal(wide[:, : narrow.shape[1]], narrow)
        for at in range(token.shape[1]):
            assert torch.equal(trie.step(level, token[:, at], depth), trie.step(level, token[:, at]))


def test_an_item_takes_eight_bytes():
    codes = np.stack(np.unravel_index(np.random.default_rng(0).permutation(100_000), (50, 50, 40)), 1)
    assert Trie.build(CodeTable(codes.astype(np.int32))).nbytes < 9 * len(codes)


def arrays_of(trie):
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in vars(trie).items()}


def saved(codes, folder):
    table = code_table(codes)
    index = Index(table, None, int(table.codes.max()) + 1)
    index.save(folder)
    Trie.build(index.items).save(folder, index)
    return index


def test_a_trie_saved_with_its_index_is_read_instead_of_built(tmp_path, monkeypatch):
    built = Trie.build(saved([[0, 1], [0, 2], [1]], tmp_path).items)
    monkeypatch.setattr(Trie, "build", None)
    assert arrays_of(Trie.of(Index.load(tmp_path))) == arrays_of(built)


def test_the_trie_of_other_codes_is_not_taken(tmp_path):
    index = saved([[0, 1], [0, 2], [1]], tmp_path)
    (tmp_path / "other").mkdir()
    saved([[0, 3], [0, 2], [1]], tmp_path / "other")
    (tmp_path / "other" / "trie.safetensors").replace(tmp_path / "trie.safetensors")
    assert arrays_of(Trie.of(Index.load(tmp_path))) == arrays_of(Trie.build(index.items))


def test_an_index_without_a_saved_trie_builds_one(tmp_path):
    index = saved([[0, 1], [0, 2], [1]], tmp_path)
    (tmp_path / "trie.safetensors").unlink()
    for each in (index, Index.load(tmp_path)):
        assert arrays_of(Trie.of(each)) == arrays_of(Trie.build(index.items))


@pytest.mark.parametrize(
    "damage",
    [lambda told: b"", lambda told: b"no trie at all", lambda told: told[:-4], lambda told: told[:-4] + b"\1\0\0\0"],
)
def test_a_damaged_trie_is_built_again(tmp_path, damage):
    index = saved([[0, 1], [0, 2], [1]], tmp_path)
    file = tmp_path / "trie.safetensors"
    assert damage(file.read_bytes()) != file.read_bytes()
    file.write_bytes(damage(file.read_bytes()))
    assert arrays_of(Trie.of(Index.load(tmp_path))) == arrays_of(Trie.build(index.items))
