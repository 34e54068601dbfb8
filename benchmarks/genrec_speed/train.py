"""How fast our training loop is against the usual one (`usual`), on the same examples and from the same weights.

First both take some steps on the same batches: unless their losses agree, no time is printed. Then each passes over all
examples in its own way. Ours takes batches of similar length, and a user's targets as one tree. The usual loop takes
random batches and one sequence per target, at the batch size that makes it quicker. Data is drawn in memory: users keep
to one cluster of items, and lengths are those of real data sets. Training on sequences is measured in `sequences`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from genrec_bench.api import Examples, GenrecError, Int64, Progress, Sources
from genrec_bench.backbones.batches import compiled
from genrec_bench.backbones.t5 import T5, T5Shape
from genrec_bench.backbones.trainer import resolve_precision
from genrec_bench.core.arrays import Ragged, spread
from genrec_bench.core.codes import CodeTable
from genrec_bench.runs.environment import pick_device
from genrec_speed import sequences
from genrec_speed.ours import OurLoop, config
from genrec_speed.profile import computing, profile
from genrec_speed.results import Grid, Result, Row, conditions
from genrec_speed.timing import ROUNDS, WARMUPS, interleaved, synchroniser
from genrec_speed.usual import UsualLoop

AGAINST = "HF T5, eager, random batches, fp32"
TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2}  # relative, of the mean loss of a token, at every step
CHECKED = 5  # steps
SHOWN = 20  # items of history, or targets of a user in `direct`
SMALL = {"d_model": 256, "layers": 4, "heads": 4, "d_kv": 64, "d_ff": 64}
FULL = {"d_model": 512, "layers": 6, "heads": 8, "d_kv": 64, "d_ff": 16}
CLUSTERS, GROUPS, MEMBERS = 32, 8, 32  # an item's code is one token of each


class CurvesDiffer(GenrecError):
    """Two loops had different losses on the same examples, so their times may not be compared (`ours`, `peer`)."""


@dataclass(frozen=True)
class Case:
    """Training examples with a name, and the goal that fp32 is measured for."""

    name: str
    examples: Examples
    goal: str | None = None


def run(grid: Grid, progress: Progress, data_dir: Path | None = None) -> Result:
    """fp32 always, bf16 if the device has it, compiled on a GPU; `full` has the paper's sizes and more examples.

    `data_dir`: the folder with Amazon Beauty, on which sequences are then compared with rows (`genrec_speed.sequences`).
    """
    device = pick_device("auto")
    sizes, count = (SMALL, 256) if grid == "small" else (FULL, 1024)
    cases = planted_cases(count)

    rows = []
    with progress.phase("train", len(cases), "cases") as tick:
        for case in cases:
            rows += measure(case, sizes, device)
            tick(1, case.name)
    rows.append(operators_of_a_step(cases[0], sizes, device))
    if device == "cuda":
        rows += compare_compiled(cases[0], sizes, device, progress)
    rows += sequences.rows(grid, device, progress, data_dir)
    return Result("train", grid, tuple(rows), conditions(device, **sizes, dropout=0, batch_size=config().batch_size))


def measure(case: Case, sizes: dict[str, int], device: str = "cpu", rounds: int = ROUNDS) -> list[Row]:
    """The rows of one case. CurvesDiffer unless both loops have the same losses."""
    torch.manual_seed(0)
    net = network(case, sizes, device)
    has_bf16 = resolve_precision("auto", device, net.shape.d_model) == "bf16"
    precisions = ("fp32", "bf16") if has_bf16 else ("fp32",)
    for precision in precisions:
        require_equal(case, curves(net, case.examples, precision), precision)

    # More steps than are taken, so that the learning rate does not fall to 0 before the end.
    steps = (rounds + WARMUPS + 4) * len(case.examples.targets)
    usual = UsualLoop(net, case.examples, config(), steps)
    ours = {precision: OurLoop(net, case.examples, steps, precision) for precision in precisions}

    rng, pairs = np.random.default_rng(0), np.arange(len(case.examples.targets))
    batch = quickest_batch(case, lambda size: usual.pass_over(pairs, size, rng))
    sides: dict[str, Callable[[], None]] = {"usual": lambda: usual.pass_over(pairs, batch, rng)}
    sides |= {precision: loop.pass_over for precision, loop in ours.items()}
    times = interleaved(sides, rounds=rounds, synchronise=synchroniser(device))

    rows = []
    for precision, loop in ours.items():
        ratio, low, high = times.ratio("usual", precision)
        fp32_goal = case.goal if device == "cpu" else None
        goal = fp32_goal if precision == "fp32" else fp32_goal and "7b"
        details = {
            "targets/s": len(pairs) / times.median(precision),
            "targets/s, usual": len(pairs) / times.median("usual"),
            "targets a step": config().batch_size * len(pairs) // len(case.examples),
            "targets a step, usual": batch,
            "% padding": 100 * loop.padding / loop.positions,
            "% padding, usual": 100 * usual.padding / usual.positions,
        }
        rows.append(Row(f"{case.name}, {precision}", AGAINST, ratio, "x", low, high, goal, details))
        if goal:
            rows.append(profile(f"{case.name}, {precision}", loop.pass_over, sides["usual"], len(pairs), "target"))
    return rows


def quickest_batch(case: Case, pass_over: Callable[[int], None]) -> int:
    """The number of targets a step at which the usual loop is quicker: as many as our sources, or as their targets."""
    size = config().batch_size
    seconds = {}
    for batch in sorted({size, size * len(case.examples.targets) // len(case.examples)}):
        pass_over(batch)  # untimed
        began = time.perf_counter()
        pass_over(batch)
        seconds[batch] = time.perf_counter() - began
    return min(seconds, key=seconds.__getitem__)


def compare_compiled(
    case: Case, sizes: dict[str, int], device: str, progress: Progress, rounds: int = ROUNDS
) -> list[Row]:
    """Goal 10c: our loop with `torch.compile` against the same without, in the precision that `auto` chooses.

    CurvesDiffer unless both have the same losses. No row if nothing can be compiled.
    """
    net = network(case, sizes, device)
    precision, failures = resolve_precision("auto", device, net.shape.d_model), list[str]()
    steps = (rounds + WARMUPS + 1) * len(case.examples.targets)
    loops = {
        name: OurLoop(net, case.examples, steps, precision, loss)
        for name, loss in (("with", compiled(failures.append)), ("without", None))
    }
    batches = loops["with"].batches()[:CHECKED]
    fast, plain = ([float(loop.step(rows)) for rows in batches] for loop in loops.values())
    require_equal(case, (fast, plain), precision)

    passes = {name: loop.pass_over for name, loop in loops.items()}
    times = interleaved(passes, rounds=rounds, synchronise=synchroniser(device))
    if failures:
        progress.note(failures[0])
        return []

    ratio, low, high = times.ratio("without", "with")
    targets = len(case.examples.targets)
    details = {"targets/s": targets / times.median("with"), "targets/s, without": targets / times.median("without")}
    return [Row(f"{case.name}, {precision}, compiled", "ours without compile", ratio, "x", low, high, "10c", details)]


def operators_of_a_step(case: Case, sizes: dict[str, int], device: str) -> Row:
    """The number of operators of one of our steps in fp32: forward, backward and optimiser, at any batch size."""
    loop = OurLoop(network(case, sizes, device), case.examples, CHECKED, "fp32")
    first, second, *_ = loop.batches()
    loop.step(first)  # what is built once is not counted
    return Row(f"{case.name}, fp32: operators of one step", "", computing(lambda: loop.step(second)), "operators")


def network(case: Case, sizes: dict[str, int], device: str) -> T5:
    """Random weights for a case's tokens."""
    return T5(T5Shape(case.examples.n_tokens + 1, case.examples.n_tokens, dropout=0.0, **sizes)).to(device)


