"""Files as people have them: read right, and aloud, or refused in one line that says what to do."""

import bz2
import gzip
import json
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec_bench.core.ids import NotAnId, normal_id, normal_ids
from genrec_bench.core.progress import Quiet
from genrec_bench.core.tables.files import open_table
from genrec_bench.data.file import FileConfig, FileDataset
from genrec_bench.errors import DataError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import DatasetContext

USERS, STEPS = np.divmod(np.arange(16), 4)
ROWS = [
    (f"u{user}", f"i{(user + 2 * step) % 7}", 1_600_000_000 + 60 * int(step))
    for user, step in zip(USERS, STEPS, strict=True)
]
HEADER = ("user_id", "item_id", "timestamp")


class Notes(Quiet):
    """Progress that remembers what it was told."""

    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def read(path, progress=None, **options):
    config = make_config(FileConfig, {"path": str(path), **options}, "dataset")
    return FileDataset(config).load(DatasetContext(progress=progress or Quiet()))


def write(path, rows=ROWS, header=HEADER, between=","):
    lines = [between.join(map(str, row)) for row in ((header, *rows) if header else rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def refused(path, **options):
    with pytest.raises(DataError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def plain(tmp_path):
    return read(write(tmp_path / "plain.csv")).fingerprint()


@pytest.mark.parametrize("between", [",", "\t", ";", "|", " ", "::"])
@pytest.mark.parametrize("typed", [False, True])
def test_the_header_shows_the_separator(tmp_path, plain, between, typed):
    if typed and between == "::":
        return  # a type stands behind one colon
    header = [f"{name}:token" for name in HEADER] if typed else HEADER
    assert read(write(tmp_path / "any.inter", header=header, between=between)).fingerprint() == plain


@pytest.mark.parametrize(("format", "between"), [("inter", " "), ("inter", ","), ("csv", ";")])
def test_a_format_that_is_asked_for_and_wrong_is_told_with_the_whole_header(tmp_path, format, between):
    message = refused(write(tmp_path / "any", between=between), format=format)
    assert "is separated by" in message and between.join(HEADER) in message


def test_quotes_may_stand_around_every_cell(tmp_path, plain):
    rows = [[f'"{cell}"' for cell in row] for row in (HEADER, *ROWS)]
    for between in (";", "\t"):
        path = write(tmp_path / "quoted.csv", rows, None, between)
        assert read(path).fingerprint() == plain
    assert "is separated by ';', not by ','" in refused(write(tmp_path / "q.csv", rows, None, ";"), format="csv")


def test_blanks_around_ids_fall_away(tmp_path, plain):
    assert read(write(tmp_path / "blanks.csv", between=", ")).fingerprint() == plain
    spaced = write(tmp_path / "quoted.csv", [(f' "{user}"', item, time) for user, item, time in ROWS])
    assert "has a blank before its quote" in refused(spaced)


@pytest.mark.parametrize("pack", ["gz", "zst"])
def test_compressed_files_are_read_by_their_content(tmp_path, plain, pack):
    text = write(tmp_path / "plain.csv").read_bytes()
    path = tmp_path / f"clicks.csv.{pack}"
    path.write_bytes(gzip.compress(text) if pack == "gz" else pa.compress(text, "zstd", asbytes=True))
    assert read(path).fingerprint() == plain
    path.write_bytes(path.read_bytes()[:-9])
    assert "cannot be unpacked" in refused(path)


def test_a_damaged_archive_says_so(tmp_path):
    content = bytearray(bz2.compress(write(tmp_path / "plain.csv").read_bytes()))
    content[20] ^= 1
    (tmp_path / "a.csv.bz2").write_bytes(content)
    assert "cannot be unpacked" in refused(tmp_path / "a.csv.bz2")


@pytest.mark.parametrize("kind", ["large_string", "string_view"])
def test_every_kind_of_text_in_parquet_is_read(tmp_path, kind):
    path = parquet_of(tmp_path / "a.parquet", ["a", "a", "a"])
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "user_id", table.column(0).cast(kind)), path)
    assert read(path).user_ids.tolist() == ["a"]


def test_dates_that_python_does_not_have_are_refused(tmp_path):
    path = parquet_of(tmp_path / "a.parquet", ["a"] * 9)
    table = pq.read_table(path)
    pq.write_table(table.set_column(2, "timestamp", pa.array([2**30] * 9, pa.int32()).cast(pa.date32())), path)
    assert "not a time between the years 1678 and 2262" in refused(path)


def test_a_zip_archive_is_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"PK\x03\x04....")
    assert "is a zip archive; unpack it" in refused(tmp_path / "a.csv")


