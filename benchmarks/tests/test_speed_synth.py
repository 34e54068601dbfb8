"""Synthetic data: planted clusters are in it, equal plans give equal files, and bad sizes are one line."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from genrec_speed import synth
from genrec_speed.synth import Plan, synthetic_train, write_synthetic

from genrec_bench.cli.main import cli
from genrec_bench.data.file import FileConfig, FileDataset
from genrec_bench.errors import OutputError, UsageError
from genrec_bench.host.contracts import DatasetContext
from genrec_bench.protocol.split import split_data

SMALL = Plan(users=50, items=30, clusters=4, mean_length=6)


def test_item_clusters_are_even_and_shuffled():
    clusters = Plan(users=1, items=1001, clusters=10).item_clusters
    assert set(np.bincount(clusters)) == {100, 101} and (np.diff(clusters) < 0).any()


@pytest.mark.parametrize(("loyalty", "low", "high"), [(1, 1, 1), (0.8, 0.78, 0.86), (0, 0.02, 0.35)])
def test_users_stay_in_their_cluster_as_often_as_planned(loyalty, low, high):
    plan = Plan(users=500, items=400, clusters=20, mean_length=20, loyalty=loyalty)
    clusters = plan.item_clusters
    shares = [np.bincount(clusters[items]).max() / len(items) for items in synthetic_train(plan).sequences]
    assert low <= np.mean(shares) <= high


def test_every_user_has_the_interactions_that_the_split_needs_and_the_mean_is_kept():
    lengths = synthetic_train(Plan(users=4000, items=10, clusters=2, mean_length=7)).sequences.lengths
    assert lengths.min() >= 3 and lengths.mean() == pytest.approx(7, abs=0.2)


def test_some_items_are_popular():
    counts = np.sort(np.bincount(synthetic_train(Plan(users=2000, items=100, clusters=2)).sequences.values))
    assert counts[-10:].sum() > 0.25 * counts.sum()


def test_the_file_data_set_reads_the_same_interactions_as_are_made_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(synth, "BLOCK", 20)
    counts = write_synthetic(SMALL, tmp_path / "synth.parquet")
    dataset = FileDataset(FileConfig(path=str(tmp_path / "synth.parquet"), format="parquet"))
    data, split = split_data(dataset.load(DatasetContext()))
    assert counts == {"users": split.n_users, "items": split.n_items, "interactions": len(data)}
    number = {int(name): at for at, name in enumerate(data.user_ids)}
    expected = synthetic_train(SMALL).sequences
    for user in range(50):
        assert data.item_ids[split.sequences[number[user]]].astype(int).tolist() == expected[user].tolist()


def test_equal_plans_make_equal_files_and_seeds_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_synthetic(Plan(users=50, items=30, clusters=4, seed=seed), tmp_path / name)
    a, b, c = (pq.read_table(tmp_path / name) for name in "abc")
    assert a == b and a != c


def test_the_planted_clusters_can_be_written_too(tmp_path):
    write_synthetic(SMALL, tmp_path / "events", tmp_path / "truth")
    assert pq.read_table(tmp_path / "truth")["cluster"].to_numpy().tolist() == SMALL.item_clusters.tolist()


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"users": 0}, "users must be from 1"),
        ({"items": 3}, "4 clusters need at least as many items, not 3"),
        ({"clusters": 0}, "clusters must be from 1"),
        ({"mean_length": 2}, "the split needs 3 interactions per user"),
        ({"mean_length": float("nan")}, "not nan"),
        ({"loyalty": 1.5}, "must be a share from 0 to 1"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_an_impossible_plan_is_refused(sizes, said):
    with pytest.raises(UsageError, match=said):
        Plan(**{"users": 50, "items": 30, "clusters": 4, **sizes})


def test_interactions_and_clusters_are_two_files(tmp_path):
    with pytest.raises(OutputError, match="a file each"):
        write_synthetic(Plan(50, 30, 4), tmp_path / "a.parquet", tmp_path / "." / "a.parquet")
    (tmp_path / "here").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="a file each"):
        write_synthetic(Plan(50, 30, 4), tmp_path / "a.parquet", tmp_path / "here" / "a.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["here"]


def test_an_existing_file_is_never_replaced(tmp_path):
    (tmp_path / "file").write_text("file")
    with pytest.raises(OutputError, match="exists already"):
        write_synthetic(SMALL, tmp_path / "synth", tmp_path / "file")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_folders_are_created(tmp_path):
    write_synthetic(SMALL, tmp_path / "a" / "synth", tmp_path / "b" / "truth")
    assert (tmp_path / "a" / "synth").is_file() and (tmp_path / "b" / "truth").is_file()


@pytest.mark.parametrize(("out", "truth"), [("file/synth", None), ("synth", "file/truth")])
def test_a_folder_that_cannot_be_created_is_named_before_anything_is_written(tmp_path, out, truth):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputError, match=r"file/(synth|truth) cannot be written"):
        write_synthetic(SMALL, tmp_path / out, truth and tmp_path / truth)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_an_interrupted_file_leaves_nothing_behind(tmp_path):
    def stop(users):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(SMALL, tmp_path / "synth", tick=stop)
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_wrote(tmp_path):
    words = ["data", "synth", "--users", "20", "--items", "9", "--clusters", "3", "--out", str(tmp_path / "s")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0 and "20 users, " in done.output and " interactions" in done.output
    assert pq.read_metadata(tmp_path / "s").num_rows > 60
