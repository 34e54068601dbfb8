"""Numbers as people and tools write them: one reading in every file and for every purpose, or one line."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec_bench.core.ids import whole_number
from genrec_bench.core.tables.files import open_table
from genrec_bench.errors import DataError

DIGITS = 5_000
READINGS = {  # as a whole number and as a float; None: refused
    "5": (5, 5.0),
    " 5 ": (5, 5.0),
    "-5": (-5, -5.0),
    "5.0": (5, 5.0),
    "1e3": (1000, 1000.0),
    "0.5": (None, 0.5),
    "0x10": (None, None),
    "0b1": (None, None),
    "1_000": (None, None),
    "١٢": (None, None),
    "+5": (5, 5.0),
    "NaN": (None, None),
    "inf": (None, None),
    "1e999": (None, None),
    str(2**64): (None, None),  # beyond 2**53 a double is not exact
    "9" * DIGITS: (None, None),
}
AS_JSON = {text: text for text in READINGS} | {"NaN": float("nan"), "inf": float("inf"), "5": 5, str(2**64): 2**64}


def table(tmp_path, form, text):
    """A column `n` with the numbers 1 and `text`."""
    path = tmp_path / f"table.{form}"
    if form == "csv":
        path.write_text(f"user,n\na,1\na,{text}\n")
    elif form == "json":
        path.write_text(json.dumps([{"user": "a", "n": 1}, {"user": "a", "n": AS_JSON[text]}]))
    else:
        column = pa.array(["1", text])
        kept = column.dictionary_encode() if form == "pq" else column
        pq.write_table(pa.table({"user": ["a", "a"], "n": kept}), path)
    return open_table(path).read(["n"])


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "pq"])
@pytest.mark.parametrize("text", READINGS, ids=lambda text: text[:12])
def test_a_number_is_read_alike_everywhere_or_refused_in_one_short_line(tmp_path, form, text):
    whole, real = READINGS[text]
    rows = table(tmp_path, form, text)
    for read, expected in (
        (lambda: rows.times("n")[0], whole),  # times
        (lambda: rows.whole_numbers("n", "ranks count from 1"), whole),  # ranks
        (lambda: rows.floats("n"), real),  # ratings and scores
    ):
        if expected is not None:
            assert read().tolist() == [1, expected]
            continue
        with pytest.raises(DataError) as caught:
            read()
        said = str(caught.value)
        assert "\n" not in said and len(said) < 400 + len(str(tmp_path)) and "table" in said


@pytest.mark.parametrize(
    "column", [pa.array([True, False]), pa.array([1, 2], pa.timestamp("s")), pa.array([[1], [2]])], ids=str
)
def test_truth_values_times_and_lists_are_no_numbers(tmp_path, column):
    pq.write_table(pa.table({"n": column}), tmp_path / "a.parquet")
    rows = open_table(tmp_path / "a.parquet").read(["n"])
    for read in (rows.floats, rows.whole_numbers):
        with pytest.raises(DataError, match=r"the column n holds .*, not numbers"):
            read("n")


@pytest.mark.parametrize(("kind", "exact"), [(pa.float32(), 2**24), (pa.float64(), 2**53)], ids=str)
def test_floats_that_may_have_lost_digits_are_neither_times_nor_ids(tmp_path, kind, exact):
    for value, refused in ((exact - 1, False), (exact, True), (2 * exact, True)):
        pq.write_table(pa.table({"n": pa.array([1.0, float(value)], kind)}), tmp_path / "a.parquet")
        rows = open_table(tmp_path / "a.parquet").read(["n"])
        if not refused:
            assert rows.times("n")[0].tolist() == [1, value] and rows.ids("n")[1].tolist() == ["1", str(value)]
            continue
        with pytest.raises(DataError, match=r"row 2: the n .* is too large to be exact"):
            rows.times("n")
        with pytest.raises(DataError, match=r"row 2: the n .* so its last digits may be lost"):
            rows.ids("n")


def test_json_with_a_number_of_thousands_of_digits_is_one_line(tmp_path):
    for text in ('[{{"user": 1, "n": {}}}]', '{{"user": 1, "n": 1}}\n{{"user": 1, "n": {}}}\n'):
        (tmp_path / "a.json").write_text(text.format("9" * DIGITS))
        with pytest.raises(DataError, match=r"a\.json.*cannot be read"):
            open_table(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["0x10", "1e3", "١٢", "1_000", "0b1", "+5", " 5 ", "NaN", "inf", "9" * 19, "9" * DIGITS]
)
def test_an_items_number_has_plain_digits_only(text):
    with pytest.raises(ValueError, match="is not a whole number in plain digits") as caught:
        whole_number(text)
    assert len(str(caught.value)) < 120
    assert (whole_number("12"), whole_number("-3"), whole_number("007")) == (12, -3, 7)