def test_usual_names_are_recognised_and_said_aloud(tmp_path, plain):
    progress = Notes()
    path = write(tmp_path / "shop.csv", [(*row, "x") for row in ROWS], ("visitor_id", "Product", "at", "page"))
    data = read(path, progress)
    assert data.fingerprint() == plain
    assert f"{path}: user = visitor_id, item = Product, time = at; not used: page" in progress.notes
    assert data.read_as["columns"].startswith("user = visitor_id") and data.read_as["times"] == "at, whole numbers"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (("user", "user_id", "item_id", "time"), "2 columns may be the user: user, user_id. Say which"),
        (("", "user_id", "item_id", "time"), "column 1 has no name"),
        (("user_id", "item_id", "item_id", "time"), "more than one column 'item_id'"),
        (
            ("who", "item_id", "what", "time"),
            "no column is known to be the user; its columns: who, item_id, what, time",
        ),
    ],
)
def test_no_column_is_taken_by_its_place(tmp_path, header, message):
    rows = [(user, user, item, time) for user, item, time in ROWS]
    assert message in refused(write(tmp_path / "clicks.csv", rows, header))


def test_times_are_found_by_name_and_times_that_nobody_reads_are_named(tmp_path, plain):
    shuffled = [ROWS[row] for row in np.random.default_rng(0).permutation(len(ROWS))]
    assert read(write(tmp_path / "a.csv", shuffled, ("user_id", "item_id", "time"))).fingerprint() == plain
    path = write(tmp_path / "b.csv", shuffled, ("user_id", "item_id", "moment"))
    assert "moment looks like one: --set dataset.time_column=moment uses it" in refused(path)
    assert read(path, time_column="moment").fingerprint() == plain
    progress = Notes()
    assert read(path, progress, time_column="none").time is None
    assert any("moment looks like a time and is not used" in note for note in progress.notes)


@pytest.mark.parametrize("unit", [1, 1000])
def test_times_that_may_stand_for_missing_ones_are_told(tmp_path, unit):
    at = 1_600_000_000 * unit
    rows = [(user, item, at + number) for number, (user, item, _) in enumerate(ROWS)]
    progress = Notes()
    read(write(tmp_path / "sound.csv", rows), progress)
    steps = [(user, item, number) for number, (user, item, _) in enumerate(ROWS)]
    read(write(tmp_path / "steps.csv", steps), progress)  # 0 is the first step
    assert not any("its" in note and "times are" in note for note in progress.notes)

    rows[3], rows[7] = (*rows[3][:2], 0), (*rows[7][:2], -1)
    data = read(write(tmp_path / "lost.csv", rows), progress)
    assert data.read_as["odd_times"].startswith(f"2 of its {len(ROWS)} times are 0 or -1, so they come first")
    assert any("times are 0 or -1" in note for note in progress.notes)
    same = [(user, item, at) for user, item, _ in ROWS]
    assert read(write(tmp_path / "same.csv", same)).read_as["odd_times"].startswith(f"all its times are {at}")


def test_seconds_and_milliseconds_in_one_column_are_refused(tmp_path):
    rows = [(user, item, time * (1000 if at == 4 else 1)) for at, (user, item, time) in enumerate(ROWS)]
    message = refused(write(tmp_path / "mixed.csv", rows))
    assert "line 6: the timestamp" in message and "counts in another unit since 1970" in message
    numbers = [(user, item, at * 10**9) for at, (user, item, _) in enumerate(ROWS)]  # not all look like times
    assert read(write(tmp_path / "numbers.csv", numbers)).time is not None


def test_one_id_in_two_forms_of_unicode_is_one_id(tmp_path, plain):
    forms = ("caf\u00e9", "cafe\u0301")
    rows = [(user, forms[at % 2] + str(item), time) for at, (user, item, time) in enumerate(ROWS)]
    one = [(user, forms[0] + str(item), time) for user, item, time in ROWS]
    assert read(write(tmp_path / "two.csv", rows)).fingerprint() == read(write(tmp_path / "one.csv", one)).fingerprint()


def test_an_empty_time_column_is_none(tmp_path):
    data = read(write(tmp_path / "a.csv", [(user, item, "") for user, item, _ in ROWS]))
    assert data.time is None and "empty" in data.read_as["times"]


