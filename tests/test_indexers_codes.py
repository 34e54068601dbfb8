"""A person's own codes: files as other tools write them, and one clear line for every fault."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_runs import spec_for

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.progress import Quiet
from genrec_bench.errors import ConfigError, DataError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.host.sealing import opened_by
from genrec_bench.indexers.codes_from_file.indexer import CodesConfig, CodesIndexer
from genrec_bench.indexers.codes_from_file.numbering import neighbours, prefix_warning
from genrec_bench.indexers.codes_from_file.readers import read_codes
from genrec_bench.indexers.digits import RandomIndexer
from genrec_bench.protocol import split as protocol
from genrec_bench.runs import run as runner
from genrec_bench.runs.generator import build_index
from genrec_bench.runs.inputs import load_inputs
from genrec_bench.runs.plan import resolve

IDS = ["1", "2", "3", "4"]
CODES = {"1": (5, 7), "2": (5, 8), "3": (6, 7), "4": (6, 9)}


def data_of(ids=IDS) -> tuple:
    """Two users who met all items, in the protocol's numbering, and its split."""
    n = len(ids)
    user, item = np.repeat([0, 1], n), np.tile(np.arange(n), 2)
    return protocol.split_data(
        Interactions(user.astype(np.int32), item.astype(np.int32), None, np.array(["u", "v"]), np.array(ids))
    )


def build(path, ids=IDS, progress=None, **options) -> tuple[dict[str, tuple[int, ...]], Index]:
    """The code of each external id, and the index."""
    data, split = data_of(ids)
    indexer = CodesIndexer(make_config(CodesConfig, {"path": str(path), **options}, "indexer"))
    view = protocol.train_view(data, split, indexer.needs)
    index = indexer.build(view, IndexerContext(progress=progress or Quiet()))
    return {one: tuple(code[code >= 0]) for one, code in zip(data.item_ids, index.items.codes, strict=True)}, index


def same_pattern(found, expected=CODES) -> bool:
    """Whether tokens of one level are equal exactly where the file's are."""
    return all(
        (found[a][level] == found[b][level]) == (expected[a][level] == expected[b][level])
        for a in expected
        for b in expected
        for level in range(2)
    )


def as_json(path, codes):
    path.write_text(json.dumps(codes))
    return path


