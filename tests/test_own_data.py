"""One's own data in one line: by path, under a name, out again for other tools, and with its losses told."""

import errno
import json
import re
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from genrec_bench.cli.main import cli
from genrec_bench.core.losses import heavy_loss, loss
from genrec_bench.core.printable import printable, printable_cell
from genrec_bench.data.loading import load_dataset
from genrec_bench.errors import ConfigError, DataError, UsageError
from genrec_bench.protocol.split import split_data
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import RunSpec
from genrec_bench.runs.verify import verify


def genrec(*words):
    return CliRunner().invoke(cli, list(map(str, words)))


def write(path, users=12, shift=0, mark=""):
    """Users with six interactions each, and one user with a single one."""
    rows = [
        (f"u{user}", f"{mark}i{(user + 2 * step + shift) % 9}", 60 * step) for user in range(users) for step in range(6)
    ]
    lines = [",".join(map(str, row)) for row in [("visitor", "item_id", "time"), *rows, ("once", f"{mark}i0", 1)]]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


@pytest.fixture
def clicks(tmp_path):
    return write(tmp_path / "clicks.csv")


def test_a_path_is_the_data_set_file(clicks):
    spec = RunSpec(dataset=str(clicks), baseline="popularity")
    assert (spec.dataset, spec.options["dataset"]["path"]) == ("file", str(clicks))
    assert RunSpec(dataset="beauty", baseline="popularity").options == {}
    with pytest.raises(ConfigError, match="give one of them"):
        RunSpec(dataset="a.csv", baseline="popularity", set={"dataset.path": "b.csv"})


def test_a_run_takes_a_path_and_tells_columns_and_losses(clicks, tmp_path):
    done = genrec(
        "run", "--dataset", clicks, "--baseline", "popularity", "--task", "sequential", "--out", tmp_path / "runs"
    )
    assert done.exit_code == 0, done.stderr
    assert "user = visitor, item = item_id, time = time" in done.stderr
    assert "1 of 13 users (8%)" in done.stderr and "warning" not in done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    record = RunRecord.read(folder)
    assert record.data["read_as"]["columns"] == "user = visitor, item = item_id, time = time" and record.warnings == []
    assert "1 of 13 users (8%)" in genrec("leaderboard", folder).stdout


def test_a_loss_above_a_tenth_is_a_warning_that_verify_computes_again(tmp_path):
    path = write(tmp_path / "few.csv", users=4)
    done = genrec(
        "run", "--dataset", path, "--baseline", "popularity", "--task", "sequential", "--out", tmp_path / "runs"
    )
    assert "warning: 1 of 5 users (20%)" in done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert "users with fewer than 3 interactions: 1" in RunRecord.read(folder).warnings[0]
    assert [comparison for comparison in verify(folder).comparisons if not comparison.ok] == []


def test_times_that_order_nothing_are_a_warning(tmp_path):
    path = write(tmp_path / "once.csv")
    path.write_text(re.sub(r",\d+$", ",7", path.read_text(), flags=re.M))
    done = genrec(
        "run", "--dataset", path, "--baseline", "popularity", "--task", "sequential", "--out", tmp_path / "runs"
    )
    (folder,) = (tmp_path / "runs").iterdir()
    assert "every user's last events have equal times" in RunRecord.read(folder).warnings[0]
    assert "every user's last events have equal times" in done.stdout and verify(folder).ok


def test_an_archive_is_a_file_and_not_the_name_of_a_data_set(tmp_path):
    with zipfile.ZipFile(tmp_path / "clicks.zip", "w") as archive:
        archive.writestr("clicks.csv", "user,item\n")
    done = genrec("run", "--dataset", tmp_path / "clicks.zip", "--baseline", "popularity")
    assert done.exit_code == 1 and "unpack it and give the file inside" in done.stderr


def test_nothing_lost_is_nothing_said():
    facts = {"users": 9, "items": 9, "interactions": 90, "dropped": {}}
    assert loss(facts) == "" and not heavy_loss(facts)
    assert heavy_loss({**facts, "dropped": {"items": 2}}) and not heavy_loss({**facts, "dropped": {"items": 1}})


