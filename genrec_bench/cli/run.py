"""`genrec run`: turns options into a spec, and the record of its run into tables. The runner does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genrec_bench.cli.options import ComponentName, FilePath, json_option, run_options
from genrec_bench.errors import ConfigError, GenrecError

if TYPE_CHECKING:
    from genrec_bench.runs.record import RunRecord
    from genrec_bench.runs.spec import RunSpec

FLOOR = "genrec-bench:item-counts"  # with the distribution, so that no other `item-counts` takes its place
PROFILE = "Named options of the backbone; `genrec plugins show BACKBONE` lists them.  [default: quick]"


@click.command()
@click.option(
    "--dataset",
    type=ComponentName("dataset"),
    metavar="NAME|FILE",
    help="Data set, or a file of interactions.  [default: ml-100k]",
)
@click.option(
    "--task", metavar="TASK", help="direct (from the user alone) or sequential (from the history).  [default: direct]"
)
@click.option("--indexer", type=ComponentName("indexer"), metavar="NAME", help="Gives items and users their codes.")
@click.option("--backbone", type=ComponentName("backbone"), metavar="NAME", help="The network that generates codes.")
@click.option(
    "--decoder", type=ComponentName("decoder"), metavar="NAME", help="Searches for the best codes.  [default: trie]"
)
@click.option(
    "--baseline", type=ComponentName("baseline"), metavar="NAME", help="Runs instead of indexer, backbone and decoder."
)
@click.option("--profile", metavar="NAME", help=PROFILE)
@click.option("--seed", type=int, metavar="N", help="Seed of the indexer and the training.  [default: 0]")
@click.option(
    "--seeds", type=click.IntRange(min=2), metavar="N", help="Run N seeds from --seed on, each in a process of its own."
)
@click.option("--beams", type=int, metavar="N", help="Hypotheses kept per user.  [default: 50]")
@click.option("--set", "settings", multiple=True, metavar="PART.KEY=VALUE", help="Any option of any part; repeatable.")
@click.option("--spec", "spec_file", type=FilePath(), metavar="FILE", help="A spec in TOML.")
@run_options
@click.option("--force", is_flag=True, help="Run again even if this spec has finished.")
@json_option("Print the record as JSON, of several seeds a list of them, and nothing else.")
def run(
    seeds: int | None,
    settings: tuple[str, ...],
    spec_file: Path | None,
    out: Path,
    data_dir: Path | None,
    device: str,
    isolate: bool,
    force: bool,
    as_json: bool,
    **named: Any,
) -> None:
    """Run one system: load, split, index, train, decode, score, record.

    Options on the command line override those of the spec file.

    \b
    genrec run --indexer sci --backbone lightlm
    genrec run --indexer sci --backbone lightlm --seeds 5
    genrec run --baseline popularity --dataset beauty
    genrec run --baseline popularity --dataset clicks.csv
    """
    spec = build_spec(named, settings, spec_file)

    from genrec_bench.cli import results, terminal
    from genrec_bench.cli.progress import RichProgress
    from genrec_bench.host.registry import BUILT_IN
    from genrec_bench.host.sealing import watch
    from genrec_bench.leaderboard.records import with_ranks
    from genrec_bench.leaderboard.rows import FLOORS
    from genrec_bench.runs import run as runner
    from genrec_bench.runs.apart import run_apart
    from genrec_bench.runs.folders import run_folder
    from genrec_bench.runs.spec import ResolvedSpec

    watch()
    progress = RichProgress()
    where: dict[str, Any] = {"out": out, "device": device, "data_dir": data_dir, "progress": progress}
    if seeds:
        specs = [spec.with_(seed=spec.seed + number) for number in range(seeds)]
        records = [run_apart(one, force=force, isolate=isolate, **where) for one in specs]
    elif isolate:
        records = [run_apart(spec, force=force, isolate=True, **where)]
    else:
        records = [runner.run(spec, force=force, **where)]

    if as_json:
        plain = [record.to_dict() for record in records]
        terminal.print_json(plain if seeds else plain[0])
        return

    def whole(record: RunRecord) -> RunRecord:
        return with_ranks(record, run_folder(out, ResolvedSpec.from_dict(record.spec)))

    first, floor = records[0], None
    if first.system not in FLOORS:
        try:
            # Foreign code has run in this process, and may have changed it: it must not touch another system's record.
            foreign = any(part.get("distribution") != BUILT_IN for part in first.components.values())
            run_beside = run_apart if foreign else runner.run
            floor = whole(run_beside(floor_beside(first), **where))
        except GenrecError as error:
            progress.note(f"no row of untrained counting: {type(error).__name__}: {error}")

    if seeds:
        results.print_seeds(list(map(whole, records)), floor, out)
    else:
        results.print_run(whole(first), run_folder(out, ResolvedSpec.from_dict(first.spec)), floor)


def build_spec(
    named: dict[str, Any], settings: tuple[str, ...], spec_file: Path | None, example: str = "backbone.epochs=3"
) -> RunSpec:
    """The spec of a command line. ConfigError or UsageError (exit code 2) if it makes no sense."""
    from genrec_bench.runs.spec import RunSpec, read_toml

    values = read_toml(spec_file) if spec_file else {}
    values.update({name: value for name, value in named.items() if value is not None})
    if settings:
        values["set"] = {**values.get("set", {}), **parse_settings(settings, example)}
    return RunSpec.from_dict(values)


def parse_settings(settings: tuple[str, ...], example: str) -> dict[str, str]:
    """`("backbone.epochs=3",)` as `{"backbone.epochs": "3"}`. ConfigError names a setting of another form."""
    parsed = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        part, dot, name = key.strip().partition(".")
        if not (equals and part and dot and name):
            raise ConfigError(
                f"--set {setting!r}: write part.key=value, e.g. --set {example}", part=part, key=name or None
            )
        parsed[f"{part}.{name}"] = value.strip()
    return parsed


def floor_beside(record: RunRecord) -> RunSpec:
    """Untrained counting on the same data, task and protocol."""
    from genrec_bench.runs.spec import RunSpec

    asked = record.spec
    options = {part: values for part, values in asked.get("options", {}).items() if part == "dataset"}
    return RunSpec(
        dataset=asked["dataset"], task=asked["task"], protocol=asked["protocol"], baseline=FLOOR, options=options
    )
