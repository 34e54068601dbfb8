"""Codes that a generator wrote elsewhere: the lists they stand for, and everything about them that is no item, counted."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrec_bench.cli.main import cli
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import Generations
from genrec_bench.data.loading import load_dataset
from genrec_bench.errors import DataError
from genrec_bench.protocol.ranks import target_ranks
from genrec_bench.protocol.split import split_data
from genrec_bench.protocol.validity import validity
from genrec_bench.runs.external_codes import ItemCodes, ItemCodesConfig, read_given_codes
from genrec_bench.runs.lists import read_generations, read_lists
from genrec_bench.runs.record import RunRecord
from genrec_bench.runs.verify import verify

USERS, ITEMS = 12, 9
CODES = {f"i{item}": [f"<a_{item // 3}>", f"<b_{item % 3}>"] for item in range(ITEMS)}
LISTS = {f"u{user}": [f"i{(user * user + step) % ITEMS}" for step in range(ITEMS)] for user in range(USERS)}


@pytest.fixture
def clicks(tmp_path):
    rows = [f"u{user},i{(user + 2 * step) % ITEMS},{60 * step}\n" for user in range(USERS) for step in range(5)]
    path = tmp_path / "clicks.csv"
    path.write_text("user,item,time\n" + "".join(rows))
    return path


@pytest.fixture
def target(clicks):
    """The held-out item of each user."""
    data, split = split_data(load_dataset(str(clicks)))
    pairs = zip(split.test.user, split.test.target, strict=True)
    return {str(data.user_ids[user]): str(data.item_ids[item]) for user, item in pairs}


@pytest.fixture
def genrec(clicks, tmp_path):
    """Scores a file of predicted codes, and gives the outcome of the command and the record."""

    def score(path, *words, codes=CODES, policy="keep"):
        out = tmp_path / f"runs-{len(list(tmp_path.iterdir()))}"
        told = ["--dataset", clicks, "--task", "sequential", "--name", "M", "--policy", policy, "--out", out]
        if codes is not None:
            (tmp_path / "codes.json").write_text(json.dumps(codes))
            told += ["--codes", tmp_path / "codes.json"]
        done = CliRunner().invoke(cli, ["score", str(path), *map(str, told), *words])
        if done.exit_code:
            assert not out.exists() and done.stderr.splitlines()[-1].startswith(("DataError: ", "ConfigError: "))
            return done, None
        (folder,) = out.iterdir()
        return done, folder

    return score


@pytest.fixture
def scored(genrec, tmp_path):
    """The record of lists `{user: [code, ...]}`, verified."""

    def score(lists, *words, **how):
        (tmp_path / "lists.json").write_text(json.dumps(lists))
        done, folder = genrec(tmp_path / "lists.json", *words, **how)
        assert done.exit_code == 0, done.stderr
        assert [comparison for comparison in verify(folder).comparisons if not comparison.ok] == []
        return RunRecord.read(folder)

    return score


@pytest.fixture
def refused(genrec, tmp_path):
    """The line that refuses lists."""

    def score(lists, *words, **how):
        (tmp_path / "lists.json").write_text(lists if isinstance(lists, str) else json.dumps(lists))
        done, _ = genrec(tmp_path / "lists.json", *words, **how)
        assert done.exit_code in (1, 2), done.output
        return done.stderr.splitlines()[-1]

    return score


def codes_of(lists, codes=CODES):
    return {user: [codes[item] for item in items] for user, items in lists.items()}


def ranks_of(lists, target):
    return [lists[user].index(target[user]) + 1 for user in target]


def written(tmp_path, form):
    """The codes of LISTS in one of the forms that people have."""
    path = tmp_path / f"beams.{form.partition('-')[0]}"
    rows = [(user, CODES[item], rank) for user, items in LISTS.items() for rank, item in enumerate(items, 1)]
    if form == "json-lists":
        path.write_text(json.dumps(codes_of(LISTS)))
    elif form == "json-texts":
        path.write_text(
            json.dumps({user: ["".join(code) for code in codes] for user, codes in codes_of(LISTS).items()})
        )
    elif form == "json-scores":
        scores = [-0.5 * rank for rank in range(ITEMS)]
        path.write_text(
            json.dumps({user: {"codes": codes, "scores": scores} for user, codes in codes_of(LISTS).items()})
        )
    elif form == "jsonl-lists":
        lines = [json.dumps({"user": user, "codes": codes}) for user, codes in codes_of(LISTS).items()]
        path.write_text("\n".join(lines))
    elif form == "jsonl-rows":
        lines = [json.dumps({"user_id": user, "code": code, "score": -rank}) for user, code, rank in rows]
        path.write_text("\n".join(lines[::-1]))
    elif form == "csv-rows":
        path.write_text("user,code,rank\n" + "".join(f"{user},{''.join(code)},{rank}\n" for user, code, rank in rows))
    elif form == "parquet-lists":
        pq.write_table(pa.table({"user": list(LISTS), "codes": list(codes_of(LISTS).values())}), path)
    return path


@pytest.mark.parametrize(
    "form", ["json-lists", "json-texts", "json-scores", "jsonl-lists", "jsonl-rows", "csv-rows", "parquet-lists"]
)
def test_codes_in_every_form_are_the_lists_of_their_items(genrec, tmp_path, target, form):
    done, folder = genrec(written(tmp_path, form))
    assert done.exit_code == 0, done.stderr
    record = RunRecord.read(folder)
    assert record.ranks["keep"] == ranks_of(LISTS, target)
    assert (record.validity["hallucination_rate"], record.validity["duplicate_rate"]) == (0, 0)
    assert record.validity["emitted"] == USERS * ITEMS and record.validity["certified@10"] is None
    assert verify(folder).ok


def test_whole_numbers_are_tokens_too_and_minus_one_ends_a_code(scored, target):
    codes = {f"i{item}": [item // 3, item % 3] for item in range(ITEMS)}
    padded = {user: [[*code, -1] for code in lists] for user, lists in codes_of(LISTS, codes).items()}
    assert scored(padded, codes=codes).ranks["keep"] == ranks_of(LISTS, target)


def test_codes_of_no_item_and_repeats_are_counted_and_nothing_takes_their_place(scored, target):
    lists = codes_of(LISTS)
    lists["u0"] = [["<a_9>", "<b_0>"], ["<a_0>"], [], *lists["u0"][:4], lists["u0"][0]]
    record = scored(lists)
    emitted = (USERS - 1) * ITEMS + 8
    assert record.validity["emitted"] == emitted
    assert record.validity["dropped"]["non_items"] == 3 and record.validity["hallucination_rate"] == 3 / emitted
    assert record.validity["dropped"]["duplicates"] == 1 and record.validity["duplicate_rate"] == 1 / emitted
    four = LISTS["u0"][:4]
    at = list(target).index("u0")
    assert record.ranks["keep"][at] == (four.index(target["u0"]) + 1 if target["u0"] in four else 0)


def test_a_generator_that_writes_no_item_for_a_user_has_an_empty_list_there(scored):
    record = scored({**codes_of(LISTS), "u3": [["<a_9>"]]})
    assert "1 of 12 users have no listed item by M and count as missed" in record.warnings


def test_items_that_share_a_code_tie_and_a_target_ranks_behind_the_others(scored, genrec, tmp_path, target):
    codes = {item: [code[0]] for item, code in CODES.items()}  # three items a code
    lists = {user: [["<a_0>"], ["<a_1>"], ["<a_2>"]] for user in LISTS}
    record = scored(lists, codes=codes)
    cluster = [int(target[user][1:]) // 3 for user in target]
    # The last code's tie fills the lists to their end, where a target counts as absent (P10).
    assert record.ranks["keep"] == [0 if of == 2 else 3 * of + 3 for of in cluster]
    assert record.metrics["keep"]["tie_gap"] > 0
    assert record.validity["emitted"] == 3 * USERS and record.validity["hallucination_rate"] == 0

    (tmp_path / "lists.json").write_text(json.dumps({user: [["<x>"], *rows] for user, rows in lists.items()}))
    done, folder = genrec(tmp_path / "lists.json", codes=codes)
    assert "9 of 9 items share their code with another; items of one code tie" in done.stderr
    assert RunRecord.read(folder).validity["hallucination_rate"] == 1 / 4  # of codes, not of the items they stand for


def test_a_shared_code_twice_is_one_repeat(scored):
    codes = {item: [code[0]] for item, code in CODES.items()}
    record = scored({user: [["<a_0>"], ["<a_0>"], ["<a_1>"]] for user in LISTS}, codes=codes)
    assert record.validity["dropped"]["duplicates"] == USERS and record.validity["emitted"] == 3 * USERS
    assert record.validity["fill@5"] <= 1


def test_equal_scores_tie(scored, target):
    lists = {user: {"codes": codes, "scores": [1.0] * 3 + [0.0] * 6} for user, codes in codes_of(LISTS).items()}
    ranks = [3 if rank <= 3 else 0 for rank in ranks_of(LISTS, target)]
    assert scored(lists).ranks["keep"] == ranks


def unseen(clicks):
    """Lists of the items that each user has not in training or validation."""
    data, split = split_data(load_dataset(str(clicks)))
    queries = split.queries(split.test)
    return {
        str(data.user_ids[user]): [item for item in CODES if item not in set(data.item_ids[history].tolist())]
        for user, history in zip(queries.user, queries.history, strict=True)
    }


def test_masked_codes_hold_no_seen_item_unless_an_unseen_one_shares_the_code(scored, refused, clicks):
    lists = unseen(clicks)
    record = scored(codes_of(lists), policy="mask")
    assert set(record.ranks) == {"mask"} and record.validity["seen_rate"] == 0
    assert "a code of items that the user already has in training or validation" in refused(
        codes_of(LISTS), policy="mask"
    )
    codes = {item: ["<one>"] if item in ("i0", "i1", "i2") else code for item, code in CODES.items()}
    shared = {user: list(dict.fromkeys(tuple(codes[item]) for item in items)) for user, items in lists.items()}
    record = scored(shared, codes=codes, policy="mask")
    assert record.validity["dropped"]["seen"] == 0
    assert record.validity["emitted"] == sum(map(len, shared.values()))


def test_the_run_keeps_the_hypotheses(genrec, tmp_path):
    _, folder = genrec(written(tmp_path, "json-lists"))
    search = read_generations(folder / "generations.npz")["mask"]
    assert search.items.shape == (USERS, ITEMS) and np.isnan(search.bound).all()
    assert set(read_lists(folder / "lists.parquet")) == {"mask", "keep"}
    assert {"generations.npz", "lists.parquet"} <= set(RunRecord.read(folder).stored)


def test_a_code_of_several_items_is_one_hypothesis():
    search = Generations(
        tokens=np.array([[[5], [-1], [6], [5], [-1]]], np.int32),
        scores=np.array([[4, 4, 3, 2, -np.inf]], np.float32),
        items=np.array([[0, 1, -1, 0, -2]], np.int32),
        bound=np.array([np.nan], np.float32),
    )
    counted = validity(search, Ragged.of([[1]]))
    assert (counted["emitted"], counted["hallucination_rate"], counted["certified@10"]) == (3, 1 / 3, None)
    assert counted["dropped"] == {"non_items": 1, "duplicates": 1, "seen": 0}
    assert counted["fill@5"] == 1 / 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lists: {user: [["x"]] for user in lists}, "none of its 12 codes is an item's: 'x', and the items'"),
        (lambda lists: {user: [1, 2] for user in lists}, "hold int64, not codes: a code is a list of tokens or a text"),
        (lambda lists: dict.fromkeys(lists, "<a_0><b_0>"), "are not a list of codes; give lists, or a code a row"),
        (lambda lists: {user: [[1, 1.5]] for user in lists}, "'1.5' is not a whole number or a text"),
        (lambda lists: {user: [[[1]]] for user in lists}, "'[1]' is not a whole number or a text"),
        (lambda lists: {user: [[0, -2]] for user in lists}, "'-2' is not a token"),
        (lambda lists: {user: [None] for user in lists}, "holds null"),
        (lambda lists: {**lists, "nobody": [["<a_0>"]]}, "1 user is not in the data: 'nobody'"),
        (lambda lists: {"u0": lists["u0"]}, "11 of 12 test users have no list"),
        (
            lambda lists: {user: {"codes": codes, "scores": [1]} for user, codes in lists.items()},
            "1 scores for 9 codes",
        ),
        (
            lambda lists: {user: {"codes": codes, "scores": list(range(9))} for user, codes in lists.items()},
            "scores that rise along the ranks",
        ),
        (
            lambda lists: [{"user": user, "what": 1} for user in lists],
            "predicted codes need the columns user and codes",
        ),
        (lambda lists: [{"user": user, "codes": []} for user in lists], "all lists of codes are empty"),
    ],
)
def test_codes_that_do_not_fit_are_refused_in_one_line(refused, spoil, message):
    assert message in refused(spoil(codes_of(LISTS)))


@pytest.mark.parametrize(
    ("codes", "words", "message"),
    [
        (
            {f"i{item + 1}": code for item, code in enumerate(CODES.values())},
            [],
            "no code for item 'i0' (1 of 9 have none)",
        ),
        ({**CODES, "i9": ["<a_9>"]}, [], "--set codes.unknown=ignore ignores them"),
        (CODES, ["--set", "codes.keys=zero-based"], "so it is not zero-based; check codes.keys"),
        (CODES, ["--set", "codes.key=external"], "codes has no option 'key'"),
        (None, ["--set", "codes.keys=external"], "it is an option of the file that --codes names"),
        (None, [], "Codes are scored with --codes"),
    ],
)
def test_items_codes_that_do_not_fit_are_refused(refused, codes, words, message):
    lists = [{"user": user, "codes": rows} for user, rows in codes_of(LISTS).items()]
    assert message in refused(lists, *words, codes=codes)


def test_a_missing_file_of_codes_is_named_before_the_data_is_read(clicks, tmp_path):
    (tmp_path / "lists.json").write_text("{}")
    words = ["score", tmp_path / "lists.json", "--codes", tmp_path / "none.json", "--dataset", clicks]
    done = CliRunner().invoke(cli, [*map(str, words), "--task", "sequential", "--name", "M"])
    assert done.exit_code == 1 and "none.json: there is no such file" in done.stderr


def test_other_codes_of_the_items_are_another_source(genrec, clicks, tmp_path):
    (tmp_path / "codes.json").write_text(json.dumps(CODES))
    path = written(tmp_path, "json-lists")
    words = ["score", path, "--codes", tmp_path / "codes.json", "--dataset", clicks, "--task", "sequential"]
    words += ["--name", "M", "--policy", "keep", "--out", tmp_path / "runs"]
    assert CliRunner().invoke(cli, list(map(str, words))).exit_code == 0
    assert CliRunner().invoke(cli, list(map(str, words))).exit_code == 0
    turned = dict(zip(CODES, [*CODES.values()][::-1], strict=True))
    (tmp_path / "codes.json").write_text(json.dumps(turned))
    assert "holds other lists named 'M'" in CliRunner().invoke(cli, list(map(str, words))).stderr


def test_codes_that_seem_to_be_of_other_items_are_told(genrec, tmp_path):
    rows = [f"u{user},i{(3 * user + step) % 30},{step}\n" for user in range(60) for step in range(6)]
    (tmp_path / "clicks.csv").write_text("user,item,time\n" + "".join(rows))
    rng = np.random.default_rng(0)
    right = {f"i{item}": [f"<a_{item // 6}>", f"<b_{item % 6}>"] for item in range(30)}
    other = {f"i{item}": right[f"i{other}"] for item, other in enumerate(rng.permutation(30))}
    for codes, warned in ((right, False), (other, True)):
        lists = {f"u{user}": list(codes.values()) for user in range(60)}
        (tmp_path / "lists.json").write_text(json.dumps(lists))
        done, _ = genrec(tmp_path / "lists.json", codes=codes)
        assert ("were they made for another numbering (codes.keys)?" in done.stderr) == warned


@st.composite
def beams(draw):
    """Codes of nine items, of which some share one, and a list of codes for each user, some of no item."""
    kinds = draw(st.integers(2, ITEMS))
    codes = {f"i{item}": [str(draw(st.integers(0, kinds - 1)))] for item in range(ITEMS)}
    code = st.integers(0, kinds + 1).map(lambda token: [str(token)])
    lists = {f"u{user}": draw(st.lists(code, min_size=1, max_size=12)) for user in range(USERS)}
    return codes, lists


def by_hand(codes, lists, seen, target):
    """Ranks and counts of lists, without seen items, as P10 and P11 have them."""
    counts = {"non_items": 0, "duplicates": 0, "seen": 0}
    places, length = {}, 1
    for user, beam in lists.items():
        groups = []
        for position, code in enumerate(beam):
            holders = [item for item in codes if codes[item] == code]
            if not holders:
                counts["non_items"] += 1
            elif code in beam[:position]:
                counts["duplicates"] += 1
            else:
                counts["seen"] += all(item in seen[user] for item in holders)
                groups.append([item for item in holders if item not in seen[user]])
        places[user] = groups
        length = max(length, sum(len([item for item in codes if codes[item] == code]) or 1 for code in unique(beam)))

    ranks = []
    for user, item in target.items():
        ends = np.cumsum([len(group) for group in places[user]]).tolist()
        behind = next((end for group, end in zip(places[user], ends, strict=True) if item in group), 0)
        full = bool(ends) and ends[-1] >= length and behind >= length  # unreachable unless nothing is dropped
        ranks.append(0 if full and len(next(group for group in places[user] if item in group)) > 1 else behind)
    return ranks, counts


def unique(beam):
    """What takes a place of its own: repeats do."""
    return [code if code not in beam[:position] else ["repeat"] for position, code in enumerate(beam)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(beams())
def test_lists_and_counts_are_those_that_one_makes_by_hand(tmp_path, beams):
    codes, lists = beams
    rows = [(user, (user + 2 * step) % ITEMS) for user in range(USERS) for step in range(5)]
    users, items = np.array(rows, np.int32).T
    names = [np.array([f"{letter}{number}" for number in range(n)]) for letter, n in (("u", USERS), ("i", ITEMS))]
    data, split = split_data(Interactions(users, items, np.tile(np.arange(5), USERS), *names))
    queries = split.queries(split.test)
    seen = {
        str(data.user_ids[user]): set(data.item_ids[history].tolist())
        for user, history in zip(queries.user, queries.history, strict=True)
    }
    target = {
        str(data.user_ids[user]): str(data.item_ids[item])
        for user, item in zip(split.test.user, split.test.target, strict=True)
    }

    (tmp_path / "codes.json").write_text(json.dumps(codes))
    (tmp_path / "lists.json").write_text(json.dumps(lists))
    item_codes = ItemCodes(tmp_path / "codes.json", ItemCodesConfig())
    known = {tuple(code) for code in codes.values()}
    read = partial(
        read_given_codes, tmp_path / "lists.json", item_codes, data, split, "keep", False, None, lambda note: None
    )
    if not any(tuple(code) in known for beam in lists.values() for code in beam):
        with pytest.raises(DataError, match="none of its"):
            read()
        return

    given_lists = read()
    ranks, counts = by_hand(codes, lists, seen, target)
    assert target_ranks(given_lists.rankings["mask"], split.test.target).tolist() == ranks
    counted = validity(given_lists.generations, queries.history)
    assert counted["dropped"] == counts and counted["emitted"] == sum(map(len, lists.values()))
