"""`genrec tune`: spends a budget of trials on validation, keeps a ledger of all, and prints the best options."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from genrec_bench.cli.options import FilePath, json_option

SHOWN = 10  # best trials in the table
SPACE_HELP = (
    "An option to vary, instead of those that the components declare: LOW:HIGH, LOW:HIGH:log or A,B,C; "
    "or a TOML file of such lines. Repeatable."
)


@click.command()
@click.argument("system", metavar="SYSTEM")
@click.option("--dataset", metavar="NAME|FILE", help="Data set, or a file of interactions.  [default: ml-100k]")
@click.option("--task", metavar="TASK", help="direct or sequential.  [default: direct]")
@click.option(
    "--trials", type=int, required=True, metavar="N", help="The budget: how many settings to try, failures included."
)
@click.option("--seed", type=int, metavar="N", help="Seed of the sampler and the training.  [default: 0]")
@click.option("--profile", metavar="NAME", help="Named options of the backbone to start from.  [default: quick]")
@click.option("--space", multiple=True, metavar="PART.KEY=SPACE", help=SPACE_HELP)
@click.option("--set", "settings", multiple=True, metavar="PART.KEY=VALUE", help="An option to keep fixed; repeatable.")
@click.option("--ledger", type=FilePath(), metavar="FILE", help="[default: ledger.jsonl in --out]")
@click.option("--out", type=FilePath(), default="runs", show_default=True, help="Folder of the ledger.")
@click.option("--data-dir", type=FilePath(), metavar="DIR", help="Folder of data files.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="cpu, cuda, or auto: a GPU if there is one and the system can use it.",
)
@json_option("Print all trials of this search as JSON.")
def tune(
    system: str,
    trials: int,
    space: tuple[str, ...],
    settings: tuple[str, ...],
    ledger: Path | None,
    out: Path,
    data_dir: Path | None,
    device: str,
    as_json: bool,
    **asked: Any,
) -> None:
    """Try N settings of SYSTEM, a baseline's name or INDEXER/BACKBONE, and rank them by ndcg@10 on validation.

    The test part is never scored. Every trial goes to the ledger; after an interruption, the same command continues.

    \b
    genrec tune item-knn --dataset ml-100k --task sequential --trials 20
    genrec tune sci/lightlm --trials 20 --space backbone.learning_rate=1e-4:1e-2:log --space backbone.dropout=0,0.1,0.2
    """
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.cli.run import parse_settings
    from genrec_bench.cli.terminal import (
        echo,
        print_json,
        print_table,
        show,
        table,
    )
    from genrec_bench.core.printable import one_line
    from genrec_bench.host.sealing import watch
    from genrec_bench.tuning.ledger import LEDGER_FILE, SCORE, best_first
    from genrec_bench.tuning.search import plan_of
    from genrec_bench.tuning.search import tune as search

    fixed = parse_settings(settings, "backbone.epochs=3")
    watch()
    plan = plan_of(system, fixed, **asked)
    spec = plan.spec
    ledger = ledger or out / LEDGER_FILE
    how: dict[str, Any] = {
        "space": space,
        "fixed": list(fixed),
        "ledger": ledger,
        "device": device,
        "data_dir": data_dir,
    }
    tried = search(plan, trials, progress=RichProgress(), **how)
    best = best_first(tried)

    if as_json:
        print_json(tried)
    else:
        keys = list(tried[0]["params"])
        ranking = table(">rank", ">trial", f">{SCORE.replace('_', ' ')}", ">seconds", *(f">{key}" for key in keys))
        for rank, trial in enumerate(best[:SHOWN], 1):
            params = (show(trial["params"][key], short) for key in keys)
            seconds = "cached" if trial["cached"] else f"{trial['seconds']:.1f}"
            ranking.add_row(str(rank), str(trial["trial"]), f"{trial[SCORE]:.4f}", seconds, *params)
        print_table(
            ranking,
            title=f"{system} on {spec.dataset}, {spec.task} task, {spec.protocol}, seed {spec.seed}",
            caption=f"{len(tried)} trials, {len(tried) - len(best)} failed; ledger: {ledger}",
        )

    if not best:
        echo(one_line(f"no trial finished; the last one: {tried[-1]['reason']}"), err=True)
        sys.exit(1)
    if not as_json:
        chosen = {**fixed, **{key: written(value) for key, value in best[0]["params"].items()}}
        echo(f"\nto run the best: {run_command(spec, asked.get('profile'), chosen)}")


def run_command(spec: Any, profile: str | None, settings: Mapping[str, Any]) -> str:
    """The `genrec run` command for a system with these options."""
    path = spec.options.get("dataset", {}).get("path")
    dataset = path if path is not None and "dataset.path" not in settings else spec.dataset
    words = ["genrec", "run", "--dataset", dataset, "--task", spec.task]
    words += (
        ["--baseline", spec.baseline] if spec.baseline else ["--indexer", spec.indexer, "--backbone", spec.backbone]
    )
    words += ["--profile", profile] if profile else []
    words += ["--seed", str(spec.seed)] if spec.seed else []
    return shlex.join([*words, *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))])


def short(value: Any) -> str:
    """A value for the table, with four digits; the command below the table has all of them."""
    return f"{value:.4g}" if isinstance(value, float) else written(value)


def written(value: Any) -> str:
    """A value as `--set` reads it."""
    return ",".join(map(written, value)) if isinstance(value, list) else str(value)
