"""What else is installed harms nobody: broken metadata, prints, threads, another working folder."""

import json
import os
import subprocess
import sys

import pytest
from installing import distribution

from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.verify import verify

BASELINE = """
import os, sys, threading, time
from genrec_bench.baselines.popularity import Popularity

print("imported", flush=True)

class X(Popularity):
    "A baseline."

    def fit(self, train, ctx):
        print("fitted")
        os.write(1, b"written\\n")
        os.chdir("/")
        threading.Thread(target=time.sleep, args=(1000,)).start()
        super().fit(train, ctx)
"""


def broken_metadata(site):
    """Distributions whose metadata nobody can read: entry points that are not UTF-8, no name, a name that is not UTF-8."""
    for name, points, metadata in (
        ("bytes", b"[genrec_bench.baselines\n\xff\xfe= = =\n", b"Name: bytes\n"),
        ("nameless", b"[genrec_bench.baselines]\nnameless = nameless:X\n", None),
        ("latin", b"[genrec_bench.baselines]\nlatin = latin:X\n", b"Name: latin-\xe9\nVersion: 1\n"),
    ):
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "entry_points.txt").write_bytes(points)
        if metadata:
            (folder / "METADATA").write_bytes(metadata)


def genrec(tmp_path, *words, minutes=5):
    """The command as a person runs it, with what lies in `site` installed."""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "GENREC_CACHE": "cache"}
    command = [sys.executable, "-m", "genrec_bench", *map(str, words)]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60 * minutes)


@pytest.mark.skipif(os.name != "posix", reason="threads and folders as on POSIX")
def test_json_is_all_that_stdout_holds_and_no_thread_or_folder_of_a_component_outlives_it(tmp_path, planted_file):
    distribution(tmp_path / "site", "noisy", {"baselines": "noisy"}, BASELINE)
    broken_metadata(tmp_path / "site")
    where = ["--set", f"dataset.path={planted_file}", "--set", "dataset.format=sequence", "--out", "runs"]
    done = genrec(tmp_path, "run", "--dataset", "file", "--baseline", "noisy", *where, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "finished"
    assert (tmp_path / "runs" / record["spec_id"] / "lists.parquet").exists()
    assert all(word in done.stderr for word in ("imported", "fitted", "written"))


def test_a_distribution_with_unreadable_metadata_is_named_and_hides_no_other(tmp_path):
    broken_metadata(tmp_path / "site")
    distribution(tmp_path / "site", "sound", {"baselines": "sound"}, BASELINE)
    done = genrec(tmp_path, "plugins", "--kind", "baseline", "--json")
    names = {row["name"] for row in json.loads(done.stdout)}
    assert {"sound", "popularity"} <= names and not names & {"nameless", "latin"}
    said = {line.split("-1.0.dist-info")[0].rpartition("/")[2] for line in done.stderr.splitlines()}
    assert said == {"bytes", "nameless", "latin"}


SCORES_ITSELF = """
from genrec_bench.indexers.digits import RandomIndexer

class X(RandomIndexer):
    "Replaces the scorer."

    def build(self, train, ctx):
        from genrec_bench.protocol import scores
        honest = scores.score
        scores.score = lambda ranking, targets: honest(ranking, ranking.items[:, 0])
        return super().build(train, ctx)
"""


def test_a_component_that_replaces_the_scorer_touches_no_other_systems_record(tmp_path, planted_file):
    distribution(tmp_path / "site", "scorer", {"indexers": "scorer"}, SCORES_ITSELF)
    where = ["--set", f"dataset.path={planted_file}", "--set", "dataset.format=sequence", "--out", "runs"]
    system = ["--indexer", "scorer", "--backbone", "lightlm", "--profile", "tiny", "--set", "backbone.epochs=1"]
    done = genrec(tmp_path, "run", "--dataset", "file", *system, *where)
    assert done.returncode == 0, done.stderr
    records = [RunRecord.read(file) for file in (tmp_path / "runs").glob("*/record.json")]
    (floor,) = (record for record in records if record.spec.get("baseline") == "item-counts")
    assert len(records) == 2
    assert verify(tmp_path / "runs" / floor.spec_id).ok