LETTER = {one: [f"<a_{a}>", f"<b_{b}>"] for one, (a, b) in CODES.items()}
FILES = {
    "letter.index.json": json.dumps(LETTER),
    "numbers.json": json.dumps({one: list(code) for one, code in CODES.items()}),
    "computed.json": json.dumps({one: f"{a} {b}" for one, (a, b) in CODES.items()}),
    "with_vocabulary.json": json.dumps([{one: f"{a} {b}" for one, (a, b) in CODES.items()}, ["5", "6"]]),
    "brackets.json": json.dumps({one: f"<{a}><b-{b}>" for one, (a, b) in CODES.items()}),
    "columns.csv": "item,code_0,code_1\n" + "".join(f"{one},{a},{b}\n" for one, (a, b) in CODES.items()),
    "one_column.csv": "item,code\n" + "".join(f"{one},{a} {b}\n\n" for one, (a, b) in CODES.items()),
    "columns.tsv": "c2\tasin\tc1\ttitle\n" + "".join(f"{b}\t{one}\t{a}\tA film\n" for one, (a, b) in CODES.items()),
    "both.csv": "id,semantic_id,code_1,code_2\n" + "".join(f"{one},{a}-{b},{a},{b}\n" for one, (a, b) in CODES.items()),
    "dash.json": json.dumps({one: f"{a}-{b}" for one, (a, b) in CODES.items()}),
    "comma.json": json.dumps({one: f"{a},{b}" for one, (a, b) in CODES.items()}),
    "pipe.json": json.dumps({one: f"<a_{a}>|<b_{b}>" for one, (a, b) in CODES.items()}),
    "inverse.json": json.dumps({f"<a_{a}><b_{b}>": one for one, (a, b) in CODES.items()}),
    "inverse_numbers.json": json.dumps({f"{a}-{b}": int(one) for one, (a, b) in CODES.items()}),
    "objects.json": json.dumps([{"item_id": one, "codes": code} for one, code in CODES.items()]),
    "objects.jsonl": "".join(
        json.dumps({"item_id": int(one), "sid": list(code)}) + "\n" for one, code in CODES.items()
    ),
    "floats.jsonl": "".join(json.dumps({"item_id": float(one), "codes": code}) + "\n" for one, code in CODES.items()),
    "inverse_floats.json": json.dumps({f"{a}-{b}": float(one) for one, (a, b) in CODES.items()}),
    "float_tokens.json": json.dumps({one: [float(a), b] for one, (a, b) in CODES.items()}),
    "comma_blank.json": json.dumps({one: f"{a}, {b}" for one, (a, b) in CODES.items()}),
    "semicolon_blank.json": json.dumps({one: f"{a}; {b}" for one, (a, b) in CODES.items()}),
    "python_list.csv": "item,code\n" + "".join(f'{one},"[{a}, {b}]"\n' for one, (a, b) in CODES.items()),
    "python_tuple.json": json.dumps({one: f"({a}, {b},)" for one, (a, b) in CODES.items()}),
    "numpy_list.csv": "item,code\n" + "".join(f"{one},[{a} {b}]\n" for one, (a, b) in CODES.items()),
    "text_list.csv": "item,code\n" + "".join(f"{one},\"['<a_{a}>', '<b_{b}>']\"\n" for one, (a, b) in CODES.items()),
    "float_levels.csv": "item,c0,c1\n" + "".join(f"{one},{a},{b}.0\n" for one, (a, b) in CODES.items()),
    "padded.json": json.dumps({one: [*code, -1, -1] for one, code in CODES.items()}),
    "padded.csv": "item,c0,c1,c2\n" + "".join(f"{one},{a},{b},-1\n" for one, (a, b) in CODES.items()),
    "colons.txt": "item_id::code_0::code_1\n" + "".join(f"{one}::{a}::{b}\n" for one, (a, b) in CODES.items()),
    "commas.txt": "item_id,code\n" + "".join(f"{one},{a}-{b}\n" for one, (a, b) in CODES.items()),
    "openp5.txt": "".join(f"{one} <CI{a}><CI{b}>\n" for one, (a, b) in CODES.items()),
    "bom.csv": "\ufeffitem,code\r\n" + "".join(f"{one}, {a} {b}\r\n" for one, (a, b) in CODES.items()),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_codes_of_the_file(name, tmp_path):
    (tmp_path / name).write_text(FILES[name])
    found, index = build(tmp_path / name)
    assert same_pattern(found)
    assert index.items.width == 2 and index.collision_rate == 0


def test_a_table_may_be_parquet_compressed_or_without_a_header(tmp_path):
    frame = pa.table({"item_id": [float(one) for one in IDS], "codes": [list(CODES[one]) for one in IDS], "x": IDS})
    pq.write_table(frame, tmp_path / "codes.parquet")
    rows = "".join(f"{one};{a};{b}\n" for one, (a, b) in CODES.items())
    (tmp_path / "codes.csv.gz").write_bytes(gzip.compress(("item_id,c0,c1\n" + rows.replace(";", ",")).encode()))
    (tmp_path / "rows.csv").write_text(rows.replace(";", ","))
    (tmp_path / "rows.txt").write_text(rows.replace(";", "::"))
    assert same_pattern(build(tmp_path / "codes.parquet")[0])
    assert same_pattern(build(tmp_path / "codes.csv.gz")[0])
    assert same_pattern(build(tmp_path / "rows.csv", columns=["item", "c0", "c1"])[0])
    assert same_pattern(build(tmp_path / "rows.txt", columns=["item", "c0", "c1"])[0])


def test_a_long_code_in_a_table_keeps_all_its_tokens(tmp_path):
    longs = {one: " ".join(f"token{level}of{one}" for level in range(120)) for one in IDS}
    (tmp_path / "codes.csv").write_text("item_id,code\n" + "".join(f"{one},{code}\n" for one, code in longs.items()))
    assert build(tmp_path / "codes.csv")[1].items.width == 120


def test_keys_have_the_form_of_ids_everywhere(tmp_path):
    assert same_pattern(
        build(as_json(tmp_path / "floats.json", {f" {one}.0 ": code for one, code in CODES.items()}))[0]
    )
    with pytest.raises(DataError, match="key 'nan': the key 'nan' stands for a lost value"):
        build(as_json(tmp_path / "lost.json", {**CODES, "nan": [1, 1]}))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("suffix", ["npy", "npz", "pt"])
def test_a_matrix_has_a_row_per_item_or_a_column_as_grid_writes(suffix, transposed, tmp_path):
    matrix = np.array([CODES[one] for one in IDS], np.float32)  # GRID's are floats
    path = tmp_path / f"codes.{suffix}"
    matrix = matrix.T if transposed else matrix
    if suffix == "pt":
        torch.save(torch.from_numpy(matrix.copy()), path)
    else:
        (np.save if suffix == "npy" else np.savez)(path, matrix)
    found, _ = build(path, keys="zero-based")
    assert same_pattern(found)


ARRAY = np.array([CODES[one] for one in IDS])
CONTAINERS = {
    "bf16.pt": torch.tensor(ARRAY).bfloat16(),
    "grad.pt": torch.tensor(ARRAY, dtype=torch.float32, requires_grad=True),
    "sparse.pt": torch.tensor(ARRAY).to_sparse(),
    "csr.pt": torch.tensor(ARRAY).to_sparse_csr(),
    "roles.pt": {"semantic_ids": torch.tensor(ARRAY[::-1].copy()), "item_ids": torch.arange(4, 0, -1)},
    "mapping.pt": {int(one): list(code) for one, code in CODES.items()},
    "roles.npz": {"codes": ARRAY[::-1], "ids": np.array([4.0, 3.0, 2.0, 1.0])},
    "mapping.npy": np.array({one: np.array(code) for one, code in CODES.items()}, object),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_arrays_come_in_many_containers(name, tmp_path):
    content, path = CONTAINERS[name], tmp_path / name
    if name.endswith(".pt"):
        torch.save(content, path)
    else:
        np.savez(path, **content) if name.endswith(".npz") else np.save(path, content, allow_pickle=True)
    alone = name in ("bf16.pt", "grad.pt", "sparse.pt", "csr.pt")
    found, index = build(path, keys="zero-based" if alone else "external")
    assert same_pattern(found) and index.items.width == 2


def test_rows_of_an_object_array_may_differ_in_length(tmp_path):
    rows = np.empty(4, object)
    rows[:] = [np.array([0]), np.array([1, 0]), np.array([1, 1]), np.array([2])]
    np.save(tmp_path / "codes.npy", rows, allow_pickle=True)
    found, _ = build(tmp_path / "codes.npy", keys="zero-based")
    assert [len(found[one]) for one in IDS] == [1, 2, 2, 1]


def noted(path, **options) -> list[str]:
    """What reading the file says aloud."""
    said, quiet = [], Quiet()
    quiet.note = said.append
    _, index = build(path, progress=quiet, **options)
    assert index.info["notes"] == [note.split("/")[-1] for note in said]
    return said


def test_what_was_taken_for_what_is_said_aloud_and_recorded(tmp_path):
    for name, told in {
        "dash.json": "'5-7' is read as the tokens 5 7",
        "columns.tsv": "columns beside the code are left out: title",
        "inverse.json": "read from code to item",
        "python_list.csv": "'[5, 7]' is read as the tokens 5 7",
        "comma_blank.json": "'5, 7' is read as the tokens 5 7",
    }.items():
        (tmp_path / name).write_text(FILES[name])
        assert told in noted(tmp_path / name)[0]
    flat = as_json(tmp_path / "flat.json", {one: f"i{one}" for one in IDS})
    assert "every code is a single token" in noted(flat)[0]
    (tmp_path / "short.csv").write_text("item,c0,c1\n1,5,7\n2,5,8\n3,6,\n4,7,nan\n")
    assert "2 of 4 codes have fewer than 2 tokens: their last columns are empty" in noted(tmp_path / "short.csv")[0]
    (tmp_path / "floats.csv").write_text("item,code\n1,5.0\n2,6.0\n3,7.0\n4,8.0\n")
    assert noted(tmp_path / "floats.csv") == [
        f"{tmp_path}/floats.csv: every code is a single token, so no two items share one"
    ]
    np.save(tmp_path / "wide.npy", ARRAY.T)
    assert "the matrix of shape (2, 4) is transposed" in noted(tmp_path / "wide.npy", keys="zero-based")[0]
    np.save(tmp_path / "tall.npy", ARRAY)
    assert noted(tmp_path / "tall.npy", keys="zero-based") == []


def test_codes_of_another_numbering_are_told_from_those_that_fit():
    rng = np.random.default_rng(0)
    half = rng.permutation(20)  # users stay in one half of the items, and so do the codes' first tokens
    sequences = Ragged.of([rng.permutation(half[:10] if user % 2 else half[10:]) for user in range(40)])
    labels = np.zeros((20, 2), np.int32)
    labels[half[10:], 0] = 1
    labels[half, 1] = np.arange(20)

    assert prefix_warning(sequences, labels, rng) == ""
    warnings = [prefix_warning(sequences, labels[rng.permutation(20)], rng) for _ in range(20)]
    assert sum("another numbering" in warning for warning in warnings) >= 17  # one in twenty fits by chance
    assert prefix_warning(sequences, labels[:, 1:], rng) == ""  # flat codes share nothing under any numbering
    assert prefix_warning(Ragged.of([[0], [1]]), labels, rng) == ""


def test_few_items_are_suspected_only_if_most_shuffles_do_as_well():
    """Ten items in two groups; a user's training part stays in one, as in a case that a user reported."""
    rng = np.random.default_rng(0)
    sequences = Ragged.of([[0, 1, 2, 3], [5, 6, 7, 8], [4, 3, 2, 1], [9, 8, 7, 6], [2, 3, 4, 0], [7, 5, 9, 6]])
    labels = np.array([[item // 5, item % 5] for item in range(10)], np.int32)
    assert prefix_warning(sequences, labels, rng) == ""

    mixed = labels[[0, 5, 1, 6, 2, 7, 3, 8, 4, 9]]  # neighbours alternate between the first tokens
    assert "another numbering" in prefix_warning(sequences, mixed, rng)
    nearly = labels[[1, 0, 2, 3, 9, 5, 6, 7, 8, 4]]  # two items changed places: worse, and better than most shuffles
    assert prefix_warning(sequences, nearly, rng) == ""


def test_neighbours_are_pairs_of_different_items_within_one_sequence():
    sequences = Ragged.of([[], [1, 2, 2, 3], [], [], [4], [5, 6], []])
    assert neighbours(sequences).tolist() == [[1, 2], [2, 3], [5, 6]]


def test_a_warning_of_an_index_reaches_the_record_and_is_verified(own, tmp_path):
    path, spec = own
    record = runner.run(spec, out=tmp_path / "runs", device="cpu")
    assert record.warnings == record.index["info"]["warnings"]
    ids = list(json.loads(path.read_text()))
    codes = list(json.loads(path.read_text()).values())
    rng = np.random.default_rng(5)
    as_json(path, {one: codes[at] for one, at in zip(ids, rng.permutation(len(ids)), strict=True)})
    record = runner.run(spec, out=tmp_path / "runs", device="cpu")
    assert "another numbering" in record.warnings[0]


def test_keys_may_count_from_zero_or_one_or_be_the_ids_themselves(tmp_path):
    less = as_json(tmp_path / "less.json", {str(int(one) - 1): code for one, code in CODES.items()})
    more = as_json(tmp_path / "more.json", {str(int(one) + 1): code for one, code in CODES.items()})
    assert same_pattern(build(less, keys="zero-based")[0])
    assert same_pattern(build(more, keys="one-based")[0])
    names = dict(zip(IDS, ["B00A", "B00B", "x", "7"], strict=True))
    named = as_json(tmp_path / "named.json", {names[one]: code for one, code in CODES.items()})
    assert same_pattern({one: build(named, ids=list(names.values()))[0][name] for one, name in names.items()})


def test_a_matrix_may_hold_codes_of_different_lengths(tmp_path):
    np.save(tmp_path / "codes.npy", np.array([[0, -1], [1, 0], [1, 1], [2, -1]]))
    found, _ = build(tmp_path / "codes.npy", keys="zero-based")
    assert [len(found[one]) for one in IDS] == [1, 2, 2, 1]


@pytest.mark.parametrize("scope", ["level", "shared", "path"])
def test_every_token_scope_gives_valid_codes(scope, tmp_path):
    path = as_json(tmp_path / "codes.json", {"1": [1, 2], "2": [2, 1], "3": [2, 2], "4": [3]})
    _, index = build(path, token_scope=scope)
    assert index.token_scope == scope
    assert index.n_tokens == {"level": 5, "shared": 3, "path": 6}[scope]


def test_items_that_share_a_code_are_refused_or_numbered(tmp_path):
    path = as_json(tmp_path / "codes.json", {"1": [1, 2], "2": [1, 2], "3": [1, 3], "4": [1, 2]})
    with pytest.raises(
        DataError, match=r"item '1' \(key '1'\) and item '2'.* share the code 1 2 \(3 items share one\)"
    ):
        build(path)
    found, index = build(path, duplicates="suffix")
    assert [len(found[one]) for one in IDS] == [3, 3, 2, 3]
    assert index.collision_rate == 0.75


def test_a_suffix_is_never_mistaken_for_a_token_of_the_file(tmp_path):
    path = as_json(tmp_path / "codes.json", {"1": [1, 2], "2": [1, 2], "3": [1, 0, 0], "4": [1, 0, 1]})
    found, _ = build(path, duplicates="suffix", token_scope="shared")
    assert not {found["1"][2], found["2"][2]} & {found["3"][2], found["4"][2]}


def test_users_may_bring_codes_of_their_own_and_share_the_items_tokens(tmp_path):
    items = as_json(tmp_path / "items.json", CODES)
    users = as_json(tmp_path / "users.json", {"u": [5, 7], "v": [6, 1]})
    _, apart = build(items, users_path=str(users))
    _, shared = build(items, users_path=str(users), shared_alphabet=True)
    assert not set(apart.items.codes.ravel()) & set(apart.users.codes.ravel())
    assert set(shared.items.codes[:, 0]) == set(shared.users.codes[:, 0])
    assert shared.info["user_codes"] == "from a file"
    assert build(items)[1].users is None


def test_the_record_can_tell_which_files_were_read(tmp_path):
    path = as_json(tmp_path / "codes.json", CODES)
    info = build(path)[1].info
    assert json.loads(json.dumps(info)) == info
    assert len(info["files"]["codes.json"]) == 64


def test_unknown_keys_are_refused_or_ignored_with_a_note(tmp_path):
    path = as_json(tmp_path / "codes.json", {**CODES, "77": [1, 1], "78": [5, 7]})
    with pytest.raises(DataError, match=r"key '77': the data set has no item '77' \(2 unknown keys\); --set"):
        build(path)
    said = []
    quiet = Quiet()
    quiet.note = said.append
    found, _ = build(path, unknown="ignore", progress=quiet)
    assert same_pattern(found)
    assert "2 keys are unknown to the data set (items) and ignored" in said[0]


GARBLED = {
    "cut.json": ('{"1": [1, 2],\n "2": [1', "line 2: is not valid JSON"),
    "text.json": ('"codes"', "holds no object"),
    "empty_object.json": ("{}", "holds no codes"),
    "nested.json": ('{"1": {"a": 1}}', "key '1': the code is .*not a list of tokens"),
    "fraction.json": ('{"1": [1, 2.5]}', "key '1': the token '2.5' is not a whole number"),
    "truth.json": ('{"1": [true]}', "key '1': the token 'True' is not a whole number"),
    "twice.json": ('{"1": [1, 2], "1": [1, 3]}', "the key '1' stands twice in one object"),
    "no_tokens.json": ('{"1": []}', "key '1': '1' has an empty code"),
    "nothing.json": ("", "is empty"),
    "marks.json": ('{"1": "5-7", "2": "5|8"}', "key '2': '5|8' is joined by '|', and '5-7' by '-'"),
    "unnamed.csv": (",item_id,c0\n0,1,5\n", "line 1: column 1 has no name .*index=False"),
    "no_header.csv": ("1,5,7\n2,5,8\n", "line 1: the first line is a row, not a header: .*--set indexer.columns="),
    "no_key.csv": ("name,code\n1,5\n", "no column is known to be the key; its columns: name, code. Call it item_id"),
    "no_code.csv": (
        "item,first\n1,5\n",
        "no column holds the code: call it code, or code_0, code_1, ...; its columns: item, first",
    ),
    "two_keys.csv": ("item,item_id,code\n1,1,5\n", "2 columns may be the key: item, item_id. Keep one"),
    "two_levels.csv": ("item,a_0,b_0\n1,1,5\n", "a_0 and b_0 both begin numbered columns"),
    "joined.csv": ("item,c0,c1\n1,5-7,1\n", "line 2: '5-7' is several numbers in the column of one level"),
    "differ.csv": ("item,code,c0,c1\n1,5-7,5,8\n", "line 2: code and the columns of its levels give two codes"),
    "twin.csv": ("item,c0,c0\n1,5,8\n", "there is more than one column 'c0'"),
    "alone.txt": ("B00 <a><b>\nB01\n", "line 2: 'B01' has no code behind its key"),
    "fields.jsonl": (
        '{"item_id": 1, "vector": [1]}\n',
        r"line 1: has no field for its code \(codes\): item_id, vector",
    ),
    "cut.jsonl": ('{"item_id": 1, "codes": [1]}\n{"item_id"', "line 2: is not valid JSON"),
    "deep.json": ("[" * 100_000, "nested too deeply"),
    "long.json": ('{"1": [' + "9" * 5_000 + "]}", "cannot be read"),
    "short.csv": ("item,c0,c1\n1,5,7\n2,5\n", "line 3: has 2 columns instead of 3"),
    "hole.csv": ("item,c0,c1\n1,,7\n", "line 2: a column is empty before the end"),
    "quote.csv": ('item,code\n1,"5\n', "line 2: a quote that is opened here is never closed"),
    "header.csv": ("1 5 7\n2 5 8\n", "line 1: the first line is a row, not a header"),
    "twice.csv": ("item,code\n1,5\n2,6\n1,7\n", r"line 4: '1' has a code already \(line 2\)"),
    "missing.json": ('{"1": [1], "2": [2], "4": [4]}', r"no code for item '3' \(1 of 4 have none\); add them"),
    "others.json": ('{"a": [1]}', r"no code for item '.' \(4 of 4 have none\); check indexer.keys"),
    "prefix.json": (
        '{"1": [1], "2": [1, 2], "3": [3], "4": [4]}',
        r"item '1' \(key '1'\) has the code 1, a prefix of the code of item '2' \(key '2'\) \(1 2\)",
    ),
    "codes.xyz": ("1 2", "has no suffix that names its format"),
    "codes.pt": ("1 2", "is not a torch file of plain data"),
    "text.npy": ("1 2", "is not a NumPy file"),
    "text.npz": ("PK\3\4", "is not a NumPy file"),
    "half.json": ('{"1": ["\\ud800"]}', "holds half a character"),
    "half.jsonl": ('{"item_id": 1, "codes": ["\\ud800"]}', "line 1: holds half a character"),
    "nul.txt": ("1 <a><b>\n2 <a>\0<c>\n", "line 2: holds a NUL byte"),
    "colons.txt": (
        "1::5::7\n2::5::8\n",
        "line 1: the first line is a row, not a header: .*indexer.columns=item_id,code_0",
    ),
    "opened.json": ('{"1": "[2, 2"}', r"key '1': '\[2, 2' is not whole"),
    "nested.csv": ('item,code\n1,"[[1, 2], [3]]"\n', "line 2: .* is no list of tokens"),
    "hole_in_list.json": ('{"1": "2,, 3"}', "key '1': '2,, 3' is no list of tokens"),
    "two_marks.json": ('{"1": "1 2, 3"}', "key '1': '1 2, 3' is no list of tokens: one mark parts them"),
    "lists_differ.json": ('{"1": "2, 3", "2": "2|3"}', "key '2': '2|3' is joined by '|', and '2, 3' by ','"),
    "negative.json": ('{"1": [5, -1, 7]}', "key '1': '-1' is not a token"),
    "large_key.jsonl": (
        '{"item_id": 1e16, "codes": [1]}',
        "line 1: the item 10000000000000000 is a float of 2\\*\\*53 or more",
    ),
    "key.jsonl": ('{"item_id": 1.5, "codes": [1]}', "line 1: the item '1.5' is not a whole number or a text"),
    "large_token.csv": ("item,c0\n1,9007199254740992.0\n", "line 2: the c0 9007199254740992 is a float of 2"),
    "open.txt": ("1 <a><b>\n2 <a><", "line 2: '<a><' is not whole"),
}


@pytest.mark.parametrize("name", GARBLED)
def test_a_fault_of_the_file_is_one_line_that_names_the_place(name, tmp_path):
    content, why = GARBLED[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=why) as caught:
        build(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.zeros(4), r"of shape \(4,\), not a matrix"),
        (np.array([["a"]]), "not a matrix of whole numbers"),
        (np.array([[1, 2], [1.5, 2], [3, 3]]), "row 1: 1.5 at level 0 is not a token"),
        (np.array([[1, 2], [-1, 2], [3, 3]]), "row 1: 2 at level 1 is not a token"),
        (np.array([[1, 2], [-7, 2], [3, 3]]), "row 1: -7 at level 0 is not a token"),
        (np.array([[1, 2], [np.nan, 2], [3, 3]]), "row 1: nan at level 0 is not a token"),
    ],
)
def test_a_fault_of_a_matrix_names_row_and_level(matrix, why, tmp_path):
    np.save(tmp_path / "codes.npy", matrix)
    with pytest.raises(DataError, match=why):
        build(tmp_path / "codes.npy")


INEXACT = {
    "bf16.pt": (torch.tensor([[0, 301], [1, 511]]).bfloat16(), "entry 0, 1: 300 is a bfloat16 of 2**8 or more"),
    "half.npy": (np.array([[0, 2049], [1, 3]], np.float16), "entry 0, 1: 2048 is a float16 of 2**11 or more"),
    "single.npy": (
        np.array([[0, 3], [1, 2**24 + 1]], np.float32),
        "entry 1, 1: 16777216 is a float32 of 2**24 or more",
    ),
    "double.npy": (np.array([[0.0], [2**53 + 1]]), "entry 1, 0: 9007199254740992 is a float64 of 2**53 or more"),
    "keys.npz": ({"codes": ARRAY, "ids": np.array([1, 2, 3, 2**24 + 1], np.float32)}, "entry 3: 16777216 is a float32"),
    "lists.pt": ([torch.tensor([1, 4099]).half(), torch.tensor([1, 2]).half()], "4100 is a float16 of 2**11 or more"),
    "half.parquet": (np.array([2049.0], np.float16), "row 1: the token 2048 is a float of 2**11 or more"),
}


@pytest.mark.parametrize("name", INEXACT)
def test_floats_that_may_have_lost_their_last_digits_are_refused_by_their_own_type(name, tmp_path):
    content, why = INEXACT[name]
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save(content, path)
    elif name.endswith(".parquet"):
        pq.write_table(
            pa.table({"item": IDS[:1], "code": pa.FixedSizeListArray.from_arrays(pa.array(content), 1)}), path
        )
    else:
        np.savez(path, **content) if name.endswith(".npz") else np.save(path, content)
    with pytest.raises(DataError) as caught:
        build(path)
    assert why in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "largest"), [(torch.bfloat16, 255), (torch.float16, 2047), (torch.float32, 2**24 - 1), (torch.uint8, 255)]
)
def test_the_largest_exact_number_of_each_type_is_read(kind, largest, tmp_path):
    torch.save(torch.tensor([[largest, 1], [0, 2], [0, 3]], dtype=kind), tmp_path / "codes.pt")
    assert read_codes(tmp_path / "codes.pt").codes[0] == (str(largest), "1")


def test_large_whole_numbers_of_an_unsigned_type_are_kept(tmp_path):
    np.save(tmp_path / "codes.npy", np.array([[2**64 - 1], [1]], np.uint64))
    assert read_codes(tmp_path / "codes.npy").codes == [(str(2**64 - 1),), ("1",)]


def test_a_damaged_sparse_tensor_is_refused_and_does_not_end_the_process(tmp_path):
    tensor = torch.sparse_coo_tensor([[0, 1], [0, 1]], [1, 2], (4, 2))
    tensor._indices()[0, 0] = 1 << 40
    torch.save(tensor, tmp_path / "codes.pt")
    with pytest.raises(DataError, match="is not a torch file of plain data"):
        build(tmp_path / "codes.pt")


def test_an_archive_of_several_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "codes.npz", films=np.zeros((2, 2)), people=np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"holds 2 arrays \(films, people\); call the codes `codes`"):
        build(tmp_path / "codes.npz")


