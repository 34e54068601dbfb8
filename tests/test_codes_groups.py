"""Equal rows of labels are numbered as NumPy's own `unique` numbers them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from genrec_bench.codes import row_groups


@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-1, 3)))
def test_equal_rows_get_one_number_in_lexicographic_order(rows):
    which, counts = row_groups(rows)
    _, expected, sizes = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    assert which.tolist() == expected.reshape(-1).tolist() and counts.tolist() == sizes.tolist()
