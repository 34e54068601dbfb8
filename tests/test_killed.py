"""A process may be killed between any two file operations: the next one finds its way, and no finished run is lost."""

import itertools
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from example_records import finished, generator_spec

from genrec_bench import RunRecord
from genrec_bench.core import cache, files
from genrec_bench.core.progress import Quiet
from genrec_bench.runs import folders

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
SPEC = generator_spec()


def is_killed_at(step, work):
    """Do `work` in a process that dies before its file operation number `step`; False if it needs fewer."""
    child = os.fork()
    if not child:
        left = step

        def count(event, args):
            nonlocal left
            left -= event in STEPS
            if left < 0:
                os._exit(9)

        sys.addaudithook(count)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def run_of(folder, name):
    """What a run does to its folder."""
    with folders.locked(folder):
        earlier = folders.open_run_folder(folder, SPEC, force=True)
        with folders.attempt(folder, SPEC, keep=folders.keeps(folder, earlier)) as workspace:
            (workspace / "weights").mkdir()
            (workspace / "weights" / "w").write_text(name)
            (workspace / "lists.parquet").write_text(name)
            record = finished(SPEC, fingerprints={"data": "", "split": "", "name": name})
            replace(record, stored=folders.digests(workspace)).write(workspace)


def nothing(folder):
    pass


def empty(folder):
    folder.mkdir()


def begun(folder):
    with folders.locked(folder), folders.attempt(folder, SPEC, keep=False) as workspace:
        (workspace / "lists.parquet").write_text("half")


def old_run(folder):
    run_of(folder, "old")


def unreadable(folder):
    run_of(folder, "old")
    (folder / "record.json").write_text("{")


@pytest.mark.parametrize("before", [nothing, empty, begun, old_run, unreadable])
def test_no_kill_blocks_a_run_folder_or_loses_a_finished_run(tmp_path, before):
    outcomes = set()
    for step in itertools.count():
        folder = tmp_path / str(step)
        before(folder)
        if not is_killed_at(step, lambda folder=folder: run_of(folder, "new")):
            break

        folders.open_run_folder(folder, SPEC)  # does not refuse it
        with folders.locked(folder):
            record = folders.open_run_folder(folder, SPEC)
        if record is not None and record.status == "finished":
            assert folders.damaged_files(record, folder) == []
            outcomes.add(record.fingerprints["name"])
        else:
            assert before is not old_run

        run_of(folder, "next")
        assert folders.open_run_folder(folder, SPEC).fingerprints["name"] == "next"
        names = sorted(path.name for path in folder.iterdir())
        assert names == [".lock", "lists.parquet", "record.json", "spec.json", "weights"]

    assert step > 10
    assert outcomes == {"old", "new"} if before is old_run else outcomes <= {"new"}


def test_a_folder_of_somebody_else_is_never_taken(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("")
    with pytest.raises(folders.OutputError, match="not a run folder"):
        folders.open_run_folder(tmp_path / "run", SPEC)


def test_what_a_killed_attempt_left_beside_a_finished_run_goes_with_the_next_look(tmp_path):
    run_of(tmp_path / "run", "old")
    (tmp_path / "run" / folders.NEW).mkdir()
    (tmp_path / "run" / folders.MOVING).mkdir()  # all its files have moved
    (tmp_path / "run" / ".record.json.1.partial").write_text("")
    folders.tidy(tmp_path / "run")
    assert RunRecord.read(tmp_path / "run").status == "finished"
    assert not [path.name for path in (tmp_path / "run").iterdir() if path.name[0] == "." and path.name != ".lock"]


@pytest.mark.parametrize("fresh", [False, True])
def test_no_kill_leaves_half_a_cache_entry(tmp_path, fresh):
    def entry(folder, text, fresh):
        def make(place):
            (place / "made").write_text(text)
            return text

        return cache.cached(folder, make, lambda place: (place / "made").read_text(), fresh=fresh, progress=Quiet())[0]

    read = set()
    for step in itertools.count():
        folder = tmp_path / str(step) / "entry"
        entry(folder, "old", False)
        if not fresh:
            (folder / "made").write_text("damaged")
        if not is_killed_at(step, lambda folder=folder: entry(folder, "new", fresh)):
            break

        read.add(entry(folder, "next", False))
        assert sorted(path.name for path in folder.parent.iterdir() if path.suffix != ".partial") == [
            "entry",
            "entry.lock",
        ]
        shutil.rmtree(folder.parent)

    assert step > 5
    assert read == {"old", "new"} if fresh else {"new", "next"}


def test_what_a_killed_write_left_goes_with_the_next_one(tmp_path):
    for step in itertools.count():
        if not is_killed_at(step, lambda: files.write_json(tmp_path / "record.json", {"old": 1})):
            break
        files.write_json(tmp_path / "record.json", {"new": 1})
        assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    assert step > 1


def test_temporary_folders_of_ended_processes_go_and_those_of_living_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    living = files.scratch_folder("test")
    assert is_killed_at(1, lambda: (files.scratch_folder("test"), Path(os.devnull).read_bytes()))
    assert len(list(tmp_path.iterdir())) == 2
    another = files.scratch_folder("test")
    assert sorted(tmp_path.iterdir()) == sorted([living, another])
