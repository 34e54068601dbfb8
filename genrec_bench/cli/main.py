"""`genrec`: the group of commands, and the one place that turns errors into a line and an exit code.

Exit codes: 0 success, 1 failure, 2 a wrong request, 130 Ctrl-C, 143 SIGTERM. Imports nothing heavy: a command
imports what it needs when it runs.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from genrec_bench import __version__
from genrec_bench.cli.commands import Group, installed, spoken
from genrec_bench.core.printable import one_line
from genrec_bench.errors import GenrecError, message_of

COMMANDS = {  # in the order of --help; a command's module is imported when it is called
    "run": "Train, decode and score one system.",
    "suite": "Run a file of specs.",
    "plugins": "List every installed component, or show one.",
    "data": "List, describe, add or export data sets.",
    "runs": "List the runs in a folder.",
    "show": "Show one run: its command, scores, curve and phases.",
    "compare": "Compare two systems: do they differ by more than chance?",
    "recommend": "Show what a run recommends to one user.",
    "leaderboard": "Tables from run records; boards in a folder.",
    "verify": "Score a run's stored lists again and compare.",
    "score": "Score ranked lists that were made elsewhere.",
    "tune": "Tune a system's options on validation.",
}
GROUPS = ("data", "plugins")  # the groups to which other distributions can add commands


class Genrec(Group):
    """The group of all commands. An error is one line on stderr; `--debug` may stand anywhere on the command line.

    Imports a command when it is called: `genrec --help` imports none.
    """

    prefix = ""

    def built_ins(self) -> Mapping[str, str]:
        return COMMANDS

    def built_in(self, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"genrec_bench.cli.{name}"), name)
        return command

    def ignored(self) -> dict[str, str]:
        misplaced = {
            spoken(info.name): f"{info.distribution} {info.version}: no group {group!r} takes commands"
            for info in installed()
            if (group := info.name.rpartition(".")[0]) and group not in GROUPS
        }
        return super().ignored() | misplaced

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        words = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in words
        words = [word for word in words if word != "--debug"]

        try:
            # Never standalone, whatever was asked: click would end the process itself.
            code = super().main(words, prog_name or "genrec", complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except BrokenPipeError:  # `genrec plugins | head`: Python must not complain at exit
            _discard(sys.stdout)
            code = 1
        except Exception as error:
            if debug:
                traceback.print_exception(error)
            line, code = explain(error, resumes=_named(words) in ("run", "suite", "tune"))
            try:  # buffered output may be the cause; it must not fail again at exit
                sys.stdout.flush()
            except (OSError, ValueError):
                _discard(sys.stdout)
            print(line, file=sys.stderr)

        sys.exit(code if isinstance(code, int) else 0)


def _named(words: Sequence[str]) -> str:
    """The command that somebody asked for."""
    return next((word for word in words if not word.startswith("-")), "")


def _leave(code: int) -> NoReturn:
    """End this process, whatever threads a component left running: Python would wait for them for ever."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.current_thread()):
        atexit._run_exitfuncs()  # worker processes and temporary files end here
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _discard(stream: Any) -> None:
    """Discard whatever is written to `stream` from now on."""
    if stream.closed:  # a component did that
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    else:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def explain(error: Exception, resumes: bool = False) -> tuple[str, int]:
    """What to print for an error, on one line, and the exit code; `resumes`: an interrupted command goes on where it was."""
    disk_full = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EBADF)

    if isinstance(error, GenrecError):
        line, code = f"{type(error).__name__}: {error}", error.exit_code
    elif isinstance(error, click.Abort):
        how = "resumes" if resumes else "starts again"
        line, code = f"Interrupted: stopped before the end; the same command {how}", 128 + signal.SIGINT
        if isinstance(error.__cause__, Terminated):
            code = 128 + signal.SIGTERM
    elif isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "genrec"
        line, code = f"UsageError: {error.format_message()}  `{path} --help` shows what there is.", error.exit_code
    elif isinstance(error, ValueError) and "closed file" in message_of(error):
        line, code = "OutputError: cannot write the output: a component closed it; the command's results are kept", 1
    elif isinstance(error, OSError) and error.filename is None and error.errno in disk_full:
        line, code = f"OutputError: cannot write the output: {error.strerror}; the command's results are kept", 1
    else:
        from genrec_bench.core.files import disk_trouble  # here: a command that ends well needs no NumPy

        disk = disk_trouble(error)
        line, code = f"unexpected {type(error).__name__}: {message_of(error)}; run with --debug for the traceback", 1
        if disk is not None:
            line, code = f"OutputError: {disk}", disk.exit_code

    return one_line(line), code


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def _terminate(number: int, frame: Any) -> NoReturn:
    raise Terminated


@click.group(cls=Genrec, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="genrec")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train, decode and score generative recommenders under one protocol."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> NoReturn:
    """The console script. Treats SIGTERM like Ctrl-C, so that the record says `interrupted`."""
    signal.signal(signal.SIGTERM, _terminate)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell (`>&-`)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # an ASCII terminal shows a "?" for a character it lacks
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        cli.main()
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else 0)
