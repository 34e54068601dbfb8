"""Every column of every table, defined once: its key, heading and meaning, how it is computed, how it is printed.

`COLUMNS` holds the definitions; the tuples below say which table shows which of them, in which order. Renderers only lay
them out. To add a column, define it, name its key in a tuple, and renew the list in docs/boards.md (a test compares).
What all rows of a board share (data set, task, protocol, policy) belongs to the board and is not a column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from genrec_bench.leaderboard.facts import NO, NOT_CONVERGED
from genrec_bench.leaderboard.rows import CANARY, KINDS, METRICS, RANKED_SEEDS, Row
from genrec_bench.protocol.constants import SELECTION

NOT_MEASURED = "\N{EN DASH}"
SEEN = {"mask": "hidden", "keep": "kept"}  # what a history policy does with seen items


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of tables: what it holds for machines, and what people read.

    Machines get `value` by `key`. People read `heading` and, in each cell, `text`; without `text`, `value` in `form`.
    """

    key: str = field(kw_only=False)
    meaning: str
    value: Callable[[Row], Any]  # unrounded; None where nobody measured it
    heading: str = ""  # the key if empty
    form: str = "{}"
    text: Callable[[Row], str] | None = None
    sorted_by: Callable[[Row], Any] | None = None  # on a page; `value` if None
    words: bool = False  # words are set to the left, numbers to the right

    @property
    def title(self) -> str:
        """What is printed above it."""
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
    return f"{row.seeds}*" if row.seeded and row.seeds < RANKED_SEEDS else str(row.seeds)


def _rank(row: Row) -> str:
    if row.rank is None and row.system == CANARY:
        return "probe"
    if row.rank is None:
        return f"{row.seeds} seed{'s' if row.seeds > 1 else ''}*"
    return f"{row.rank}=" if row.standing == "tied" else str(row.rank)


def _against(kind: str) -> tuple[Column, Column]:
    """The columns of a comparison with the best row of a kind: how far apart, and whether by more than chance."""

    def text(row: Row) -> str:
        if kind not in row.against:
            return NOT_MEASURED
        found = row.against[kind]
        return f"{'' if found.separable else '~'}{found.distance:+.0%}"

    distance = Column(
        f"vs_{kind}",
        heading=f"vs {kind}",
        meaning=f"{SELECTION} relative to the best {kind}; ~ marks a difference that may be chance",
        value=lambda row: row.against[kind].distance if kind in row.against else None,
        text=text,
    )
    separable = Column(
        f"vs_{kind}_separable",
        meaning="whether that difference is more than chance; empty where one seed cannot tell",
        value=lambda row: row.against[kind].separable if kind in row.against else None,
    )
    return distance, separable


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

    def text(row: Row) -> str:
        mean, sd = row.metrics[metric], row.sd[metric]
        if mean is None:
            return NOT_MEASURED
        return f"{mean:.4f}" if sd is None else f"{mean:.4f} ±{sd:.4f}"

    def bound(end: int) -> Callable[[Row], float | None]:
        return lambda row: row.intervals[metric][end] if metric in row.intervals else None

    return [
        Column(
            metric,
            meaning="mean over seeds, ± their standard deviation",
            value=lambda row: row.metrics[metric],
            text=text,
        ),
        Column(
            f"{metric}_sd",
            meaning="standard deviation over seeds",
            value=lambda row: row.sd[metric],
        ),
        Column(
            f"{metric}_low",
            meaning="lower end of the 95 % interval",
            value=bound(0),
        ),
        Column(
            f"{metric}_high",
            meaning="upper end of the 95 % interval",
            value=bound(1),
        ),
    ]