def test_an_added_data_set_has_its_own_name_until_its_file_changes(clicks, tmp_path):
    added = genrec("data", "add", "shop", clicks, "--user", "visitor")
    assert added.exit_code == 0, added.stderr
    assert "user = visitor, item = item_id, time = time" in added.stderr and "1 of 13 users (8%)" in added.stderr
    assert "shop" in genrec("data").stdout
    assert load_dataset("shop").fingerprint() == load_dataset(str(clicks)).fingerprint()
    done = genrec(
        "run", "--dataset", "shop", "--baseline", "popularity", "--task", "sequential", "--out", tmp_path / "runs"
    )
    assert done.exit_code == 0 and "shop, sequential task" in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert RunRecord.read(folder).spec["dataset"] == "shop" and verify(folder).ok

    assert "has been added before" in genrec("data", "add", "shop", clicks).stderr
    write(clicks, shift=1)
    with pytest.raises(DataError, match="has changed since it was added as shop"):
        load_dataset("shop")
    assert genrec("data", "add", "shop", clicks, "--force").exit_code == 0
    assert load_dataset("shop").n_users == 12

    assert genrec("data", "remove", "shop").exit_code == 0
    assert "shop" not in genrec("data").stdout and clicks.exists()
    again = genrec("data", "remove", "shop")
    assert again.exit_code == 2 and "none has been added" in again.stderr


@pytest.mark.parametrize(
    ("name", "message"), [("beauty", "is named 'beauty' already"), ("a/b", "cannot be named 'a/b'")]
)
def test_a_name_that_is_none_or_taken_is_refused(clicks, name, message):
    assert message in genrec("data", "add", name, clicks).stderr


