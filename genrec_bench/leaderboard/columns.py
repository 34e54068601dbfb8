"""Every column of every table, defined once: what it means, how it is computed, and how it is printed.

`COLUMNS` defines them; the tuples below it say which table shows which columns, in which order. The renderers only lay
them out. To add a column: define it in `COLUMNS`, name its key in a tuple, and describe it in docs/boards.md (a test
compares). What all rows of a board share (data set, task, protocol, policy) is the board's, not a column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from genrec_bench.leaderboard.facts import NO, NOT_CONVERGED
from genrec_bench.leaderboard.rows import METRICS, RANKED_SEEDS, REFERENCE, Row
from genrec_bench.protocol.constants import SELECTION

NOT_MEASURED = "\N{EN DASH}"
SEEN = {"mask": "hidden", "keep": "kept"}  # what a history policy does with seen items


@dataclass(frozen=True)
class Column:
    """One column. `value` is unrounded, None where nobody measured it; people read `text`, or `value` in `form`."""

    key: str  # its name in CSV and JSON
    meaning: str
    value: Callable[[Row], Any]
    heading: str = ""  # above the column where people read; the key if empty
    form: str = "{}"
    text: Callable[[Row], str] | None = None
    sorted_by: Callable[[Row], Any] | None = None  # on a page; the value if None
    words: bool = False  # words are set to the left, numbers to the right

    @property
    def title(self) -> str:
        """Its heading."""
        return self.heading or self.key

    def show(self, row: Row) -> str:
        """What people read in a row's cell."""
        if self.text:
            return self.text(row)
        value = self.value(row)
        return NOT_MEASURED if value in (None, "") else self.form.format(value)

    def show_missing(self, system: str) -> str:
        """What they read in the row of a system that has no run."""
        return {"system": system, "options": ""}.get(self.key, NOT_MEASURED)

    def sort_key(self, row: Row) -> str:
        """What a page sorts the row by: a plain number or text, empty where nobody measured it."""
        value = (self.sorted_by or self.value)(row)
        if value is None:
            return ""
        return f"{value:.9g}" if isinstance(value, float) else str(value)


def dagger(number: int) -> str:
    """The mark of a known issue."""
    return f"†{number}"


def _system(row: Row) -> str:
    return " ".join([row.system, *map(dagger, row.issues)])


def _name(row: Row) -> str:
    return row.short_name.replace(row.system, _system(row), 1)


def _seeds(row: Row) -> str:
    return str(row.seeds) if row.seeds >= RANKED_SEEDS else f"{row.seeds}*"


def _distance(row: Row) -> str:
    if row.distance is None:
        return NOT_MEASURED
    return f"{'' if row.separable else '~'}{row.distance:+.0%}"


def _standing(row: Row) -> str:
    standing = row.standing or NOT_MEASURED
    return f"{standing}, {NOT_CONVERGED}" if row.converged == NO else standing


def _hardware(row: Row) -> str:
    return f"[{row.hardware_class}]" if row.hardware_class else NOT_MEASURED


