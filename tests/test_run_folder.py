"""Folders of runs and of the cache: what is refused, kept, replaced and made anew."""

import errno
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
from genrec_bench.core import cache, files
from genrec_bench.core.files import write_json
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import ComponentFault, OutputError, RecordError
from genrec_bench.runs import folders
from genrec_bench.runs import run as runner
from genrec_bench.runs.spec import ResolvedSpec
from genrec_bench.runs.verify import verify


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


NO_ROOM = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    OSError("1000 requested and 24 written"),  # NumPy
    RuntimeError('I/O error: Os { code: 28, kind: StorageFull, message: "No space left on device" }'),  # safetensors
]


@pytest.mark.parametrize("error", NO_ROOM)
@pytest.mark.parametrize("where", [(runner.lists, "write_lists"), (Popularity, "fit")])
def test_a_full_disk_names_its_path_and_no_component(go, tmp_path, monkeypatch, error, where):
    def full(*_):
        raise error

    monkeypatch.setattr(*where, full)
    with pytest.raises(OutputError, match=f"no space left on the disk that holds {tmp_path}") as caught:
        go(baseline="popularity")
    assert "popularity" not in str(caught.value).replace(str(tmp_path), "")


def test_a_disk_that_fills_up_before_the_first_record_is_named_too(go, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders, "write_json", full)
    with pytest.raises(OutputError, match=f"no space left on the disk that holds {tmp_path}"):
        go(baseline="popularity")


def test_a_path_without_permission_is_named_and_no_component(go, monkeypatch):
    def closed(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/vectors.npy")

    monkeypatch.setattr(Popularity, "fit", closed)
    with pytest.raises(OutputError, match=r"^no permission for /somewhere/vectors\.npy: Permission denied$"):
        go(baseline="popularity")


def test_every_stored_file_is_compared_before_a_finished_run_is_returned(go, tmp_path):
    folder = folder_of(tmp_path, go())
    stored = RunRecord.read(folder).stored
    assert {"lists.parquet", "generations.npz", "index/codes.npz", "weights/backbone/weights.safetensors"} <= set(
        stored
    )

    for name in ("lists.parquet", "weights/backbone/weights.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(flipped(content, len(content) // 2))
        with pytest.raises(RecordError, match=rf"{name} has changed.*--force"):
            go()
        failed = [comparison.name for comparison in verify(folder).comparisons if not comparison.ok]
        assert "stored files" in failed
        (folder / name).write_bytes(content)

    (folder / "lists.parquet").unlink()
    with pytest.raises(RecordError, match=r"lists\.parquet is gone"):
        go()


def flipped(content, at):
    """The same bytes with one bit changed."""
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_the_umask_decides_who_may_read_what_is_stored(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write_json(tmp_path / "record.json", {})
        files.write_sealed(tmp_path / "checkpoint.pt", lambda file: file.write(b"x"))
        (tmp_path / "of-a-library").touch(mode=0o600)
        files.usual_permissions(tmp_path / "of-a-library")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~mask}


@pytest.mark.parametrize("at", [0, 30, 90, 95, 99])
def test_a_flipped_bit_of_a_sealed_file_is_seen(tmp_path, at):
    files.write_sealed(tmp_path / "file", lambda file: file.write(b"0123456789"))
    assert files.read_sealed(tmp_path / "file") == b"0123456789"
    content = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(flipped(content, at * len(content) // 100))
    with pytest.raises(ValueError, match="has changed"):
        files.read_sealed(tmp_path / "file")


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
    assert child.returncode == 128 + number, said
    assert "interrupted" in said.lower()
    assert "Traceback" not in said
    (folder,) = (path.parent for path in tmp_path.glob("*/record.json"))
    record = RunRecord.read(folder)
    assert (record.status, record.reason) == ("failed", "interrupted")
    spec = RunSpec.from_dict(record.spec)
    assert folders.open_run_folder(folder, spec).status == "failed"
