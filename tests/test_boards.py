"""Published boards: what gets in, what they say, and that the same records give the same bytes."""

from __future__ import annotations

import csv
import errno
import io
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from example_records import RANKS, baseline_spec, edit, failed, finished, generator_spec

from genrec_bench import load_board
from genrec_bench.cli.main import cli
from genrec_bench.cli.run import build_spec, run
from genrec_bench.errors import RecordError
from genrec_bench.leaderboard.claims import claims_of
from genrec_bench.leaderboard.columns import COLUMNS
from genrec_bench.leaderboard.facts import command
from genrec_bench.leaderboard.publish import add, build
from genrec_bench.leaderboard.records import machine_paths
from genrec_bench.leaderboard.renderers import html
from genrec_bench.leaderboard.renderers.data import board_csv
from genrec_bench.leaderboard.renderers.markdown import excerpt, front_page, readme
from genrec_bench.leaderboard.rows import tier_of
from genrec_bench.leaderboard.standings import standings
from genrec_bench.protocol.ranks import ranks_digest
from genrec_bench.runs.record import RESCORED, RunRecord
from genrec_bench.runs.spec import LISTS

ROOT = Path(__file__).resolve().parents[1] / "leaderboards"
DIRECT = Path("loo-full-1", "direct", "ml-100k")
BETTER = (1, 1, 1, 2, 1, 1, 3, 1, 1, 0)  # below the ceiling of .9
MANY = 40  # times the ten users of the example records


def baseline(name: str = "item-counts", ranks=RANKS, seed: int = 0, **changes) -> RunRecord:
    return finished(baseline_spec(baseline=name, seed=seed), ranks, parameters={}, **changes)


def genrec(*words: object):
    return CliRunner().invoke(cli, ["leaderboard", *map(str, words)])


def put(folder: Path, *records: RunRecord) -> list[Path]:
    places = [folder / record.spec_id for record in records]
    for place, record in zip(places, records, strict=True):
        record.write(place)
    return places


@pytest.fixture
def board(tmp_path) -> Path:
    """A folder of boards with one board of two baselines and a generator."""
    root = tmp_path / "leaderboards"
    runs = put(tmp_path / "runs", finished(), baseline(), baseline("popularity", (9, 3, 0, 12, 4, 0, 0, 2, 7, 0)))
    assert len(add(runs, root, pytest.fail, check=False)) == 3
    return root


def built(root: Path) -> dict[str, bytes]:
    build(root, pytest.fail)
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_board_has_a_readme_a_table_and_a_page_beside_its_records(board) -> None:
    files = built(board)
    assert {
        "README.md",
        "index.html",
        *(str(DIRECT / name) for name in ("README.md", "table.csv", "index.html")),
    } <= set(files)
    rows = list(csv.DictReader(io.StringIO(files[str(DIRECT / "table.csv")].decode())))
    assert {row["policy"] for row in rows} == {"mask", "keep"}
    (row,) = (row for row in rows if row["system"] == "sci / lightlm / trie" and row["policy"] == "mask")
    assert float(row["ndcg@10_low"]) < float(row["ndcg@10"]) < float(row["ndcg@10_high"])
    assert row["tier"] == "run"


def test_the_same_records_give_the_same_bytes_in_any_order(board, tmp_path) -> None:
    again = tmp_path / "again"
    runs = sorted((tmp_path / "runs").iterdir(), reverse=True)
    add(runs, again, pytest.fail, check=False)
    assert built(board) == built(board) == built(again)


def test_mandatory_rows_that_nobody_has_run_are_dashes(board) -> None:
    text = built(board)[str(DIRECT / "README.md")].decode()
    line = next(line for line in text.splitlines() if line.startswith("| lightgcn"))
    assert set(line.split("|")[2:-1]) == {" – "}  # noqa: RUF001
    assert "without a run on this board: id-canary, bpr, lightgcn, simplex" in text


