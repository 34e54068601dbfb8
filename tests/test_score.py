"""Lists made elsewhere: scored like any system's, named by who made them, refused with the fault's name."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from example_records import edit

from genrec_bench.cli.main import cli
from genrec_bench.data.loading import load_dataset
from genrec_bench.errors import (
    DataError,
    OutputError,
    RecordError,
    UsageError,
)
from genrec_bench.leaderboard.rows import boards
from genrec_bench.runs import inputs as run_inputs
from genrec_bench.runs import run as runner
from genrec_bench.runs.external import plan_of, rescore
from genrec_bench.runs.lists import read_lists
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.spec import ResolvedSpec, RunSpec
from genrec_bench.runs.verify import verify


@pytest.fixture
def settings(planted_file):
    return {"dataset.path": str(planted_file), "dataset.format": "sequence"}


@pytest.fixture
def popular(tmp_path, settings):
    """A finished run of ours, whose lists play somebody else's: `record`, and rows by policy."""
    spec = RunSpec(dataset="file", baseline="popularity", task="sequential", set=settings)
    record = runner.run(spec, out=tmp_path / "ours")
    kept = read_lists(tmp_path / "ours" / record.spec_id / "lists.parquet")

    def rows(policy):
        return [
            {"user": str(user), "item": item, "rank": place}
            for user in kept[policy].users
            for place, (item, _) in enumerate(kept[policy].of(str(user)), 1)
        ]

    return record, {"mask": rows("mask"), "keep": rows("keep")}


@pytest.fixture
def score(tmp_path, settings):
    """Scores rows as a file of lists."""

    def scored(rows, suffix=".csv", force=False, **told):
        path = tmp_path / f"lists{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
        asked = {"name": "Popular (elsewhere)", "dataset": "file", "task": "sequential", "settings": settings, **told}
        return rescore(path, plan_of(**asked), out=tmp_path / "runs", force=force)

    return scored


@pytest.fixture
def score_text(tmp_path, settings):
    """Scores a text as a file of lists."""

    def scored(name, text, **told):
        (tmp_path / name).write_text(text)
        asked = {"name": f"Popular ({name})", "dataset": "file", "task": "sequential", "settings": settings, **told}
        return rescore(tmp_path / name, plan_of(**asked), out=tmp_path / "runs")

    return scored


def folder_of(tmp_path, record):
    return tmp_path / "runs" / record.spec_id


def accuracy(metrics):
    return {key: value for key, value in metrics.items() if key != "tie_gap"}


