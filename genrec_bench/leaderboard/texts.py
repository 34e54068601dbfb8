"""What published boards say in words, in README.md and index.html alike: cells, conditions, commands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from genrec_bench.leaderboard.records import code_of
from genrec_bench.leaderboard.rows import RANKED_SEEDS, Board
from genrec_bench.leaderboard.standings import YARDSTICK, Line, Standings
from genrec_bench.leaderboard.tables import (
    NOT_MEASURED,
    SHOWN,
    board_notes,
    hardware_classes,
    number,
)
from genrec_bench.leaderboard.training import NO, NOT_CONVERGED

TIES = "The same floors under other tie orders"
TEXTS = ("system", "options", "size", "tier", "standing")  # set to the left
FIRST = ("ndcg@10", "hit@10")  # shown beside the name, before the other scores
LATER = tuple(key for key in SHOWN if key not in FIRST)
HEADER = (
    *("system", "options", *FIRST, f"vs {YARDSTICK}", "seeds", "standing", *LATER, "halluc.", "fill@10"),
    *("users/s", "params", "train s", "on", "size", "tier"),
)


def cells(made: Standings) -> list[list[str]]:
    """The rounded texts of all rows, as HEADER names them; at the end the mandatory rows without a run."""
    places = hardware_classes(made.board)
    rows = [
        [
            " ".join([line.row.system, *map(dagger, line.issues)]),
            line.row.options,
            *(score(line, key) for key in FIRST),
            distance(line),
            str(line.row.seeds) + ("" if line.row.seeds >= RANKED_SEEDS else "*"),
            standing(line),
            *(score(line, key) for key in LATER),
            number(line.row.hallucination_rate, "{:.2%}"),
            number(line.row.fill, "{:.1%}"),
            number(line.row.users_per_second, "{:,.0f}"),
            number(line.row.parameters, "{:,.0f}"),
            seconds(line.row.train_seconds),
            f"[{places.index(line.row.hardware) + 1}]" if line.row.hardware else NOT_MEASURED,
            line.row.size or NOT_MEASURED,
            line.tier,
        ]
        for line in made.lines
    ]
    return rows + [[name, "", *[NOT_MEASURED] * (len(HEADER) - 2)] for name in made.missing]


def short_name(system: str, options: str) -> str:
    """A row's name with the options in which it differs: `item-knn (neighbours=200, shrink=50)`."""
    told = re.sub(r"\b\w+\.(?=\w+=)", "", options).replace(" ", ", ")
    return f"{system} ({told})" if told else system


def dagger(number: int) -> str:
    """The mark of a known issue."""
    return f"†{number}"


def score(line: Line, key: str) -> str:
    """A mean with its standard deviation over seeds, where there are several."""
    sd = line.row.sd[key]
    return f"{line.row.metrics[key]:.4f}" + ("" if sd is None else f" ±{sd:.4f}")


def standing(line: Line) -> str:
    """A row's standing, and that it did not converge."""
    return f"{line.standing}, {NOT_CONVERGED}" if line.row.converged == NO else line.standing


def seconds(value: float | None) -> str:
    """Seconds to a tenth; what is shorter is not called zero."""
    return "<0.1" if value is not None and value < 0.05 else number(value, "{:,.1f}")


def distance(line: Line) -> str:
    """How far a row is from counting, in per cent; with a tilde where that may be chance."""
    if line.distance is None:
        return NOT_MEASURED
    return f"{'' if line.separable else '~'}{line.distance:+.0%}"


def notes(made: Standings) -> list[str]:
    """The conditions under which the numbers hold, and how to read them."""
    told = list(board_notes(made.board))
    told.append(
        "± is the standard deviation over seeds; table.csv and index.html carry 95 % intervals by a bootstrap over seeds "
        "and users (users alone where there is one seed)."
    )
    told.append(
        f"vs {YARDSTICK}: ndcg@10 relative to untrained item-to-item counting. A ~ says that the difference may be chance "
        "(paired randomization test per user, Holm-corrected over the rows, 5 %)."
    )
    if made.detectable is not None:
        told.append(
            f"With {len_of(made)} users, differences below about ±{made.detectable:.0%} of the ndcg@10 of {YARDSTICK} are not "
            "expected to be told from chance (power 80 %, median over the rows)."
        )
    if any(line.row.converged for line in made.lines):
        told.append(
            "Column converged of table.csv: *yes*, early stopping or a closed form ended every training; *no*, a time limit or "
            "the last epoch did; *schedule*, a generator ran all epochs that its options declare (with the built-in backbones "
            "the learning rate has then fallen to zero) and its best one was kept: nobody tried a longer schedule. How each "
            "seed ended stands in its row's section of index.html."
        )
    if any(run.training.get("cached") for line in made.lines for run in line.runs):
        told.append(
            "train s: rows whose weights another row trained (the same to the last bit) show the seconds of that training, or "
            "of the last one where several trained them."
        )
    if several := [line for line in made.lines if len({code_of(run) for run in line.runs}) > 1]:
        told.append(
            f"The seeds of {len(several)} rows ran on more than one version of their components' code (column code of a row's "
            "seeds in index.html): ± holds what that changed, too."
        )
    if any(line.standing == "tied" for line in made.lines):
        told.append("Rows that are *tied* cannot be told from the first ranked row: none of them is the best.")
    told.append(
        "Tiers: *reproduced*, made by `genrec run` from the spec in its record; *re-scored*, lists made elsewhere and "
        "scored here; *reported*, numbers of a paper."
    )
    if "tie_users" in made.board.data and not made.board.data["tie_users"]:
        told.append(
            "No two events of a user tie: there is one order, that of the data, so none is chosen by a tie rule."
        )
    elif made.ties is None:
        told.append("Nobody has measured the floors under other tie orders yet (`genrec leaderboard ties`).")
    if made.missing:
        told.append(f"Mandatory rows without a run on this board: {', '.join(made.missing)}.")
    told += made.tuning
    told += [
        f"{dagger(at)} Known issue {each.id}: {each.what} ({each.link})." for at, each in enumerate(made.issues, 1)
    ]
    return told + list(made.remarks)


def len_of(made: Standings) -> str:
    """How many users were scored."""
    return f"{len(made.lines[0].runs[0].ranks[made.board.policy]):,}"


def title(board: Board) -> str:
    """A board in words."""
    return f"{board.dataset}, {board.task} task, {board.protocol}, policy {board.policy}"


def command(spec: Mapping[str, Any]) -> str:
    """The command line of a resolved spec, with every option of every part."""
    words = ["genrec", "run"]
    for key in ("dataset", "task", "baseline", "indexer", "backbone", "decoder", "profile", "beams", "seed"):
        if spec.get(key) is not None:
            words += [f"--{key}", str(spec[key])]
    for part, options in sorted(spec.get("options", {}).items()):
        for key, value in sorted(options.items()):
            words += ["--set", f"{part}.{key}={_setting(value)}"]
    return shlex.join(words)


def _setting(value: Any) -> str:
    """An option's value as `--set` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(_setting, value))
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