def test_numbers_are_computed_from_the_ranks_not_read(tmp_path) -> None:
    record = baseline(ranks=RANKS * MANY)
    nudged = {policy: {**values, "ndcg@10": values["ndcg@10"] + 5e-10} for policy, values in record.metrics.items()}
    (row,) = standings([replace(record, metrics=nudged)], "mask").rows
    assert row.metrics["ndcg@10"] == record.metrics["mask"]["ndcg@10"]


def test_a_copied_record_holds_its_ranks_and_not_who_made_it(tmp_path) -> None:
    (place,) = put(tmp_path / "runs", baseline())
    for policy in ("mask", "keep"):
        np.save(place / f"{policy}.npy", np.array(RANKS))
        edit(place, "ranks", policy, value=f"{policy}.npy")
    edit(place, "fingerprints", "ranks", value=ranks_digest(dict.fromkeys(("mask", "keep"), RANKS)))
    (file,) = add([place], tmp_path / "boards", pytest.fail, check=False)
    record = RunRecord.read(file)
    assert record.ranks == {"mask": list(RANKS), "keep": list(RANKS)}
    assert record.process == {}


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (["metrics", "mask", "ndcg@10"], 0.4, "that its ranks give"),
        (["metrics", "mask", "hit@5"], 0.99, "above hit@10"),
        (["data", "mask_ceiling"], 0.1, "above the reachable ceiling"),
        (["spec", "protocol"], "loo-full/9", "ran under protocol loo-full/9"),
        (["spec", "seed"], 7, "it was edited"),
        (["warnings"], ["weights of /home/me/weights.bin"], "names a path that exists on its machine only"),
    ],
)
def test_a_run_that_no_board_can_show_is_not_added_and_named(tmp_path, keys, value, said) -> None:
    (place,) = put(tmp_path / "runs", baseline())
    edit(place, *keys, value=value)
    done = genrec("add", place, "--to", tmp_path / "boards", "--no-verify")
    assert done.exit_code == 1 and done.stdout == ""
    assert said in done.stderr and "item-counts" in done.stderr
    assert not (tmp_path / "boards").exists()


def test_a_failed_run_a_narrow_one_and_no_run_are_not_added(tmp_path) -> None:
    runs = put(tmp_path / "runs", failed(), finished(generator_spec(beams=20)), baseline())
    done = genrec("add", *runs, tmp_path / "absent", "--to", tmp_path / "boards", "--no-verify")
    assert done.exit_code == 1 and len(done.stdout.splitlines()) == 1
    for said in ("is failed (interrupted)", "has 20 beams", "absent"):
        assert said in done.stderr


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("throughput", "users_per_second"), 99_999.0),
        (("validity", "hallucination_rate"), 0.0),
        (("parameters", "total"), 5),
        (("phases", "fit"), 0.5),
        (("digest",), None),
    ],
)
def test_no_number_of_a_record_can_be_edited_by_hand(tmp_path, keys, value) -> None:
    put(tmp_path / "runs", finished(), baseline())
    edit(tmp_path / "runs" / finished().spec_id, *keys, value=value, sealed=False)
    done = genrec("add", tmp_path / "runs", "--to", tmp_path / "boards", "--no-verify")
    assert done.exit_code == 1 and len(done.stdout.splitlines()) == 1
    assert finished().spec_id in done.stderr and "edited" in done.stderr


def test_a_record_that_was_edited_on_the_board_has_no_row_and_no_run_joins_it(board, tmp_path) -> None:
    file = next(board.glob(f"*/*/*/records/{finished().spec_id}.json"))
    values = json.loads(file.read_text())
    values["throughput"]["users_per_second"] *= 3
    file.write_text(json.dumps(values))
    refused: list[RecordError] = []
    (folder,) = build(board, refused.append)
    assert [finished().spec_id in str(error) and "digest" in str(error) for error in refused] == [True]
    assert finished().system not in (folder / "table.csv").read_text()
    again = genrec("add", tmp_path / "runs" / finished().spec_id, "--to", board, "--no-verify")
    assert again.exit_code == 1 and "digest" in again.stderr