_DEFINED = (
    Column(
        "rank",
        meaning="place among the ranked rows; = marks those that cannot be told from the first, * too few seeds to be ranked",
        value=lambda row: row.rank,
        text=_rank,
    ),
    Column(
        "system",
        meaning="indexer / backbone / decoder, or the baseline; † marks known issues",
        value=lambda row: row.system,
        text=_system,
        words=True,
    ),
    Column(
        "options",
        meaning="the options that tell rows of one name apart",
        value=lambda row: row.options,
        text=lambda row: row.options,
        words=True,
    ),
    Column(
        "name",
        heading="system",
        meaning="system and options in one",
        value=lambda row: row.short_name,
        text=_name,
        words=True,
    ),
    Column(
        "system_id",
        meaning="what all seeds of one system share",
        value=lambda row: row.system_id,
    ),
    Column(
        "seen",
        meaning="whether items that the user has seen are hidden from the lists or kept",
        value=lambda row: SEEN[row.policy],
        words=True,
    ),
    Column(
        "size",
        meaning="the profile, and the network's layers x width / heads",
        value=lambda row: row.size,
        words=True,
    ),
    Column(
        "seeds",
        meaning="number of seeds; * marks too few to be ranked",
        value=lambda row: row.seeds,
        text=_seeds,
    ),
    Column(
        "beams",
        meaning="hypotheses kept per user",
        value=lambda row: row.beams,
    ),
    *(column for metric in METRICS for column in _score(metric)),
    *(column for kind in KINDS for column in _against(kind)),
    Column(
        "standing",
        meaning="best, tied, ranked or unranked; and whether a training did not converge",
        value=lambda row: row.standing,
        text=_standing,
        sorted_by=_standing,
        words=True,
    ),
    Column(
        "hallucination_rate",
        heading="halluc.",
        meaning="share of hypotheses that are not items",
        value=lambda row: row.hallucination_rate,
        form="{:.2%}",
    ),
    Column(
        "fill@10",
        meaning="share of the first ten ranks that valid, new, unseen items fill",
        value=lambda row: row.fill,
        form="{:.1%}",
    ),
    Column(
        "normalisation",
        heading="softmax over",
        meaning="what a token's probabilities sum to 1 over: the alphabet, or the children of a node of the catalogue's trie",
        value=lambda row: row.normalisation,
        words=True,
    ),
    Column(
        "users_per_second",
        heading="users/s",
        meaning="users served per second; compare within one hardware class",
        value=lambda row: row.users_per_second,
        form="{:,.0f}",
    ),
    Column(
        "parameters",
        heading="params",
        meaning="number of trained parameters",
        value=lambda row: row.parameters,
        form="{:,.0f}",
    ),
    Column(
        "train_seconds",
        heading="train s",
        meaning="seconds of training",
        value=lambda row: row.train_seconds,
        text=lambda row: seconds(row.train_seconds),
    ),
    Column(
        "passes",
        meaning="passes over the training targets, mean over seeds",
        value=lambda row: row.passes,
        form="{:,.1f}",
    ),
    Column(
        "patience",
        meaning="validations without a better one that end training",
        value=lambda row: row.patience,
    ),
    Column(
        "trials",
        meaning="settings of this system that were tried on validation, in the board's ledger",
        value=lambda row: row.trials,
    ),
    Column(
        "converged",
        meaning="whether every training converged: yes, no, or empty where nobody can say",
        value=lambda row: row.converged,
    ),
    Column(
        "hardware",
        heading="on",
        meaning="hardware class; the conditions describe it",
        value=lambda row: row.hardware,
        text=_hardware,
    ),
    Column(
        "tier",
        meaning="run, reproduced or re-scored",
        value=lambda row: row.tier,
        words=True,
    ),
    Column(
        "issues",
        meaning="ids of known issues",
        value=lambda row: ";".join(issue.id for issue in row.issues.values()),
    ),
)
COLUMNS = {column.key: column for column in _DEFINED}

SCORES = tuple(metric for metric in METRICS if not metric.startswith("mrr"))
VALIDITY = ("hallucination_rate", "fill@10")
COST = ("normalisation", "users_per_second", "parameters", "passes", "train_seconds", "hardware")
BUDGET = ("trials", "patience")

# `genrec leaderboard RUNS`; on a narrow terminal, columns go from the end of NARROW
TABLE = ("system", "options", "size", "seeds", *SCORES, *VALIDITY, *COST)
_FIRST = (
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
NARROW = (*_FIRST, *(key for key in TABLE if key not in _FIRST))

# published boards: README.md folds FOLDED away; documents show EXCERPT
FIRST = (SELECTION, "hit@10")
VERSUS = tuple(f"vs_{kind}" for kind in KINDS)
FOLDED = tuple(key for key in SCORES if key not in FIRST)
BOARD = ("system", "options", *FIRST, *VERSUS, "seeds", "standing", *FOLDED, *VALIDITY, *COST, *BUDGET, "size", "tier")
PAGE = ("rank", *(key for key in BOARD if key != "options"))  # index.html, which shows options below the system
NOTEBOOK = ("name", *FIRST, *VERSUS, "seeds", "standing")  # a board in a notebook
EXCERPT = ("name", *FIRST, *VERSUS, "seeds", *VALIDITY, "users_per_second", "parameters")

# CSV and JSON of runs, and table.csv of a published board
DATA = (
    *("system", "options", "system_id", "size", "seeds", "beams"),
    *(key for metric in METRICS for key in (metric, f"{metric}_sd")),
    *(
        *VALIDITY,
        "normalisation",
        "users_per_second",
        "parameters",
        "passes",
        "train_seconds",
        "patience",
        "converged",
        "hardware",
    ),
)
BOARD_DATA = (
    *DATA,
    *(key for metric in SCORES for key in (f"{metric}_low", f"{metric}_high")),
    *("trials", "standing", "tier", *(key for versus in VERSUS for key in (versus, f"{versus}_separable")), "issues"),
)

# `genrec run`
ACCURACY = (  # on a wide screen, and on narrower ones
    ("system", "seen", "hit@5", "ndcg@5", "hit@10", "ndcg@10", "hit@20", "ndcg@20"),
    ("system", "seen", "hit@10", "ndcg@10", "hit@20", "ndcg@20"),
    ("system", "seen", "hit@10", "ndcg@10"),
    ("system", "seen", "ndcg@10"),
)
VALIDITY_AND_SPEED = ("system", *VALIDITY, "normalisation", "users_per_second", "parameters", "size")


def shown(keys: Iterable[str], rows: Sequence[Row]) -> list[Column]:
    """The columns of a table of `rows`: `options` only where some row has any."""
    return [COLUMNS[key] for key in keys if key != "options" or any(row.options for row in rows)]


def data_of(row: Row, keys: Iterable[str] = DATA) -> dict[str, Any]:
    """A row as plain data: unrounded values by key."""
    return {key: COLUMNS[key].value(row) for key in keys}
