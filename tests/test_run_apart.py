"""Runs in processes of their own: several seeds, and with `--isolate` components that can open no data in any way."""

import json
import os
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from installing import distribution
from test_foreign import genrec

from genrec_bench.errors import NeedsMissing
from genrec_bench.host.isolation import hiding, require_isolation

READS = """
import ctypes, json, os, subprocess
from pathlib import Path
from genrec_bench.baselines.popularity import Popularity

FILE = Path(os.environ["HELD_OUT"])

def native(path):
    libc = ctypes.CDLL(None)
    number = libc.open(os.fsencode(path), os.O_RDONLY)
    buffer = ctypes.create_string_buffer(100_000)
    return buffer.raw[:max(libc.read(number, buffer, len(buffer)), 0)]

def shell(command):
    return subprocess.run(["sh", "-c", command], capture_output=True).stdout

class X(Popularity):
    "Reads the data in every way that Python does not see, and says how many bytes it found."

    def fit(self, train, ctx):
        asked = os.getppid()
        ways = {
            "native": native(FILE),
            "subprocess": shell(f"cat {FILE}"),
            "uncovered": shell(f"umount {FILE}; unshare -r -m umount {FILE}; cat {FILE}"),
            "through the process that asked": shell(f"cat /proc/{asked}/root{FILE}"),
            "nowhere": Path(os.devnull).read_text(),  # which is no held-out file
            "parsed copies": shell(f"cat {os.environ['GENREC_CACHE']}/data/*/*"),
        }
        ctx.folder.mkdir(parents=True, exist_ok=True)
        (ctx.folder / "found.json").write_text(json.dumps({way: len(found) for way, found in ways.items()}))
        super().fit(train, ctx)
"""


@pytest.fixture
def isolation():
    """This machine can isolate."""
    try:
        require_isolation()
    except NeedsMissing as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("isolation")
def test_what_is_hidden_is_empty_and_all_else_is_there(tmp_path):
    for name in ("held out", "folder/below", "other"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    hidden = [str(tmp_path / "held out"), f"{tmp_path / 'folder'}/", str(tmp_path / "not there")]
    script = 'cat "held out" other; ls folder; echo written > new; id -u'
    done = subprocess.run(
        hiding(hidden, ["sh", "-c", script]), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    own = subprocess.run(["id", "-u"], capture_output=True, text=True, check=True).stdout
    assert done.stdout == f"other{own}"
    assert (tmp_path / "held out").read_text() == "held out" and (tmp_path / "new").read_text() == "written\n"


@pytest.mark.usefixtures("isolation")
def test_an_isolated_component_finds_no_data_in_any_way_and_the_record_is_the_same(tmp_path, planted_file, monkeypatch):
    monkeypatch.setenv("HELD_OUT", str(planted_file))
    distribution(tmp_path / "site", "curious", {"baselines": "curious"}, READS)
    records, found = {}, {}
    for name, more in (("watched", []), ("isolated", ["--isolate"])):
        words = ["run", "--dataset", planted_file, "--baseline", "curious", "--out", name, "--json", *more]
        done = genrec(tmp_path, *words, "--set", "dataset.format=sequence")
        assert done.returncode == 0, done.stderr
        records[name] = json.loads(done.stdout)
        (file,) = (tmp_path / name).rglob("found.json")
        found[name] = json.loads(file.read_text())

    assert found["watched"]["native"] == found["watched"]["subprocess"] == len(planted_file.read_text())
    assert found["watched"]["parsed copies"] > 0
    assert found["isolated"] == dict.fromkeys(found["watched"], 0)
    for part in ("metrics", "ranks", "data", "spec", "fingerprints"):
        assert records["isolated"][part] == records["watched"][part]


@pytest.mark.usefixtures("isolation")
def test_a_suite_isolates_each_of_its_runs(tmp_path, planted_file, monkeypatch):
    monkeypatch.setenv("HELD_OUT", str(planted_file))
    distribution(tmp_path / "site", "curious", {"baselines": "curious"}, READS)
    (tmp_path / "two.toml").write_text(
        f'[all]\ndataset = "{planted_file}"\nset."dataset.format" = "sequence"\n'
        '[grid]\nbaseline = ["curious", "popularity"]\n'
    )
    done = genrec(tmp_path, "suite", "two.toml", "--isolate", "--json")
    assert done.returncode == 0, done.stderr
    curious, popularity = (outcome["metrics"] for outcome in json.loads(done.stdout))
    (file,) = (tmp_path / "runs").rglob("found.json")
    assert not [way for way, size in json.loads(file.read_text()).items() if size]
    assert curious == popularity


@pytest.mark.usefixtures("isolation")
def test_a_machine_that_mounts_nothing_is_told_from_one_that_isolates(tmp_path, monkeypatch):
    unable = tmp_path / "mount"
    unable.write_text("#!/bin/sh\necho mount: permission denied >&2\nexit 32\n")
    unable.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(NeedsMissing, match="permission denied"):
        require_isolation()


def test_a_machine_that_cannot_isolate_says_so_in_one_line(tmp_path, planted_file, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no unshare here
    where = ["--dataset", planted_file, "--set", "dataset.format=sequence"]
    done = genrec(tmp_path, "run", *where, "--baseline", "popularity", "--isolate")
    assert done.returncode == 1
    assert "--isolate needs Linux" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("isolation", "movielens")
def test_the_components_of_every_distribution_here_work_without_the_data(tmp_path):
    for name in ("genrec-baselines", "genrec-causal-lm", "genrec-decoders", "genrec-parallel", "genrec-semantic"):
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed: make test installs all")
    suite = Path(__file__).parents[1] / "suites" / "every-distribution.toml"
    done = genrec(tmp_path, "suite", suite, "--isolate", "--json", minutes=15)
    outcomes = json.loads(done.stdout)
    assert [(outcome["name"], outcome["error"]) for outcome in outcomes if outcome["error"]] == []
    assert done.returncode == 0 and len(outcomes) == 8


def test_several_seeds_run_apart_and_make_one_row(tmp_path, planted_file):
    where = ["--dataset", planted_file, "--set", "dataset.format=sequence", "--baseline", "popularity"]
    done = genrec(tmp_path, "run", *where, "--seeds", "3", "--seed", "4", "--json")
    records = json.loads(done.stdout)
    assert [record["spec"]["seed"] for record in records] == [4, 5, 6]
    assert len({record["process"]["pid"] for record in records}) == 3
    told = genrec(tmp_path, "run", *where, "--seeds", "3", "--seed", "4").stdout
    (row,) = (line for line in told.splitlines() if line.startswith("popularity"))
    assert row.split()[2] == "3"
    assert all(record["spec_id"] in told for record in records)