def test_seeds_of_several_versions_are_told(tmp_path) -> None:
    from genrec_bench.leaderboard.conditions import of_board

    said = "The seeds of 1 rows ran on different versions"
    others = {part: {**facts, "code": "f" * 64} for part, facts in finished().components.items()}
    for components, expected in ((finished().components, False), (others, True)):
        board = standings([finished(), finished(generator_spec(seed=1), components=components), baseline()], "mask")
        assert any(note.startswith(said) for note in of_board(board)) == expected


def test_a_run_whose_lists_do_not_give_its_numbers_is_not_added(tmp_path, go) -> None:
    record = go()
    place = tmp_path / "runs" / record.spec_id
    ranks = [1, *record.ranks["mask"][1:]] if record.ranks["mask"][0] != 1 else [2, *record.ranks["mask"][1:]]
    from genrec_bench.protocol.scores import from_ranks

    edit(place, "ranks", "mask", value=ranks)
    edit(place, "metrics", "mask", value={**record.metrics["mask"], **from_ranks(ranks)})
    done = genrec("add", place, "--to", tmp_path / "boards")
    assert done.exit_code == 1 and "differs when scored again" in done.stderr


def test_a_run_on_other_data_cannot_join_a_board(board, tmp_path) -> None:
    other = baseline("ease", fingerprints={**baseline().fingerprints, "split": "6" * 64})
    done = genrec("add", *put(tmp_path / "more", other), "--to", board, "--no-verify")
    assert done.exit_code == 1 and "other data (split)" in done.stderr


def test_runs_with_other_options_of_the_data_set_share_no_board(board, tmp_path) -> None:
    other = finished(
        baseline_spec(baseline="ease", options={"dataset": {"short_users": "error"}, "baseline": {}}), parameters={}
    )
    (place,) = put(tmp_path / "more", other)
    done = genrec("add", place, "--to", board, "--no-verify")
    assert done.exit_code == 1 and "other options of the data set" in done.stderr
    other.sealed().write(place)
    shutil.copy(place / "record.json", board / DIRECT / "records" / f"{other.spec_id}.json")  # by hand
    done = genrec("build", board)
    assert done.exit_code == 1 and "ml-100k (short_users=error)" in done.stderr
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr


def test_the_table_of_kept_lists_does_not_show_the_validity_of_masked_ones(board) -> None:
    rows = list(csv.DictReader(io.StringIO(built(board)[str(DIRECT / "table.csv")].decode())))
    validity = {
        row["policy"]: (row["hallucination_rate"], row["fill@10"]) for row in rows if "lightlm" in row["system"]
    }
    assert validity["mask"] == ("0.125", "0.9") and validity["keep"] == ("", "")


def test_a_run_is_never_replaced_by_other_numbers(board, tmp_path) -> None:
    done = genrec("add", *put(tmp_path / "more", baseline(ranks=BETTER)), "--to", board, "--no-verify")
    assert done.exit_code == 1 and "other numbers" in done.stderr


def test_a_record_edited_on_the_board_is_left_out_named_and_said(board) -> None:
    file = next(file for file in (board / DIRECT / "records").iterdir() if "popularity" in file.read_text())
    values = json.loads(file.read_text())
    values["metrics"]["mask"]["ndcg@10"] = 0.4
    file.write_text(json.dumps(values))
    done = genrec("build", board)
    assert done.exit_code == 1 and file.name in done.stderr and "popularity" in done.stderr
    text = (board / DIRECT / "README.md").read_text()
    assert "| popularity |" not in text.partition("without a run")[0].replace("| popularity | – |", "")  # noqa: RUF001
    assert f"Not shown: {file.name}" in text and str(board) not in text


def test_a_copy_of_a_record_under_another_name_never_counts_twice(board) -> None:
    file = next((board / DIRECT / "records").iterdir())
    shutil.copy(file, file.with_name("copy.json"))
    done = genrec("build", board)
    assert done.exit_code == 1 and "copy.json" in done.stderr and "may count twice" in done.stderr


def test_what_people_note_beside_the_records_stands_among_the_conditions(board) -> None:
    (board / DIRECT / "notes.txt").write_text("Timed on a *busy* machine.\n\nSecond note.\n")
    files = built(board)
    assert "- Timed on a *busy* machine.\n- Second note." in files[str(DIRECT / "README.md")].decode()
    assert "<li>Timed on a <em>busy</em> machine.</li>" in files[str(DIRECT / "index.html")].decode()


