"""Operations that eager PyTorch runs slowly on a CPU, written for it: same numbers up to rounding, fewer passes over memory.
Dropout draws other random numbers than PyTorch's, as often.

Every one has the plain operation beside it, which other devices and `torch.compile` take, since those fuse by themselves.
Knows tensors, no network.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def by_hand(x: Tensor) -> bool:
    """Whether the hand-written form is taken for `x`: on a CPU, in eager mode."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """`x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension, (..., E) -> (..., E)."""
    if by_hand(x):
        return _RMSNorm.apply(x, weight, epsilon)
    return F.rms_norm(x, (x.shape[-1],), weight, epsilon)


class _RMSNorm(torch.autograd.Function):
    """A third of the passes over `x` that the composite makes, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        normed, scale, weight = ctx.saved_tensors
        product = (grad * normed).view(-1, len(weight))
        along = (product @ weight).view(scale.shape) / len(weight)
        return torch.addcmul(grad * weight, normed, along, value=-1).mul_(scale), product.sum(0), None


class Dropout(nn.Module):
    """`dropout` in training; nothing otherwise."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...)"""
        return dropout(x, self.probability) if self.training else x


CHANCES = 2**16  # on a CPU, a probability of dropout is rounded to so many parts


def dropout(x: Tensor, probability: float) -> Tensor:
    """`x` (...) with each number set to 0 with this probability, and the others scaled up to the same expectation.

    On a CPU four decisions come from one random integer: PyTorch's own draws cost more than a small layer's products.
    """
    if not by_hand(x):
        return F.dropout(x, probability)
    dropped = round(probability * CHANCES)
    if dropped in (0, CHANCES):
        return x if dropped == 0 else x * 0

    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = drawn.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - CHANCES // 2
    return x * kept.to(x.dtype).mul_(CHANCES / (CHANCES - dropped))


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, drop: float = 0.0) -> Tensor:
    """softmax(q k' + bias) v without scaling: (U, H, N, K), (U, H, S, K) twice, bias broadcast to (U, H, N, S) ->
    (U, H, N, K). Every row of `bias` has to leave something to attend to.

    In training on a CPU the steps are written out: the fused kernel takes no bias that is learned, and without one it
    takes twice to six times as long at the lengths of item codes. Without one the steps are fp32, as inside that kernel.
    """
    if not (by_hand(q) and torch.is_grad_enabled()):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), dropout_p=drop, scale=1.0)
    if bias.requires_grad or q.dtype == torch.float32:
        return _attend(q, k, v, bias.to(q.dtype), drop)
    with torch.autocast(q.device.type, enabled=False):
        return _attend(q.float(), k.float(), v.float(), bias, drop).to(q.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, drop: float) -> Tensor:
    weights = torch.matmul(q, k.transpose(-1, -2)).add_(bias).softmax(-1)
    return torch.matmul(dropout(weights, drop), v)


def rows_of(table: Tensor, numbers: Tensor) -> Tensor:
    """Rows (..., E) of `table` (M, E) by number; its gradient is summed without the sort that indexing makes."""
    return F.embedding(numbers, table)
