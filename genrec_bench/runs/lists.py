"""The ranked lists of a run on disk, in external ids, so that anybody can score them again without this package.

`lists.parquet` holds one row per history policy and case, best item first; `generations.npz` holds the decoder's
hypotheses. Both are replaced atomically. Does not know how lists are made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec_bench.core.arrays import (
    PAD,
    Ragged,
    Text,
    spread,
)
from genrec_bench.core.files import write_whole
from genrec_bench.core.hashing import digest, hash_ids
from genrec_bench.core.rankings import Generations, Ranking
from genrec_bench.errors import InvalidRanking, RecordError

if TYPE_CHECKING:
    import pyarrow as pa

LISTS_FILE = "lists.parquet"
GENERATIONS_FILE = "generations.npz"
_META = b"genrec_bench"  # key of our JSON in the Parquet file's metadata


@dataclass(frozen=True)
class ExternalLists:
    """The stored lists of one policy: row `i` belongs to test case `i` of the protocol.

    `users` `(n,)` names the user of every case; `items` and `scores` are flat, with `offsets` `(n + 1,)`.
    """

    users: Text
    items: pa.StringArray
    scores: Any
    offsets: Any
    depth: int

    def __len__(self) -> int:
        return len(self.users)

    def of(self, user: str) -> list[tuple[str, float]]:
        """Items (external ids) and scores for a user's (last) case, best first. RecordError if there is none."""
        rows = np.flatnonzero(self.users == user)
        if not len(rows):
            raise RecordError(f"no list for user {user!r}: its {len(self)} lists are of other users", path=None)
        start, end = (int(offset) for offset in self.offsets[rows[-1] : rows[-1] + 2])
        return list(zip(self.items[start:end].to_pylist(), self.scores[start:end].tolist(), strict=True))

    def ranking(self, users: Text, item_ids: Text) -> Ranking:
        """The lists in item numbers. `users` `(n,)` is the user of each case, `item_ids` the catalogue by number.

        RecordError if the rows belong to other users, or if the catalogue lacks an item; InvalidRanking if the lists
        break their contract.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if len(users) != len(self) or (users != self.users).any():
            raise RecordError(
                f"{len(self)} lists do not belong to the {len(users)} test cases in their order", path=None
            )

        known = pc.index_in(self.items, value_set=pa.array(item_ids.tolist(), pa.string()))
        numbers = pc.fill_null(known, PAD).to_numpy(zero_copy_only=False)
        if (numbers < 0).any():
            unknown = self.items[int(np.argmax(numbers < 0))].as_py()
            raise RecordError(f"listed item {unknown!r} is not in the catalogue", path=None)

        lengths = np.diff(self.offsets)
        shape = (len(self), int(lengths.max(initial=0)))
        items, scores = np.full(shape, PAD, np.int32), np.full(shape, -np.inf, np.float32)
        positions = spread(np.zeros(len(self), np.int64), self.offsets)
        rows = np.repeat(np.arange(len(self)), lengths)
        items[rows, positions], scores[rows, positions] = numbers, self.scores
        return Ranking(items, scores, self.depth)


def write_lists(path: Path, lists: Mapping[str, Ranking], user_ids: Text, item_ids: Text) -> str:
    """Write one Parquet file with a ranking per policy, and return the content's fingerprint.

    `user_ids` `(n,)` holds the external id of each case's user, `item_ids` those of the catalogue. Columns: policy, user,
    items (list of strings, best first), scores (list of float32). InvalidRanking for an item outside the catalogue.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, users = pa.array(item_ids.tolist(), pa.string()), pa.array(user_ids.tolist(), pa.string())
    content = fingerprint(lists, user_ids, item_ids)

    tables = []
    for policy, ranking in lists.items():
        listed = _flat(ranking)
        offsets = pa.array(listed.offsets, pa.int32())
        columns = {
            "policy": pa.DictionaryArray.from_arrays(np.zeros(len(ranking), np.int32), pa.array([policy])),
            "user": users,
            "items": pa.ListArray.from_arrays(offsets, names.take(pa.array(listed.values))),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(ranking.scores[ranking.items >= 0], pa.float32())),
        }
        tables.append(pa.table(columns))

    meta = {"schema": 1, "depth": {policy: ranking.depth for policy, ranking in lists.items()}}
    table = pa.concat_tables(tables).unify_dictionaries().replace_schema_metadata({_META: json.dumps(meta)})
    write_whole(path, lambda file: pq.write_table(table, file, compression="zstd"))
    return content