def test_iso_times_dates_and_timestamps_give_one_split(tmp_path):
    stamps = np.array([time for *_, time in ROWS], "datetime64[s]")
    texts = [f"{stamp}.000Z" for stamp in stamps]
    iso = read(write(tmp_path / "a.csv", [(*row[:2], text) for row, text in zip(ROWS, texts, strict=True)]))
    users, items, _ = zip(*ROWS, strict=True)
    for times in (pa.array(stamps), pa.array(texts)):
        pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": times}), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet").fingerprint() == iso.fingerprint()

    days = pa.array(np.array([f"2020-09-{day + 1:02}" for day in STEPS], "datetime64[D]"))
    pq.write_table(pa.table({"user_id": users, "item_id": items, "date": days}), tmp_path / "d.parquet")
    dated = write(
        tmp_path / "d.csv", [(*row[:2], day) for row, day in zip(ROWS, days, strict=True)], ("user", "item", "date")
    )
    assert read(tmp_path / "d.parquet").fingerprint() == read(dated).fingerprint()


def test_times_with_and_without_a_zone_are_not_compared(tmp_path):
    rows = [(*row[:2], f"2020-01-0{n % 9 + 1}T10:00:00{'Z' * (n == 3)}") for n, row in enumerate(ROWS)]
    assert ", line 5: " in refused(write(tmp_path / "a.csv", rows))