def test_objects_that_are_no_rows_are_refused(tmp_path):
    np.save(tmp_path / "codes.npy", np.array([{}, {}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"holds Python objects of shape \(2,\), not rows of whole numbers"):
        build(tmp_path / "codes.npy")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return open, (str(marker), "w")

    np.save(tmp_path / "codes.npy", np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects that are no rows of numbers"):
        build(tmp_path / "codes.npy")
    assert not marker.exists()


def test_a_key_that_does_not_count_is_refused_where_keys_count(tmp_path):
    with pytest.raises(DataError, match="key 'B00': 'B00' is not a whole number, so it is not zero-based"):
        build(as_json(tmp_path / "codes.json", {"B00": [1]}), keys="zero-based")


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path):
    (tmp_path / "codes.csv").write_bytes(b"item,code\n1,\xff\n")
    with pytest.raises(DataError, match="line 2: byte 0xff is not UTF-8 text"):
        build(tmp_path / "codes.csv")


def test_a_missing_file_says_where_a_relative_path_counts_from():
    with pytest.raises(DataError, match=r"absent\.json: there is no such file .a relative path counts from"):
        build("absent.json")
    with pytest.raises(DataError, match="there is no such file"):
        CodesIndexer(CodesConfig(path="absent.json")).fingerprint()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, r"indexer.path must be given: --set indexer.path="),
        ({"path": ""}, "indexer.path = '': string should have at least 1 character"),
        ({"path": "x", "keys": "zero-base"}, "Did you mean 'zero-based'"),
        ({"path": "x", "shared_alphabet": "yes"}, "shared_alphabet needs users_path"),
    ],
)
def test_impossible_options_are_configuration_errors(values, why):
    with pytest.raises(ConfigError, match=why):
        make_config(CodesConfig, values, "indexer")