def read_lists(path: Path) -> dict[str, ExternalLists]:
    """The lists that `write_lists` wrote, by policy. RecordError if the file is missing or not such a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        table.validate(full=True)  # offsets and UTF-8, which pyarrow takes on trust
        depths = json.loads(table.schema.metadata[_META])["depth"]
        policies = table["policy"].cast(pa.string()).to_numpy()
        return {policy: _part(table.filter(pa.array(policies == policy)), depth) for policy, depth in depths.items()}
    except FileNotFoundError:
        raise RecordError(f"no lists at {path}: the run kept none, or the file was removed", path=path) from None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"cannot read ranked lists from {path}: {error}", path=path) from None


def _part(table: pa.Table, depth: int) -> ExternalLists:
    table = table.combine_chunks()
    items, scores = (table[name].combine_chunks() for name in ("items", "scores"))
    if items.value_lengths() != scores.value_lengths() or any(table[name].null_count for name in table.column_names):
        raise ValueError("items and scores of different lengths, or empty cells")
    offsets = np.concatenate([[0], np.cumsum(items.value_lengths().to_numpy())]).astype(np.int64)
    users = np.array(table["user"].to_pylist(), np.str_)
    return ExternalLists(users, items.flatten(), scores.flatten().to_numpy(), offsets, int(depth))


def fingerprint(lists: Mapping[str, Ranking], user_ids: Text, item_ids: Text) -> str:
    """SHA-256 of the lists by external id: independent of numbering, padding and file format."""
    users, names = hash_ids(user_ids, 0), hash_ids(item_ids, 0)
    parts: list[Any] = [users]
    for policy, ranking in sorted(lists.items()):
        if len(ranking) != len(user_ids) or int(ranking.items.max(initial=-1)) >= len(item_ids):
            raise InvalidRanking(
                f"the {policy} lists ({len(ranking)}) do not fit {len(user_ids)} cases and {len(item_ids)} items"
            )
        listed = _flat(ranking)
        scores = ranking.scores[ranking.items >= 0].astype(np.float32)
        parts += [policy, int(ranking.depth), listed.offsets, names[listed.values], scores]
    return digest(*parts)


def _flat(ranking: Ranking) -> Ragged:
    """The listed item numbers without their padding."""
    listed = ranking.items >= 0
    return Ragged(ranking.items[listed], np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int64))


def write_generations(path: Path, generations: Mapping[str, Generations]) -> None:
    """Write the hypotheses of searches, by name (a policy), to one compressed `.npz`.

    Its arrays are `NAME/tokens`, `NAME/scores`, `NAME/items` (in the protocol's numbering) and `NAME/bound`; `Generations`
    gives their shapes.
    """
    arrays = {
        f"{name}/{part.name}": getattr(search, part.name)
        for name, search in generations.items()
        for part in fields(search)
    }
    write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def read_generations(path: Path) -> dict[str, Generations]:
    """The hypotheses that `write_generations` wrote. RecordError if the file is missing or not such a file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = dict.fromkeys(key.rpartition("/")[0] for key in arrays)
            return {name: Generations(*(arrays[f"{name}/{f.name}"] for f in fields(Generations))) for name in names}
    except FileNotFoundError:
        raise RecordError(f"no generations at {path}", path=path) from None
    except Exception as error:  # zipfile, zlib, struct and NumPy each raise their own
        raise RecordError(f"cannot read generations from {path}: {error}", path=path) from None
