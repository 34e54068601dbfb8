"""`genrec tune`: a budget of trials on validation, a ledger of them all, and the options to use."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

SHOWN = 10  # best trials in the table
SPACE_HELP = "What to vary instead of what the components declare: LOW:HIGH, LOW:HIGH:log, or choices A,B,C; or a TOML file of such lines. Repeatable."


@click.command()
@click.argument("system", metavar="SYSTEM")
@click.option("--dataset", metavar="NAME", help="Data set.  [default: ml-100k]")
@click.option("--task", metavar="TASK", help="direct or sequential.  [default: direct]")
@click.option(
    "--trials", type=int, required=True, metavar="N", help="The budget: settings to try, failed ones included."
)
@click.option("--seed", type=int, metavar="N", help="Moves the sampler and the training.  [default: 0]")
@click.option("--profile", metavar="NAME", help="The backbone's settings to start from.  [default: quick]")
@click.option("--space", multiple=True, metavar="PART.KEY=SPACE", help=SPACE_HELP)
@click.option("--set", "settings", multiple=True, metavar="PART.KEY=VALUE", help="An option that stays as it is.")
@click.option("--ledger", type=click.Path(path_type=Path), metavar="FILE", help="[default: ledger.jsonl in --out]")
@click.option("--out", type=click.Path(path_type=Path), default="runs", show_default=True, help="Folder of the ledger.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where data files lie.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="cpu, cuda, or auto: a GPU if there is one and the system uses it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all trials of this search as JSON.")
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

    The test part is never scored. Every trial is appended to the ledger; the same command goes on where it stopped.

    \b
    genrec tune item-knn --dataset ml-100k --task sequential --trials 20
    genrec tune sci/lightlm --trials 20 --space backbone.learning_rate=1e-4:1e-2:log --space backbone.dropout=0,0.1,0.2
    """
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.cli.run import parse_settings
    from genrec_bench.cli.terminal import (
        print_json,
        print_table,
        show,
        table,
    )
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
    found = search(plan, trials, progress=RichProgress(), **how)
    best = best_first(found)
    if as_json:
        print_json(found)
    else:
        keys = list(found[0]["params"])
        made = table(">place", ">trial", f">{SCORE.replace('_', ' ')}", ">seconds", *(f">{key}" for key in keys))
        for place, trial in enumerate(best[:SHOWN], 1):
            told = (show(trial["params"][key], short) for key in keys)
            seconds = "cached" if trial["cached"] else f"{trial['seconds']:.1f}"
            made.add_row(str(place), str(trial["trial"]), f"{trial[SCORE]:.4f}", seconds, *told)
        failed = len(found) - len(best)
        print_table(
            made,
            title=f"{system} on {spec.dataset}, {spec.task} task, {spec.protocol}, seed {spec.seed}",
            caption=f"{len(found)} trials, {failed} failed; ledger: {ledger}",
        )
    if not best:
        click.echo(f"no trial finished; the last one: {found[-1]['reason']}", err=True)
        sys.exit(1)
    if not as_json:
        chosen = {**fixed, **{key: written(value) for key, value in best[0]["params"].items()}}
        click.echo(f"\nto run the best: {run_command(spec, asked.get('profile'), chosen)}")


def run_command(spec: Any, profile: str | None, settings: Mapping[str, Any]) -> str:
    """The `genrec run` of a system with these options."""
    words = ["genrec", "run", "--dataset", spec.dataset, "--task", spec.task]
    words += (
        ["--baseline", spec.baseline] if spec.baseline else ["--indexer", spec.indexer, "--backbone", spec.backbone]
    )
    words += ["--profile", profile] if profile else []
    words += ["--seed", str(spec.seed)] if spec.seed else []
    return shlex.join([*words, *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))])


def short(value: Any) -> str:
    """A value for the table: four digits tell settings apart, the line below has them all."""
    return f"{value:.4g}" if isinstance(value, float) else written(value)


def written(value: Any) -> str:
    """A value as `--set` reads it."""
    return ",".join(map(written, value)) if isinstance(value, list) else str(value)
