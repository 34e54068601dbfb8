"""Names, errors and descriptions with control and direction characters: spelled out wherever a command shows them."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from installing import distribution
from rich.console import Console
from test_own_data import write

from genrec_bench.baselines.item_knn import ItemKNN
from genrec_bench.cli import terminal
from genrec_bench.cli.main import cli, explain
from genrec_bench.cli.progress import RichProgress
from genrec_bench.core.printable import one_line
from genrec_bench.core.tables.files import shown
from genrec_bench.errors import GenrecError

NASTY = "\x1b[31m\u202ered\x07"
SPELLED = "\\u001b[31m\\u202ered\\u0007"
COMMANDS = Path(terminal.__file__).parent


def clean(done):
    """The output of a command, in which nothing steers a terminal."""
    text = done.stdout + done.stderr
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), text
    return text


def genrec(*words):
    return CliRunner().invoke(cli, list(map(str, words)))


def test_an_error_is_one_clean_line():
    assert explain(GenrecError(f"{NASTY}:\n  more"))[0] == f"GenrecError: {SPELLED}: more"
    assert one_line("a \r\n b\x00") == "a b\\u0000"
    assert shown(["user", NASTY, ""]) == f"user, {SPELLED}, (no name)"


def test_a_suite_shows_names_and_errors_spelled_out(tmp_path):
    spelled = NASTY.encode("unicode_escape").decode().replace("\\x", "\\u00")
    (tmp_path / "suite.toml").write_text(
        f'[grid]\nbaseline = ["popularity"]\ndataset = ["{spelled}1.csv", "{spelled}2.csv"]\ntask = ["sequential"]\n'
    )
    assert clean(genrec("suite", tmp_path / "suite.toml", "--dry-run")).count(SPELLED) == 2
    done = genrec("suite", tmp_path / "suite.toml", "--out", tmp_path / "runs")
    assert done.exit_code == 1 and f"{SPELLED}1.csv: there is no such file" in clean(done)


def test_a_search_shows_the_reason_of_a_failed_trial_spelled_out(tmp_path, planted_file, monkeypatch):
    def fit(self, *rest):
        raise ValueError(f"{NASTY}\n\nand more")

    monkeypatch.setattr(ItemKNN, "fit", fit)
    words = ["tune", "item-knn", "--dataset", "file", "--task", "sequential", "--trials", "1", "--out", tmp_path]
    done = genrec(*words, "--set", f"dataset.path={planted_file}", "--set", "dataset.format=sequence")
    assert done.exit_code == 1 and SPELLED in clean(done)
    assert done.stderr.splitlines()[-1].startswith("no trial finished")


def test_names_of_files_and_columns_are_spelled_out(tmp_path):
    path = write(tmp_path / f"{NASTY}.csv")
    header, rows = path.read_text().split("\n", 1)
    path.write_text(f"{header},{NASTY}\n" + re.sub(r"(?m)$", ",x", rows.strip()) + "\n")
    for words in (["data", "info", path], ["data", "export", path, "--to", tmp_path / "out"]):
        assert SPELLED in clean(genrec(*words))
    done = genrec("run", "--dataset", path, "--baseline", "popularity", "--task", "sequential", "--out", tmp_path / "r")
    assert done.exit_code == 0 and SPELLED in clean(done)
    (folder,) = (tmp_path / "r").iterdir()
    for words in (["verify", folder], ["leaderboard", folder], ["recommend", folder, "--user", "u1"]):
        assert genrec(*words).exit_code == 0
        clean(genrec(*words))


def test_tables_and_bars_show_a_plugins_words_spelled_out(capsys):
    rows = terminal.table(NASTY)
    rows.add_row(NASTY)
    terminal.print_table(rows, title=NASTY, caption=NASTY)
    terminal.echo(NASTY)
    terminal.echo(NASTY, err=True)
    captured = capsys.readouterr()
    assert captured.out.count(SPELLED) == 5 and captured.err.count(SPELLED) == 1

    screen = RichProgress(Console(file=io.StringIO(), force_terminal=True))
    with screen.phase(NASTY) as tick:
        tick(1, NASTY)
        (task,) = screen._bars.tasks
        assert (task.description, task.fields["note"]) == (SPELLED, SPELLED)


def test_the_help_of_a_plugins_command_is_spelled_out(tmp_path):
    described = f'"""A command {NASTY}."""\nimport click\n\n@click.command()\ndef X():\n    """Do {NASTY} things."""\n'
    distribution(tmp_path / "site", "nasty", {"commands": "nasty"}, described)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "genrec_bench", "--help"]
    assert SPELLED in clean(subprocess.run(command, env=environment, capture_output=True, text=True, check=True))


@pytest.mark.parametrize("file", sorted(COMMANDS.glob("*.py")), ids=lambda file: file.stem)
def test_commands_print_through_one_place(file):
    """`terminal` cleans what it prints; what a renderer has cleaned may be coloured."""
    lines = [line for line in file.read_text("utf-8").splitlines() if re.search(r"click\.echo\(|\bprint\(", line)]
    allowed = {"terminal": 3, "main": 2, "progress": 1}.get(file.stem, 0)
    assert len([line for line in lines if "# clean" not in line]) <= allowed