def test_a_record_in_the_wrong_place_is_left_out(board, tmp_path) -> None:
    wrong = board / "loo-full-1" / "sequential" / "ml-100k"
    shutil.copytree(board / DIRECT, wrong)
    done = genrec("build", board)
    assert done.exit_code == 1 and "belongs to the board loo-full-1/direct/ml-100k" in done.stderr


def test_a_folder_without_boards_says_how_to_start_one(tmp_path) -> None:
    done = genrec("build", tmp_path)
    assert done.exit_code == 2 and "genrec leaderboard add RUN" in done.stderr


def test_lists_that_left_out_what_users_have_are_a_row_of_policy_mask_alone(tmp_path) -> None:
    options = {"dataset": {}, "baseline": {"name": "Theirs", "policy": "mask", "allow_missing": False}}
    whole = finished(baseline_spec(baseline="lists", options=options), parameters={}, tier="re-scored")
    metrics, ranks = ({"mask": values["mask"]} for values in (whole.metrics, whole.ranks))
    put(tmp_path / "runs", replace(whole, metrics=metrics, ranks=ranks), baseline())
    add([tmp_path / "runs"], tmp_path / "boards", pytest.fail, check=False)
    files = built(tmp_path / "boards")
    rows = csv.DictReader(io.StringIO(files[str(DIRECT / "table.csv")].decode()))
    assert [row["policy"] for row in rows if row["system"] == "Theirs"] == ["mask"]
    assert "Theirs (seed 0, run " in files[str(DIRECT / "index.html")].decode()  # not shown under keep, and said there


def test_a_board_of_such_lists_alone_has_one_policy(tmp_path) -> None:
    options = {"dataset": {}, "baseline": {"name": "Theirs", "policy": "mask", "allow_missing": False}}
    whole = finished(baseline_spec(baseline="lists", options=options), parameters={}, tier="re-scored")
    metrics, ranks = ({"mask": values["mask"]} for values in (whole.metrics, whole.ranks))
    put(tmp_path / "runs", replace(whole, metrics=metrics, ranks=ranks))
    add([tmp_path / "runs"], tmp_path / "boards", pytest.fail, check=False)
    files = built(tmp_path / "boards")
    assert "Theirs" in files[str(DIRECT / "index.html")].decode()
    rows = csv.DictReader(io.StringIO(files[str(DIRECT / "table.csv")].decode()))
    assert {row["policy"] for row in rows} == {"mask"}


@pytest.mark.parametrize("command", ["add", "build"])
def test_a_full_disk_is_named_and_no_run_is_blamed(board, tmp_path, monkeypatch, command) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("genrec_bench.core.files.os.replace", full)
    words = (
        ["add", tmp_path / "runs", "--to", tmp_path / "new", "--no-verify"] if command == "add" else ["build", board]
    )
    done = genrec(*words)
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
    place = tmp_path / "new" if command == "add" else board
    assert done.stderr.startswith(f"OutputError: no space left on the disk that holds {place}")


def five(name: str, ranks) -> list[RunRecord]:
    return [baseline(name, ranks * MANY, seed) for seed in range(5)]


def standing(*records: RunRecord) -> dict[str, str]:
    return {row.system: row.standing for row in standings(records, "mask").rows}


def test_the_probe_for_leaks_has_no_rank_and_ties_with_nobody() -> None:
    board = standings([counted(counts(RANKS)), baseline("id-canary", BETTER)], "mask")
    (probe,) = [row for row in board.rows if row.system == "id-canary"]
    (counting,) = [row for row in board.rows if row.system != "id-canary"]
    assert (probe.rank, probe.standing, COLUMNS["rank"].show(probe)) == (None, "unranked", "probe")
    assert (counting.rank, counting.standing) == (1, "best")