NOON = 1_390_910_400  # 2014-01-28 12:00:00 UTC
DAY = 86_400
FORMS = {  # times of that day and of the day before, as people write them, in seconds
    "slashes": (["2014/01/28", "2014/1/27"], [NOON - DAY // 2, NOON - DAY // 2 - DAY]),
    "UTC": (["2014-01-28 12:00:00 UTC", "2014-01-27 12:00:00 UTC"], [NOON, NOON - DAY]),
    "+02": (["2014-01-28 14:00:00+02", "2014-01-27 14:00+0200"], [NOON, NOON - DAY]),
    "small letters": (["2014-01-28t12:00:00z", "2014-01-27t12:00:00z"], [NOON, NOON - DAY]),
    "Twitter": (["Tue Jan 28 12:00:00 +0000 2014", "Mon Jan 27 04:00:00 -0800 2014"], [NOON, NOON - DAY]),
    "RFC 2822": (["Tue, 28 Jan 2014 12:00:00 GMT", "27 Jan 2014 12:00:00 +0000"], [NOON, NOON - DAY]),
    "day first": (["27.01.2014 12:00", "01.02.2014 12:00"], [NOON - DAY, NOON + 4 * DAY]),
    "month first": (["01 27, 2014", "02 1, 2014"], [NOON - DAY // 2 - DAY, NOON + 4 * DAY - DAY // 2]),
    "halves of a day": (["01/28/2014 12:00 PM", "1/28/2014 12:00:00 AM"], [NOON, NOON - DAY // 2]),
    "month by name": (["January 28, 2014", "Jan 27, 2014"], [NOON - DAY // 2, NOON - DAY // 2 - DAY]),
    "no marks": (["20140128T120000Z", "20140127T120000Z"], [NOON, NOON - DAY]),
    "fractions": ([f"{NOON}.25", f"{NOON - 1}"], [NOON + 0.25, NOON - 1]),
}


@pytest.mark.parametrize("form", FORMS)
def test_times_are_read_in_the_forms_that_people_write(tmp_path, form):
    (first, second), expected = FORMS[form]
    rows = [(user, item, f'"{first if n % 2 else second}"') for n, (user, item, _) in enumerate(ROWS)]
    data = read(write(tmp_path / "a.csv", rows))
    assert data.time[[1, 0]].tolist() == [int(moment) * 10**9 + int(moment % 1 * 10**9) for moment in expected]
    assert data.read_as["times"].startswith("timestamp, nanoseconds since 1970")

    message = refused(write(tmp_path / "b.csv", rows, ("user_id", "item_id", "seen")))
    assert "seen looks like one: --set dataset.time_column=seen uses it" in message
    users, items, _ = zip(*ROWS, strict=True)
    moments = pa.array([row[2].strip('"') for row in rows])
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": moments}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").fingerprint() == data.fingerprint()


def test_fractions_of_seconds_in_floats_are_those_of_texts(tmp_path):
    seconds = [NOON + n + 0.123 for n in range(len(ROWS))]
    users, items, _ = zip(*ROWS, strict=True)
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": seconds}), tmp_path / "a.parquet")
    data = read(tmp_path / "a.parquet")
    assert data.time.tolist() == [(NOON + n) * 10**9 + 123_000_000 for n in range(len(ROWS))]
    rows = [(*row[:2], second) for row, second in zip(ROWS, seconds, strict=True)]
    assert read(write(tmp_path / "a.csv", rows)).fingerprint() == data.fingerprint()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["01/02/2014", "02/02/2014"], "the column timestamp (01/02/2014) may begin with the day or with the month"),
        (
            ["13/01/2014", "01/13/2014"],
            "line 3: the timestamp '01/13/2014' is written with day and month the other way",
        ),
        (["2014/01/28", "2014/02/30"], "line 3: the timestamp '2014/02/30' is not a time"),
        (
            ["2014-01-28 10:00 UTC", "2014-01-28 10:00"],
            "line 3: the timestamp '2014-01-28 10:00' is without a time zone",
        ),
        (["28 Jan 2014", "?"], "line 3: the timestamp '?' is not a date, as '28 Jan 2014' in the first row is"),
        (["28:10:00", "27:10:00"], "line 2: the timestamp '28:10:00' is not a number"),
    ],
)
def test_dates_that_may_mean_two_days_or_none_are_refused(tmp_path, texts, message):
    rows = [(user, item, texts[n % 2]) for n, (user, item, _) in enumerate(ROWS)]
    assert message in refused(write(tmp_path / "a.csv", rows))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("seen", lambda n: "?" if n == 3 else NOON - n),
        ("seen", lambda n: 20140101 + n),
        ("dateAdded", lambda n: f"28:{n}"),
        ("time_added", lambda n: 500 - n),
    ],
)
def test_a_column_is_a_time_by_nearly_all_its_values_or_by_its_name(tmp_path, name, cell):
    rows = [(user, item, cell(n)) for n, (user, item, _) in enumerate(ROWS)]
    assert f"{name} looks like one" in refused(write(tmp_path / "a.csv", rows, ("user_id", "item_id", name)))


def test_a_column_that_numbers_the_rows_otherwise_is_not_passed_over(tmp_path):
    header = ("user_id", "item_id", "position")
    falling = [(user, item, -n) for n, (user, item, _) in enumerate(ROWS)]
    message = refused(write(tmp_path / "a.csv", falling, header))
    assert "not in the order of the column position: --set dataset.time_column=position orders them by it" in message
    assert read(tmp_path / "a.csv", time_column="position").time.tolist() == [-n for n in range(len(ROWS))]
    rising = [(user, item, n) for n, (user, item, _) in enumerate(ROWS)]
    assert read(write(tmp_path / "a.csv", rising, header)).time is None
    assert read(write(tmp_path / "a.csv", falling, ("user_id", "item_id", "order_id"))).time is None


def lists_with_times(tmp_path, name, times, form, items="items", **more):
    """Two users with three items each, newest first, and a list of times."""
    rows = [{"user_id": user, items: ["c", "b", "a"], name: times, **more} for user in ("u", "v")]
    path = tmp_path / f"lists.{form}"
    match form:
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
        case "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case "csv":
            cells = [
                [" ".join(map(str, cell)) if isinstance(cell, list) else cell for cell in row.values()] for row in rows
            ]
            write(path, cells, list(rows[0]))
    return path


@pytest.mark.parametrize("form", ["jsonl", "parquet", "csv"])
def test_lists_of_times_order_the_items_or_are_refused(tmp_path, form):
    for name in ("timestamp", "timestamps"):
        data = read(lists_with_times(tmp_path, name, [NOON + 2, NOON + 1, NOON], form))
        assert data.time.tolist() == [NOON + 2, NOON + 1, NOON] * 2
        assert data.item_ids[data.item].tolist() == ["c", "b", "a"] * 2
    path = lists_with_times(tmp_path, "seen", [NOON + 2, NOON + 1, NOON], form)
    assert "seen looks like lists of times: --set dataset.time_column=seen uses it" in refused(path)
    assert read(path, time_column="seen").fingerprint() == data.fingerprint()
    assert read(path, time_column="none").time is None
    assert "has 3 items and 2 times (ts)" in refused(lists_with_times(tmp_path, "ts", [NOON, NOON - 1], form))
    followed = lists_with_times(
        tmp_path, "seen", [3, 2, 1], form, "item_id_list", item_id="d", timestamp="2014-01-28 12:00"
    )
    assert read(followed).read_as["unused_times"] == "timestamp"


def parquet_of(path, users):
    pq.write_table(
        pa.table(
            {"user_id": users, "item_id": [f"i{n % 5}" for n in range(len(users))], "timestamp": range(len(users))}
        ),
        path,
    )
    return path


def test_whole_floats_are_the_ids_they_were(tmp_path):
    ids = [int(user) + 108_775_015_000 for user in USERS]
    whole, floats = parquet_of(tmp_path / "a.parquet", ids), parquet_of(tmp_path / "b.parquet", [float(n) for n in ids])
    assert read(whole).fingerprint() == read(floats).fingerprint()
    rows = [(f"{n}.0", f"i{k % 5}", k) for k, n in enumerate(ids)]
    assert read(write(tmp_path / "c.csv", rows)).fingerprint() == read(whole).fingerprint()


def test_whole_floats_among_whole_numbers_are_these_numbers(tmp_path):
    mixed = [(user, item if k % 2 else f"{item}.0", k) for k, (user, item) in enumerate(product(range(4), range(5)))]
    plain = [(user, item, k) for k, (user, item) in enumerate(product(range(4), range(5)))]
    assert read(write(tmp_path / "a.csv", mixed)).fingerprint() == read(write(tmp_path / "b.csv", plain)).fingerprint()
    versions = [(user, "1.5" if item == "3" else item, k) for user, item, k in (map(str, row) for row in mixed)]
    assert set(read(write(tmp_path / "c.csv", versions)).item_ids.tolist()) == {"0", "1", "1.5", "2", "3", "4"}


def test_a_person_may_type_a_whole_number_as_files_of_floats_write_it():
    assert normal_id(" 7.0 ", {"7"}) == normal_id("7", {"7"}) == "7"
    assert normal_id("7.0", {"7.0", "7"}) == "7.0"
    assert normal_id("1.5", {"1"}) == "1.5" and normal_id("u7.0", {"u7"}) == "u7.0"


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2"])
def test_a_plain_table_under_a_packed_name_is_read_as_it_is(tmp_path, suffix):
    rows = [(f"u{k % 4}", f"i{k % 5}", k) for k in range(40)]
    plain = write(tmp_path / "a.csv", rows)
    named = tmp_path / f"b.csv{suffix}"
    named.write_bytes(plain.read_bytes())
    assert read(named).fingerprint() == read(plain).fingerprint()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.0, float("nan"), 1.0], "row 2: the user_id is empty"),
        ([1.0, None, 1.0], "row 2: the user_id is empty"),
        ([1.0, 2.0**60, 1.0], "row 2: the user_id 1152921504606846976 is a float of 2\\*\\*53 or more"),
        ([1.0, 2.0**53 + 1, 1.0], "row 2: the user_id 9007199254740992 is a float of 2\\*\\*53 or more"),
        ([1.0, 1.5, 1.0], "row 2: the user_id 1.5 is not a whole number"),
        (["a", "nan", "a"], "row 2: the user_id 'nan' stands for a lost value"),
        *[
            (["a", lost, "a"], f"row 2: the user_id '{lost}' stands for a lost")
            for lost in ("NA", "N/A", "#N/A", "NAN", "undefined")
        ],
        (["a", "1.23E+11", "a"], "row 2: the user_id '1.23E\\+11' is a number as spreadsheets shorten it"),
        (["a", "[1, 2]", "a"], "row 2: the user_id '\\[1, 2\\]' is a list, not one id"),
        ([True, True, True], "the column user_id holds bool"),
    ],
)
def test_what_is_no_id_is_refused(tmp_path, ids, message):
    with pytest.raises(DataError, match=message):
        read(parquet_of(tmp_path / "a.parquet", ids))


