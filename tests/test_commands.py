"""Commands of other distributions: listed without an import, run when called, and harmless when they are wrong."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import click
import pytest
from installing import install

from genrec_bench.cli.main import GROUPS, cli

FILES = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"

        [project]
        name = "acme-commands"
        version = "2.5"
        dependencies = ["genrec-bench"]

        [project.entry-points."genrec_bench.commands"]
        greet = "acme_commands.good:greet"
        "data.count" = "acme_commands.good:count"
        run = "acme_commands.good:greet"
        "data.info" = "acme_commands.good:count"
        "dta.count" = "acme_commands.good:count"
        gone = "acme_commands.gone:gone"
        garbled = "acme_commands.garbled:garbled"
        needy = "acme_commands.needy:needy"
        number = "acme_commands.good:NUMBER"
        """,
    "acme_commands/__init__.py": """
        import os
        from pathlib import Path

        Path(os.environ["ACME_WITNESS"]).touch()
        """,
    "acme_commands/good.py": '''
        import click

        NUMBER = 3


        @click.command()
        @click.option("--name", default="you")
        def greet(name):
            """Say hello. And nothing else."""
            print(f"hello {name}")


        @click.command()
        def count():
            """Count to three."""
            print("1 2 3")
        ''',
    "acme_commands/garbled.py": "def garbled(:\n",
    "acme_commands/needy.py": '''
        import a_library_nobody_has


        def needy():
            """Needs something."""
        ''',
}
BROKEN = "BrokenComponent: command {name!r} (acme-commands 2.5) cannot be loaded: {why}. Reinstall or upgrade"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the distribution installed."""
    source, site = tmp_path_factory.mktemp("acme"), tmp_path_factory.mktemp("installed") / "site"
    for name, text in FILES.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(dedent(text).lstrip("\n"))
    install(source, site)
    return site


@pytest.fixture
def genrec(site, tmp_path):
    """Runs `genrec` in a process that sees the distribution, and whatever else lies in the folders given."""

    def call(*words: str, also: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(map(str, (site, *also)))
        setting = {"PYTHONPATH": path, "ACME_WITNESS": str(tmp_path / "imported"), "COLUMNS": "200"}
        command = [sys.executable, "-m", "genrec_bench", *words]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **setting})

    return call


def distribution(folder: Path, name: str, commands: str) -> Path:
    """Make a folder in which a distribution of that name registers commands, without code behind them."""
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[genrec_bench.commands]\n{commands}\n")
    return folder


def listed(text: str, section: str) -> dict[str, str]:
    """The rows of one section of a help text, by name."""
    body = text.split(f"{section}:\n")[1].split("\n\n")[0]
    return {name: what for name, _, what in (line.strip().partition("  ") for line in body.splitlines())}


def test_help_lists_them_with_the_first_sentence_of_their_docstrings_and_imports_none(genrec, tmp_path):
    commands = listed(genrec("--help").stdout, "Commands")
    assert commands["greet"].strip() == "Say hello."
    assert listed(genrec("data", "--help").stdout, "Commands")["count"].strip() == "Count to three."
    assert not (tmp_path / "imported").exists()


def test_they_run(genrec, tmp_path):
    assert genrec("greet", "--name", "Ann").stdout == "hello Ann\n"
    assert genrec("data", "count").stdout == "1 2 3\n"
    assert (tmp_path / "imported").exists()


def test_help_says_what_is_broken(genrec):
    commands = {name: what.strip() for name, what in listed(genrec("--help").stdout, "Commands").items()}
    assert commands["gone"] == "broken: no module named 'acme_commands.gone'"
    assert commands["garbled"] == "broken: syntax error in garbled.py line 1: invalid syntax"
    assert commands["needy"] == "Needs something."


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "ModuleNotFoundError: No module named 'acme_commands.gone'"),
        ("needy", "ModuleNotFoundError: No module named 'a_library_nobody_has'"),
        ("number", "acme_commands.good:NUMBER is not a click command"),
    ],
)
def test_a_broken_one_is_one_line_when_it_is_called_and_harms_no_other(genrec, name, why):
    done = genrec(name)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1
    assert done.stderr.startswith(BROKEN.format(name=name, why=why))
    assert genrec("greet").stdout == "hello you\n"


def test_a_built_in_command_keeps_its_name_and_help_says_so(genrec, tmp_path):
    text, data_text = genrec("--help").stdout, genrec("data", "--help").stdout
    ignored = "acme-commands 2.5: a built-in command has this name"
    assert listed(text, "Commands")["run"].strip() == "Train, decode and score one system."
    assert listed(text, "Ignored commands of plugins")["genrec run"].strip() == ignored
    assert listed(data_text, "Ignored commands of plugins")["genrec data info"].strip() == ignored
    assert genrec("run").stderr.startswith("UsageError: ")
    assert not (tmp_path / "imported").exists()


def test_one_for_a_group_that_takes_none_is_named_in_the_help(genrec):
    ignored = listed(genrec("--help").stdout, "Ignored commands of plugins")
    assert ignored["genrec dta count"].strip() == "acme-commands 2.5: no group 'dta' takes commands"


def test_a_name_of_two_distributions_is_an_error_only_when_it_is_called(genrec, tmp_path):
    other = distribution(tmp_path / "other", "zeta", "greet = acme_commands.good:greet")
    text = genrec("--help", also=(other,)).stdout
    assert listed(text, "Commands")["greet"].strip() == "clash: acme-commands, zeta"
    done = genrec("greet", also=(other,))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "ComponentClash: acme-commands and zeta both supply the command 'genrec greet': uninstall all but one\n"
    )
    assert genrec("data", "count", also=(other,)).stdout == "1 2 3\n"


@pytest.mark.parametrize(("words", "name"), [(["bench", "decode"], "bench"), (["data", "synth", "--users"], "synth")])
def test_without_genrec_speed_the_line_says_what_to_install(words, name, monkeypatch):
    from click.testing import CliRunner

    from genrec_bench.cli import commands

    monkeypatch.setattr(commands, "installed", list)
    done = CliRunner().invoke(cli, words)
    command = " ".join(["genrec", *words[: words.index(name) + 1]])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"UsageError: no command {command!r}. It comes with genrec-speed: in a clone of genrec_bench, "
        "pip install ./plugins/genrec-decoders ./benchmarks.\n"
    )


def test_the_groups_that_take_commands_are_those_built_of_our_group():
    from genrec_bench.cli.commands import Group

    built_in = {name: cli.built_in(name) for name in cli.built_ins()}
    assert {name for name, command in built_in.items() if isinstance(command, Group)} == set(GROUPS)
    assert all(isinstance(command, click.Command) for command in built_in.values())


@pytest.mark.parametrize(
    ("typed", "known", "unknown"),
    [
        (["run", "--indexer", "s"], {"sci", "sequential"}, "random"),
        (["run", "--backbone", ""], {"lightlm", "depth"}, "sci"),
        (["plugins", "show", "light"], {"lightlm"}, "sci"),
        (["data", "info", "b"], {"beauty"}, "toys"),
        (["leader"], {"leaderboard"}, "run"),
    ],
)
def test_a_shell_completes_commands_and_names_of_components(typed, known, unknown):
    words = " ".join(["genrec", *typed])
    setting = {"_GENREC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(typed))}
    done = subprocess.run(
        [Path(sys.executable).with_name("genrec")], capture_output=True, text=True, env={**os.environ, **setting}
    )
    offered = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert known <= offered and unknown not in offered, done.stderr