def ranked(record, rows):
    """The metrics that untied ranks give: ours of popularity tie, so they are not those of its record."""
    data, split = run_inputs.load_data(ResolvedSpec.from_dict(record.spec))
    places = {(row["user"], row["item"]): row["rank"] for row in rows}
    users, targets = data.user_ids[split.test.user], data.item_ids[split.test.target]
    return [places.get((str(user), str(item)), 0) for user, item in zip(users, targets, strict=True)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_the_ranks_of_a_file_are_the_ranks_of_the_record(popular, score, suffix):
    _, rows = popular
    record = score(rows["mask"], suffix)
    assert record.ranks["mask"] == ranked(record, rows["mask"])
    assert record.tier == "re-scored"
    assert record.system == "Popular (elsewhere)"
    assert set(record.components) == {"dataset"}


def test_scores_order_the_items_and_equal_ones_tie_as_ours_do(popular, score, tmp_path):
    ours, _ = popular
    kept = read_lists(tmp_path / "ours" / ours.spec_id / "lists.parquet")["mask"]
    rows = [
        {"user_id": str(user), "item_id": item, "score": value}
        for user in kept.users
        for item, value in kept.of(str(user))
    ]
    record = score(rows[::-1])
    assert record.metrics["mask"] == ours.metrics["mask"]
    assert record.validity == ours.validity


def test_scores_that_differ_in_double_precision_only_are_no_tie(popular, score):
    rows = [{"user": row["user"], "item": row["item"], "score": 1 - 1e-12 * row["rank"]} for row in popular[1]["mask"]]
    assert np.float32(rows[0]["score"]) == np.float32(rows[1]["score"])
    record = score(rows)
    assert record.ranks["mask"] == ranked(record, popular[1]["mask"])
    assert record.metrics["mask"]["tie_gap"] == 0


def scores_of(rows, by=lambda row: 1 / row["rank"]):
    """`{user: {item: score}}`, its items in no order that says anything."""
    lists: dict = {}
    for row in sorted(rows, key=lambda row: row["item"]):
        lists.setdefault(row["user"], {})[row["item"]] = by(row)
    return lists


def test_an_object_of_scores_for_each_user_is_read_as_ranx_and_pytrec_eval_write_it(popular, score_text):
    rows = popular[1]["mask"]
    lists = scores_of(rows)
    record = score_text("run.json", json.dumps(lists))
    assert record.ranks["mask"] == ranked(record, rows)
    lines = "".join(json.dumps({user: items}) + "\n" for user, items in lists.items())
    assert score_text("run.jsonl", lines).ranks == record.ranks
    every = {
        user: {f"i{item}": score for item, score in enumerate((2, 1))} for user in lists
    }  # all fields in all objects
    with pytest.raises(DataError, match="2 items are not in the data: 'i0', 'i1'"):
        score_text("every.json", json.dumps(every))


@pytest.mark.parametrize("name", ["large.jsonl", "large.csv", "large.json", "large.trec", "floats.jsonl"])
def test_scores_too_large_to_be_exact_are_refused_alike_in_every_form(popular, score_text, name):
    rows = [{**row, "score": 10**17 - row["rank"]} for row in popular[1]["mask"]]
    texts = {
        "large.jsonl": "".join(json.dumps({key: row[key] for key in ("user", "item", "score")}) + "\n" for row in rows),
        "large.csv": "user,item,score\n" + "".join(f"{row['user']},{row['item']},{row['score']}\n" for row in rows),
        "large.json": json.dumps(scores_of(rows, lambda row: row["score"])),
        "large.trec": "".join(f"{row['user']} Q0 {row['item']} {row['rank']} {row['score']} t\n" for row in rows),
    }
    texts["floats.jsonl"] = texts["large.jsonl"].replace("}", ".0}")
    with pytest.raises(
        DataError, match=r"(line|row) [12]: the score .* is too large to be exact \(2\*\*53 or more\); give ranks"
    ):
        score_text(name, texts[name])


def test_large_scores_that_are_exact_order_the_items(popular, score):
    rows = [{"user": row["user"], "item": row["item"], "score": 2**53 - row["rank"]} for row in popular[1]["mask"]]
    for suffix in (".csv", ".parquet"):
        record = score(rows, suffix, name=suffix)
        assert record.ranks["mask"] == ranked(record, popular[1]["mask"])


@pytest.mark.parametrize("ranks", ["contradict", "agree", "constant", "words"])
def test_ranks_of_a_trec_run_that_contradict_its_scores_are_told_and_the_scores_count(
    popular, score_text, tmp_path, ranks
):
    rows, first = popular[1]["mask"], popular[1]["mask"][0]["user"]
    of = {
        "contradict": lambda row: 100 - row["rank"] if row["user"] == first else row["rank"],
        "agree": lambda row: row["rank"] - 1,
        "constant": lambda row: 1,
        "words": lambda row: "x",
    }[ranks]
    text = "".join(f"{row['user']}\tQ0\t{row['item']}\t{of(row)}\t{1 / row['rank']}\ttag\n" for row in rows)
    record = score_text("a.run", text)
    assert record.ranks["mask"] == ranked(record, rows)
    users = len(record.ranks["mask"])
    told = [f"1 of {users} users have ranks that contradict their scores; the scores count, as in trec_eval"]
    assert [warning for warning in record.warnings if "contradict" in warning] == (
        told if ranks == "contradict" else []
    )
    assert verify(folder_of(tmp_path, record)).ok


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"u": {"i1": 3, "i2": 4}, "v": {"i3": 5, "i4": 6}}',
            "not a text or number; give a list of ids, or a row for each",
        ),
        (
            '{"u": [["i1", 3], ["i2", 4]]}',
            "the value holds lists where ids are expected; give one list of ids, or a row",
        ),
    ],
)
def test_pairs_that_are_no_histories_are_refused_with_a_short_reason(tmp_path, text, message):
    (tmp_path / "pairs.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(str(tmp_path / "pairs.json"))
    assert len(str(caught.value)) < 250 + len(str(tmp_path))


def test_mask_lists_have_no_keep_numbers(popular, score):
    record = score(popular[1]["mask"])
    assert set(record.metrics) == set(record.ranks) == {"mask"}


def test_keep_lists_are_scored_both_ways_and_a_shortened_list_stays_short(popular, score):
    _, rows = popular
    top = [row for row in rows["keep"] if row["rank"] <= 25]
    record = score(top, policy="keep")
    assert set(record.metrics) == {"mask", "keep"}
    assert record.ranks["keep"] == ranked(record, top)
    whole = score(rows["keep"], policy="keep", name="all of it")
    assert record.validity["fill@20"] < whole.validity["fill@20"]


@pytest.mark.parametrize("policy", ["mask", "keep"])
def test_the_record_is_verified_like_any_other(popular, score, tmp_path, policy):
    record = score(popular[1][policy], policy=policy)
    report = verify(folder_of(tmp_path, record))
    assert [comparison for comparison in report.comparisons if not comparison.ok] == []


def test_only_lists_made_elsewhere_are_re_scored_and_they_always_are(popular, score, tmp_path):
    ours, rows = popular
    theirs = score(rows["keep"], policy="keep")
    for record, tier in ((ours, "re-scored"), (theirs, None)):
        replace(record, tier=tier).write(tmp_path / "edited")
        with pytest.raises(RecordError, match="tier"):
            RunRecord.read(tmp_path / "edited")


def test_seeds_of_one_system_are_one_row_under_its_name(popular, score):
    ours, rows = popular
    records = [score(rows["mask"], seed=seed) for seed in (0, 1)]
    (board,) = boards([ours, *records])
    assert {(row.system, row.seeds) for row in board.rows} == {("popularity", 1), ("Popular (elsewhere)", 2)}
    assert {row.system for row in board.rows if row.hardware} == {"popularity"}
    (board,) = boards([ours, *records], policy="keep")
    assert [row.system for row in board.rows] == ["popularity"]
    assert "no lists of policy keep" in board.refused[0]


def test_the_same_file_is_scored_once_and_another_of_that_name_is_refused(popular, score, tmp_path):
    rows = popular[1]["mask"]
    first = score(rows)
    assert score(rows) == first
    fewer = [row for row in rows if row["rank"] < 5]
    with pytest.raises(OutputError, match="another --name, another --seed, or replace them with --force"):
        score(fewer)
    assert score(fewer, force=True).metrics != first.metrics


def test_short_lists_are_warned_of(popular, score):
    (warning,) = score([row for row in popular[1]["mask"] if row["rank"] <= 10]).warnings
    assert "end after 10 items" in warning
    assert "at 20" in warning


def test_users_whose_lists_are_shorter_than_others_are_counted(popular, score, tmp_path):
    rows = popular[1]["mask"]
    whole = rows[0]["user"]
    record = score([row for row in rows if row["rank"] <= 10 or row["user"] == whole])
    (warning,) = record.warnings
    assert (
        f"{len(record.ranks['mask']) - 1} of {len(record.ranks['mask'])} users have a list of fewer than 20 items"
        in warning
    )
    assert verify(tmp_path / "runs" / record.spec_id).ok


def test_users_without_a_list_are_refused_or_counted_as_missed(popular, score):
    rows = popular[1]["mask"]
    gone = rows[0]["user"]
    rest = [row for row in rows if row["user"] != gone]
    with pytest.raises(DataError, match=rf"1 of \d+ test users have no list: '{gone}'; .*--allow-missing"):
        score(rest)
    record = score(rest, allow_missing=True)
    assert len(record.ranks["mask"]) == len(score(rows, name="whole").ranks["mask"])
    assert "1 of" in record.warnings[-1]


@pytest.mark.parametrize("policy", ["mask", "keep"])
def test_what_short_and_missing_lists_warn_of_is_verified(popular, score, tmp_path, policy):
    rows = popular[1][policy]
    some = [row for row in rows if row["rank"] <= 10 and row["user"] != rows[0]["user"]]
    record = score(some, allow_missing=True, policy=policy)
    folder = tmp_path / "runs" / record.spec_id
    assert len(record.warnings) == 2
    assert verify(folder).ok
    edit(folder, "warnings", value=record.warnings[:1])
    assert [comparison.name for comparison in verify(folder).comparisons if not comparison.ok] == ["warnings"]


def changed(**values):
    """Changes the first row."""
    return lambda rows: [{**rows[0], **values}, *rows[1:]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (changed(user="nobody"), "1 user is not in the data: 'nobody'; use the data's own ids"),
        (changed(item="nothing"), "1 item is not in the data: 'nothing'"),
        (lambda rows: [{**row, "item": f"x{n}"} for n, row in enumerate(rows)], "items are not in the data: 'x0', 'x1', 'x2', ...;"),
        (lambda rows: [{**rows[0], "rank": rows[-1]["rank"] + 1, "user": rows[-1]["user"], "item": rows[-1]["item"]}, *rows[1:]], "gaps or repeats"),
        (lambda rows: rows[1:], r"ranks with gaps or repeats \(1 user\): user '\w+' has rank 2, but no rank 1; number"),
        (lambda rows: [row for row in rows if row["rank"] != 9], "has rank 10, but no rank 9"),
        (changed(rank=2), "gaps or repeats .* has rank 2, but no rank 1"),
        (lambda rows: [{**row, "rank": row["rank"] - 1} for row in rows], "has rank 0.*number each user's items 1, 2, 3"),
        (lambda rows: [{**row, "rank": min(row["rank"], 19)} for row in rows], "has rank 19 twice.*number each"),
        (changed(rank=1.5), "not a whole number"),
        (lambda rows: [{**rows[0], "item": rows[1]["item"]}, *rows[1:]], r"an item listed a second time for one user \(1 row\): user"),
        (lambda rows: [{**row, "score": row["rank"]} for row in rows], "rise along the ranks"),
        (lambda rows: [{"user": row["user"], "item": row["item"]} for row in rows], "need the columns user, item, and rank"),
        (lambda rows: [{"user": row["user"], "item": row["item"], "score": "nan"} for row in rows], "finite"),
    ],
)  # fmt: skip
def test_lists_that_do_not_fit_are_refused_by_name(popular, score, tmp_path, spoil, message):
    with pytest.raises(DataError, match=message) as caught:
        score(spoil(popular[1]["mask"]))
    assert "lists.csv" in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_mask_lists_with_the_users_own_items_are_refused(popular, score):
    with pytest.raises(
        DataError,
        match=r"an item that the user already has in training or validation \(\d+ rows\): user '.*': item '.*--policy keep",
    ):
        score(popular[1]["keep"])


