"""The profile of a benchmark: the arithmetic is counted, the shares are parts of one whole, nothing is printed beside it."""

import pytest
import torch

from genrec_bench.bench.profile import gflop, operators, profile

ONE, OTHER = torch.ones(100, 200), torch.ones(200, 50)


def product():
    return ONE @ OTHER


def test_products_are_counted():
    assert gflop(product) == pytest.approx(2 * 100 * 200 * 50 / 1e9)
    assert gflop(lambda: ONE + 1) == 0


def test_attention_is_counted_fused_or_not():
    q, k, v = (torch.ones(1, 2, length, 8) for length in (3, 5, 5))
    written = gflop(lambda: (q @ k.transpose(2, 3)).softmax(-1) @ v)
    assert written == pytest.approx(2 * 480 / 1e9)  # two products of 2 x 3 x 5 x 8
    assert written == gflop(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v))


def test_shares_are_those_of_the_operators_and_make_one_whole(capfd):
    row = profile("case", lambda: (product(), product().softmax(-1)), lambda: [product() for _ in range(6)], 2)
    assert 0 < row.value < 100 and row.details["attention %"] > 0
    assert row.details["all else %"] >= 0
    assert row.details["GFLOP/user, theirs"] == 3 * row.details["GFLOP/user"]
    assert "aten::mm" in operators(product)
    assert capfd.readouterr() == ("", "")