def curves(net: T5, examples: Examples, precision: str) -> tuple[list[float], list[float]]:
    """The losses of both loops over the same examples, step by step."""
    ours, usual = OurLoop(net, examples, 4 * CHECKED, precision), UsualLoop(net, examples, config(), 4 * CHECKED)
    epoch = ours.batches()
    batches = [epoch[step % len(epoch)] for step in range(CHECKED)]
    offsets = examples.target_offsets
    pairs = [np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows]) for rows in batches]
    return [float(ours.step(rows)) for rows in batches], [float(usual.step(numbers)) for numbers in pairs]


def require_equal(case: Case, losses: tuple[list[float], list[float]], precision: str) -> None:
    """CurvesDiffer unless both curves are equal within the precision's tolerance."""
    ours, peer = losses
    if not np.allclose(ours, peer, rtol=TOLERANCE[precision], atol=0):
        raise CurvesDiffer(
            f"{case.name}, {precision}: on the same examples the losses are {ours} and {peer}; no time is printed for "
            "loops that learn differently",
            ours=ours,
            peer=peer,
        )


def planted_cases(count: int) -> list[Case]:
    """`sequential` with short and with long histories, and `direct`, with as many targets as the time allows."""
    rng = np.random.default_rng(0)
    short = 2 + rng.geometric(0.2, count)  # as Amazon Beauty without held-out items: 3 and more, 7 on average
    long = 17 + rng.geometric(0.01, count)  # as ML-100K: 18 and more, about a hundred on average
    return [
        Case("sequential, histories of Beauty's lengths", sequential(short, count, rng), "7a"),
        Case("sequential, histories of ML-100K's lengths", sequential(long, count // 2, rng)),
        Case(f"direct, {SHOWN} targets a user", direct(count // 4, rng)),
    ]


def planted(lengths: Int64, rng: np.random.Generator) -> tuple[Int64, Int64]:
    """Codes (interactions, 3) of users who keep to one cluster, and the offsets of the users' interactions."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    cluster = np.repeat(rng.integers(CLUSTERS, size=len(lengths)), lengths)
    group = CLUSTERS + rng.integers(GROUPS, size=offsets[-1])
    member = CLUSTERS + GROUPS + rng.integers(MEMBERS, size=offsets[-1])
    return np.stack([cluster, group, member], axis=1), offsets


def sequential(lengths: Int64, count: int, rng: np.random.Generator) -> Examples:
    """`count` of the users' interactions as targets, each after at most `SHOWN` interactions before it."""
    codes, offsets = planted(lengths, rng)
    first = np.repeat(offsets[:-1], lengths)
    chosen = rng.permutation(np.flatnonzero(np.arange(len(codes)) > first))[:count]

    begin = np.maximum(first[chosen], chosen - SHOWN)
    history_offsets = np.concatenate([[0], np.cumsum(chosen - begin)])
    sources = sources_of(codes[spread(begin, history_offsets)], history_offsets)
    targets = codes[chosen].astype(np.int32)
    return Examples(
        sources, targets, np.arange(len(chosen) + 1), CLUSTERS + GROUPS + MEMBERS, catalogue_of(codes), Ragged.empty(0)
    )


def catalogue_of(codes: np.ndarray) -> CodeTable:
    """The items whose codes occur."""
    return CodeTable(np.unique(codes, axis=0).astype(np.int32))


def direct(users: int, rng: np.random.Generator) -> Examples:
    """`users` users with `SHOWN` targets each; a user's source is a code of three tokens."""
    codes, offsets = planted(np.full(users, SHOWN), rng)
    user_codes = np.stack([codes[offsets[:-1], 0], *(CLUSTERS + rng.integers(GROUPS, size=(2, users)))], axis=1)
    sources = sources_of(user_codes, np.arange(users + 1))
    return Examples(
        sources, codes.astype(np.int32), offsets, CLUSTERS + GROUPS + MEMBERS, catalogue_of(codes), Ragged.empty(0)
    )


def sources_of(codes: Int64, offsets: Int64) -> Sources:
    """Sources of the codes between the offsets."""
    words = np.repeat(np.arange(1, len(codes) + 1, dtype=np.int32), codes.shape[1])
    levels = np.tile(np.arange(codes.shape[1], dtype=np.int32), len(codes))
    return Sources(codes.ravel().astype(np.int32), levels, words, offsets * codes.shape[1])
