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
        normed: Tensor = _RMSNorm.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]  # torch's own
        return normed
    return F.rms_norm(x, (x.shape[-1],), weight, epsilon)


class _RMSNorm(torch.autograd.Function):
    """A third of the passes over `x` that the composite makes, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
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


LEVELS = 256  # a random byte has so many values: dropout keeps a number by one byte of its own


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zeros with probability `p`, and the rest scaled so that the mean stays (Srivastava et al. 2014); `x` unless training.

    On a CPU `p` is rounded to a multiple of 1/256 and a byte is drawn for each number, from eight at once: PyTorch draws a
    64-bit number for each, which took a quarter of a training step.
    """
    if not training or p == 0:
        return x
    if not by_hand(x):
        return F.dropout(x, p)

    dropped = round(p * LEVELS)
    if dropped == LEVELS:
        return x * 0
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * kept.to(x.dtype).mul_(LEVELS / (LEVELS - dropped))


class Dropout(nn.Module):
    """`dropout` as a module."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """`x` of any shape, with zeros while training."""
        return dropout(x, self.p, self.training)


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, p: float = 0.0) -> Tensor:
    """softmax(q k' + bias) v without scaling: (U, H, N, K), (U, H, S, K) twice, bias broadcast to (U, H, N, S) ->
    (U, H, N, K), with dropout of probability `p` on the weights. Every row of `bias` has to leave something to attend to.

    In training on a CPU the steps are written out: the fused kernel takes no bias that is learned, and without one it
    takes twice to six times as long at the lengths of item codes. Without one the steps are fp32, as inside that kernel.
    """
    if not (by_hand(q) and torch.is_grad_enabled()):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), dropout_p=p, scale=1.0)
    if bias.requires_grad or q.dtype == torch.float32:
        return _attend(q, k, v, bias.to(q.dtype), p)
    with torch.autocast(q.device.type, enabled=False):
        return _attend(q.float(), k.float(), v.float(), bias, p).to(q.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, p: float) -> Tensor:
    weights = torch.matmul(q, k.transpose(-1, -2)).add_(bias).softmax(-1)
    return torch.matmul(dropout(weights, p, training=True), v)


def rows_of(table: Tensor, numbers: Tensor) -> Tensor:
    """Rows (..., E) of `table` (M, E) by number; its gradient is summed without the sort that indexing makes."""
    return F.embedding(numbers, table)
