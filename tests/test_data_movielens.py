"""ML-100K is the same whatever its source, and nothing else passes for it."""

import hashlib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from genrec_bench.core.progress import Quiet
from genrec_bench.data import movielens
from genrec_bench.data.movielens import GENRES, MovieLens100K
from genrec_bench.data.stats import describe
from genrec_bench.errors import DataError
from genrec_bench.host.contracts import DatasetContext
from genrec_bench.protocol.split import split_data

RECBOLE = find_spec("recbole")
pytestmark = pytest.mark.skipif(RECBOLE is None, reason="recbole is not installed: it carries ML-100K")


@pytest.fixture(scope="module")
def example():
    """RecBole's own file of events."""
    return Path(RECBOLE.submodule_search_locations[0], "dataset_example", "ml-100k", "ml-100k.inter")


@pytest.fixture(scope="module")
def reference():
    return MovieLens100K().load(DatasetContext())


@pytest.fixture
def no_recbole(monkeypatch):
    monkeypatch.setattr(movielens, "find_spec", lambda name: None)


@pytest.fixture(scope="module")
def grouplens(example, tmp_path_factory):
    """A folder with u.data and u.item, written as GroupLens writes them, from RecBole's files."""
    folder = tmp_path_factory.mktemp("grouplens")
    rows = example.read_text().splitlines()[1:]
    (folder / "u.data").write_text("".join(row + "\n" for row in reversed(rows)))
    lines = []
    for row in example.with_suffix(".item").read_text(encoding="utf-8").splitlines()[1:]:
        item, title, year, genres = row.split("\t")
        name = f"{title} ({year})" if year.isdigit() else "unknown"
        flags = ["1" if genre in genres.split() else "0" for genre in GENRES]
        lines.append("|".join([item, name, "01-Jan-1995", "", "http://example.org", *flags]) + "\n")
    (folder / "u.item").write_bytes("".join(lines).encode("latin-1"))
    return folder


def test_the_recbole_example_is_ml_100k(reference):
    assert (reference.n_users, reference.n_items, len(reference)) == (943, 1682, 100_000)
    assert reference.fingerprint() == "aeb6b9315d4a22f2b41bcc6b0e8494205d5d103dc5a66f242a68fe2d7ad7e611"
    assert reference.dropped == {}


def test_films_have_titles_with_years_and_genres(reference):
    at = {item: number for number, item in enumerate(reference.item_ids.tolist())}
    assert reference.item_titles[at["1"]] == "Toy Story (1995)"
    assert reference.item_titles[at["543"]] == "Misérables, Les (1995)"
    assert reference.item_titles[at["267"]] == "unknown"
    genres = [GENRES[genre] for genre in reference.item_features[at["1"]]]
    assert genres == ["Animation", "Children's", "Comedy"]


@pytest.mark.parametrize("place", ["u.data", "ml-100k/u.data", "ml-100k.inter", "ml-100k/ml-100k.inter"])
def test_a_data_folder_gives_the_same_events_titles_and_genres(
    no_recbole, grouplens, example, reference, tmp_path, place
):
    target = tmp_path / place
    target.parent.mkdir(exist_ok=True)
    source = grouplens / "u.data" if place.endswith("u.data") else example
    items = "u.item" if place.endswith("u.data") else "ml-100k.item"
    target.write_bytes(source.read_bytes())
    (target.parent / items).write_bytes((source.parent / items).read_bytes())
    data = MovieLens100K().load(DatasetContext(data_dir=tmp_path))
    assert data.fingerprint() == reference.fingerprint()
    ours, theirs = split_data(data), split_data(reference)
    assert ours[1].fingerprint == theirs[1].fingerprint
    assert np.array_equal(ours[0].item_titles, theirs[0].item_titles)
    assert np.array_equal(ours[0].item_features.values, theirs[0].item_features.values)