@pytest.mark.parametrize(
    "name", ["popularity", " ", "a\nb", "sasrec-bpr", "sci / lightlm / trie", "gci / p5 (scratch) / exact"]
)
def test_a_name_says_who_made_the_lists(name, settings):
    with pytest.raises(UsageError, match="--name"):
        plan_of(name=name, dataset="file", task="direct", settings=settings)


def test_another_kind_of_file_is_refused(tmp_path, settings):
    spec = plan_of(name="n", dataset="file", task="direct", settings=settings)
    (tmp_path / "lists.npz").write_text("")
    with pytest.raises(DataError, match="is empty"):
        rescore(tmp_path / "lists.npz", spec, out=tmp_path)


def test_the_command_prints_the_table_under_the_name(popular, tmp_path, settings):
    pq.write_table(pa.Table.from_pylist(popular[1]["mask"]), tmp_path / "lists.parquet")
    words = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    told = ["--dataset", "file", "--task", "sequential", "--name", "Theirs", "--out", str(tmp_path / "runs"), *words]
    done = CliRunner().invoke(cli, ["score", str(tmp_path / "lists.parquet"), *told])
    assert done.exit_code == 0, done.stderr
    assert "Theirs" in done.stdout
    assert "Theirs: " not in done.stdout  # nothing is known of how they were made
    lost = CliRunner().invoke(cli, ["score", str(tmp_path / "lost.csv"), *told])
    assert lost.exit_code == 1
    assert lost.stderr.startswith("DataError: ")
    assert lost.stderr.count("\n") == 1
    assert "--data-dir" not in lost.stderr
