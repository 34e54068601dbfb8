"""The profile of a benchmark: arithmetic is counted, shares add up, and nothing else is printed."""

import pytest
import torch
from genrec_speed import profile as profiling
from genrec_speed.profile import (
    computing,
    gflop,
    operators,
    profile,
    profile_kernels,
)

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


def test_operators_that_compute_are_counted_backwards_too_and_views_are_not():
    weight = torch.ones(200, 50, requires_grad=True)
    assert computing(lambda: (ONE @ weight).relu().view(-1)[:10].reshape(2, 5)) == 2
    both = computing(lambda: (ONE @ weight).sum().backward())
    assert both > computing(lambda: (ONE @ weight).sum()) == 2


def test_shares_are_those_of_the_operators_and_make_one_whole(capfd):
    row = profile("case", lambda: (product(), product().softmax(-1)), lambda: [product() for _ in range(6)], 2)
    assert 0 < row.value < 100 and row.details["attention %"] > 0
    assert row.details["all else %"] >= 0
    assert row.details["GFLOP/user, theirs"] == 3 * row.details["GFLOP/user"]
    assert "aten::mm" in operators(product)
    assert capfd.readouterr() == ("", "")


def test_kernels_are_sorted_by_their_names(monkeypatch):
    launched = {
        "sm80_xmma_gemm_f32f32_f32f32_f32_tn": (60.0, 2),
        "void cublasLt::splitKreduce_kernel<32>": (10.0, 1),
        "fmha_cutlassF_f32_aligned_64x64_rf_sm80": (20.0, 4),
        "void at::native::vectorized_elementwise_kernel": (10.0, 5),
    }
    monkeypatch.setattr(profiling, "kernels", lambda side: launched)
    (row,) = profile_kernels("case", lambda: None)
    assert row.value == 70
    assert row.details == {"attention %": 20, "all else %": 10, "kernels": 12, "ms in kernels": 0.1}


def test_no_kernels_give_no_row(monkeypatch):
    monkeypatch.setattr(profiling, "kernels", lambda side: {})
    assert profile_kernels("case", lambda: None) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: it has no kernels")
def test_a_gpus_kernels_are_counted():
    one, other = ONE.cuda(), OTHER.cuda()
    (row,) = profile_kernels("case", lambda: (one @ other).relu())
    assert 0 < row.value < 100 and row.details["kernels"] >= 2
