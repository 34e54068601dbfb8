"""Fair timing: a warm-up, then the sides in turn, round by round, and the ratio of each round.

The speed of a shared machine changes by tens of per cent within minutes. It changes for both sides of a round alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ROUNDS = 7
WARMUPS = 2


@dataclass(frozen=True)
class Timings:
    """The seconds of each side, by round."""

    seconds: Mapping[str, tuple[float, ...]]

    def median(self, side: str) -> float:
        """Median seconds of a side."""
        return statistics.median(self.seconds[side])

    def ratio(self, slow: str, fast: str) -> tuple[float, float, float]:
        """How many times faster `fast` is than `slow`: the median, least and greatest ratio of a round."""
        ratios = [a / b for a, b in zip(self.seconds[slow], self.seconds[fast], strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def interleaved(
    sides: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = ROUNDS,
    warmups: int = WARMUPS,
    synchronise: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Run every side `warmups` times untimed, then `rounds` rounds of each side in turn (A-B-A-B).

    `synchronise` waits for the device: before a side starts and before its clock stops.
    """
    for _ in range(warmups):
        for side in sides.values():
            side()

    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            synchronise()
            began = clock()
            side()
            synchronise()
            seconds[name].append(clock() - began)
    return Timings({name: tuple(values) for name, values in seconds.items()})


def quickest(side: Callable[[int], Any], sizes: list[int]) -> int:
    """The batch size at which `side` is fastest, after an untimed run; the best two are tried again."""
    side(sizes[0])
    if len(sizes) == 1:
        return sizes[0]

    def seconds(size: int) -> float:
        began = time.perf_counter()
        side(size)
        return time.perf_counter() - began

    first = {size: seconds(size) for size in sizes}
    best = sorted(first, key=first.__getitem__)[:2]
    return min(best, key=lambda size: min(first[size], seconds(size)))


def synchroniser(device: str) -> Callable[[], None]:
    """A function that waits for the GPU if `device` is one, and does nothing otherwise."""
    if not device.startswith("cuda"):
        return lambda: None

    import torch

    return torch.cuda.synchronize
