"""A person's own files: every format gives the same events, every fault is named with its line."""

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec_bench.core.ids import LOST
from genrec_bench.core.progress import Quiet
from genrec_bench.data.file import FileConfig, FileDataset
from genrec_bench.data.sequences import read_sequences
from genrec_bench.errors import ConfigError, DataError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import DatasetContext
from genrec_bench.host.sealing import opened_by

ROWS = [("u1", "i1", 10), ("u1", "i2", 20), ("u2", "i1", 15), ("u1", "i3", 30), ("u2", "i3", 25), ("u2", "i2", 35)]
HEADERS = {"csv": "user_id,item_id,timestamp", "tsv": "user_id\titem_id\ttimestamp"}
HEADERS["inter"] = "user_id:token\titem_id:token\ttimestamp:float"


def text(format, rows=ROWS, header=None):
    """The rows as a text file of that format."""
    between = "," if format == "csv" else "\t"
    lines = [HEADERS[format] if header is None else header, *(between.join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def dataset(path, format, **options):
    return FileDataset(make_config(FileConfig, {"path": str(path), "format": format, **options}, "dataset"))


def load(path, format, content=None, **options):
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return dataset(path, format, **options).load(DatasetContext())


def refused(path, format, content=None, **options):
    """The message with which a file is refused."""
    with pytest.raises(DataError) as caught:
        load(path, format, content, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events"


def events(data):
    return [
        (data.user_ids[user], data.item_ids[item], time)
        for user, item, time in zip(data.user, data.item, data.time.tolist(), strict=True)
    ]


@pytest.mark.parametrize("format", ["csv", "tsv", "inter"])
def test_text_formats_give_the_events_of_the_file(path, format):
    assert events(load(path, format, text(format))) == ROWS


def test_parquet_gives_the_events_of_the_file(path):
    users, items, times = zip(*ROWS, strict=True)
    pa.parquet.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": times}), path)
    assert events(load(path, "parquet")) == ROWS


def test_parquet_may_hold_number_ids_dictionaries_and_dates(path):
    items = pa.array(["a", "b", "c"]).dictionary_encode()
    times = pa.array([1, 2, 3], pa.timestamp("ms"))
    pa.parquet.write_table(pa.table({"user_id": [7, 7, 7], "item_id": items, "timestamp": times}), path)
    assert events(load(path, "parquet")) == [("7", "a", 10**6), ("7", "b", 2 * 10**6), ("7", "c", 3 * 10**6)]


def test_columns_have_the_names_a_person_gives(path):
    content = 'when,"who",what,stars\n3,a,x,5\n1,a,"y, z",4.5\n2,a,w,1e0\n'
    names = {"user_column": "who", "item_column": "what", "time_column": "when", "rating_column": "stars"}
    data = load(path, "csv", content, **names)
    assert events(data) == [("a", "x", 3), ("a", "y, z", 1), ("a", "w", 2)]
    assert data.rating.tolist() == [5, 4.5, 1]


def test_without_times_the_order_of_rows_counts(path):
    for rows, options in ((sorted(ROWS), {}), (ROWS, {"time_column": "none"})):
        data = load(path, "csv", text("csv", [row[:2] for row in rows], "user_id,item_id"), **options)
        assert data.time is None
        assert data.item_ids[data.item[data.user == 0]].tolist() == ["i1", "i2", "i3"]


def test_scattered_rows_without_times_are_refused_unless_asked_for(path):
    message = refused(path, "csv", text("csv", [row[:2] for row in ROWS], "user_id,item_id"))
    assert "the rows of 2 of 2 users are scattered" in message
    assert message.endswith("--set dataset.time_column=none takes the rows in their order")


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_change_nothing(path):
    content = "\ufeff" + text("csv").replace("\n", "\r\n").replace("u2,i1", "\r\nu2,i1")
    assert events(load(path, "csv", content)) == ROWS


def test_times_may_be_written_as_floats_when_they_are_whole(path):
    rows = [("u", "a", "8.0"), ("u", "b", "1e9"), ("u", "c", " 12 ")]
    assert load(path, "csv", text("csv", rows)).time.tolist() == [8, 10**9, 12]


def test_what_it_offers_is_known_from_the_header_alone(path):
    path.write_text("user_id,item_id,rating\n")
    assert dataset(path, "csv").offers == frozenset()  # ratings nobody asks for may be left out
    assert (
        dataset(path, "csv", min_rating=3).offers == dataset(path, "csv", rating_column="rating").offers == {"ratings"}
    )
    assert dataset(path, "csv", time_column="rating", items_path="x.csv").offers == {"times", "item_titles"}
    assert dataset(path.with_name("absent"), "csv").offers == frozenset()


def test_its_constructor_opens_no_file(path):
    path.write_text("user_id,item_id\n")
    made, files = opened_by(lambda: dataset(path, "csv", items_path=str(path)))
    assert str(path) not in files
    path.write_text("user_id,item_id,time\n")
    assert "times" in made.offers


BAD_TEXT = {
    "empty": (b"", ": is empty"),
    "header only": (b"user_id,item_id\n", ": has a header but no rows"),
    "blank header": (b"\nuser_id,item_id\n", ", line 1: the first line is blank"),
    "no such column": (
        b"whose,item_id\na,b\n",
        ": no column is known to be the user; its columns: whose, item_id. Name it: --set ",
    ),
    "column twice": (b"user_id,user_id,item_id\na,b,c\n", ": there is more than one column 'user_id'"),
    "cut row": (b"user_id,item_id,timestamp\na,b,1\n\na,c\n", ", line 4: has 2 columns instead of 3"),
    "wide row": (b"user_id,item_id\na,b,1\n", ", line 2: has 3 columns instead of 2"),
    "open quote": (b'user_id,item_id\na,b\n"a,c\n', ", line 3: "),
    "word as time": (b"user_id,item_id,timestamp\na,b,1\na,c,noon\n", ", line 3: the timestamp 'noon' is not a number"),
    "no time": (b"user_id,item_id,timestamp\na,b,1\n\na,c,\n", ", line 4: the timestamp is empty"),
    "date as time": (
        b"user_id,item_id,timestamp\na,b,2024-01-01\na,c,1.2.2024\n",
        ", line 3: the timestamp '1.2.2024' is not an ISO time, as '2024-01-01' in the first row is",
    ),
    "giant time": (
        b"user_id,item_id,timestamp\na,b,99999999999999999999\n",
        ", line 2: the timestamp '99999999999999999999' is too large for 64 bits; use a coarser unit",
    ),
    "semicolons": (
        b"user_id;item_id\na;b\n",
        ": is separated by ';', not by ',': its first line is user_id;item_id. Leave",
    ),
    "tabs": (
        b"user_id\titem_id\na\tb\n",
        ": is separated by tabs, not by ',': its first line is user_id item_id. Leave",
    ),
    "split second": (b"user_id,item_id,timestamp\na,b,0.5\n", ", line 2: the timestamp '0.5' is not a whole number"),
    "endless time": (b"user_id,item_id,timestamp\na,b,1\na,c,inf\n", ", line 3: the timestamp 'inf' is not a finite"),
    "word as rating": (b"user_id,item_id,rating\na,b,good\n", ", line 2: the rating 'good' is not a number"),
    "endless rating": (b"user_id,item_id,rating\na,b,inf\n", ", line 2: the rating 'inf' is not a finite number"),
    "no user": (b"user_id,item_id\na,b\n ,c\n", ", line 3: the user_id is empty"),
    "no item": (b"user_id,item_id\na,b\na,\n", ", line 3: the item_id is empty"),
    "not UTF-8": (b"user_id,item_id\na,b\na,\xff\xfe\n", ", line 3: byte 0xff is not UTF-8 text"),
    "not UTF-8 above": (b"user_id,it\xe9m\na,b\n", ", line 1: byte 0xe9 is not UTF-8 text"),
    "open quote far from the end": (b'user_id,item_id\na,"b\nc,d\ne,f\n', ", line 2: a quote that is opened here"),
    "binary header": (b"\x89PNG\0\x01\n\0", ", line 1: "),
    "binary": (b"user_id,item_id\na,\0b\n", ", line 2: holds a NUL byte"),
    "giant id": (b"user_id,item_id\na," + b"x" * 2000, ", line 2: the item_id is longer than 1000 characters"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_a_bad_text_file_is_refused_in_one_line_with_its_place(path, case):
    content, message = BAD_TEXT[case]
    assert refused(path, "csv", content).startswith(message)


@pytest.mark.parametrize(
    ("format", "content", "advice"),
    [
        ("csv", "user_id\titem_id\na\tb\n", "Leave --set dataset.format=csv out, and it is recognised"),
        ("csv", "user_id;item_id\na;b\n", "Leave --set dataset.format=csv out, and it is recognised"),
        ("tsv", "user_id,item_id\na,b\n", "Leave --set dataset.format=tsv out, and it is recognised"),
        ("sequence", '{"a": ["b", "c"]}', "leave --set dataset.format out, and it is recognised"),
        ("sequence", "user_id,item_id\na,b\n", "dataset.format=csv"),
        ("sequence", "user_id\titem_id\na\tb\na\tc\n", "dataset.format=tsv"),
    ],
)
def test_a_file_read_in_another_format_than_its_own_is_told_which(path, format, content, advice):
    assert refused(path, format, content).endswith(advice)


def test_one_duplicate_is_one_row(path):
    assert "1 such row)" in refused(path, "csv", text("csv", [*ROWS, ROWS[1]]))


def test_a_wrong_column_is_all_that_is_said(path):
    class Notes(Quiet):
        def note(self, message):
            raise AssertionError(message)

    path.write_bytes(b"whose,item_id\na,b\n")
    with pytest.raises(DataError, match="no column is known to be the user; its columns: whose, item_id"):
        dataset(path, "csv").load(DatasetContext(cache_dir=path.parent, progress=Notes()))


def test_the_error_carries_path_and_line_as_facts(path):
    with pytest.raises(DataError) as caught:
        load(path, "tsv", "user_id\titem_id\na\tb\na\n")
    assert (caught.value.path, caught.value.line) == (path, 3)


def test_a_missing_file_and_a_folder_are_refused(path):
    assert refused(path, "csv") == ": there is no such file; check the path"
    path.mkdir()
    assert refused(path, "csv") == ": is a folder; give the file"


def test_a_time_column_asked_for_by_name_must_be_there(path):
    assert "no column 'when'" in refused(path, "csv", "user_id,item_id\na,b\n", time_column="when")


def test_a_broken_parquet_file_is_refused(path):
    assert refused(path, "parquet", b"PAR1 no more").startswith(": is not a valid Parquet file")


def test_an_empty_id_in_parquet_is_named_by_row(path):
    pa.parquet.write_table(pa.table({"user_id": ["a", None], "item_id": ["x", "y"]}), path)
    assert refused(path, "parquet") == ", row 2: the user_id is empty"


TWICE = text("csv", [*ROWS, ROWS[1], ROWS[1]])


def test_an_event_that_stands_twice_is_refused_with_both_lines(path):
    message = refused(path, "csv", TWICE)
    assert message.startswith(
        ", line 8: a second row for user 'u1', item 'i2' and time 20 (the first is line 3; 2 such rows)"
    )


def test_duplicate_events_are_dropped_and_counted_or_kept_by_option(path):
    dropped, kept = (load(path, "csv", TWICE, duplicates=option) for option in ("drop", "keep"))
    assert events(dropped) == ROWS and dropped.dropped == {"duplicate_interactions": 2, "interactions": 2}
    assert len(kept) == len(ROWS) + 2 and kept.dropped == {}


def test_the_same_item_at_another_time_is_no_duplicate(path):
    assert len(load(path, "csv", text("csv", [("u", "i", 1), ("u", "i", 2), ("u", "i", 3)]))) == 3


def test_titles_come_from_a_second_file(path):
    items = path.with_suffix(".csv")
    items.write_text('item_id,title\ni3,"Third, the"\ni1,First\nelsewhere,Other\n')
    data = load(path, "tsv", text("tsv"), items_path=str(items))
    assert dict(zip(data.item_ids, data.item_titles, strict=True)) == {"i1": "First", "i2": "", "i3": "Third, the"}


def test_titles_may_come_from_a_recbole_item_file(path):
    items = path.with_suffix(".item")
    items.write_text("item_id:token\tmovie_title:token_seq\ni1\tToy Story\n")
    data = load(path, "tsv", text("tsv"), items_path=str(items), items_title_column="movie_title")
    assert data.item_titles.tolist() == ["Toy Story", "", ""]


def test_an_item_that_stands_twice_among_the_titles_is_refused(path):
    items = path.with_suffix(".csv")
    items.write_text("item_id,title\ni1,A\ni2,B\ni3,C\ni2,D\ni1,E\n")
    path.write_text(text("tsv"))
    with pytest.raises(DataError, match=r"line 5: item 'i2' has two rows \(the first is line 3\)"):
        load(path, "tsv", items_path=str(items))


def test_a_path_must_be_given():
    with pytest.raises(ConfigError, match=r"dataset.path must be given"):
        FileDataset()


def test_options_that_contradict_each_other_are_refused(path):
    with pytest.raises(ConfigError, match="a sequence file has no columns"):
        dataset(path, "sequence", time_column="when")
    with pytest.raises(ConfigError, match="one column is named for two purposes"):
        dataset(path, "csv", user_column="item_id", item_column="item_id")
    path.write_text("user_id,item_id\n")
    with pytest.raises(DataError, match="no column is known to be the item"):
        load(path, "csv", user_column="item_id")


PLAIN = st.characters(codec="utf-8", exclude_categories=("Z", "C"), exclude_characters=".,[{+%")
IDS = (
    st.text(PLAIN, min_size=1, max_size=5)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda text: text not in LOST)
)


@given(st.dictionaries(IDS, st.lists(IDS, min_size=1, max_size=6), min_size=1, max_size=8))
def test_a_sequence_file_gives_back_what_was_written(tmp_path_factory, sequences):
    path = tmp_path_factory.getbasetemp() / "round-trip.txt"
    path.write_text("".join(f"{user} {' '.join(items)}\n" for user, items in sequences.items()), encoding="utf-8")
    data = read_sequences(path)
    assert data.time is None
    read = {user: data.item_ids[data.item[data.user == n]].tolist() for n, user in enumerate(data.user_ids.tolist())}
    assert read == sequences


def test_a_sequence_file_is_a_format_of_file(path):
    data = load(path, "sequence", "a x y z x\nb z\n")
    assert data.item_ids[data.item].tolist() == ["x", "y", "z", "x"]
    assert data.dropped == {"users_below_3": 1, "interactions_of_users_below_3": 1, "users": 1, "interactions": 1}


BAD_SEQUENCES = {
    "user twice": (b"a x y\nb x\na z\n", ", line 3: user 'a' has two lines (the first is line 1)"),
    "no items": (b"a x y\n\nb\n", ", line 3: user 'b' has no items"),
    "blank": (b"\n\n", ": holds blank lines only"),
    "not UTF-8": (b"a x\nb \xff\n", ", line 2: byte 0xff is not UTF-8 text"),
    "giant id": (b"a x\nb " + b"x" * 2000, ", line 2: an id is longer than 1000 bytes"),
    "lists": (b"a [1, 2, 3]\n", ", line 1: the item '[1,' is a part of a list; write the items with blanks only"),
    "lost": (b"a x y\n\nb x nan\n", ", line 3: the id 'nan' stands for a lost value"),
}


@pytest.mark.parametrize("case", BAD_SEQUENCES)
def test_a_bad_sequence_file_is_refused_in_one_line_with_its_place(path, case):
    content, message = BAD_SEQUENCES[case]
    assert refused(path, "sequence", content).startswith(message)


GARBLED = st.one_of(st.binary(max_size=60), st.text("au,\t\"'\r\n 1.:", max_size=60).map(str.encode))


@pytest.mark.parametrize("format", ["csv", "tsv", "inter", "parquet", "sequence"])
@given(GARBLED, st.booleans())
def test_whatever_the_bytes_the_answer_is_data_or_one_clear_line(tmp_path_factory, format, content, with_header):
    path = tmp_path_factory.getbasetemp() / f"garbled.{format}"
    header = HEADERS[format].encode() + b"\n" if with_header and format in HEADERS else b""
    try:
        assert load(path, format, header + content).n_users > 0
    except DataError as error:
        assert "\n" not in str(error) and len(str(error)) > 20  # noqa: PT017 - either outcome is right


def test_numbers_are_dense_and_small(path):
    data = load(path, "csv", text("csv"))
    assert data.user.dtype == data.item.dtype == np.int32
    assert sorted(set(data.item.tolist())) == list(range(data.n_items))
