"""Parsed data is kept, found again, and built anew, aloud, when it is damaged."""

import dataclasses
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from genrec_bench.core.files import beside
from genrec_bench.core.progress import Quiet
from genrec_bench.data import cache
from genrec_bench.data.file import FileConfig, FileDataset
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import DatasetContext


class Notes(Quiet):
    """Progress that remembers what it was told, other than how the file was read."""

    def __init__(self):
        self.notes, self.phases = [], []

    def note(self, message):
        if "item = " not in message:
            self.notes.append(message)

    def phase(self, name, total=None, unit=""):
        self.phases.append(name)
        return super().phase(name, total, unit)


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("user_id,item_id,timestamp,rating\na,x,1,5\na,y,2,4\na,z,3,3\nb,x,4,2\n")
    (tmp_path / "items.csv").write_text("item_id,title\nx,Ex\n")
    return path


@pytest.fixture
def load(raw, tmp_path):
    def load(progress=None, **options):
        values = {"path": str(raw), "format": "csv", "items_path": str(tmp_path / "items.csv"), **options}
        ctx = DatasetContext(progress=progress or Quiet(), cache_dir=tmp_path / "cache")
        return FileDataset(make_config(FileConfig, values, "dataset")).load(ctx)

    return load


def entries(tmp_path):
    return sorted((tmp_path / "cache" / "data").iterdir())


def same(one, other):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert a is b is None or np.array_equal(a, b), field.name
    return True


@pytest.mark.skipif(os.name != "posix", reason="permissions as on POSIX")
def test_other_users_may_read_the_cache_if_the_umask_says_so(load, tmp_path):
    before = os.umask(0o022)
    try:
        load()
    finally:
        os.umask(before)
    (entry,) = entries(tmp_path)
    assert entry.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in entry.iterdir()} == {0o644}


def test_what_a_killed_process_left_beside_an_entry_goes_with_the_next_one(load, tmp_path):
    load()
    (entry,) = entries(tmp_path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = beside(entry)
    for left_over in (mine, mine.with_name(mine.name.replace(f".{os.getpid()}-", f".{gone.pid}-"))):
        left_over.mkdir()
    shutil.rmtree(entry)
    mine.rmdir()

    load()
    assert entries(tmp_path) == [entry]


def test_a_second_load_reads_the_cache_and_gives_the_same_data(load):
    fresh, progress = load(), Notes()
    again = load(progress)
    assert progress.phases == [] and progress.notes == []
    assert same(fresh, again) and again.fingerprint() == fresh.fingerprint()
    assert again.dropped == {"users_below_3": 1, "interactions_of_users_below_3": 1, "users": 1, "interactions": 1}


def test_cached_arrays_are_memory_mapped_and_read_only(load):
    load()
    again = load()
    assert isinstance(again.user, np.memmap) and not again.user.flags.writeable


def test_other_options_and_other_bytes_are_other_entries(load, raw, tmp_path):
    load()
    assert len(load(min_rating=3)) == 3
    raw.write_text(raw.read_text() + "b,y,5,1\nb,z,6,1\n")
    assert load().n_users == 2
    assert len(entries(tmp_path)) == 3


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize("name", ["user.npy", "item_ids.npy", "manifest.json"])
@pytest.mark.parametrize("damage", [truncate, flip, lambda path: path.unlink()], ids=["cut", "flipped", "removed"])
def test_a_damaged_cache_is_rebuilt_and_said_so(load, tmp_path, name, damage):
    fresh, progress = load(), Notes()
    damage(entries(tmp_path)[0] / name)
    assert same(fresh, load(progress))
    assert len(progress.notes) == 1 and "is damaged" in progress.notes[0] and "building it again" in progress.notes[0]
    healed = Notes()
    load(healed)
    assert healed.notes == [] and healed.phases == []


def test_a_count_in_the_manifest_that_has_changed_is_never_read(load, tmp_path):
    fresh, progress = load(), Notes()
    manifest = entries(tmp_path)[0] / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"users_below_3": 1', '"users_below_3": 3'))
    assert load(progress).dropped == fresh.dropped
    assert "its manifest has changed" in progress.notes[0]


def test_a_file_in_the_place_of_an_entry_is_replaced_and_said_once(load, tmp_path):
    fresh, first, second = load(), Notes(), Notes()
    (entry,) = entries(tmp_path)
    shutil.rmtree(entry)
    entry.write_text("")
    assert same(fresh, load(first)) and same(fresh, load(second))
    assert len(first.notes) == 1 and "is damaged" in first.notes[0]
    assert second.notes == [] and second.phases == []


def test_nothing_but_whole_entries_is_left_behind(load, tmp_path):
    load()
    truncate(entries(tmp_path)[0] / "user.npy")
    load()
    assert [entry.name.split("-")[0] for entry in entries(tmp_path)] == ["file"]


def test_a_failed_parse_leaves_no_cache(load, raw, tmp_path):
    raw.write_text("user_id,item_id,timestamp,rating\na,x,noon,1\n")
    with pytest.raises(Exception, match="noon"):
        load()
    assert not (tmp_path / "cache").exists()


def test_an_entry_that_another_process_wrote_first_stays(tmp_path):
    fresh, theirs = tmp_path / "fresh", tmp_path / "entry"
    for folder in (fresh, theirs):
        folder.mkdir()
        (folder / "who").write_text(folder.name)
    cache._install(fresh, theirs)
    assert (theirs / "who").read_text() == "entry"


def test_a_cache_that_cannot_be_written_is_only_a_note(load, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    progress = Notes()
    assert load(progress).n_users == 1
    assert len(progress.notes) == 1 and "could not be cached" in progress.notes[0]


def test_without_a_cache_folder_nothing_is_written(raw, tmp_path):
    before = sorted(tmp_path.iterdir())
    FileDataset(make_config(FileConfig, {"path": str(raw), "format": "csv"}, "dataset")).load(DatasetContext())
    assert sorted(tmp_path.iterdir()) == before
