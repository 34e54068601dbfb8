"""Where the time goes: the share of matrix products and of attention, their arithmetic, and the number of operators.

The time outside matrix products is all that a better loop could still save. On a GPU a small network's operators take
less time than starting them does, so their number sets the cost of a run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from genrec_speed.results import Row

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")
ATTENTION = ("aten::_scaled_dot_product", "aten::_softmax")
KERNELS = {  # parts of the names of a GPU's kernels
    "products": ("gemm", "gemv", "splitk", "nvjet"),
    "attention": ("fmha", "attention", "flash"),
}


def profile(
    case: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    users: int,
    unit: str = "user",
    peer_users: int | None = None,
) -> Row:
    """The share of matrix products in our time, and the arithmetic in both sides' products. CPU only.

    `users` is how many (of whatever `unit` says) a call of `ours` serves, and one of `peer`, unless `peer_users` differs.
    """
    microseconds = operators(ours)
    total = sum(microseconds.values())
    products, attention = (100 * _sum_of(microseconds, names) / total for names in (PRODUCTS, ATTENTION))
    details = {
        **_shares(products, attention),
        f"GFLOP/{unit}": gflop(ours) / users,
        f"GFLOP/{unit}, theirs": gflop(peer) / (peer_users or users),
    }
    return Row(f"{case}: time in matrix products", "all operators of ours", products, "%", details=details)


def profile_kernels(case: str, side: Callable[[], Any]) -> list[Row]:
    """The share of matrix products in the GPU time of one run, and its number of kernels.

    No row if the profiler sees no kernel.
    """
    launched = kernels(side)
    total = sum(microseconds for microseconds, _ in launched.values())
    if not total:
        return []

    sums = {
        part: 100
        * sum(
            microseconds
            for kernel, (microseconds, _) in launched.items()
            if any(name in kernel.lower() for name in names)
        )
        for part, names in KERNELS.items()
    }
    products, attention = (sums[part] / total for part in ("products", "attention"))
    details = {
        **_shares(products, attention),
        "kernels": sum(count for _, count in launched.values()),
        "ms in kernels": total / 1e3,
    }
    return [Row(f"{case}: GPU time in matrix products", "all kernels of ours", products, "%", details=details)]


def _shares(products: float, attention: float) -> dict[str, float]:
    return {"attention %": attention, "all else %": 100 - products - attention}


def kernels(side: Callable[[], Any]) -> dict[str, tuple[float, int]]:
    """Microseconds of one run in each GPU kernel, and its number of launches, after a warm-up. Empty without a GPU."""
    if not torch.cuda.is_available():
        return {}

    side()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        side()
        torch.cuda.synchronize()
    events = {event.key: (float(event.self_device_time_total), event.count) for event in profiler.key_averages()}
    return {name: (microseconds, count) for name, (microseconds, count) in events.items() if microseconds > 0}


def operators(side: Callable[[], Any]) -> dict[str, float]:
    """Microseconds of one run in each operator itself, after a warm-up."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise the profiler prints two lines
    side()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        side()
    return {event.key: float(event.self_cpu_time_total) for event in profiler.key_averages()}


def computing(side: Callable[[], Any]) -> int:
    """The number of operators of one run that compute something, backward passes included: all but views."""
    with _Computing() as counter:
        side()
    return counter.calls


class _Computing(TorchDispatchMode):
    """Counts operators, and runs each as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += not func.is_view and func is not torch.ops.aten._unsafe_view.default
        return func(*args, **(kwargs or {}))


def gflop(side: Callable[[], Any]) -> float:
    """10^9 floating-point operations in one run's matrix products, those of attention included."""
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counter:
        side()
    return float(counter.get_total_flops()) / 1e9


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


FUSED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}  # PyTorch counts it on GPUs only


def _sum_of(microseconds: dict[str, float], names: tuple[str, ...]) -> float:
    return sum(spent for name, spent in microseconds.items() if name.startswith(names))