def test_a_row_has_the_lowest_tier_of_its_records_and_what_we_ran_is_a_run() -> None:
    scored = SimpleNamespace(tier="re-scored")
    assert tier_of([baseline()]) == "run"
    assert tier_of([baseline(), scored]) == "re-scored"


def test_fewer_than_five_seeds_are_never_ranked() -> None:
    assert standing(*five("ease", BETTER)[:4], baseline(ranks=RANKS * MANY)) == {
        "ease": "unranked",
        "item-counts": "unranked",
    }


def test_the_best_is_separable_from_every_other_row() -> None:
    assert standing(*five("ease", BETTER), *five("item-counts", RANKS)) == {"ease": "best", "item-counts": "ranked"}


def test_rows_that_cannot_be_told_from_the_first_are_tied() -> None:
    swapped = (*RANKS[1:], RANKS[0])
    outcomes = standing(*five("ease", RANKS), *five("item-counts", swapped), *five("popularity", (0,) * 9 + (20,)))
    assert outcomes == {"ease": "tied", "item-counts": "tied", "popularity": "ranked"}


def counted(record: RunRecord) -> RunRecord:
    """The record as a baseline of this package leaves it, which no seed moves."""
    return replace(record, components={"baseline": {"name": record.system, "distribution": "genrec-bench"}})


def test_rows_are_compared_with_the_best_of_each_kind_and_say_whether_it_may_be_chance() -> None:
    records = [
        counted(baseline(ranks=RANKS * MANY)),
        counted(baseline("ease", BETTER * MANY)),
        counted(baseline("popularity", (*RANKS[1:], 1) * MANY)),
    ]
    board = standings(records, "mask")
    rows = {row.system: row for row in board.rows}
    assert {kind: row.system for kind, row in board.comparators.items()} == {"floor": "item-counts", "baseline": "ease"}
    level = records[0].metrics["mask"]["ndcg@10"]
    against = rows["ease"].against["floor"]
    assert against.distance == pytest.approx(records[1].metrics["mask"]["ndcg@10"] / level - 1)
    assert against.separable and rows["popularity"].against["floor"].separable is False
    assert "floor" not in rows["item-counts"].against and "baseline" not in rows["ease"].against
    assert rows["popularity"].against["baseline"].separable


def test_one_seed_of_what_a_seed_moves_is_never_better_than_chance() -> None:
    floor, trained = counted(baseline(ranks=RANKS * MANY)), baseline("sasrec", BETTER * MANY)
    rows = {row.system: row for row in standings([floor, trained], "mask").rows}
    assert rows["sasrec"].against["floor"].separable is None
    assert "| ~+" in readme([standings([floor, trained], "mask")])
    several = [floor, *five("sasrec", BETTER)]
    assert {row.system: row for row in standings(several, "mask").rows}["sasrec"].against["floor"].separable


def test_the_decoders_of_one_model_are_one_hypothesis_and_not_compared_with_each_other() -> None:
    def decoded(decoder, ranks) -> list[RunRecord]:
        return [finished(generator_spec(seed, decoder=decoder), ranks * MANY) for seed in range(5)]

    records = [*decoded("trie", BETTER), *decoded("exact", BETTER), counted(baseline(ranks=RANKS * MANY))]
    trie, exact, _ = sorted(standings(records, "mask").rows, key=lambda row: row.system == "item-counts")
    assert trie.against.keys() == exact.against.keys() == {"floor"}
    alone = standings([*decoded("trie", BETTER), records[-1]], "mask").rows
    assert trie.against["floor"].p == next(row for row in alone if row.kind == "generator").against["floor"].p


OWN = {"after": 1.0, "before": 0.5, "skip": 0.5, "recency": [1.0, 0.5, 0.25]}


def counts(ranks, **options) -> RunRecord:
    spec = baseline_spec(baseline="item-counts", options={"dataset": {}, "baseline": {**OWN, **options}})
    return finished(spec, ranks, parameters={})


