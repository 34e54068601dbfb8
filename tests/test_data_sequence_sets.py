"""Beauty, Toys and Yelp are the published files, and their statistics the published ones."""

import os
from pathlib import Path

import pytest

from genrec_bench.core.progress import Quiet
from genrec_bench.data import sequence_sets
from genrec_bench.data.sequence_sets import (
    Beauty,
    SequenceSet,
    Toys,
    Yelp,
)
from genrec_bench.data.stats import describe
from genrec_bench.errors import DataError
from genrec_bench.host.contracts import DatasetContext
from genrec_bench.protocol.split import split_data

DATA = os.environ.get("GENREC_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="GENREC_DATA names no folder with the published files")

PUBLISHED = {  # users, items, interactions, training, longest, cold items / validation / test targets
    Beauty: (22_363, 12_101, 198_502, 153_776, 204, 33, 51, 138),
    Toys: (19_412, 11_924, 167_597, 128_773, 550, 48, 100, 279),
    Yelp: (30_431, 20_033, 316_354, 255_492, 350, 14, 27, 73),
}


@needs_data
@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.name)
def test_the_statistics_are_the_published_ones(cls):
    data = cls().load(DatasetContext(data_dir=Path(DATA)))
    told = describe(*split_data(data))
    cold = told["cold"]
    assert PUBLISHED[cls] == (
        told["users"],
        told["items"],
        told["interactions"],
        told["training_interactions"],
        told["length"]["max"],
        cold["items"],
        cold["validation_targets"],
        cold["test_targets"],
    )
    assert told["length"]["min"] == 5 and told["ties"] is None
    assert len(data.item_features) == data.n_items


@needs_data
def test_yelp_repeats_items_and_so_has_a_ceiling_under_mask():
    repeats = describe(*split_data(Yelp().load(DatasetContext(data_dir=Path(DATA)))))["repeats"]
    assert (repeats["users"], repeats["test_targets"]) == (7_102, 2_027)
    assert repeats["mask_ceiling"] == pytest.approx(0.933, abs=5e-4)


@needs_data
def test_the_order_of_the_file_is_kept():
    data = Beauty().load(DatasetContext(data_dir=Path(DATA)))
    first = (Path(DATA) / "Beauty.txt").read_text().splitlines()[1].split()
    assert data.user_ids[1] == first[0]
    assert data.item_ids[data.item[data.user == 1]].tolist() == first[1:]


@needs_data
def test_a_shortened_copy_is_refused(tmp_path):
    lines = (Path(DATA) / "Beauty.txt").read_text().splitlines(keepends=True)
    (tmp_path / "Beauty.txt").write_text("".join(lines[:-3]))
    with pytest.raises(
        DataError, match=r"Beauty.txt: is not the published beauty file: it holds 22,360 of 22,363 users"
    ):
        Beauty().load(DatasetContext(data_dir=tmp_path))


def test_a_garbled_copy_is_refused_with_the_line(tmp_path):
    (tmp_path / "Beauty.txt").write_text("1 2 3\n2\n")
    with pytest.raises(DataError, match=r"Beauty.txt, line 2: user '2' has no items"):
        Beauty().load(DatasetContext(data_dir=tmp_path))


class Small(SequenceSet):
    """A published set that fits on a screen."""

    name, file, counts = "small", "Small", (2, 4, 7)
    sha256 = attributes_sha256 = ""


TEXT = "1 1 2 3\n2 2 1 3 4\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "Small.txt").write_text(TEXT)
    monkeypatch.setattr(Small, "sha256", sequence_sets.file_digest(tmp_path / "Small.txt"))
    return tmp_path


def test_attributes_beside_the_file_become_dense_features(folder):
    (folder / "Small_item2attributes.json").write_text('{"1": [5, 9], "2": [9], "3": [], "4": [7]}')
    data = Small().load(DatasetContext(data_dir=folder))
    assert data.item_ids.tolist() == ["1", "2", "3", "4"]
    assert [row.tolist() for row in data.item_features] == [[0, 2], [2], [], [1]]


def test_without_the_attributes_file_there_are_no_features_and_a_note_says_so(folder):
    class Notes(Quiet):
        said = ""

        def note(self, message):
            self.said += message

    progress = Notes()
    assert Small().load(DatasetContext(data_dir=folder, progress=progress)).item_features is None
    assert "has no item features" in progress.said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"1": [1],\n "2": [', "line 2: is not valid JSON"),
        ("[1, 2]", "does not map items"),
        ('{"1": "ab"}', "does not map items"),
    ],
)
def test_a_garbled_attributes_file_is_refused(folder, content, message):
    (folder / "Small_item2attributes.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Small().load(DatasetContext(data_dir=folder))


def test_a_set_that_is_in_no_folder_is_downloaded_by_its_checksum(folder, tmp_path, monkeypatch):
    (folder / "Small_item2attributes.json").write_text("{}")
    asked = {}

    def download(ctx, url, known_hash, instead):
        asked[url] = known_hash
        return folder / url.rsplit("/", 1)[-1]

    monkeypatch.setattr(sequence_sets, "download", download)
    assert Small().load(DatasetContext(data_dir=tmp_path / "elsewhere")).n_users == 2
    assert list(asked.values()) == [f"sha256:{Small.sha256}", "sha256:"]
    assert all(url.startswith("https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/") for url in asked)


def test_a_garbled_copy_without_attributes_is_one_message(tmp_path):
    class Notes(Quiet):
        def note(self, message):
            raise AssertionError(message)

    (tmp_path / "Beauty.txt").write_text("1 2 3\n2\n")
    with pytest.raises(DataError, match="line 2"):
        Beauty().load(DatasetContext(data_dir=tmp_path, progress=Notes()))
