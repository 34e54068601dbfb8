"""The hand-written operations equal PyTorch's own, in value and in gradient."""

import pytest
import torch
import torch.nn.functional as F

from genrec_bench.backbones import kernels


def drawn(*shape):
    return torch.randn(*shape, requires_grad=True)


def equal(ours, theirs, inputs):
    """Values, and the gradients of all inputs under one random direction."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    direction = torch.randn_like(ours)
    mine, golden = (torch.autograd.grad(out, inputs, direction, retain_graph=True) for out in (ours, theirs))
    torch.testing.assert_close(mine, golden, rtol=1e-4, atol=1e-5)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(2, 5, 16), (16,), (0, 16)])
def test_the_norm_equals_torchs(shape):
    x, weight = drawn(*shape), drawn(16)
    equal(kernels.rms_norm(x, weight, 1e-6), F.rms_norm(x, (16,), weight, 1e-6), (x, weight))


@pytest.mark.parametrize("learned", [True, False])
def test_attention_equals_torchs_with_and_without_a_learned_bias(learned):
    q, k, v = drawn(3, 2, 4, 8), drawn(3, 2, 5, 8), drawn(3, 2, 5, 8)
    bias = torch.randn(3, 1, 1, 5) if not learned else drawn(1, 2, 4, 5)
    with torch.no_grad():
        bias[0, ..., 3:] = -torch.inf
    inputs = (q, k, v, bias) if learned else (q, k, v)
    golden = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
    equal(kernels.attention(q, k, v, bias), golden, inputs)


def test_attention_under_a_plain_mask_keeps_the_precision_of_torchs_in_bf16():
    q, k, v = (torch.randn(3, 2, length, 64).mul(2).bfloat16().requires_grad_() for length in (4, 5, 5))
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), scale=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        ours = kernels.attention(q, k, v, torch.zeros(3, 1, 1, 5))
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), exact, rtol=2**-8, atol=1e-3)


def test_rows_are_those_of_indexing():
    table, numbers = drawn(6, 4), torch.tensor([[5, 0, 5], [2, 2, 2]])
    equal(kernels.rows_of(table, numbers), table[numbers], (table,))


@pytest.mark.parametrize("p", [0.125, 0.5, 0.875])
def test_dropout_drops_as_often_as_it_says_and_keeps_the_expectation(p):
    torch.manual_seed(0)
    x = torch.ones(1001, 301, requires_grad=True)  # no multiple of the eight decisions of one draw
    out = kernels.dropout(x, p, training=True)
    kept = out != 0
    assert float(kept.float().mean()) == pytest.approx(1 - p, abs=0.003)
    assert out[kept].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-6)

    for dim in (0, 1):  # neighbours are dropped independently
        both = (kept.narrow(dim, 1, kept.shape[dim] - 1) & kept.narrow(dim, 0, kept.shape[dim] - 1)).float().mean()
        assert float(both) == pytest.approx((1 - p) ** 2, abs=0.003)
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(grad, out.detach())


def test_every_byte_of_dropout_is_drawn_alike():
    torch.manual_seed(0)
    kept = (kernels.dropout(torch.ones(8 * 20_000), 0.5, training=True) > 0).view(-1, 8).float().mean(0)
    assert float((kept - 0.5).abs().max()) < 0.02


def test_dropout_follows_torchs_seed_and_has_both_ends():
    x = torch.randn(7, 5)
    torch.manual_seed(3)
    one, other = (kernels.dropout(x, 0.5, training=True) for _ in range(2))
    torch.manual_seed(3)
    assert torch.equal(one, kernels.dropout(x, 0.5, training=True)) and not torch.equal(one, other)
    assert kernels.dropout(x, 0.0, training=True) is x and not kernels.dropout(x, 1.0, training=True).any()
    assert kernels.dropout(x.bfloat16(), 0.5, training=True).dtype == torch.bfloat16


def test_the_dropout_layer_does_nothing_outside_training():
    layer, x = kernels.Dropout(0.5), torch.randn(9, 9)
    assert layer.eval()(x) is x and (layer.train()(x) == 0).any()
