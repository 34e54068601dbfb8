"""Where the time goes: the share of matrix products and of attention in a side's run, the arithmetic in its products, and
how many operators a run is.

What is left of a run after its matrix products is all that a better loop could still save. On a GPU, where an operator of
a small network takes less time than it takes to start one, their number is what a run costs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from genrec_bench.bench.results import Row

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")
ATTENTION = ("aten::_scaled_dot_product", "aten::_softmax")
KERNELS = {  # parts of the names of a GPU's kernels
    "products": ("gemm", "gemv", "splitk", "nvjet"),
    "attention": ("fmha", "attention", "flash"),
}


def profile(case: str, ours: Callable[[], Any], theirs: Callable[[], Any], users: int, unit: str = "user") -> Row:
    """The share of matrix products in the time of `ours`, and how much of them `theirs` computes. CPU only."""
    told = operators(ours)
    everything = sum(told.values())
    products, attention = (100 * _of(told, names) / everything for names in (PRODUCTS, ATTENTION))
    details = {
        "attention %": attention,
        "all else %": 100 - products - attention,
        f"GFLOP/{unit}": gflop(ours) / users,
        f"GFLOP/{unit}, theirs": gflop(theirs) / users,
    }
    return Row(f"{case}: time in matrix products", "all operators of ours", products, "%", details=details)


def profile_kernels(case: str, side: Callable[[], Any]) -> list[Row]:
    """The share of matrix products in the time that a GPU spends in the kernels of one run, and how many kernels these are.
    No row where the profiler sees none."""
    told = kernels(side)
    everything = sum(spent for spent, _ in told.values())
    if not everything:
        return []
    shares = {
        part: 100 * sum(spent for name, (spent, _) in told.items() if any(each in name.lower() for each in names))
        for part, names in KERNELS.items()
    }
    products, attention = (shares[part] / everything for part in ("products", "attention"))
    details = {
        "attention %": attention,
        "all else %": 100 - products - attention,
        "kernels": sum(count for _, count in told.values()),
        "ms in kernels": everything / 1e3,
    }
    return [Row(f"{case}: GPU time in matrix products", "all kernels of ours", products, "%", details=details)]


def kernels(side: Callable[[], Any]) -> dict[str, tuple[float, int]]:
    """Microseconds of one run in each GPU kernel, and how often it was launched; one run before it warms up. Nothing without
    a GPU."""
    if not torch.cuda.is_available():
        return {}
    side()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        side()
        torch.cuda.synchronize()
    found = {event.key: (float(event.self_device_time_total), event.count) for event in seen.key_averages()}
    return {name: told for name, told in found.items() if told[0] > 0}


def operators(side: Callable[[], Any]) -> dict[str, float]:
    """Microseconds that one run spends in each operator itself; one run before it warms up."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it writes two lines of its own otherwise
    side()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        side()
    return {event.key: float(event.self_cpu_time_total) for event in seen.key_averages()}


def computing(side: Callable[[], Any]) -> int:
    """How many operators of one run compute something, backwards too: all but views of what is there."""
    with _Computing() as counted:
        side()
    return counted.calls


class _Computing(TorchDispatchMode):
    """Counts operators; each is then run as it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += not func.is_view and func is not torch.ops.aten._unsafe_view.default
        return func(*args, **(kwargs or {}))


def gflop(side: Callable[[], Any]) -> float:
    """10^9 floating-point operations of one run's matrix products, those inside attention too."""
    with FlopCounterMode(display=False, custom_mapping=FUSED) as counted:
        side()
    return float(counted.get_total_flops()) / 1e9


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


FUSED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}  # which PyTorch counts on GPUs only


def _of(told: dict[str, float], names: tuple[str, ...]) -> float:
    return sum(spent for name, spent in told.items() if name.startswith(names))
