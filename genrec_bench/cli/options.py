"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from genrec_bench.cli.terminal import stdout_for_json


class FilePath(click.Path):
    """A path on the command line; `~` is the home folder where the shell left it, as in `--out=~/runs`."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(path_type=Path, **rules)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


class ComponentName(click.types.StringParamType):
    """The name of an installed component, which a shell can complete; `kinds` are those to choose from, all if none."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from genrec_bench.host.registry import KINDS, list_components  # here: only a shell that completes needs them

        names = {info.name: info.description for kind in self.kinds or KINDS for info in list_components(kind)}
        return [CompletionItem(name, help=said) for name, said in sorted(names.items()) if name.startswith(incomplete)]


def json_option(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--json`, which keeps standard output for the JSON document."""

    def keep(ctx: click.Context, param: click.Parameter, chosen: bool) -> bool:
        if chosen:
            ctx.with_resource(stdout_for_json())
        return chosen

    return click.option("--json", "as_json", is_flag=True, callback=keep, help=help)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--out`, `--data-dir` and `--device` of commands that run systems."""
    where = FilePath()
    out = click.option("--out", type=where, default="runs", show_default=True, help="Folder of run folders.")
    data_dir = click.option("--data-dir", type=where, metavar="DIR", help="Folder of data files.")
    device = click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="cpu, cuda, or auto: a GPU if there is one and the system can use it.",
    )
    isolate = click.option("--isolate", is_flag=True, help="Hide the data's files from components (Linux).")
    return out(data_dir(device(isolate(command))))