def test_ranks_count_ranked_rows_only_and_tied_ones_share_the_first() -> None:
    swapped = (*RANKS[1:], RANKS[0])
    one_seed = baseline("sasrec", BETTER * MANY)
    records = [*five("ease", RANKS), *five("item-counts", swapped), *five("popularity", (0,) * 9 + (20,)), one_seed]
    board = standings(records, "mask")
    assert {row.system: row.rank for row in board.rows} == {
        "sasrec": None,
        "ease": 1,
        "item-counts": 1,
        "popularity": 3,
    }
    shown = {row.system: COLUMNS["rank"].show(row) for row in board.rows}
    assert shown == {"sasrec": "1 seed*", "ease": "1=", "item-counts": "1=", "popularity": "3"}


def test_tuned_counting_is_a_floor_too() -> None:
    own, other = counted(counts(RANKS)), counted(counts(BETTER, before=0.123456, recency=[1.0, 1.0]))
    assert standings([other, own], "mask").comparators["floor"].system_id == other.system_id
    top = excerpt(standings([other, own], "mask"), 3)
    assert "| item-counts (before=0.1235, recency=[1,1]) |" in top
    assert "| item-counts (before=0.5, recency=[1,0.5,0.25]) |" in top


def test_a_name_from_elsewhere_is_shown_as_it_is_and_runs_no_mandatory_row() -> None:
    options = {"name": "item-counts", "policy": "mask", "allow_missing": False}
    spec = baseline_spec(baseline=LISTS, options={"dataset": {}, "baseline": options})
    elsewhere = replace(finished(spec, RANKS, parameters={}), tier=RESCORED)
    assert "item-counts" in standings([elsewhere, baseline("popularity", BETTER)], "mask").missing
    named = replace(
        elsewhere, spec={**spec.to_dict(), "options": {"dataset": {}, "baseline": {**options, "name": "<b>|x"}}}
    )
    board = standings([named], "mask")
    assert "| &lt;b>\\|x |" in readme([board]) and "| &lt;b>\\|x |" in excerpt(board, 1)


NASTY = (
    "[click](http://evil.test) ![pixel](https://evil.test/x.png) <img src=x> www.evil.test\n# a@evil.test [r]: x "
    "\x1b[31mred\x07\u202e &lt;b&gt;"
)


def test_a_readme_holds_no_markup_of_a_record() -> None:
    spec = baseline_spec(dataset=NASTY)
    nasty = replace(finished(spec, RANKS, parameters={}), warnings=[NASTY])
    for text in (readme([standings([nasty], "mask")]), front_page({"a (b)/c": standings([nasty], "mask")})):
        for live in (
            "](http",
            "<img",
            "http://",
            "https://",
            "www.",
            "@evil",
            "]: x",
            "\n# a",
            "\x1b",
            "\x07",
            "\u202e",
        ):
            assert live not in text, live
        assert "&amp;lt;b&amp;gt;" in text
    assert "[" in front_page({"a (b)/c": standings([nasty], "mask")}) and "](a%20%28b%29/c/README.md)" in front_page(
        {"a (b)/c": standings([nasty], "mask")}
    )


def test_the_front_page_holds_no_markup_of_a_record_either() -> None:
    nasty = finished(baseline_spec(dataset=NASTY), RANKS, parameters={})
    text = html.front_page({"a (b)/c": standings([nasty], "mask")})
    assert "<img" not in text and "&lt;img src=x&gt;" in text and 'href="a%20%28b%29/c/index.html"' in text


def test_the_front_page_shows_of_each_board_its_headline_its_size_and_its_best_rows(board) -> None:
    text = built(board)["index.html"].decode()
    (link,) = re.findall(r'href="([^"]+)"', text)
    assert (board / link).is_file() and link == f"{DIRECT.as_posix()}/index.html"
    assert "No generator is shown to be ahead of untrained counting" in text
    assert "3 rows, up to 1 seed. Not run yet: id-canary, bpr, lightgcn, simplex." in text
    words = " ".join(re.sub("<[^>]*>", " ", text).split())
    score = finished().metrics["mask"]["ndcg@10"]
    assert (
        f"best floor: item-counts {score:.4f}" in words and f"best generator: sci / lightlm / trie {score:.4f}" in words
    )


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", " =1"])
def test_no_cell_of_a_csv_is_a_formula(name) -> None:
    options = {"name": name, "policy": "mask", "allow_missing": False}
    spec = baseline_spec(baseline=LISTS, options={"dataset": {}, "baseline": options})
    board = standings([replace(finished(spec, RANKS, parameters={}), tier=RESCORED)], "mask")
    (row, *_) = csv.DictReader(io.StringIO(board_csv([board])))
    assert row["system"] == f"'{name}"


