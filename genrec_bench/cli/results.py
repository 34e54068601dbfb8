"""Records as tables for a terminal: accuracy under both history policies, then validity and speed, with conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec_bench.cli.terminal import (
    console,
    print_table,
    show,
    table,
)
from genrec_bench.leaderboard.training import (
    NO,
    NOT_CONVERGED,
    converged,
    ending,
    parameters,
)

if TYPE_CHECKING:
    from rich.table import Table

    from genrec_bench.runs.record import RunRecord

POLICIES = ("mask", "keep")
METRICS = ("hit@5", "ndcg@5", "hit@10", "ndcg@10", "hit@20", "ndcg@20")


def print_records(records: Sequence[RunRecord], folder: Path) -> None:
    """Print the tables of some runs of one data set, task and protocol, and the folder of the first."""
    asked = records[0].spec
    print_table(
        accuracy(records),
        title=f"{asked['dataset']}, {asked['task']} task, {asked['protocol']}, seed {asked.get('seed', 0)}",
        caption="had: what a user already has is masked from every list, or kept\n",
    )
    print_table(validity_and_speed(records), caption="\n".join(filter(None, map(conditions, records))))
    for warning in (warning for record in records for warning in record.warnings):
        console().print(f"warning: {warning}", style="bold red", soft_wrap=True)
    for record in records:
        if converged(record) == NO:
            told = f"{record.system}: {NOT_CONVERGED}, training ended by {ending(record)}"
            console().print(told, style="bold red", soft_wrap=True)
    console().print(f"\nrun folder: {folder}", soft_wrap=True)


def accuracy(records: Sequence[RunRecord]) -> Table:
    """A row per run and history policy."""
    made = table("system", "had", *(f">{name}" for name in METRICS))
    for record in records:
        for at, policy in enumerate(POLICIES):
            scores = record.metrics.get(policy) or {}
            name = "" if at else record.system
            made.add_row(name, policy, *(show(scores.get(metric), ".4f") for metric in METRICS))
    return made


def validity_and_speed(records: Sequence[RunRecord]) -> Table:
    """A row per run."""
    made = table("system", ">halluc.", ">fill@10", ">users/s", ">params", "profile", "size")
    for record in records:
        made.add_row(
            record.system,
            show(record.validity.get("hallucination_rate"), ".2%"),
            show(record.validity.get("fill@10"), ".1%"),
            show(record.throughput.get("users_per_second"), ",.0f"),
            show(parameters(record), millions),
            show(record.spec.get("profile")),
            show(record.parameters.get("size") or None),
        )
    return made


def millions(count: int) -> str:
    """`1.23M`."""
    return f"{count / 1e6:,.2f}M"


def conditions(record: RunRecord) -> str:
    """What the numbers of a row were measured under, as far as the record tells; nothing of lists made elsewhere."""
    told = record.throughput
    facts = [
        told.get("device"),
        told.get("threads") and f"{told['threads']} thread{'s' if told['threads'] > 1 else ''}",
        told.get("batch_size") and f"batches of {told['batch_size']} users",
        told.get("beams") and f"{told['beams']} beams",
        told.get("precision"),
        _overlap(told),
    ]
    known = ", ".join(str(fact) for fact in facts if fact)
    return f"{record.system}: {known}" if known else ""


def _overlap(told: Mapping[str, Any]) -> str | None:
    """How a search in another precision than fp32 compares with one in fp32."""
    share = told.get("fp32_overlap@10")
    return None if share is None else f"{share:.1%} of the first ten in fp32 are found"
