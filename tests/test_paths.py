"""`~` is the home folder in every path that a person gives, and no temporary folder outlives a killed process for long."""

import os
import subprocess
import sys
import zipfile

import click
import pytest
from click.testing import CliRunner
from test_own_data import write

from genrec_bench.cli.main import COMMANDS, cli
from genrec_bench.cli.options import FilePath
from genrec_bench.core.files import expand_home, scratch
from genrec_bench.data import movielens
from genrec_bench.host import added


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "me").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "me"


def genrec(*words):
    return CliRunner().invoke(cli, list(map(str, words)))


def commands(group, ctx=None):
    """Every command below a group."""
    ctx = ctx or click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        yield from commands(command) if isinstance(command, click.Group) else [command]


def test_no_command_takes_a_path_as_it_is():
    assert len(COMMANDS) > 8
    options = [(command.name, option) for command in commands(cli) for option in command.params]
    paths = [(name, option.type) for name, option in options if isinstance(option.type, click.Path)]
    assert len(paths) > 20
    assert [(name, kind) for name, kind in paths if not isinstance(kind, FilePath)] == []


def test_the_home_folder_is_meant_by_a_tilde(home):
    assert expand_home("~/a") == str(home / "a")
    assert [expand_home(name) for name in ("", "google-t5/t5-small", "./~", "/a")] == [
        "",
        "google-t5/t5-small",
        "./~",
        "/a",
    ]


def test_the_home_folder_of_nobody_is_one_line():
    for words in (["data", "info", "~nobody-here/a.csv"], ["verify", "~nobody-here/run"]):
        done = genrec(*words)
        assert (
            done.exit_code == 1
            and "~nobody-here" in done.stderr
            and done.stderr.startswith(("DataError", "RecordError"))
        )


def test_data_in_the_home_folder_is_found_added_and_exported(home, tmp_path):
    write(home / "clicks.csv")
    (home / "titles.csv").write_text("item_id,title\ni0,One\n")
    assert genrec("data", "info", "~/clicks.csv").exit_code == 0
    done = genrec("data", "add", "shop", "~/clicks.csv", "--set", "dataset.items_path=~/titles.csv")
    assert done.exit_code == 0, done.stderr
    assert added.read("shop")["options"]["items_path"] == str(home / "titles.csv")
    assert genrec("data", "export", "shop", "--to", "~/out").exit_code == 0
    assert (home / "out").is_dir() and not (tmp_path / "~").exists()


def test_the_folder_of_runs_may_be_in_the_home_folder(home, tmp_path):
    from genrec_bench.runs.suite import read_suite, run_suite

    write(home / "clicks.csv")
    text = '[[runs]]\nbaseline = "popularity"\ntask = "sequential"\ndataset = "~/clicks.csv"\n'
    (home / "suite.toml").write_text(text)
    (outcome,) = run_suite(read_suite(home / "suite.toml"), out="~/runs")
    assert outcome.error == "" or outcome.record
    assert [path.name for path in (home / "runs").iterdir()] == [outcome.record.spec_id]


@pytest.mark.skipif(os.name != "posix", reason="kills as on POSIX")
def test_a_killed_check_leaves_nothing_for_long(tmp_path):
    killed = "import os, signal\nfrom genrec_bench.core.files import scratch\nwith scratch('check') as folder:\n"
    killed += "    (folder / 'part').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", killed], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    (left,) = tmp_path.glob("genrec-check-*")

    from genrec_bench.testing.kit import folder

    with folder() as fresh:
        assert fresh.is_dir() and not left.exists()
    assert not list(tmp_path.glob("genrec-check-*"))


@pytest.mark.skipif(os.name != "posix", reason="kills as on POSIX")
def test_a_killed_unpacking_leaves_nothing_for_long(tmp_path):
    archive = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for name in ("u.data", "u.item"):
            zipped.writestr(f"ml-100k/{name}", name * 1000)
    killed = "import os, shutil, signal\nfrom pathlib import Path\nfrom genrec_bench.data import movielens\n"
    killed += "movielens.shutil.copyfileobj = lambda source, target: (target.write(b'x'), os.kill(os.getpid(), signal.SIGKILL))\n"
    killed += f"movielens._unpack(Path({str(archive)!r}))"
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert [path.name.startswith(".u.data.") for path in (tmp_path / "ml-100k").iterdir()] == [True]

    assert movielens._unpack(archive).read_text() == "u.data" * 1000
    assert {path.name for path in (tmp_path / "ml-100k").iterdir()} == {"u.data", "u.item"}
    assert {path.name for path in tmp_path.iterdir()} == {"ml-100k", "ml-100k.zip", "me"}


def test_a_folder_for_temporary_files_goes_after_an_error(tmp_path):
    seen = []

    def work():
        with scratch("test") as folder:
            (folder / "part").write_text("x")
            seen.append(folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert seen[0].parent == tmp_path and not seen[0].exists()