def test_no_cell_of_a_csv_opens_a_tag() -> None:
    nasty = finished(baseline_spec(), RANKS, parameters={})
    told = replace(nasty, environment={**nasty.environment, "cpu": "<img src=x>"})
    text = board_csv([standings([told], "mask")])
    assert "&lt;img src=x>" in text and "<img" not in text


@pytest.mark.parametrize("dataset", ["../../outside", "/outside", "..", ".hidden", "a/b", "a\\b", "x" * 300])
@pytest.mark.parametrize("check", [True, False])
def test_no_name_leads_out_of_the_folder_and_sound_runs_are_added_all_the_same(
    tmp_path, monkeypatch, dataset, check
) -> None:
    monkeypatch.setattr("genrec_bench.leaderboard.publish._check_lists", lambda *_: None)
    runs = put(tmp_path / "runs", finished(baseline_spec(dataset=dataset)), baseline())
    refused: list[RecordError] = []
    (file,) = add(runs, tmp_path / "boards" / "here", refused.append, check=check)
    assert file == tmp_path / "boards" / "here" / DIRECT / "records" / f"{runs[1].name}.json"
    assert "not a name that a folder of boards can have" in str(refused[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boards", "runs"]


def test_a_run_whose_reading_fails_in_any_way_costs_no_other(tmp_path, monkeypatch) -> None:
    def fails(record, path):
        if record.spec["baseline"] == "popularity":
            raise IndexError("index 7 is out of bounds")

    monkeypatch.setattr("genrec_bench.leaderboard.publish._check_lists", fails)
    runs = put(tmp_path / "runs", baseline("popularity"), baseline("item-knn"))
    refused: list[RecordError] = []
    assert len(add(runs, tmp_path / "boards", refused.append)) == 1
    assert "IndexError: index 7" in str(refused[0]) and str(runs[0]) in str(refused[0])


def test_options_that_four_digits_do_not_tell_apart_are_printed_whole() -> None:
    rows = standings([counts(RANKS, before=0.300001), counts(RANKS, before=0.300002)], "mask").rows
    assert {row.options for row in rows} == {"baseline.before=0.300001", "baseline.before=0.300002"}


@pytest.mark.skipif(not ROOT.is_dir(), reason="not a checkout: no leaderboards/ beside tests/")
def test_the_committed_boards_are_what_their_records_give(tmp_path) -> None:
    shutil.copytree(ROOT, tmp_path / "leaderboards")
    for built_file in [*tmp_path.rglob("README.md"), *tmp_path.rglob("table.csv"), *tmp_path.rglob("index.html")]:
        built_file.unlink()
    documents = [ROOT.parent / name for name in ("README.md", "docs/results.md")]
    (tmp_path / "docs").mkdir()
    copies = [Path(shutil.copy(path, tmp_path / path.relative_to(ROOT.parent))) for path in documents]
    build(tmp_path / "leaderboards", pytest.fail, copies)
    for path in [*documents, *sorted(ROOT.rglob("*"))]:
        if path.is_file():
            again = tmp_path / path.relative_to(ROOT.parent)
            assert again.is_file() and again.read_bytes() == path.read_bytes(), f"{path}: `genrec leaderboard build`"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("weights of /home/me/weights.bin", True),
        ("~/data/clicks.csv", True),
        ("file:///home/me/clicks.csv", True),
        (r"C:\data\clicks.csv", True),
        ("[x](http://example.org/a/b)", False),
        ("genrec-bench/lightlm", False),
    ],
)
def test_a_path_of_a_machine_is_told_from_an_address(text, names) -> None:
    assert bool(list(machine_paths({"name": [text]}))) == names


