"""`genrec plugins`: lists all installed components, without importing one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from genrec_bench.cli.commands import Group
from genrec_bench.cli.options import ComponentName, json_option
from genrec_bench.cli.plugins_check import check
from genrec_bench.cli.plugins_new import new
from genrec_bench.host.registry import KINDS

if TYPE_CHECKING:
    from genrec_bench.host.registry import ComponentInfo


@click.group(cls=Group, invoke_without_command=True)
@click.option("--kind", type=click.Choice(KINDS), help="List only this kind.")
@click.option("--check", "checked", is_flag=True, help="Load every component in its own process, and report failures.")
@json_option("Print a JSON list.")
@click.pass_context
def plugins(ctx: click.Context, kind: str | None, checked: bool, as_json: bool) -> None:
    """List data sets, indexers, backbones, decoders and baselines with their supplier and status.

    `genrec plugins show NAME` lists a component's options, `check NAME` checks it, `new NAME` writes a new package.
    """
    if ctx.invoked_subcommand is not None:
        return
    from genrec_bench.cli.terminal import echo, print_json, print_table, table
    from genrec_bench.core.printable import one_line
    from genrec_bench.host import registry

    rows = []
    for info in registry.list_components(kind):
        row = info.to_dict()
        if checked and not row["status"].startswith("broken"):
            verdict = registry.check(info)
            row["status"] = row["status"] if verdict == "ok" else verdict
        rows.append(row)
    for reason in registry.unreadable():
        echo(one_line(f"ignored: {reason}"), err=True)
    if as_json:
        print_json(rows)
        return

    columns = ("kind", "name", "distribution", "version", "description", "status")
    listing = table(*columns)
    for row in rows:
        listing.add_row(*(row[column] for column in columns))
    print_table(listing)


plugins.add_command(check)
plugins.add_command(new)


@plugins.command()
@click.argument("name", type=ComponentName())
@click.option("--kind", type=click.Choice(KINDS), help="Needed if components of several kinds have this name.")
@json_option("Print one JSON document.")
def show(name: str, kind: str | None, as_json: bool) -> None:
    """Describe a component and its options, which --set KIND.OPTION=VALUE sets."""
    from genrec_bench.cli.terminal import print_json, print_table, table
    from genrec_bench.host import registry
    from genrec_bench.host.config import describe_config
    from genrec_bench.tuning.space import TUNED, described

    info = find_by_name(name, kind)
    cls = registry.load(info.kind, info.name)
    profiles = {key: dict(values) for key, values in getattr(cls, "profiles", {}).items()}
    options = describe_config(cls.Config)
    space = described(cls) if info.kind in TUNED else {}
    if as_json:
        print_json({**info.to_dict(), "options": options, "profiles": profiles, "search_space": space})
        return

    listing = table("option", "type", "default", "meaning")
    for option in options:
        listing.add_row(f"{info.kind}.{option['name']}", option["type"], option["default"], option["meaning"])

    lines = [
        f"profile {key}: {', '.join(f'{name}={value}' for name, value in values.items())}"
        for key, values in profiles.items()
    ]
    if space:
        lines.append("genrec tune varies: " + "  ".join(f"{info.kind}.{key}={values}" for key, values in space.items()))
    title = f"{info.kind} {info.name} ({info.distribution} {info.version}): {info.description}"
    print_table(listing, title=title, caption="\n".join(lines) or ("" if options else "no options"))


def find_by_name(name: str, kind: str | None) -> ComponentInfo:
    """The installed component of that name. UnknownComponent or UsageError suggests others."""
    from genrec_bench.errors import UnknownComponent, UsageError, did_you_mean
    from genrec_bench.host import registry

    components = registry.list_components(kind)
    kinds = sorted({info.kind for info in components if info.name == name})
    if not kinds:
        known = sorted({info.name for info in components})
        raise UnknownComponent(
            f"no {kind or 'component'} {name!r}.{did_you_mean(name, known)} Installed: {', '.join(known)}.",
            kind=kind,
            name=name,
            known=known,
        )
    if len(kinds) > 1:
        raise UsageError(f"{name!r} is the name of a {' and of a '.join(kinds)}: choose with --kind {kinds[0]}")
    return registry.find(kinds[0], name)
