"""Mutations: every reader of the toolkit with files spoilt in seeded ways, and what an accepted file must have given."""

from __future__ import annotations

import gzip
import io
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from . import oracle, spoiling
from .engine import Case, Outcome, Verdict, judged, wrong
from .materials import made, record_of

PART = "mutations"
EVENT_COLUMNS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
Objection = Callable[[Path, bytes, Any], str]  # of a file, its sound content, and what the reader gave: why it is wrong


@dataclass(frozen=True)
class Reader:
    """A reader, a sound file for it, the ways to spoil that file, and the objection to what it gave."""

    name: str
    base: Callable[[Random], bytes]
    spoil: spoiling.Spoil
    read: Callable[[Path], Any]
    objection: Objection = field(default=lambda path, sound, value: "")
    is_sound: bool = True  # whether every base must be accepted

    def cases(self, count: int) -> list[Case]:
        """A sound file, which must be accepted, and so many mutations."""
        sound = Case(PART, self.name, 0, self._accept if self.is_sound else self._try)
        return [sound, *(Case(PART, self.name, number, self._try) for number in range(1, count + 1))]

    def _accept(self, rng: Random, folder: Path) -> Verdict:
        sound = self.base(rng)
        path = folder / self.name
        path.write_bytes(sound)
        verdict = judged(lambda: self.read(path), lambda value: self.objection(path, sound, value))
        refused = verdict.outcome == Outcome.CLEAN
        return wrong(f"a sound file is refused: {verdict.detail}") if refused else verdict

    def _try(self, rng: Random, folder: Path) -> Verdict:
        sound = self.base(rng)
        path = folder / self.name
        path.write_bytes(self.spoil(rng, sound))
        return judged(lambda: self.read(path), lambda value: self.objection(path, sound, value))


# events ---------------------------------------------------------------------------------------------------------------


def some_rows(rng: Random) -> list[tuple[str, str, int, int]]:
    """User, item, rating and time of a few users, one after another."""
    first = rng.choice((1_001, 1_600_000_000, 1_600_000_000_000))
    rows = []
    for user in range(6):
        for item in rng.sample(range(9), rng.randint(3, 5)):
            rows.append((f"u{user}", f"i{item}", rng.randint(1, 5), first + len(rows)))
    return rows