def test_ids_have_one_form():
    assert normal_ids(pa.array([" a ", "b"])).to_pylist() == ["a", "b"]
    assert normal_ids(pa.array(["1.0", "2.0"])).to_pylist() == ["1", "2"]
    assert normal_ids(pa.array(["7.0", "1.5", "7", "x"])).to_pylist() == [
        "7",
        "1.5",
        "7",
        "x",
    ]  # whatever stands beside
    assert normal_ids(pa.array(["1e+05", "1.2345678E7", "1e5", "v1.0"])).to_pylist() == [
        "100000",
        "12345678",
        "1e5",
        "v1.0",
    ]
    assert normal_ids(pa.array(["007", "7"])).to_pylist() == ["007", "7"]
    with pytest.raises(NotAnId) as caught:
        normal_ids(pa.array(["a", " "]))
    assert caught.value.row == 1


@pytest.mark.parametrize("between", ["::", "\t", ","])
def test_a_file_without_a_header_says_so_and_takes_names_by_option(tmp_path, plain, between):
    path = write(tmp_path / "ratings.dat", header=None, between=between)
    message = refused(path)
    assert "line 1: the first line is a row, not a header" in message
    assert message.endswith("--set dataset.columns=user_id,item_id,timestamp")
    assert read(path, columns="user_id,item_id,timestamp").fingerprint() == plain
    assert "has 3 cells, and" in refused(path, columns="user_id,item_id")
    assert "is a header" in refused(write(path, between=between), columns="user_id,item_id,timestamp")