def seconds(value: float | None) -> str:
    """Seconds to a tenth; anything shorter is not printed as zero."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.1f}" if value >= 0.05 else "<0.1"


def _score(metric: str) -> list[Column]:
    """The columns of one metric: its mean over seeds, their spread, and the interval of the mean."""

    def bound(end: int) -> Callable[[Row], float | None]:
        return lambda row: row.intervals[metric][end] if metric in row.intervals else None

    def text(row: Row) -> str:
        mean, sd = row.metrics[metric], row.sd[metric]
        if mean is None:
            return NOT_MEASURED
        return f"{mean:.4f}" if sd is None else f"{mean:.4f} ±{sd:.4f}"

    return [
        Column(metric, "mean over seeds, ± their standard deviation", lambda row: row.metrics[metric], text=text),
        Column(f"{metric}_sd", "standard deviation over seeds", lambda row: row.sd[metric]),
        Column(f"{metric}_low", "lower end of the 95 % interval", bound(0)),
        Column(f"{metric}_high", "upper end of the 95 % interval", bound(1)),
    ]


_DEFINED = (
    Column("system", "indexer / backbone / decoder, or the baseline", lambda row: row.system, text=_system, words=True),
    Column(
        "name", "the system, and its options in brackets", lambda row: row.short_name, "system", text=_name, words=True
    ),
    Column(
        "options",
        "options that tell rows of one name apart",
        lambda row: row.options,
        text=lambda row: row.options,
        words=True,
    ),
    Column("system_id", "equal for all seeds of one system", lambda row: row.system_id),
    Column(
        "seen",
        "items the user has already seen: hidden from the lists, or kept",
        lambda row: SEEN[row.policy],
        words=True,
    ),
    Column("size", "profile, and layers x width / heads of the network", lambda row: row.size, words=True),
    Column("seeds", "number of seeds; a * marks too few to be ranked", lambda row: row.seeds, text=_seeds),
    Column("beams", "hypotheses kept per user", lambda row: row.beams),
    *(column for metric in METRICS for column in _score(metric)),
    Column(
        f"vs_{REFERENCE}",
        f"{SELECTION} relative to {REFERENCE}; a ~ marks what may be chance",
        lambda row: row.distance,
        f"vs {REFERENCE}",
        text=_distance,
    ),
    Column(f"vs_{REFERENCE}_separable", "whether that difference is more than chance", lambda row: row.separable),
    Column(
        "standing",
        "best, tied, ranked or unranked; and whether a training did not converge",
        lambda row: row.standing,
        text=_standing,
        sorted_by=_standing,
        words=True,
    ),
    Column(
        "hallucination_rate",
        "share of generated codes that belong to no item",
        lambda row: row.hallucination_rate,
        "halluc.",
        "{:.2%}",
    ),
    Column("fill@10", "share of the first ten places that good hypotheses fill", lambda row: row.fill, form="{:.1%}"),
    Column("users_per_second", "users served per second", lambda row: row.users_per_second, "users/s", "{:,.0f}"),
    Column("parameters", "trained parameters", lambda row: row.parameters, "params", "{:,.0f}"),
    Column(
        "train_seconds",
        "seconds of training",
        lambda row: row.train_seconds,
        "train s",
        text=lambda row: seconds(row.train_seconds),
    ),
    Column("converged", "yes, no or schedule: how the trainings ended", lambda row: row.converged),
    Column("hardware", "hardware class, described below the table", lambda row: row.hardware, "on", text=_hardware),
    Column("tier", "reproduced, re-scored or reported", lambda row: row.tier, words=True),
    Column("issues", "ids of known issues", lambda row: ";".join(issue.id for issue in row.issues.values())),
)
COLUMNS = {column.key: column for column in _DEFINED}

SCORES = tuple(metric for metric in METRICS if not metric.startswith("mrr"))
VALIDITY = ("hallucination_rate", "fill@10")
COST = ("users_per_second", "parameters", "train_seconds", "hardware")

# `genrec leaderboard RUNS`; on a narrow terminal, columns go from the end of NARROW
TABLE = ("system", "options", "size", "seeds", *SCORES, *VALIDITY, *COST)
NARROW = (
    "system",
    SELECTION,
    "options",
    "hit@10",
    "seeds",
    *VALIDITY,
    "users_per_second",
    "size",
    "parameters",
    "hardware",
)
NARROW += tuple(key for key in TABLE if key not in NARROW)

# published boards: README.md folds FOLDED away; documents show EXCERPT
FIRST = (SELECTION, "hit@10")
FOLDED = tuple(key for key in SCORES if key not in FIRST)
BOARD = ("system", "options", *FIRST, f"vs_{REFERENCE}", "seeds", "standing", *FOLDED, *VALIDITY, *COST, "size", "tier")
EXCERPT = ("name", *FIRST, f"vs_{REFERENCE}", "seeds", *VALIDITY, "users_per_second", "parameters")

# CSV and JSON of runs, and table.csv of a published board
DATA = (
    *("system", "options", "system_id", "size", "seeds", "beams"),
    *(key for metric in METRICS for key in (metric, f"{metric}_sd")),
    *(*VALIDITY, "users_per_second", "parameters", "train_seconds", "converged", "hardware"),
)
BOARD_DATA = (
    *DATA,
    *(key for metric in SCORES for key in (f"{metric}_low", f"{metric}_high")),
    *("standing", "tier", f"vs_{REFERENCE}", f"vs_{REFERENCE}_separable", "issues"),
)

# `genrec run`
ACCURACY = ("system", "seen", "hit@5", "ndcg@5", "hit@10", "ndcg@10", "hit@20", "ndcg@20")
VALIDITY_AND_SPEED = ("system", *VALIDITY, "users_per_second", "parameters", "size")


def shown(keys: Iterable[str], rows: Sequence[Row]) -> list[Column]:
    """The columns of a table of `rows`: `options` only where some row has any."""
    return [COLUMNS[key] for key in keys if key != "options" or any(row.options for row in rows)]


def data_of(row: Row, keys: Iterable[str] = DATA) -> dict[str, Any]:
    """A row as plain data: unrounded values by key."""
    return {key: COLUMNS[key].value(row) for key in keys}