def written_times(rng: Random, separator: str, moments: Sequence[int]) -> list[str]:
    """Times as people write them, a day or a second apart; mostly as numbers."""
    days = [datetime(2014, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(len(moments))]
    forms = {
        "slashes": [day.strftime("%Y/%m/%d") for day in days],
        "day first": [day.strftime("%d.%m.%Y") for day in days],
        "month first": [day.strftime("%m/%d/%Y") for day in days],
        "fractions": [f"{1_388_534_400 + n}.{n:03}" for n in range(len(days))],
        "UTC": [day.strftime("%Y-%m-%d %H:%M:%S UTC") for day in days],
        "Twitter": [day.strftime("%a %b %d 18:00:09 +0100 %Y") for day in days],
    }
    form = rng.choice([*["numbers"] * 6, *list(forms)[: 4 if separator == " " else None]])
    return forms.get(form, list(map(str, moments)))


def event_text(separator: str, header: Sequence[str] = ("user_id", "item_id", "rating", "timestamp")) -> Any:
    """A table of events in text."""

    def base(rng: Random) -> bytes:
        lines = [separator.join(header)] if header else []
        rows = some_rows(rng)
        times = written_times(rng, separator, [row[-1] for row in rows])
        lines += [separator.join([*map(str, row[:-1]), time]) for row, time in zip(rows, times, strict=True)]
        return "\n".join(lines).encode() + b"\n"

    return base


def event_objects(lines: bool) -> Any:
    """Events as JSON objects."""

    def base(rng: Random) -> bytes:
        names = ("user_id", "item_id", "rating", "timestamp")
        rows = [dict(zip(names, row, strict=True)) for row in some_rows(rng)]
        return ("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)).encode()

    return base


def user_lists(rng: Random) -> dict[str, list[str]]:
    """The items of each user."""
    lists: dict[str, list[str]] = {}
    for user, item, _, _ in some_rows(rng):
        lists.setdefault(user, []).append(item)
    return lists


def item_lists(rng: Random) -> bytes:
    """RecBole's table of beginnings of sequences, each with the item that followed."""
    lines = ["user_id:token\titem_id_list:token_seq\titem_id:token"]
    for user, items in user_lists(rng).items():
        lines += [f"{user}\t{' '.join(items[:end])}\t{items[end]}" for end in range(1, len(items))]
    return "\n".join(lines).encode() + b"\n"


def sequence_lines(rng: Random) -> bytes:
    """A user and its items a line."""
    return "".join(f"{' '.join([user, *items])}\n" for user, items in user_lists(rng).items()).encode()


@dataclass(frozen=True)
class Events:
    """What the toolkit read from a file of events: its tables, and the interactions."""

    tables: list[Any]
    data: Any

    def rows(self) -> list[oracle.Event]:
        """The interactions in external ids, in order."""
        data = self.data
        moments = [None] * len(data) if data.time is None else data.time.tolist()
        ratings = [None] * len(data) if data.rating is None else data.rating.tolist()
        users, items = data.user_ids[data.user].tolist(), data.item_ids[data.item].tolist()
        return list(zip(users, items, moments, ratings, strict=True))


def read_events(path: Path, **options: Any) -> Events:
    """A person's own file, as `genrec data info` reads it."""
    from genrec_bench.data.file import FileConfig, FileDataset, _event_tables
    from genrec_bench.host.config import make_config
    from genrec_bench.host.contracts import DatasetContext

    config = make_config(FileConfig, {"path": str(path), **options}, "dataset")
    data = FileDataset(config).load(DatasetContext())
    return Events(_event_tables(config, path), data)


def of_text(names: Sequence[str] | None, path: Path, sound: bytes, events: Events) -> str:
    """Whether the events in a table of text are those of the strict parser, by the columns that the reader says it took."""
    content = path.read_bytes()
    if not events.tables:
        return differ(lambda: oracle.sequences(content), events.rows())
    (table,) = events.tables
    wanted = dict(table.taken.columns)
    first = sound.split(b"\n")[0]
    if content.split(b"\n")[0] == first and b"list" not in first and set(wanted) != set(EVENT_COLUMNS):
        return f"the header is as it was, and the columns are {wanted}"

    def parsed() -> list[oracle.Event]:
        rows = oracle.cells(content, table.file.layout.separator, table.file.layout.quoted)
        if names is None and all(re.fullmatch(r".+:(token|float)(_seq)?", name.strip()) for name in rows[0]):
            rows[0] = [name.split(":")[0] for name in rows[0]]
        if "items" in wanted:
            return lists_of(oracle.columns(rows, names, wanted))
        return oracle.events(oracle.columns(rows, names, wanted))

    return differ(parsed, events.rows())


def lists_of(found: Mapping[str, list[Any]]) -> list[oracle.Event]:
    """The events in columns of users, lists, and perhaps the item that followed."""
    lists = oracle.words_in_all(found["items"])
    if "item" in found:
        lists = [[*items, item] for items, item in zip(lists, oracle.ids(found["item"]), strict=True)]
    return oracle.histories(list(zip(found["user"], lists, strict=True)))


def of_objects(lines: bool, path: Path, sound: bytes, events: Events) -> str:
    """The same for JSON objects."""
    content = path.read_bytes()
    if not events.tables or not hasattr(events.tables[0].file, "rows"):
        return "read as text, and it is JSON"
    wanted = dict(events.tables[0].taken.columns)
    return differ(lambda: oracle.events(oracle.fields(json_rows(content), wanted)), events.rows())


def json_rows(content: bytes) -> list[dict[str, Any]]:
    """The objects of a JSON file, be they a list, one a line, or one object of columns."""
    try:
        return oracle.objects(content, lines=False)
    except oracle.Refused:
        pass
    try:
        return oracle.objects(content, lines=True)
    except oracle.Refused:
        value = oracle.loads(oracle.text_of(content))
        if isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values()):
            return [{"key": key, **inner} for key, inner in value.items()]
        raise


def of_histories(path: Path, sound: bytes, events: Events) -> str:
    """The same for `{user: [item, ...]}`."""

    def parsed() -> list[oracle.Event]:
        value = oracle.loads(oracle.text_of(path.read_bytes()))
        if not isinstance(value, dict):
            raise oracle.Refused("no object")
        lists = list(value.items())
        if any(isinstance(items, list) for _, items in lists):
            lists = [(user, [] if items is None else items) for user, items in lists]
        if not all(isinstance(items, list) for _, items in lists):
            raise oracle.Refused("no lists")
        oracle.as_column([item for _, items in lists for item in items])
        return oracle.histories(
            list(zip([user for user, _ in lists], in_lists([items for _, items in lists]), strict=True))
        )

    return differ(parsed, events.rows())


def in_lists(lists: list[list[Any]]) -> list[list[Any]]:
    """JSON values in lists, of one type in all of them."""
    flat = iter(oracle.as_column([value for values in lists for value in values]))
    return [[next(flat) for _ in values] for values in lists]


def differ(parsed: Callable[[], list[oracle.Event]], given: list[oracle.Event]) -> str:
    """Why the events that a reader gave are not those of the strict parser; empty if they are."""
    try:
        expected = parsed()
    except oracle.Refused as error:
        return f"accepted, and the strict parser refuses it: {error}"
    if len(expected) != len(given):
        return f"{len(given)} events instead of {len(expected)}"
    for row, (mine, theirs) in enumerate(zip(expected, given, strict=True)):
        if mine[:3] != theirs[:3] or single(mine[3]) != theirs[3]:
            return f"event {row} is {theirs} instead of {mine}"
    return ""


def single(rating: float | None) -> float | None:
    """A rating in single precision."""
    import numpy as np

    if rating is None:
        return None
    with np.errstate(over="ignore"):
        return float(np.float32(rating))


# Parquet --------------------------------------------------------------------------------------------------------------


def event_parquet(rng: Random) -> bytes:
    """Events in Parquet, their columns of many types, some with gaps or values that no event has."""
    import pyarrow as pa
    import pyarrow.parquet

    users, items, ratings, moments = (list(column) for column in zip(*some_rows(rng), strict=True))
    columns: dict[str, list[Any]] = {
        "user_id": [int(user[1:]) for user in users] if rng.random() < 0.4 else users,
        "item_id": [int(item[1:]) for item in items] if rng.random() < 0.4 else items,
        "rating": ratings,
        "timestamp": moments,
    }
    types = {name: rng.choice(PARQUET_TYPES[isinstance(column[0], int)]) for name, column in columns.items()}
    if rng.random() < 0.6:
        spoilt = rng.choice([*columns])
        columns[spoilt][rng.randrange(len(users))] = rng.choice((None, 2**53 + 1, 7.5, float("nan"), "", "x", -1, True))

    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values).cast(types[name]) if types[name] else pa.array(values)
        except (pa.ArrowException, TypeError):
            arrays[name] = pa.array([None if value is None else str(value) for value in values])
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(arrays), file)
    return file.getvalue()


PARQUET_TYPES = {
    True: [
        *[None, "int64", "int32", "int16", "uint64", "uint8", "float64", "float32", "string", "large_string", "bool"],
        *["timestamp[s]", "timestamp[ms]", "date32", "binary"],
    ],
    False: [None, "string", "large_string", "binary", "large_binary", "string_view"],
}


