"""MovieLens 100K (Harper & Konstan 2015): 943 users, 1,682 films, 100,000 ratings with times.

The same interactions from every source: RecBole's example files, GroupLens's files in a data folder, or their archive.
Knows where the files may be and how the two publishers write them.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from genrec_bench.core.arrays import Ragged, Text
from genrec_bench.core.events import Interactions
from genrec_bench.core.files import write_whole
from genrec_bench.core.raw_files import check_file, check_text, fail
from genrec_bench.core.tables.files import open_table
from genrec_bench.core.tables.table import Table
from genrec_bench.data.cache import load_prepared
from genrec_bench.data.download import download
from genrec_bench.data.prepare import PrepareConfig
from genrec_bench.host.contracts import Dataset, DatasetContext

URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
MD5 = "md5:0e33842e24a9c977be4e0107933c0723"
COUNTS = (943, 1682, 100_000)  # users, items, interactions
# Of the parsed interactions. The raw files differ between sources: recbole 1.2.1's ml-100k.inter has SHA-256
# 4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff.
FINGERPRINT = "aeb6b9315d4a22f2b41bcc6b0e8494205d5d103dc5a66f242a68fe2d7ad7e611"
INSTEAD = (
    "Install the files with `pip install recbole==1.2.1 --no-deps`, or give a folder that holds u.data: --data-dir"
)
IN_FOLDER = ("ml-100k/u.data", "u.data", "ml-100k/ml-100k.inter", "ml-100k.inter")
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


class MovieLens100K(Dataset):
    """MovieLens 100K: film ratings with times, titles and genres (Harper & Konstan 2015)."""

    Config = PrepareConfig
    contract = 1
    offers = frozenset({"times", "ratings", "item_titles", "item_features"})

    def load(self, ctx: DatasetContext) -> Interactions:
        """943 users, 1,682 items, 100,000 interactions before filtering; `item_features` are the 19 genres.

        Looks into the installed recbole package (without importing it), then into `ctx.data_dir`, then downloads.
        DataError unless the interactions are exactly the published ones.
        """
        ratings = _find(ctx)
        items = ratings.with_name("u.item") if ratings.name == "u.data" else ratings.with_suffix(".item")
        files = [ratings, items] if items.is_file() else [ratings]
        data = load_prepared(ctx, "ml-100k", self.config, files, lambda: _parse(*files))
        if len(files) == 1:  # noted only once the ratings are known to be sound
            ctx.progress.note(f"{items} is missing: ml-100k has no titles and genres")
        return data


def _find(ctx: DatasetContext) -> Path:
    """The file of ratings, from the first source that has one."""
    recbole = find_spec("recbole")
    folders = list(recbole.submodule_search_locations or ()) if recbole else []
    packaged = [Path(folder, "dataset_example", "ml-100k", "ml-100k.inter") for folder in folders]
    given = [] if ctx.data_dir is None else [ctx.data_dir / name for name in IN_FOLDER]
    existing = [path for path in (*packaged, *given) if path.is_file()]
    if not existing:
        return _unpack(download(ctx, URL, MD5, INSTEAD))

    unused = [path for path in existing if path in given]
    if existing[0] in packaged and unused:
        ctx.progress.note(f"{unused[0]} is not read: the installed recbole package has ml-100k and takes precedence")
    return check_file(existing[0])


def _unpack(archive: Path) -> Path:
    """`u.data`, with `u.item` beside it, from GroupLens's archive. Each file appears whole or not at all."""
    folder = archive.with_suffix("")
    with zipfile.ZipFile(archive) as zipped:
        for name in ("u.data", "u.item"):
            with zipped.open(f"ml-100k/{name}") as content:
                write_whole(folder / name, partial(shutil.copyfileobj, content))
    return folder / "u.data"


def _parse(ratings: Path, items: Path | None = None) -> Interactions:
    """The published interactions, with titles and genres where there is a file of items; else DataError."""
    columns = ["user_id", "item_id", "rating", "timestamp"]
    if ratings.name == "u.data":
        file = open_table(ratings, "tsv", columns)
    else:
        file = open_table(ratings, "inter")
    data = _interactions(file.read(columns))

    counts = (data.n_users, data.n_items, len(data))
    if counts != COUNTS:
        actual, expected = (f"{u:,} users, {i:,} items, {n:,} ratings" for u, i, n in (counts, COUNTS))
        fail(ratings, f"holds {actual}; ML-100K has {expected}. The file is cut short or not ML-100K; get it again")
    if data.fingerprint() != FINGERPRINT:
        fail(ratings, "has the size of ML-100K but other ratings; get the file again, or load it as --dataset file")
    return data if items is None else _with_items(data, items)


def _interactions(table: Table) -> Interactions:
    user, user_ids = table.ids("user_id")
    item, item_ids = table.ids("item_id")
    rating = table.floats("rating").astype(np.float32)
    return Interactions(user, item, table.whole_numbers("timestamp"), user_ids, item_ids, rating)


def _with_items(data: Interactions, path: Path) -> Interactions:
    """The interactions with the title (`Toy Story (1995)`) and genre numbers of every item."""
    grouplens = path.name == "u.item"
    width = 24 if grouplens else 4
    parse: Callable[[list[str]], tuple[str, list[int]]] = _grouplens_item if grouplens else _recbole_item
    if not grouplens:
        check_text(path)

    lines = path.read_text(encoding="latin-1" if grouplens else "utf-8").splitlines()
    known: dict[str, tuple[str, list[int]]] = {}
    for number, line in enumerate(lines, 1):
        if not line or (number == 1 and not grouplens):
            continue
        fields = line.split("|" if grouplens else "\t")
        if len(fields) != width:
            fail(path, f"has {len(fields)} columns instead of {width}; was the file cut short?", number)
        try:
            known[fields[0]] = parse(fields)
        except ValueError:
            fail(path, f"the genres {fields[-1]!r} are not those of ML-100K; get the file again", number)

    missing = [item for item in data.item_ids.tolist() if item not in known]
    if missing:
        fail(path, f"lacks {len(missing)} items (the first: {missing[0]!r}); was the file cut short?")
    titles: Text = np.array([known[item][0] for item in data.item_ids.tolist()], np.str_)
    features = Ragged.of([known[item][1] for item in data.item_ids.tolist()])
    return replace(data, item_titles=titles, item_features=features)


def _grouplens_item(fields: list[str]) -> tuple[str, list[int]]:
    """Title and genres of a row of u.item: five fields, then a flag per genre."""
    return fields[1].strip(), [genre for genre, flag in enumerate(fields[5:]) if flag == "1"]


def _recbole_item(fields: list[str]) -> tuple[str, list[int]]:
    """Title and genres of a row of ml-100k.item: id, title, year, genre names."""
    _, title, year, genres = fields
    title = f"{title} ({year})" if year.isdigit() else "unknown"  # one item has neither; RecBole writes "unkonwn"
    return title, sorted(GENRES.index(genre) for genre in genres.split())