def test_the_names_that_a_row_may_have_are_in_the_order_of_its_cells(tmp_path):
    clicks = write(tmp_path / "clicks.dat", [("1", "2020-09-13T12:26:40.277Z", "21452", "0")] * 2, None)
    assert refused(clicks).endswith("--set dataset.columns=user_id,timestamp,item_id,rating")
    assert refused(write(clicks, [("1", "2", "5")] * 2, None)).endswith("dataset.columns=user_id,item_id,rating")
    for part in ("indexer", "codes"):
        with pytest.raises(DataError, match=f"--set {part}.columns=item_id,code_0,code_1$"):
            open_table(write(tmp_path / "codes.csv", [("1", "0", "4")] * 2, None), part=part)


def test_words_without_a_header_are_told_of_the_option(tmp_path):
    path = write(tmp_path / "a.csv", [("ann", "tea"), ("ann", "milk")], None)
    assert "If its first line is a row, name the columns in their order: --set dataset.columns=" in refused(path)


def test_json_lines_json_lists_and_json_objects_are_read(tmp_path, plain):
    rows = [
        dict(zip(("reviewerID", "asin", "unixReviewTime"), row, strict=True), text='good, "really"\n') for row in ROWS
    ]
    path = tmp_path / "reviews.json"
    for text in ("\n".join(map(json.dumps, rows)), json.dumps(rows), json.dumps(rows, indent=1)):
        path.write_text(text)
        assert read(path).fingerprint() == plain

    ordered = {f"u{user}": [item for name, item, _ in ROWS if name == f"u{user}"] for user in range(4)}
    sequences = tmp_path / "plain.txt"
    sequences.write_text("".join(f"{user} {' '.join(items)}\n" for user, items in ordered.items()))
    path.write_text(json.dumps(ordered))
    assert read(path).fingerprint() == read(sequences, format="sequence").fingerprint()


def test_json_on_one_line_is_never_one_users_sequence(tmp_path):
    histories = {f"u{user}": [item for name, item, _ in ROWS if name == f"u{user}"] for user in range(4)}
    (tmp_path / "toy.inter.json").write_text(json.dumps(histories))
    assert "is JSON, not a user and its items a line" in refused(tmp_path / "toy.inter.json", format="sequence")
    data = read(tmp_path / "toy.inter.json")
    assert (data.n_users, data.n_items, len(data)) == (4, 7, 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1, 2], "a": [3]}', "the key 'a' stands twice"),
        ("{'a': [1]}", "not valid JSON"),
        ('{"user": 1, "item": 2}\n{"user": 1, "item": ', "line 2"),
        (
            '{"user": 1, "item": {"id": 2}}\n{"user": 1, "item": 2}',
            'line 1: the item is {"id": 2}, not a text or number',
        ),
        ("[[1, 2], [3]]", "not an object with named fields"),
        ('{"a": ["\\ud800"]}', "holds half a character"),
        ('{"a": ["i1", "i1\\u0000"]}', "holds a NUL character"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    assert message in refused(tmp_path / "a.json")


def test_lists_of_items_become_histories_with_the_item_that_followed(tmp_path):
    header = ("user_id:token", "item_id_list:token_seq", "item_id:token")
    rows = [("a", "1 2", "3"), ("a", "1 2 3", "4"), ("b", "2 3", "1")]
    data = read(write(tmp_path / "seq.train.inter", rows, header, "\t"))
    assert data.item_ids[data.item[data.user == 0]].tolist() == ["1", "2", "3", "4"]
    assert len(data) == 7
    message = refused(write(tmp_path / "seq.train.inter", [*rows, ("b", "9 9 9", "1")], header, "\t"))
    assert ", line 4: the items of user 'b' are not a part" in message


def test_the_parts_of_a_split_data_set_are_one_data_set(tmp_path, plain):
    for part, steps in (("train", (0, 1)), ("valid", (2,)), ("test", (3,))):
        rows = [row for row, step in zip(ROWS, STEPS, strict=True) if step in steps]
        write(tmp_path / f"shop.{part}.inter", rows, HEADER, "\t")
    progress = Notes()
    assert read(tmp_path / "shop.train.inter", progress).fingerprint() == plain
    assert any("read as one data set; the protocol splits it anew" in note for note in progress.notes)


HEAD = ("user_id:token", "item_id:token", "timestamp:float", "rating:float")


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (
            [("u", "i9", "2014-01-28", 1)],
            HEAD,
            "the times are timestamp, nanoseconds since 1970, and those of a.train.inter",
        ),
        ([("u", "i9", NOON * 1000, 1)], HEAD, "(milliseconds by their size), and those of a.train.inter"),
        ([("u", "i9", "", 1)], HEAD, "the times are none: the column timestamp is empty, and those"),
        ([("u", "i9")], HEAD[:2], "its columns (user_id, item_id) are not those of a.train.inter"),
        ([("u", "i9", NOON, 1)], ("user_id", "item_id", "time", "rating"), "are not those of a.train.inter"),
    ],
)
def test_parts_of_a_data_set_that_differ_are_refused(tmp_path, rows, header, message):
    write(tmp_path / "a.train.inter", [("u", f"i{n}", NOON + n, 1) for n in range(4)], HEAD, "\t")
    write(tmp_path / "a.test.inter", rows, header, "\t")
    said = refused(tmp_path / "a.train.inter")
    assert message in said and "a.test.inter: " in said