def sometimes(spoil: spoiling.Spoil, share: float) -> spoiling.Spoil:
    """Spoils a share of the files, and leaves the others as they are."""
    return lambda rng, content: spoil(rng, content) if rng.random() < share else content


def of_parquet(path: Path, sound: bytes, events: Events) -> str:
    """The same for Parquet. What its bytes say, pyarrow reads for both; its values are ours to judge."""
    import datetime

    import pyarrow.parquet

    if not events.tables:
        return "read as sequences, and it is Parquet"
    wanted = dict(events.tables[0].taken.columns)

    def plain(value: Any) -> Any:
        if isinstance(value, datetime.datetime):
            since = value.replace(tzinfo=value.tzinfo or datetime.UTC) - datetime.datetime(
                1970, 1, 1, tzinfo=datetime.UTC
            )
            return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
        if isinstance(value, datetime.date):
            return (value - datetime.date(1970, 1, 1)).days * 86_400 * 10**9
        if isinstance(value, bool | bytes | list | dict):
            raise oracle.Refused(f"a {type(value).__name__}")
        return value

    def parsed() -> list[oracle.Event]:
        table = pyarrow.parquet.read_table(io.BytesIO(path.read_bytes()))
        found = {role: [plain(value) for value in table.column(name).to_pylist()] for role, name in wanted.items()}
        return oracle.events(found)

    return differ(parsed, events.rows())


# titles ---------------------------------------------------------------------------------------------------------------


def titles_base(rng: Random) -> bytes:
    """A title for every item."""
    return ("item_id,title\n" + "".join(f"i{item},Title no {item}\n" for item in range(9))).encode()


def read_titles(path: Path) -> Any:
    """Events with the titles in a file."""
    events = path.with_name("events.csv")
    events.write_bytes(event_text(",")(Random(0)))
    return read_events(events, items_path=str(path)).data


def of_titles(path: Path, sound: bytes, data: Any) -> str:
    """Whether every item has the title that stands beside its id."""
    try:
        (header, *rows) = oracle.cells(path.read_bytes(), ",", True)
        taken = dict(part.split(" = ") for part in data.read_as["titles"].partition(";")[0].split(", "))
        found = oracle.columns([header, *rows], None, taken)
        titles = dict(zip(oracle.ids(found["item"]), found["title"], strict=True))
    except oracle.Refused as error:
        return f"accepted, and the strict parser refuses it: {error}"
    given = dict(zip(data.item_ids.tolist(), data.item_titles.tolist(), strict=True))
    for item, title in given.items():
        expected = titles.get(item, "")
        expected = expected if len(expected) <= 1_000 else f"{expected[:997]}..."
        if title != expected.rstrip("\0"):
            return f"the title of {item} is {title!r} instead of {expected!r}"
    return ""


# lists ----------------------------------------------------------------------------------------------------------------


