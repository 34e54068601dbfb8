"""`genrec plugins check`: runs the conformance checks of an installed component in a separate process."""

from __future__ import annotations

import click

from genrec_bench.cli.options import ComponentName, json_option
from genrec_bench.cli.terminal import echo, print_json
from genrec_bench.host.registry import KINDS


@click.command(short_help="Check that a component keeps its contract.")
@click.argument("name", type=ComponentName())
@click.option("--kind", type=click.Choice(KINDS), help="Needed if components of several kinds have this name.")
@click.option(
    "--set", "settings", multiple=True, metavar="OPTION=VALUE", help="An option of the component; repeatable."
)
@click.option("--task", type=click.Choice(["direct", "sequential"]), default="sequential", show_default=True,
              help="The task that a backbone is trained for.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds per check.")
@json_option("Print one JSON document.")
@click.pass_context
def check(
    ctx: click.Context,
    name: str,
    kind: str | None,
    settings: tuple[str, ...],
    task: str,
    timeout: float,
    as_json: bool,
) -> None:
    """Run all checks of the component's kind, without pytest: ok, failed or skipped, and why.

    Uses small planted data. A backbone runs with its profile `tiny`, if it has one. Exit code 1 if a check fails.
    """
    from genrec_bench.cli.plugins import find_by_name
    from genrec_bench.errors import UsageError
    from genrec_bench.testing.process import check_installed

    options = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write OPTION=VALUE")
        options[key] = value

    info = find_by_name(name, kind)
    rows = []
    for row in check_installed(info.kind, f"{info.distribution}:{info.name}", options, task=task, timeout=timeout):
        rows.append(row)
        if not as_json:
            echo(f"{row['outcome']:<8} {row['check']}{': ' + row['said'] if row['said'] else ''}")

    outcomes = [row["outcome"] for row in rows]
    counts = {outcome: outcomes.count(outcome) for outcome in ("ok", "failed", "skipped")}
    if as_json:
        facts = {"kind": info.kind, "name": info.name, "distribution": info.distribution, "version": info.version}
        print_json({**facts, "options": options, **counts, "checks": rows})
    else:
        summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        echo(f"{info.kind} {info.name} ({info.distribution} {info.version}): {summary}")
    ctx.exit(1 if counts["failed"] else 0)