def test_ids_and_ratings_are_those_of_all_parts(tmp_path):
    write(tmp_path / "a.train.inter", [("u", f"{n}.0", NOON + n, 1) for n in range(4)], HEAD, "\t")
    write(tmp_path / "a.test.inter", [("u", "3", NOON + 9, ""), ("u", "x", NOON + 10, 1)], HEAD, "\t")
    data = read(tmp_path / "a.train.inter")
    assert sorted(data.item_ids.tolist()) == ["0", "1", "2", "3", "x"]
    assert data.rating is None and data.read_as["ratings"].startswith("left out: 1 of 2 cells")


def test_users_called_user_with_lists_of_one_length_are_users(tmp_path):
    lists = {f"user_{n}": [f"i{n}", f"i{n + 1}", f"i{n + 2}"] for n in range(3)}
    (tmp_path / "a.json").write_text(json.dumps(lists))
    data = read(tmp_path / "a.json")
    assert data.user_ids.tolist() == list(lists) and data.item_ids[data.item[:3]].tolist() == ["i0", "i1", "i2"]
    columns = {"user_id": ["a"] * 4, "item_id": list("wxyz"), "timestamp": [4, 3, 2, 1]}
    (tmp_path / "a.json").write_text(json.dumps(columns))
    assert read(tmp_path / "a.json").time.tolist() == [4, 3, 2, 1]


@pytest.mark.parametrize(
    "cell", ['"a,b,c"', '"a, b, c"', "a|b|c", "a;b;c", "a b c", '"[a, b, c]"', "\"['a', 'b', 'c']\""]
)
def test_lists_in_texts_are_parted_by_one_mark(tmp_path, cell):
    data = read(write(tmp_path / "a.csv", [("u", cell), ("v", cell)], ("user", "items")))
    assert data.item_ids[data.item].tolist() == ["a", "b", "c"] * 2


def test_lists_that_two_marks_part_are_refused(tmp_path):
    for cells, marks in (('"a,b c"', "parted by ',', and the column by blanks too"), ("a|b;c", "parted by '|', and")):
        assert "line 2: the items '" in (said := refused(write(tmp_path / "a.csv", [("u", cells)], ("user", "items"))))
        assert marks in said


@pytest.mark.parametrize(
    ("name", "first", "message"),
    [
        ("a.csv", "sep=,", "the first line, 'sep=,', is for Excel; remove it"),
        (
            "out.konect",
            "% asym weighted",
            "the first line is a comment: % asym weighted; remove the lines that begin with '%'",
        ),
        ("a.txt", "% asym weighted more", "the first line is a comment"),
        ("b.csv", "# made by a tool", "the first line is a comment"),
    ],
)
def test_a_first_line_that_is_no_row_is_named(tmp_path, name, first, message):
    path = write(tmp_path / name)
    path.write_text(f"{first}\n{path.read_text()}")
    assert message in refused(path)
    assert read(write(path, header=("# user_id", *HEADER[1:]))).n_users == 4


def test_long_titles_are_cut_and_gaps_in_unused_ratings_are_told(tmp_path):
    items = write(tmp_path / "a.item", [("i1", "x" * 1500), ("i2", "Two")], ("item_id:token", "title:token_seq"), "\t")
    rows = [(*row, "" if n == 2 else 3) for n, row in enumerate(ROWS)]
    path = write(tmp_path / "a.csv", rows, (*HEADER, "rating"))
    progress = Notes()
    data = read(path, progress, items_path=str(items))
    titles = dict(zip(data.item_ids.tolist(), data.item_titles.tolist(), strict=True))
    assert titles["i1"] == "x" * 997 + "..." and titles["i2"] == "Two"
    assert data.rating is None and "1 of 16 cells of the column rating are empty" in " ".join(progress.notes)
    assert ", line 4: the rating is empty" in refused(path, min_rating=1)
    assert ", line 4: the rating is empty" in refused(path, rating_column="rating")
    assert read(path, rating_column="none").rating is None