@pytest.mark.skipif(not ROOT.is_dir(), reason="not a checkout: no leaderboards/ beside tests/")
def test_no_committed_record_names_a_place_of_its_machine() -> None:
    for path in ROOT.rglob("*.json*"):
        assert not re.search(r'"(/|~/|[A-Z]:\\)', path.read_text()), path
        assert path.parent.name != "records" or RunRecord.read(path).process == {}


@pytest.mark.skipif(not ROOT.is_dir(), reason="not a checkout: no leaderboards/ beside tests/")
def test_the_command_of_every_committed_record_asks_for_the_same_run() -> None:
    from genrec_bench.host import registry
    from genrec_bench.runs import run as runner

    installed = {part.name for part in registry.list_components("baseline")}
    for path in sorted(ROOT.rglob("records/*.json")):
        record = RunRecord.read(path)
        if record.spec.get("baseline") and record.spec["baseline"] not in installed:
            continue  # a plugin's, which not everybody has
        asked = run.make_context("run", shlex.split(command(record))[2:]).params
        named = {key: value for key, value in asked.items() if key in record.spec}
        assert runner.resolve(build_spec(named, asked["settings"], None)).spec.spec_id == record.spec_id, path


def test_a_document_shows_the_top_of_a_board_the_best_generator_and_the_baselines(board, tmp_path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n<!-- board {DIRECT.as_posix()} 1 -->\nold\n<!-- end of board -->\nafter\n")
    assert genrec("build", board, "--into", page).exit_code == 0
    text = page.read_text()
    assert (
        text.startswith("before\n<!-- board") and text.endswith("<!-- end of board -->\nafter\n") and "old" not in text
    )
    rows = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["system", ":--", *[row["system"] for row in csv.DictReader(io.StringIO(table(board)))][:3]]


def test_a_document_quotes_the_headline_of_a_board_which_needs_no_claim(board, tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Here: <!-- finding {DIRECT.as_posix()} -->old<!-- end of finding -->\n")
    assert genrec("build", board, "--into", page).exit_code == 0
    quoted = " ".join(page.read_text().partition("-->")[2].partition("<!-- end of finding -->")[0].split())
    assert quoted == load_board(board / DIRECT).headline and "counting" in quoted
    assert claims_of([page], board) == []


def table(board: Path) -> str:
    return (board / DIRECT / "table.csv").read_text()


def test_a_document_that_shows_an_unknown_board_says_which_there_are(board, tmp_path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- board loo-full-1/direct/moon 3 -->\n<!-- end of board -->\n")
    done = genrec("build", board, "--into", page)
    assert done.exit_code == 2 and DIRECT.as_posix() in done.stderr


def test_a_document_quotes_the_difference_that_a_board_prints(tmp_path) -> None:
    board = tmp_path / "boards"
    compared = (counted(baseline()), counted(baseline("ease", BETTER)), counted(baseline("popularity", BETTER[::-1])))
    add(put(tmp_path / "runs", *compared), board, pytest.fail, check=False)
    page = tmp_path / "README.md"
    page.write_text(f"about <!-- difference {DIRECT.as_posix()} -->old<!-- end of difference --> here\n")
    assert genrec("build", board, "--into", page).exit_code == 0
    said = (board / DIRECT / "README.md").read_text()
    first, last = re.search(
        r"best floor .* from ±(\d+)% of its ndcg@10 at Holm's first step, ±(\d+)% at the last", said
    ).groups()
    assert f"-->±{last} to {first} %<!-- end of difference --> here\n" in page.read_text()


def test_a_difference_that_no_board_prints_is_a_dash(tmp_path) -> None:
    add(put(tmp_path / "runs", baseline("ease")), tmp_path / "boards", pytest.fail, check=False)
    page = tmp_path / "README.md"
    page.write_text(f"<!-- difference {DIRECT.as_posix()} --><!-- end of difference -->\n")
    assert genrec("build", tmp_path / "boards", "--into", page).exit_code == 0
    assert "--> – <!--".replace(" ", "") in page.read_text().replace(" ", "")  # noqa: RUF001