def ranked_data() -> Any:
    """Events with their split, for lists to rank."""
    import numpy as np

    from genrec_bench.core.events import Interactions
    from genrec_bench.protocol.split import split_data

    numbers = np.arange(6 * 5)
    return split_data(
        Interactions(
            user=(numbers // 5).astype(np.int32),
            item=((numbers * 7) % 29).astype(np.int32),
            time=numbers.astype(np.int64),
            user_ids=np.array([f"u{user}" for user in range(6)]),
            item_ids=np.array([f"i{item}" for item in range(30)]),
        )
    )


def ranked_items(rng: Random) -> dict[str, list[str]]:
    """A list for every user, best item first."""
    return {f"u{user}": [f"i{item}" for item in rng.sample(range(30), 12)] for user in range(6)}


def list_text(separator: str, by: Sequence[str], trec: bool = False) -> Any:
    """Ranked lists, a row per item, by rank or score or both; or a TREC run."""

    def base(rng: Random) -> bytes:
        lines = [] if trec else [separator.join(["user", "item", *by])]
        for user, items in ranked_items(rng).items():
            for rank, item in enumerate(items, 1):
                values = {"rank": str(rank), "score": f"{1 / rank:.4f}"}
                cells = [user, "Q0", item, *values.values(), "tag"] if trec else [user, item, *(values[n] for n in by)]
                lines.append(separator.join(cells))
        return "\n".join(lines).encode() + b"\n"

    return base


def list_json(rng: Random) -> bytes:
    """Ranked lists as `{user: [item, ...]}`."""
    return json.dumps(ranked_items(rng)).encode()


def read_lists(path: Path) -> Any:
    """The lists as `genrec score --policy keep --allow-missing` reads them, by external id."""
    from genrec_bench.runs.external_lists import _listed, read_given

    data, split = ranked_data()
    given = read_given(path, data, split.queries(split.test), "keep", True)
    users = data.user_ids[split.test.user].tolist()
    ranking = given.rankings["keep"]
    lists = {
        user: [str(data.item_ids[item]) for item in row[row >= 0]]
        for user, row in zip(users, ranking.items, strict=True)
    }
    return {user: items for user, items in lists.items() if items}, _listed(path, None)[1]


def of_list_text(path: Path, sound: bytes, value: Any) -> str:
    """Whether the lists are those that the strict parser sorts."""
    lists, roles = value
    content = path.read_bytes()

    def parsed() -> dict[str, list[str]]:
        from genrec_bench.core.tables.files import open_table
        from genrec_bench.runs.external_lists import TREC, _is_trec

        names = TREC if content[:2] != b"us" and _is_trec(path) else None
        file = open_table(path, columns=names, part="")
        if not hasattr(file, "layout"):
            raise oracle.Refused("no text")
        rows = oracle.cells(content, file.layout.separator, file.layout.quoted)
        found = oracle.columns(rows, names, roles)
        return sorted_lists(found)

    try:
        expected = parsed()
    except oracle.Refused as error:
        return f"accepted, and the strict parser refuses it: {error}"
    return "" if expected == lists else f"lists {lists} instead of {expected}"[:400]


def sorted_lists(found: Mapping[str, list[Any]]) -> dict[str, list[str]]:
    """The items of each user, best first."""
    users, items = oracle.ids(found["user"]), oracle.ids(found["item"])
    ranks = [oracle.whole_number(str(value).strip()) for value in found["rank"]] if "rank" in found else None
    scores = [oracle.number(value) for value in found["score"]] if "score" in found else None
    lists: dict[str, list[Any]] = {}
    for row, user in enumerate(users):
        key = ranks[row] if ranks else -scores[row]  # type: ignore[index]
        lists.setdefault(user, []).append((key, row, items[row]))
    for rows in lists.values():
        rows.sort()
        if ranks and [rank for rank, _, _ in rows] != list(range(1, len(rows) + 1)):
            raise oracle.Refused("ranks with gaps")
        if len({item for _, _, item in rows}) < len(rows):
            raise oracle.Refused("an item twice")
    return {user: [item for _, _, item in rows] for user, rows in lists.items()}


def of_list_json(path: Path, sound: bytes, value: Any) -> str:
    """The same for JSON."""
    lists, _ = value
    try:
        content = oracle.loads(oracle.text_of(path.read_bytes()))
        if not isinstance(content, dict) or not all(isinstance(items, list | None) for items in content.values()):
            raise oracle.Refused("no lists by user")
        users = oracle.ids(list(content))
        flat = oracle.ids(oracle.as_column([item for items in content.values() for item in items or ()]))
        expected, start = {}, 0
        for user, items in zip(users, content.values(), strict=True):
            if items:
                expected[user] = flat[start : start + len(items)]
                start += len(items)
    except oracle.Refused as error:
        return f"accepted, and the strict parser refuses it: {error}"
    return "" if expected == lists else f"lists {lists} instead of {expected}"[:400]


# codes ----------------------------------------------------------------------------------------------------------------


def some_codes(rng: Random) -> dict[str, list[int]]:
    """A code of three tokens for every item."""
    return {f"i{item}": [rng.randrange(4), rng.randrange(4), item] for item in range(12)}


def codes_json(rng: Random) -> bytes:
    return json.dumps(some_codes(rng)).encode()


def codes_lines(rng: Random) -> bytes:
    return "\n".join(json.dumps({"item_id": item, "codes": code}) for item, code in some_codes(rng).items()).encode()


def codes_table(form: str) -> Any:
    """Codes in a CSV: a column per level, or a text."""

    def base(rng: Random) -> bytes:
        lines = ["item_id,code_0,code_1,code_2" if form == "levels" else "item_id,code"]
        for item, code in some_codes(rng).items():
            text = {"levels": ",", "joined": "-", "blanks": " "}[form].join(map(str, code))
            lines.append(f"{item},{text}")
        return "\n".join(lines).encode() + b"\n"

    return base


def codes_openp5(rng: Random) -> bytes:
    return "".join(
        f"{item} {''.join(f'<CI{token}>' for token in code)}\n" for item, code in some_codes(rng).items()
    ).encode()


def codes_array(form: str) -> Any:
    """Codes in a NumPy or torch file."""

    def base(rng: Random) -> bytes:
        import numpy as np

        codes, file = some_codes(rng), io.BytesIO()
        kind = rng.choice(("<i4", "<i8", ">i4", "<f4", "<i2", "|u1"))
        matrix = np.array(list(codes.values())).astype(kind)
        if rng.random() < 0.2:
            matrix = np.asfortranarray(matrix)
        keys = np.array(list(codes)) if rng.random() < 0.7 else np.arange(len(codes))
        if form == "npy":
            np.save(file, matrix, allow_pickle=False)
        elif form == "objects":
            rows = np.empty(len(codes), object)
            rows[:] = [np.array(code) for code in codes.values()]
            np.save(file, rows, allow_pickle=True)
        elif form == "npz":
            np.savez(file, codes=matrix, item_ids=keys)
        else:
            import torch

            tensor = torch.tensor(matrix.astype("<i8"))
            kinds = (
                tensor,
                tensor.to(torch.bfloat16),
                tensor.float().requires_grad_(),
                {"codes": tensor},
                tensor.to_sparse(),
            )
            torch.save(rng.choice(kinds), file)
        return file.getvalue()

    return base


def read_codes(path: Path) -> Any:
    """The keys and codes in a file, as the indexer `codes` reads them."""
    from genrec_bench.indexers.codes_from_file.readers import read_codes as read

    file = read(path)
    return dict(zip(file.keys, file.codes, strict=True)), file.notes


def codes_differ(parsed: Callable[[], tuple[Sequence[Any], Sequence[Any]]], given: Mapping[str, Any]) -> str:
    """Why codes by key are not those of the strict parser."""
    try:
        keys, codes = parsed()
        names = oracle.ids(keys)
        if len(set(names)) < len(names) or not all(codes):
            raise oracle.Refused("a key twice, or an empty code")
    except oracle.Refused as error:
        return f"accepted, and the strict parser refuses it: {error}"
    expected = dict(zip(names, map(tuple, codes), strict=True))
    wrong = [key for key in {**expected, **given} if expected.get(key) != given.get(key)]
    return f"the code of {wrong[0]!r} is {given.get(wrong[0])} instead of {expected.get(wrong[0])}" if wrong else ""


def tokens(value: Any) -> tuple[str, ...]:
    """The tokens of a code in JSON or in a cell."""
    if isinstance(value, str):
        found = text_tokens(value.strip())
    elif isinstance(value, list):
        if any(isinstance(token, bool) or not isinstance(token, int | float | str) or token == "" for token in value):
            raise oracle.Refused("no token")
        found = [oracle.whole(token) if isinstance(token, float) else str(token) for token in value]
    else:
        raise oracle.Refused("no code")

    while found and found[-1] == "-1":
        found.pop()
    if any(re.fullmatch(r"-\d+", token) for token in found):
        raise oracle.Refused("a negative token")
    return tuple(found)


def text_tokens(text: str) -> list[str]:
    """The tokens of a code text: in brackets, joined by a mark, a list written out, or parted by blanks."""
    if text.startswith("<"):
        return re.findall(r"<[^<>]+>", text)
    if listed := re.fullmatch(r"\[(.*)\]|\((.*)\)", text, re.DOTALL):
        return [word.strip("'\"") for word in re.split(r"[,\s]+", listed[1] or listed[2] or "") if word]
    if joined := re.fullmatch(r"\d+([-,|;:/_.])\d+(?:\1\d+)*", text):
        return text.split(joined[1])
    if parted := re.search(r",|\s[;|]|[;|]\s", text):
        return [word.strip() for word in text.split(parted[0].strip())]
    return text.split()


def of_codes_json(path: Path, sound: bytes, value: Any) -> str:
    given, notes = value
    if any("from code to item" in note for note in notes):
        return ""

    def parsed() -> Any:
        content = oracle.loads(oracle.text_of(path.read_bytes()))
        if isinstance(content, list) and content:
            content = content[0]
        if not isinstance(content, dict):
            raise oracle.Refused("no object")
        return list(content), [tokens(code) for code in content.values()]

    return codes_differ(parsed, given)


def of_codes_lines(path: Path, sound: bytes, value: Any) -> str:
    def parsed() -> Any:
        rows = oracle.objects(path.read_bytes(), lines=True)
        names = [{"item_id", "codes"} - set(row) for row in rows]
        if any(names):
            raise UnknownNames
        keys = [row["item_id"] for row in rows]
        if any(isinstance(key, bool) or not isinstance(key, int | float | str) for key in keys):
            raise oracle.Refused("no key")
        return [oracle.whole(key) if isinstance(key, float) else str(key) for key in keys], [
            tokens(row["codes"]) for row in rows
        ]

    try:
        return codes_differ(parsed, value[0])
    except UnknownNames:
        return ""


class UnknownNames(Exception):
    """A field was renamed, and may still be known by its new name."""


def of_codes_table(form: str, path: Path, sound: bytes, value: Any) -> str:
    content = path.read_bytes()
    if content.split(b"\n")[0].strip() != sound.split(b"\n")[0]:
        return ""  # which columns it took then, the reader says in notes

    def parsed() -> Any:
        rows = oracle.cells(content, ",", True)
        names = [name.strip() for name in rows[0]]
        found = oracle.columns(rows, None, {name: name for name in names})
        if form != "levels":
            return found["item_id"], [tokens(text) for text in found["code"]]
        codes = []
        for row in zip(*(level_tokens(found[f"code_{level}"]) for level in range(3)), strict=True):
            code = list(row)
            while code and not code[-1]:
                code.pop()
            if "" in code:
                raise oracle.Refused("a gap")
            codes.append(tokens(code) if code else ())
        return found["item_id"], codes

    return codes_differ(parsed, value[0])


def level_tokens(cells: Sequence[str]) -> list[str]:
    """The tokens of one level, in the form of ids; lost ones are empty."""
    filled = [row for row, cell in enumerate(cells) if cell.strip() and cell.strip() not in oracle.LOST]
    ids = dict(zip(filled, oracle.ids([cells[row] for row in filled]), strict=True))
    return [ids.get(row, "") for row in range(len(cells))]


def of_codes_openp5(path: Path, sound: bytes, value: Any) -> str:
    def parsed() -> Any:
        rows = [line.split(maxsplit=1) for line in oracle.text_of(path.read_bytes()).splitlines() if line.strip()]
        if any(len(row) < 2 for row in rows):
            raise oracle.Refused("no code")
        return [row[0] for row in rows], [tokens(row[1]) for row in rows]

    return codes_differ(parsed, value[0])


def of_codes_npy(path: Path, sound: bytes, value: Any) -> str:
    def parsed() -> Any:
        codes = oracle.code_rows(*oracle.npy(path.read_bytes()))
        return list(range(len(codes))), codes

    return codes_differ(parsed, value[0])


def of_codes_npz(path: Path, sound: bytes, value: Any) -> str:
    import numpy as np

    given = value[0]
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            if {"codes", "item_ids"} - set(arrays.files):
                return ""
            keys = arrays["item_ids"].tolist()
    except Exception as error:  # a garbled archive raises anything
        return f"accepted, and NumPy refuses it: {error}"

    def parsed() -> Any:
        import zipfile

        shape, numbers = oracle.npy(zipfile.ZipFile(io.BytesIO(path.read_bytes())).read("codes.npy"))
        if len(shape) == 2 and shape[1] > shape[0]:
            raise oracle.Refused("a matrix on its side")
        return keys, oracle.code_rows(shape, numbers)

    return codes_differ(parsed, given)


def of_plain_codes(path: Path, sound: bytes, value: Any) -> str:
    """Codes of binary files: whole tokens that are not negative, for keys that are ids."""
    bad = [key for key, code in value[0].items() if not code or not all(re.fullmatch(r"\d+", token) for token in code)]
    return f"the code of {bad[0]!r} is {value[0][bad[0]]}" if bad else ""


# records, specs, suites, ledgers --------------------------------------------------------------------------------------


def record_base(name: str) -> Any:
    """The record of a real run."""
    return lambda rng: (made() / "runs" / name / "record.json").read_bytes()


def read_record(path: Path) -> Any:
    """A record as tables and boards take it."""
    from genrec_bench.leaderboard.records import collect

    return collect([path])


def of_record(path: Path, sound: bytes, records: Any) -> str:
    """Whether an accepted record says what the sound one said."""
    (record,) = records
    if record.status != "finished":
        return ""
    said, says = json.loads(sound), json.loads(json.dumps(record.to_dict()))
    changed = [key for key in said if said[key] != says.get(key) and said[key] not in (None, {}, [])]
    return f"accepted with other {changed}" if changed else ""


def sealed(spoil: spoiling.Spoil) -> spoiling.Spoil:
    """Spoils a record's values, and gives it the digest of what it says then, if it can have one."""

    def spoilt(rng: Random, content: bytes) -> bytes:
        from genrec_bench.runs.record import RunRecord

        content = spoil(rng, content)
        try:
            record = RunRecord(**json.loads(content)).sealed()
            return json.dumps(record.to_dict()).encode()
        except Exception:  # it is no record any more
            return content

    return spoilt


def render_record(path: Path) -> Any:
    """A record, and its tables in every form."""
    from genrec_bench.leaderboard.renderers import FORMATS, render

    records = read_record(path)
    return [render(records, form, policy) for form in FORMATS for policy in ("mask", "keep")]


def a_board(folder: Path) -> Path:
    """A folder of boards with one record."""
    from genrec_bench.leaderboard import publish

    refused: list[Exception] = []
    publish.add([made() / "runs" / "item-counts"], folder / "boards", refused.append, check=False)
    if refused:
        raise AssertionError(f"the sound record is refused: {refused[0]}")
    return folder / "boards"


def build_record(path: Path) -> Any:
    """A board with a record of its own and this one."""
    from genrec_bench.leaderboard import publish

    root = a_board(path.parent)
    refused: list[Exception] = []
    (records,) = root.rglob("records")
    (records / f"{record_of('popularity')['spec_id']}.json").write_bytes(path.read_bytes())
    publish.build(root, refused.append)
    for text in root.rglob("README.md"):
        text.read_text(encoding="utf-8")
    if refused:
        raise refused[0]


def verify_run(name: str, path: Path) -> Any:
    """A real run, one of its files spoilt, as `genrec verify` compares it."""
    import os
    import shutil

    from genrec_bench.runs.verify import verify

    folder = path.parent / "run"
    shutil.copytree(made() / "runs" / "item-counts", folder)
    shutil.copy(path, folder / name)
    shutil.copy(made() / "planted.txt", path.parent)
    os.chdir(path.parent)
    return verify(folder)


def of_verify(path: Path, sound: bytes, report: Any) -> str:
    """Whether a run that verifies is the run that was made."""
    content = path.read_bytes()
    if not report.ok or content == sound:
        return ""
    try:
        return "" if json.loads(content) == json.loads(sound) else "it verifies, and a file is another"
    except ValueError:
        return "it verifies, and a file is another"


SPEC = """\
dataset = "planted.txt"
task = "sequential"
indexer = "random"
backbone = "lightlm"
decoder = "trie"
profile = "tiny"
beams = 20
seed = 3
[set]
backbone.epochs = 2
backbone.d_model = 32
dataset.format = "sequence"
"""
SUITE = """\
[all]
profile = "tiny"
set."backbone.epochs" = 1
[grid]
indexer = ["random", "sci"]
backbone = ["lightlm"]
decoder = ["trie", "filter", "exact"]
task = ["direct", "sequential"]
set."backbone.layers" = [2, 4]
[[runs]]
baseline = "popularity"
seed = 1
[[runs]]
baseline = "item-knn"
set."baseline.neighbours" = 5
"""
ISSUES = """\
[[issue]]
id = "a-b"
what = "thing"
link = "https://example.org"
since = 2026-11-01
until = 2026-12-01
rows = { baseline = "recbole-pop", versions = { recbole = ["1.2.0", "1.2.1"] } }
[[issue]]
id = "c"
what = "w"
link = "l"
rows = { options = { "backbone.init" = "scratch" } }
"""


def read_spec(path: Path) -> Any:
    """A spec, resolved."""
    from genrec_bench.runs.plan import resolve
    from genrec_bench.runs.spec import RunSpec

    return resolve(RunSpec.from_toml(path)).spec


def toml_of(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_bytes().decode("utf-8-sig"))


def of_spec(path: Path, sound: bytes, spec: Any) -> str:
    """Whether a resolved spec holds what its file asks for."""
    asked = toml_of(path)
    for key, value in asked.items():
        if key not in ("set", "options", "dataset") and getattr(spec, key) != value:
            return f"{key} is {getattr(spec, key)!r} instead of {value!r}"
    flat = {}
    for key, value in asked.get("set", {}).items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    for key, value in flat.items():
        part, _, name = key.partition(".")
        resolved = spec.options[part][name]
        if isinstance(value, int | float) and not isinstance(value, bool) and resolved != value:
            return f"{key} is {resolved!r} instead of {value!r}"
    return ""


def read_suite(path: Path) -> Any:
    """The specs that a suite asks for; resolving them is another reader's."""
    from genrec_bench.runs import suite

    suite.resolve_apart = lambda specs: [None] * len(specs)
    return suite.read_suite(path)


def of_suite(path: Path, sound: bytes, runs: Any) -> str:
    """Whether every run takes its values from the file."""
    import itertools

    asked = toml_of(path)
    grids = asked.get("grid", [])
    count = len(asked.get("runs", [])) if isinstance(asked.get("runs", []), list) else 1
    for grid in grids if isinstance(grids, list) else [grids]:
        options = grid.get("set", {})
        flat = [v for value in options.values() for v in (value.values() if isinstance(value, dict) else [value])]
        axes = [values for key, values in grid.items() if key != "set"]
        count += len(list(itertools.product(*axes, *flat)))
    return f"{len(runs)} runs, and the file asks for {count}" if len(runs) > count else ""


def settings_base(rng: Random) -> bytes:
    """Words for `--set`, as JSON: fields of a spec, and settings."""
    spec = {"indexer": "random", "backbone": "lightlm", "dataset": "planted.txt", "beams": 20, "profile": "tiny"}
    options = ["backbone.epochs=2", "backbone.dropout=0.1", "dataset.min_interactions=2", "dataset.format=sequence"]
    return json.dumps([spec, options]).encode()


def spoil_settings(rng: Random, content: bytes) -> bytes:
    """One field or setting spoilt, as a command line could have it."""
    spec, settings = json.loads(content)
    cells = [cell for cell in spoiling.CELLS if "\0" not in cell]
    place = rng.randrange(len(settings))
    key, _, _ = settings[place].partition("=")
    match rng.randrange(4):
        case 0:
            spec[rng.choice([*spec])] = rng.choice(cells)
        case 1:
            settings[place] = rng.choice(cells)
        case _:
            settings[place] = f"{key}={rng.choice(cells)}"
    return json.dumps([spec, settings]).encode()


def read_settings(path: Path) -> Any:
    """The resolved spec of words on a command line."""
    from genrec_bench.cli.run import build_spec
    from genrec_bench.errors import UsageError
    from genrec_bench.runs.plan import resolve

    named, settings = json.loads(path.read_bytes())
    if not isinstance(named["beams"], int):
        raise UsageError("click refuses it")
    return settings, resolve(build_spec(named, tuple(settings), None)).spec


def of_settings(path: Path, sound: bytes, value: Any) -> str:
    """Whether numbers in settings are what their texts say."""
    settings, spec = value
    for setting in settings:
        key, _, text = setting.partition("=")
        part, _, name = key.strip().partition(".")
        given = spec.options.get(part, {}).get(name)
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        says = float if isinstance(given, float) else Decimal  # a whole number may have more digits than a float
        if is_number and (not oracle.NUMBER.fullmatch(text.strip()) or says(text.strip()) != given):
            return f"{setting!r} gives {given!r}"
    return ""


def read_issues(path: Path) -> Any:
    """The registry of known issues."""
    from genrec_bench.leaderboard import known_issues

    path.rename(path.parent / known_issues.FILE)
    issues = known_issues.read(path.parent)
    (path.parent / known_issues.FILE).rename(path)
    return issues


def of_issues(path: Path, sound: bytes, issues: Any) -> str:
    asked = [(entry["id"], entry.get("since"), entry["rows"]) for entry in toml_of(path).get("issue", [])]
    return "" if [(issue.id, issue.since, issue.rows) for issue in issues] == asked else "other issues than its file's"


def ledger_base(rng: Random) -> bytes:
    """The ledger of a real search."""
    return (made() / "runs" / "ledger.jsonl").read_bytes()


def read_trials(path: Path) -> Any:
    """The trials of a ledger, as a search takes them up."""
    from genrec_bench.tuning.ledger import best_first, read_ledger, trials_of

    trials = read_ledger(path)
    for search in {trial.get("search") for trial in trials if isinstance(trial.get("search"), str)}:
        trials_of(path, search)
    return trials, best_first(trials)


def of_trials(path: Path, sound: bytes, value: Any) -> str:
    """Whether every trial that is read is one that was written."""
    trials, _ = value
    written = [json.loads(line) for line in sound.splitlines()]
    for trial in written:
        del trial["digest"]
    strange = [trial for trial in trials if trial not in written]
    return f"accepted a trial that nobody wrote: {strange[0]}"[:400] if strange else ""


def board_ledger(path: Path) -> Any:
    """A ledger on a board."""
    from genrec_bench.leaderboard import publish

    return publish.add_ledger(path, a_board(path.parent))


def entry_base(rng: Random) -> bytes:
    """The entry of an added data set."""
    options = {"path": str(made() / "planted.txt"), "format": "sequence", "user_column": "auto"}
    from genrec_bench.core.files import file_digest

    return json.dumps({"options": options, "sha256": file_digest(made() / "planted.txt")}).encode()


def read_entry(path: Path) -> Any:
    """An added data set, loaded by its name."""
    import shutil

    from genrec_bench.data.loading import load_dataset
    from genrec_bench.host import added

    added.folder = lambda: path.parent / "datasets"  # type: ignore[assignment]
    added.folder().mkdir()
    shutil.copy(path, added.folder() / "shop.json")
    return load_dataset("shop")


def of_entry(path: Path, sound: bytes, data: Any) -> str:
    """Whether an accepted entry names the file that was added."""
    expected = [line.split() for line in (made() / "planted.txt").read_text().splitlines()]
    events = [(row[0], item) for row in expected for item in row[1:]]
    given = list(zip(data.user_ids[data.user].tolist(), data.item_ids[data.item].tolist(), strict=True))
    return "" if sorted(given) == sorted(events) else "other interactions"


def space_base(rng: Random) -> bytes:
    return b'backbone.learning_rate = "1e-4:1e-2:log"\nbackbone.dropout = "0,0.1,0.2"\nbackbone.layers = "1:4"\n'


def read_space(path: Path) -> Any:
    """A search space in a file."""
    from genrec_bench.tuning.search import plan_of
    from genrec_bench.tuning.space import space_of

    where = {"dataset.path": str(made() / "planted.txt"), "dataset.format": "sequence"}
    return space_of(plan_of("random/lightlm", where, dataset="file", profile="tiny"), [str(path)])


# all ------------------------------------------------------------------------------------------------------------------


def _text_readers() -> list[Reader]:
    separators = {
        "events.csv": (",", None),
        "events.tsv": ("\t", None),
        "events-semicolons.csv": (";", None),
        "events-bars.csv": ("|", None),
        "events-blanks.dat": (" ", None),
        "events-colons.dat": ("::", None),
        "events.inter": ("\t", None),
    }
    header = {"events.inter": ("user_id:token", "item_id:token", "rating:float", "timestamp:float")}
    usual = ("user_id", "item_id", "rating", "timestamp")
    readers = [
        Reader(
            name,
            event_text(separator, header.get(name, usual)),
            spoiling.text_table(separator.encode()),
            read_events,
            partial(of_text, names),
        )
        for name, (separator, names) in separators.items()
    ]
    headless = Reader(
        "events-without-header.csv",
        event_text(",", ()),
        spoiling.text_table(b","),
        partial(read_events, columns="user_id,item_id,rating,timestamp"),
        partial(of_text, ("user_id", "item_id", "rating", "timestamp")),
    )
    packed = Reader(
        "events.csv.gz",
        lambda rng: gzip.compress(event_text(",")(rng)),
        spoiling.binary,
        read_events,
        lambda path, sound, events: of_text(None, path, b"", events),
    )
    return [*readers, headless, packed]


READERS: list[Reader] = [
    *_text_readers(),
    Reader("events.json", event_objects(False), spoiling.json_document, read_events, partial(of_objects, False)),
    Reader("events.jsonl", event_objects(True), spoiling.json_lines, read_events, partial(of_objects, True)),
    Reader("events.parquet", event_parquet, sometimes(spoiling.binary, 0.3), read_events, of_parquet, False),
    Reader(
        "histories.json",
        lambda rng: json.dumps(user_lists(rng)).encode(),
        spoiling.json_document,
        read_events,
        of_histories,
    ),
    Reader("item-lists.inter", item_lists, spoiling.text_table(b"\t"), read_events, partial(of_text, None)),
    Reader(
        "sequences.txt",
        sequence_lines,
        spoiling.text_table(b" "),
        partial(read_events, format="sequence"),
        lambda path, sound, events: differ(lambda: oracle.sequences(path.read_bytes()), events.rows()),
    ),
    Reader("titles.csv", titles_base, spoiling.text_table(b","), read_titles, of_titles),
    Reader("lists-ranks.csv", list_text(",", ["rank"]), spoiling.text_table(b","), read_lists, of_list_text),
    Reader("lists-scores.tsv", list_text("\t", ["score"]), spoiling.text_table(b"\t"), read_lists, of_list_text),
    Reader("lists-both.csv", list_text(",", ["rank", "score"]), spoiling.text_table(b","), read_lists, of_list_text),
    Reader("lists.run", list_text(" ", [], trec=True), spoiling.text_table(b" "), read_lists, of_list_text),
    Reader("lists.json", list_json, spoiling.json_document, read_lists, of_list_json),
    Reader("codes.json", codes_json, spoiling.json_document, read_codes, of_codes_json),
    Reader("codes.jsonl", codes_lines, spoiling.json_lines, read_codes, of_codes_lines),
    *[
        Reader(
            f"codes-{form}.csv",
            codes_table(form),
            spoiling.text_table(b","),
            read_codes,
            partial(of_codes_table, form),
        )
        for form in ("levels", "joined", "blanks")
    ],
    Reader("codes.txt", codes_openp5, spoiling.text_table(b" "), read_codes, of_codes_openp5),
    Reader("codes.npy", codes_array("npy"), spoiling.binary, read_codes, of_codes_npy),
    Reader("codes-objects.npy", codes_array("objects"), spoiling.binary, read_codes, of_plain_codes),
    Reader("codes.npz", codes_array("npz"), spoiling.binary, read_codes, of_codes_npz),
    Reader("codes.pt", codes_array("pt"), sometimes(spoiling.binary, 0.7), read_codes, of_plain_codes),
    Reader("record.json", record_base("generator"), spoiling.json_document, read_record, of_record),
    Reader("record-sealed.json", record_base("generator"), sealed(spoiling.of_values), render_record),
    Reader("board-sealed.json", record_base("popularity"), sealed(spoiling.of_values), build_record),
    Reader(
        "verify-record.json",
        record_base("item-counts"),
        sealed(spoiling.of_values),
        partial(verify_run, "record.json"),
    ),
    Reader(
        "verify-lists.parquet",
        lambda rng: (made() / "runs" / "item-counts" / "lists.parquet").read_bytes(),
        spoiling.binary,
        partial(verify_run, "lists.parquet"),
        of_verify,
    ),
    Reader("spec.toml", lambda rng: SPEC.encode(), spoiling.toml_document, read_spec, of_spec),
    Reader("suite.toml", lambda rng: SUITE.encode(), spoiling.toml_document, read_suite, of_suite),
    Reader("settings.json", settings_base, spoil_settings, read_settings, of_settings),
    Reader("space.toml", space_base, spoiling.toml_document, read_space),
    Reader("known-issues.toml", lambda rng: ISSUES.encode(), spoiling.toml_document, read_issues, of_issues),
    Reader("ledger.jsonl", ledger_base, spoiling.json_lines, read_trials, of_trials),
    Reader("board-ledger.jsonl", ledger_base, spoiling.json_lines, board_ledger),
    Reader("added.json", entry_base, spoiling.json_document, read_entry, of_entry),
]


def cases(count: int) -> list[Case]:
    """At least `count` mutations, spread evenly over all readers."""
    each = -(-count // len(READERS))
    return [case for reader in READERS for case in reader.cases(each)]
