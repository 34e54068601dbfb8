"""Groups of commands to which other distributions add, through the entry-point group `genrec_bench.commands`.

The name of an entry point says where its command goes: `bench` becomes `genrec bench`, `data.synth` becomes
`genrec data synth`. A command is imported when it is called; `--help` imports none. A built-in command keeps its name.
`genrec --help` names a broken or misplaced command, which affects no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from genrec_bench.core.printable import printable
from genrec_bench.errors import ComponentClash, UsageError

if TYPE_CHECKING:
    from genrec_bench.host.registry import ComponentInfo


class Group(click.Group):
    """A click group of built-in commands and of those that installed distributions add."""

    @property
    def prefix(self) -> str:
        """The prefix of the entry points of this group's commands."""
        return f"{self.name}."

    def built_ins(self) -> Mapping[str, str]:
        """The built-in commands, each name with its line of help."""
        return {name: command.get_short_help_str(300) for name, command in self.commands.items()}

    def built_in(self, name: str) -> click.Command | None:
        """The built-in command of that name."""
        return self.commands.get(name)

    def added(self) -> dict[str, list[ComponentInfo]]:
        """The added commands by name, each with its suppliers: more than one is a clash."""
        suppliers: dict[str, list[ComponentInfo]] = {}
        for name, info in self.installed_here():
            if name not in self.built_ins():
                suppliers.setdefault(name, []).append(info)
        return suppliers

    def ignored(self) -> dict[str, str]:
        """The commands out of reach, as a person would type them, and why each is."""
        return {
            spoken(info.name): f"{info.distribution} {info.version}: a built-in command has this name"
            for name, info in self.installed_here()
            if name in self.built_ins()
        }

    def installed_here(self) -> Iterator[tuple[str, ComponentInfo]]:
        """The installed commands with this group's prefix, each with its name in the group."""
        for info in installed():
            group, dot, name = info.name.rpartition(".")
            if group + dot == self.prefix:
                yield name, info

    def get_help(self, ctx: click.Context) -> str:
        """The help, in which a plugin's description cannot steer the terminal."""
        return printable(super().get_help(ctx))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.built_ins(), *self.added()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        command = self.built_in(name)
        if command is not None:
            return command
        suppliers = self.added().get(name)
        return load(suppliers) if suppliers else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.built_ins() and name not in self.added():
            from genrec_bench.host.registry import COMMAND, where_to_get

            if where := where_to_get(COMMAND, self.prefix + name):
                raise UsageError(f"no command {spoken(self.prefix + name)!r}. {where}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        added = {name: line_of_help(suppliers) for name, suppliers in self.added().items()}
        with formatter.section("Commands"):
            formatter.write_dl([*self.built_ins().items(), *added.items()])
        if ignored := self.ignored():
            with formatter.section("Ignored commands of plugins"):
                formatter.write_dl(list(ignored.items()))


def installed() -> list[ComponentInfo]:
    """The commands that other distributions supply. Imports none of them."""
    from genrec_bench.host.registry import COMMAND, list_components

    return list_components(COMMAND)


def load(suppliers: list[ComponentInfo]) -> click.Command:
    """Import the command. ComponentClash if it has several suppliers, BrokenComponent if it cannot be loaded."""
    from genrec_bench.host import registry

    info = suppliers[0]
    if len(suppliers) > 1:
        raise ComponentClash(
            f"{' and '.join(info.owners)} both supply the command {spoken(info.name)!r}: uninstall all but one",
            kind=info.kind,
            name=info.name,
            owners=info.owners,
        )

    command = registry.import_target(info)
    if not isinstance(command, click.Command):
        raise registry.broken(info, f"{info.target} is not a click command")
    return command


def line_of_help(suppliers: list[ComponentInfo]) -> str:
    """The first sentence of the command's docstring, or why the command cannot be used."""
    info = suppliers[0]
    return info.description if info.status == "ok" else info.status


def spoken(name: str) -> str:
    """What a person types for an entry point's name."""
    return f"genrec {name.replace('.', ' ')}"