def test_external_ids_are_shown_to_those_who_need_them_only():
    data, split = data_of()
    view = protocol.train_view(data, split, RandomIndexer.needs)
    assert view.item_ids is None and view.user_ids is None
    view = protocol.train_view(data, split, CodesIndexer.needs)
    assert sorted(view.item_ids) == IDS and sorted(view.user_ids) == ["u", "v"]


@pytest.fixture
def own(planted_file, tmp_path, monkeypatch):
    """A file with codes for the planted items, and the spec of a run that reads it."""
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    lines = opened_by(planted_file.read_text)[0].splitlines()  # as the host reads: no component has seen the file
    ids = sorted({item for line in lines for item in line.split()[1:]})
    path = as_json(tmp_path / "codes.json", {one: [one[:2], one[2:]] for one in ids})
    spec = spec_for(planted_file, indexer="codes", set={"indexer.path": str(path), "backbone.epochs": 1})
    return path, spec


def indexed(spec) -> tuple[Index, bool]:
    """The index as a run makes it, and whether it came from the cache."""
    plan = resolve(spec)
    outcome = build_index(load_inputs(plan), plan.system.indexer)
    return outcome.index, outcome.cached


def test_a_changed_file_gives_a_new_index_and_an_equal_one_the_cached(own, tmp_path):
    path, spec = own
    first, cached = indexed(spec)
    assert not cached
    assert indexed(spec)[1]
    as_json(path, {key: code[::-1] for key, code in json.loads(path.read_text()).items()})
    second, cached = indexed(spec)
    assert not cached and second.fingerprint != first.fingerprint


def test_a_finished_run_is_not_returned_once_its_file_has_changed(own, tmp_path):
    path, spec = own
    first = runner.run(spec, out=tmp_path / "runs", device="cpu")
    assert first.validity["hallucination_rate"] == 0
    again = runner.run(spec, out=tmp_path / "runs", device="cpu")
    assert again.process == first.process and again.environment == first.environment
    as_json(path, {key: code[::-1] for key, code in json.loads(path.read_text()).items()})
    other = runner.run(spec, out=tmp_path / "runs", device="cpu")
    assert other.fingerprints["index"] != first.fingerprints["index"]
    assert other.fingerprints["files"] != first.fingerprints["files"]