def test_the_downloaded_archive_gives_the_same_events(no_recbole, grouplens, reference, tmp_path, monkeypatch):
    archive = tmp_path / "ml-100k.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for name in ("u.data", "u.item"):
            zipped.write(grouplens / name, f"ml-100k/{name}")
    asked = []
    monkeypatch.setattr(movielens, "download", lambda ctx, url, known_hash, instead: asked.append(url) or archive)
    data = MovieLens100K().load(DatasetContext())
    assert data.fingerprint() == reference.fingerprint()
    assert asked == ["https://files.grouplens.org/datasets/movielens/ml-100k.zip"]


def test_a_missing_titles_file_is_a_note_not_a_failure(no_recbole, grouplens, tmp_path):
    class Notes(Quiet):
        said = ""

        def note(self, message):
            self.said += message

    (tmp_path / "u.data").write_bytes((grouplens / "u.data").read_bytes())
    progress = Notes()
    assert MovieLens100K().load(DatasetContext(data_dir=tmp_path, progress=progress)).item_titles is None
    assert "has no titles" in progress.said


def spoilt(grouplens, tmp_path, change):
    """The message with which a changed u.data is refused."""
    lines = (grouplens / "u.data").read_text().splitlines(keepends=True)
    (tmp_path / "u.data").write_text("".join(change(lines)))
    with pytest.raises(DataError) as caught:
        MovieLens100K().load(DatasetContext(data_dir=tmp_path))
    return str(caught.value)


def test_a_shortened_file_is_refused(no_recbole, grouplens, tmp_path):
    assert "99,990 ratings; ML-100K has 943 users" in spoilt(grouplens, tmp_path, lambda lines: lines[:-10])


def test_a_file_cut_within_a_row_is_refused_with_the_line(no_recbole, grouplens, tmp_path):
    message = spoilt(grouplens, tmp_path, lambda lines: [*lines[:500], "196\t242\n"])
    assert "u.data, line 501: has 2 columns instead of 4" in message


def test_other_events_of_the_same_size_are_refused(no_recbole, grouplens, tmp_path):
    def one_star_more(lines):
        user, item, rating, time = lines[7].split("\t")
        return [*lines[:7], f"{user}\t{item}\t{6 - int(rating)}.5\t{time}", *lines[8:]]

    assert "has the size of ML-100K but other ratings" in spoilt(grouplens, tmp_path, one_star_more)


def test_a_cut_titles_file_is_refused_with_the_line(no_recbole, grouplens, tmp_path):
    (tmp_path / "u.data").write_bytes((grouplens / "u.data").read_bytes())
    (tmp_path / "u.item").write_bytes((grouplens / "u.item").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"u\.item, line 1682: has \d+ columns instead of 24"):
        MovieLens100K().load(DatasetContext(data_dir=tmp_path))


def test_two_thirds_of_the_users_are_cut_at_a_tie(reference):
    facts = describe(*split_data(reference))
    assert facts["ties"]["users"] == 599
    assert facts["length"]["min"] == 20 and facts["length"]["max"] == 737
    assert facts["repeats"]["mask_ceiling"] == 1


def test_the_rating_threshold_and_the_core_apply(reference):
    config = MovieLens100K.Config(min_rating=4, min_interactions=5)
    data = MovieLens100K(config).load(DatasetContext())
    assert data.rating.min() == 4
    assert min(np.bincount(data.user).min(), np.bincount(data.item).min()) >= 5
    assert data.dropped["interactions_below_min_rating"] == int((reference.rating < 4).sum())


def test_the_note_on_the_raw_file_is_true(example):
    assert hashlib.sha256(example.read_bytes()).hexdigest() in Path(movielens.__file__).read_text()


def test_a_file_given_but_not_read_is_said(grouplens):
    class Notes(Quiet):
        said = ()

        def note(self, message):
            self.said += (message,)

    progress = Notes()
    MovieLens100K().load(DatasetContext(data_dir=grouplens, progress=progress))
    (said,) = progress.said
    assert "u.data is not read" in said and "recbole" in said
