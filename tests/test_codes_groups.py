"""Equal rows of labels are numbered as NumPy's own `unique` numbers them, and rows are found by their code."""

import numpy as np
from fakes import prefix_free
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from genrec_bench.core.codes import CodeTable, row_groups
from genrec_bench.testing.fakes import index_of


def _padded(shape):
    """Rows of tokens padded with -1 on the right."""
    whole = arrays(np.int32, shape, elements=st.integers(0, 5))
    lengths = arrays(np.int32, (shape[0], 1), elements=st.integers(0, shape[1]))
    return st.builds(
        lambda rows, length: np.where(np.arange(shape[1]) < length, rows, -1).astype(np.int32), whole, lengths
    )


@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-1, 3)))
def test_equal_rows_get_one_number_in_lexicographic_order(rows):
    which, counts = row_groups(rows)
    _, expected, sizes = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    assert which.tolist() == expected.reshape(-1).tolist() and counts.tolist() == sizes.tolist()


@given(prefix_free(), array_shapes(min_dims=2, max_dims=2, max_side=6).flatmap(_padded))
def test_tokens_are_found_where_they_are_a_whole_code(codes, tokens):
    rows = {tuple(code): row for row, code in enumerate(codes)}
    expected = [rows.get(tuple(token for token in row if token >= 0), -1) for row in tokens.tolist()]
    assert index_of(codes, 6).items.find(tokens).tolist() == expected


@given(prefix_free(), st.integers(0, 3))
def test_every_code_is_found_however_wide_it_is_padded(codes, more):
    table = index_of(codes, 6).items
    assert table.find(np.pad(table.codes, ((0, 0), (0, more)), constant_values=-1)).tolist() == list(range(len(codes)))


def test_nothing_is_found_in_an_empty_table():
    assert CodeTable(np.zeros((0, 2), np.int32)).find(np.array([[1, 2]], np.int32)).tolist() == [-1]
