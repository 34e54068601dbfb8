"""Folders of runs and of the cache: what is refused, kept, replaced and made anew."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock
from small_runs import folder_of, spec_for

import genrec_bench
from genrec_bench import RunRecord, RunSpec
from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core import cache
from genrec_bench.core.files import write_json
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import ComponentFault, OutputError, RunFailed
from genrec_bench.runs import folders
from genrec_bench.runs import run as runner
from genrec_bench.runs.spec import ResolvedSpec


def test_an_output_folder_that_is_a_file_is_refused(planted_file, tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        runner.run(spec_for(planted_file, baseline="popularity"), out=tmp_path / "runs")


def test_a_folder_of_another_spec_is_refused(go, tmp_path):
    first = go(baseline="popularity")
    folder = folder_of(tmp_path, first)
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**spec, "seed": 7}))
    with pytest.raises(OutputError, match="another spec"):
        go(baseline="popularity")


def test_a_locked_folder_is_refused(go, tmp_path):
    folder = folder_of(tmp_path, go(baseline="popularity"))
    with FileLock(folder / ".lock"), pytest.raises(OutputError, match="in use"):
        go(baseline="popularity", force=True)


def test_a_corrupt_weights_cache_is_made_anew_and_that_is_said(go, tmp_path):
    first = go()
    (weights,) = (p for p in (genrec_bench.core.cache.cache_dir() / "weights").glob("*/backbone/weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])

    class Notes(genrec_bench.core.progress.Quiet):
        said = ""

        def note(self, message):
            Notes.said += message

    (folder_of(tmp_path, first) / "record.json").unlink()
    spec = ResolvedSpec.from_dict(first.spec)
    again = runner.run(spec, out=tmp_path / "runs", device="cpu", progress=Notes())
    assert "making it again" in Notes.said
    assert again.metrics == first.metrics


def test_an_unfinished_record_of_a_dead_process_does_not_block(go, tmp_path):
    record = go(baseline="popularity")
    folder, spec = folder_of(tmp_path, record), ResolvedSpec.from_dict(record.spec)
    with folders.attempt(folder, spec, keep=False):
        pass
    assert RunRecord.read(folder).status == "running"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    running = json.loads((folder / "record.json").read_text())
    running["process"]["pid"] = child.pid
    write_json(folder / "record.json", running)
    assert RunRecord.read(folder).reason == "its process ended without a word"
    assert go(baseline="popularity").status == "finished"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"}


def test_a_forced_run_that_fails_keeps_the_finished_one(go, tmp_path, monkeypatch):
    folder = folder_of(tmp_path, go(baseline="popularity"))
    before = contents(folder)
    monkeypatch.setattr(Popularity, "rank", lambda self, queries, k, exclude=None: 1 / 0)
    with pytest.raises(ComponentFault, match="ZeroDivisionError"):
        go(baseline="popularity", force=True)
    assert contents(folder) == before
    assert not (folder / folders.NEW).exists()


def test_a_forced_run_takes_the_place_of_the_finished_one(go, tmp_path):
    folder = folder_of(tmp_path, go(baseline="popularity"))
    (folder / "left.over").write_text("")
    second = go(baseline="popularity", force=True)
    assert RunRecord.read(folder).to_dict() == second.to_dict()
    assert set(contents(folder)) == {"spec.json", "record.json", "lists.parquet"}
    assert not (folder / folders.NEW).exists()


def test_a_run_finished_by_another_process_meanwhile_is_returned(go, tmp_path, monkeypatch):
    record = go(baseline="popularity")
    answers = [None, record]
    monkeypatch.setattr(runner, "open_run_folder", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(Popularity, "fit", lambda *_: 1 / 0)
    assert go(baseline="popularity").to_dict() == record.to_dict()
    assert answers == []


def test_a_disk_that_is_full_ends_in_one_line(go, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genrec_bench.runs.run.lists.write_lists", full)
    with pytest.raises(RunFailed, match="No space left"):
        go(baseline="popularity")


def test_a_file_in_the_place_of_a_cache_folder_is_replaced(tmp_path):
    (tmp_path / "entry").write_text("")
    (tmp_path / "entry.partial").write_text("")
    make = lambda place: (place / "made").write_text("x")  # noqa: E731
    made, found = cache.cached(tmp_path / "entry", make, lambda place: 2, fresh=False, progress=Quiet())
    assert (made, found) == (1, False)
    assert (tmp_path / "entry" / "made").read_text() == "x"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_so_and_starts_clean(tmp_path, planted_file, number):
    command = [sys.executable, "-m", "genrec_bench", "run", "--dataset", "file", "--indexer", "random"]
    command += [
        "--backbone",
        "lightlm",
        "--profile",
        "tiny",
        "--out",
        str(tmp_path),
        "--set",
        f"dataset.path={planted_file}",
    ]
    command += ["--set", "dataset.format=sequence", "--set", "backbone.epochs=100000", "--set", "backbone.patience=0"]
    environment = {**os.environ, "GENREC_CACHE": str(tmp_path / "cache")}
    child = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in a shell's background ignores it
    )
    until = time.monotonic() + 120
    while not list(tmp_path.glob("cache/weights/*.partial/checkpoint.pt")) and time.monotonic() < until:
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.05)
    child.send_signal(number)
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 1
    assert "interrupted" in said.lower()
    assert "Traceback" not in said
    (folder,) = (path.parent for path in tmp_path.glob("*/record.json"))
    record = RunRecord.read(folder)
    assert (record.status, record.reason) == ("failed", "interrupted")
    spec = RunSpec.from_dict(record.spec)
    assert folders.open_run_folder(folder, spec).status == "failed"