def test_titles_of_other_items_are_refused(tmp_path):
    items = write(tmp_path / "a.csv", [("x1", "One")], ("item_id", "title"))
    assert "has a title for none of the 7 items" in refused(write(tmp_path / "b.csv"), items_path=str(items))


def test_titles_that_are_the_ids_again_are_said_aloud(tmp_path):
    rows = [(f"i{item}", f"i{item}") for item in range(7)]
    items = write(tmp_path / "items.csv", rows, ("item_id", "title"))
    data = read(write(tmp_path / "a.csv"), items_path=str(items))
    assert data.read_as["titles"].endswith("; the titles repeat the items' ids")


def test_words_that_only_blanks_part_may_be_sequences(tmp_path):
    path = tmp_path / "shop.txt"
    path.write_text("a x y z\nb z y x w\n")
    assert read(path).n_users == 2
    path.write_text("a x y z\nb z y x\n")
    assert "it may be a table or sequences" in refused(path)
    assert read(path, format="sequence").n_users == 2


def repeating(tmp_path, header, cell):
    """A file with a column more, made of user and item."""
    return write(tmp_path / "a.csv", [(user, item, time, cell(user, item)) for user, item, time in ROWS], header)


@pytest.mark.parametrize("mark", ["_", "-", "|", ":", " ", "#", "+"])
def test_a_column_that_repeats_another_joined_with_more_is_refused_until_it_is_named(tmp_path, plain, mark):
    path = repeating(tmp_path, ("user_id", "movie", "timestamp", "item_id"), lambda user, item: f"{user}{mark}{item}")
    message = refused(path)
    assert "the column item_id, known to be the item, repeats the user (user_id) in every row" in message
    assert f"'u0{mark}i0'" in message and "--set dataset.item_column=..." in message
    assert read(path, item_column="movie").fingerprint() == plain
    assert read(path, item_column="item_id").n_items == len({(user, item) for user, item, _ in ROWS})

    behind = repeating(tmp_path, ("user", "item", "at", "user_item"), lambda user, item: f"{user}{mark}{item}")
    progress = Notes()
    assert read(behind, progress).fingerprint() == plain
    assert any("not used: user_item" in note for note in progress.notes)


def test_two_columns_that_spell_the_same_are_not_user_and_item(tmp_path):
    path = repeating(tmp_path, ("user_id", "film", "timestamp", "item_id"), lambda user, item: user)
    assert "repeats the user (user_id)" in refused(path) or "repeats the item (item_id)" in refused(path)
    assert read(path, item_column="film").n_items == 7


@pytest.mark.parametrize("mark", [",", "|", ";", " "])
def test_several_items_in_one_cell_are_refused_until_the_column_is_named(tmp_path, mark):
    rows = [{"user_id": user, "item_id": f"1{mark}{item[1:]}", "timestamp": time} for user, item, time in ROWS]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    message = refused(tmp_path / "a.json")
    assert f"row 1: the item_id '1{mark}0' is several numbers in one cell" in message
    assert "--set dataset.item_column=item_id takes each cell as one id" in message
    assert read(tmp_path / "a.json", item_column="item_id").n_items == 7


def test_ids_that_join_numbers_are_ids_and_said_aloud(tmp_path):
    path = write(tmp_path / "a.csv", [(user, f"0-{item[1:]}-1", time) for user, item, time in ROWS])
    progress = Notes()
    data = read(path, progress)
    assert data.n_items == 7
    assert data.read_as["items"].startswith("7 of 7 ids are several numbers in one text, such as '0-")
    assert any(data.read_as["items"] in note for note in progress.notes)

    (tmp_path / "baskets.txt").write_text("a 1,2 3 4\nb 3 4,5 6 1\n")
    baskets = read(tmp_path / "baskets.txt", progress, format="sequence")
    assert baskets.read_as["items"].startswith("2 of 6 ids") and "users" not in baskets.read_as
    assert any("of its items, 2 of 6 ids" in note for note in progress.notes)
    times = write(path, [(user, item, "0-0-1") for user, item, _ in ROWS])
    assert ", line 2: the timestamp '0-0-1' is not a number" in refused(times)