def test_a_file_that_cannot_be_read_is_not_added(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\nc,d\n")
    assert "no column is known to be the user" in genrec("data", "add", "shop", path).stderr
    assert "shop" not in genrec("data").stdout


@pytest.mark.parametrize("form", ["parquet", "recbole"])
def test_the_exported_parts_are_the_protocols_split(clicks, tmp_path, form):
    done = genrec("data", "export", clicks, "--split", "--format", form, "--to", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    names = ["train.parquet", "validation.parquet", "test.parquet"]
    names = names if form == "parquet" else [f"clicks.{part}.inter" for part in ("train", "valid", "test")]
    assert [line.rpartition("/")[2] for line in done.stdout.split()] == names

    data, split = split_data(load_dataset(str(clicks)))
    expected = {
        str(data.user_ids[user]): str(data.item_ids[item])
        for user, item in zip(split.test.user, split.test.target, strict=True)
    }
    last = tmp_path / "out" / names[-1]
    rows = (
        pq.read_table(last).to_pylist()
        if form == "parquet"
        else [line.split("\t") for line in last.read_text().splitlines()[1:]]
    )
    assert dict(list(row.values() if form == "parquet" else row)[:2] for row in rows) == expected
    if form == "recbole":
        assert load_dataset(str(tmp_path / "out" / names[0])).fingerprint() == data.fingerprint()


def test_times_fit_into_recboles_floats(tmp_path):
    path = tmp_path / "days.csv"
    path.write_text("user,item,date\n" + "".join(f"u,i{day},2024-01-0{day}\n" for day in range(1, 5)))
    genrec("data", "export", path, "--format", "recbole", "--to", tmp_path)
    assert (tmp_path / "days.inter").read_text().splitlines()[1].endswith("\t1704067200")


def test_a_full_disk_is_named_by_export(clicks, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "Error writing bytes to file")

    monkeypatch.setattr(pq, "write_table", full)
    done = genrec("data", "export", clicks, "--to", tmp_path / "out")
    assert done.exit_code == 1
    assert "OutputError: no space left on the disk that holds " in done.stderr and "kept" not in done.stderr


def test_an_export_without_times_counts_positions(tmp_path):
    (tmp_path / "s.txt").write_text("a x y z\nb z y x w\n")
    genrec("data", "export", tmp_path / "s.txt", "--to", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "interactions.parquet")
    assert table.column_names == ["user_id", "item_id", "position"] and table["position"].to_pylist()[:3] == [0, 1, 2]


def test_recommend_refuses_the_history_of_another_file(clicks, tmp_path):
    genrec("run", "--dataset", clicks, "--baseline", "popularity", "--task", "sequential", "--out", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    assert genrec("recommend", folder, "--user", " u3 ").exit_code == 0
    write(clicks, shift=1)
    done = genrec("recommend", folder, "--user", "u3")
    assert (done.exit_code, done.stdout) == (1, "") and "is not the one of this run" in done.stderr


def test_control_and_direction_characters_never_reach_the_terminal(tmp_path):
    path = write(tmp_path / "esc.csv", mark="\x1b[31m\u202e")
    genrec("run", "--dataset", path, "--baseline", "popularity", "--task", "sequential", "--out", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    for words in (["recommend", folder, "--user", "u3"], ["recommend", folder, "--user", "u3", "--json"]):
        out = genrec(*words).output
        assert "\x1b" not in out and "\u202e" not in out and "\\u001b[31m" in out
    items = json.loads(genrec("recommend", folder, "--user", "u3", "--json").stdout)["recommended"]
    assert items[0]["item"].startswith("\x1b[31m\u202e")


def test_what_is_spelled_out_and_what_is_not():
    assert printable("a\tb\nc\x07\u2066é👩\u200d🚀") == "a\tb\nc\\u0007\\u2066é👩\u200d🚀"
    assert printable_cell("a\nb\tc") == "a\\u000ab\\u0009c"


def listed(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.fixture
def ranked(clicks, tmp_path):
    """Scores a file of lists, and gives the record's ranks."""

    def score(path, *words):
        out = tmp_path / f"scored-{path.name}"
        told = ["--dataset", clicks, "--task", "sequential", "--name", "M", "--policy", "keep", "--out", out, *words]
        done = genrec("score", path, *told)
        assert done.exit_code == 0, done.stderr
        (folder,) = out.iterdir()
        return RunRecord.read(folder).ranks["keep"]

    return score


LISTS = {f"u{user}": [f"i{(user * user + step) % 9}" for step in range(9)] for user in range(12)}
ROWS = [(user, item, rank) for user, items in LISTS.items() for rank, item in enumerate(items, 1)]


def test_lists_of_all_forms_have_the_same_ranks(tmp_path, ranked):
    expected = ranked(listed(tmp_path, "a.csv", "user,item,rank\n" + "".join(f"{u},{i},{r}\n" for u, i, r in ROWS)))
    assert len(set(expected)) > 1
    trec = "".join(f"{u} Q0 {i} {r - 1} {1 / r} tag\n" for u, i, r in ROWS)
    assert ranked(listed(tmp_path, "trec.run", trec)) == expected
    tabs = "".join(f"{u}\tQ0\t{i}  {r}\t {1 / r} tag\n" for u, i, r in ROWS)  # any white space, as in trec_eval
    assert ranked(listed(tmp_path, "tabs.trec", tabs)) == ranked(listed(tmp_path, "tabs.txt", tabs)) == expected
    assert ranked(listed(tmp_path, "lists.json", json.dumps(LISTS))) == expected
    lines = "".join(json.dumps({user: items}) + "\n" for user, items in LISTS.items())
    assert ranked(listed(tmp_path, "lines.jsonl", lines)) == expected
    elliot = listed(tmp_path, "elliot.tsv", "".join(f"{u}\t{i}\t{1 / r}\n" for u, i, r in ROWS))
    assert ranked(elliot, "--columns", "user,item,score") == expected
    pq.write_table(pa.table({"user_id": list(LISTS), "items": list(LISTS.values())}), tmp_path / "l.parquet")
    assert ranked(tmp_path / "l.parquet") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,user_id,item,rank\n1,u1,i1,1\n", "2 columns may be the user: user, user_id. Keep one"),
        ("u1\ti1\t0.5\nu1\ti2\t0.4\n", "the first line is a row, not a header"),
        ("who,item,rank\nu1,i1,1\n", "no column is known to be the user"),
    ],
)
def test_lists_with_a_doubt_are_refused(clicks, tmp_path, text, message):
    path = listed(tmp_path, "lists.tsv", text)
    done = genrec("score", path, "--dataset", clicks, "--task", "sequential", "--name", "M", "--out", tmp_path / "runs")
    assert done.exit_code == 1 and message in done.stderr and done.stderr.splitlines()[-1].startswith("DataError")


def test_float_ids_in_the_data_are_the_ids_of_the_lists(tmp_path):
    ids = [float(n) for n in np.repeat(np.arange(8) + 108_775_015_000, 4)]
    table = {"user_id": ids, "item_id": [f"i{n % 9}" for n in range(32)], "timestamp": list(range(32))}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    rows = "".join(f"{int(user)},i{n},{n + 1}\n" for user in sorted(set(ids)) for n in range(9))
    path = listed(tmp_path, "lists.csv", f"user_id,item_id,rank\n{rows}")
    words = ["--dataset", tmp_path / "a.parquet", "--task", "sequential", "--name", "M", "--policy", "keep"]
    assert genrec("score", path, *words, "--out", tmp_path / "runs").exit_code == 0


def test_an_added_name_is_never_overwritten_in_silence(tmp_path):
    from genrec_bench.host import added

    added.write("shop", {}, "1", replace=False)
    with pytest.raises(UsageError, match="--force"):
        added.write("shop", {}, "2", replace=False)
    assert added.read("shop")["sha256"] == "1"
