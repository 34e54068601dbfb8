"""Item vectors from a file, matched to items by external id. A bad file is refused with the reason.

    .npz          `ids` (n,) and `vectors` (n, d)
    .parquet      column `id` or `item_id`; the vector in the one list column, or in columns numbered from 0 or 1
    .safetensors  `vectors` (n, d) and, for whole-number ids, `ids` (n,)
    .npy          (n, d), as many rows as items, in the order of the external ids sorted as whole numbers

A .safetensors file without `ids` is read like .npy. Knows file formats, not what the vectors mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from genrec_bench.api import (
    DataError,
    Float32,
    NeedsMissing,
    Text,
    TrainView,
    expand_home,
    numbered_columns,
    whole_number,
)
from genrec_semantic.content import versions
from genrec_semantic.options import ContentConfig


def array_vectors(
    train: TrainView, config: ContentConfig, note: Callable[[str], None]
) -> tuple[Float32, dict[str, Any]]:
    """`(n_items, d)` in the order of the catalogue, with zero rows for items that are not in the file.

    `note` is told which columns of a table were left. NeedsMissing if the view has no external item ids; DataError for anything wrong in the file.
    """
    item_ids = train.item_ids
    if item_ids is None:
        raise NeedsMissing(
            "encoder=array matches rows by external item id, and this view has none: make it with train_view(data, split, "
            "indexer.needs)",
            needs=frozenset({"item_ids"}),
        )

    path = Path(expand_home(config.array))
    ids, vectors, left = read_array(path)
    if left:
        note(f"{path}: columns beside id and vector are left out: {', '.join(left)}")
    check_vectors(path, ids, vectors)
    if ids is None:
        ids = ids_in_order(path, item_ids, len(vectors))

    row_of = {item_id: row for row, item_id in enumerate(ids.tolist())}
    rows = np.array([row_of.get(item_id, -1) for item_id in item_ids.tolist()], np.int64)
    matched = int((rows >= 0).sum())
    if not matched:
        fail(path, f"has none of the {len(item_ids):,} items: its ids begin {ids[:3].tolist()}, the data set's "
                   f"{item_ids[:3].tolist()}")  # fmt: skip

    item_vectors = np.where(rows[:, None] >= 0, vectors[rows], 0).astype(np.float32)
    facts = {
        "fields": "file",
        "items_not_in_file": len(item_ids) - matched,
        "rows_not_in_catalogue": len(ids) - matched,
        "columns_left_out": left,
        "versions": versions("numpy"),
    }
    return item_vectors, facts


def read_array(path: Path) -> tuple[Text | None, NDArray[Any], list[str]]:
    """Ids as text (None: the file has only an order), the vectors, unchecked, and a table's columns that are neither."""
    readers: Mapping[str, Callable[[Path], tuple[Any, ...]]] = {
        ".npz": _read_npz,
        ".npy": _read_npy,
        ".safetensors": _read_safetensors,
        ".parquet": _read_parquet,
    }

    try:
        ids, vectors, *left = readers[path.suffix](path)
    except DataError:
        raise
    except Exception as error:  # four libraries raise all kinds of errors for garbled files
        fail(path, f"cannot be read as {path.suffix} ({' '.join(str(error).split())[:120]})")
    return None if ids is None else _as_text(path, np.asarray(ids)), np.asarray(vectors), left[0] if left else []


def check_vectors(path: Path, ids: Text | None, vectors: NDArray[Any]) -> None:
    """DataError unless `vectors` are finite numbers `(n, d)` and `ids` names each row once."""
    if vectors.ndim != 2 or not vectors.size or not np.issubdtype(vectors.dtype, np.number):
        fail(path, f"holds vectors of shape {vectors.shape} and type {vectors.dtype}: expected numbers, (items, d)")
    if ids is not None and ids.shape != (len(vectors),):
        fail(path, f"holds ids of shape {ids.shape} for {len(vectors):,} vectors: expected one id per vector")

    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int((~finite).argmax())
        name = f"row {row}" if ids is None else f"item {str(ids[row])!r}"
        fail(path, f"has NaN or infinity in {int((~finite).sum()):,} vectors, the first that of {name}")

    if ids is not None:
        names, counts = np.unique(ids, return_counts=True)
        if counts.max() > 1:
            fail(
                path, f"has {int((counts > 1).sum()):,} ids more than once, for example {str(names[counts.argmax()])!r}"
            )


def ids_in_order(path: Path, item_ids: Text, rows: int) -> Text:
    """The ids of the rows of a file without ids: those of the catalogue, sorted as whole numbers."""
    if rows != len(item_ids):
        fail(path, f"has {rows:,} rows without ids for {len(item_ids):,} items: save ids beside the vectors (.npz)")
    try:
        return np.array(sorted(item_ids.tolist(), key=whole_number), np.str_)
    except ValueError:
        fail(path, "has rows without ids, and the data set's ids are not whole numbers: save ids beside them (.npz)")


def fail(path: Path, why: str) -> NoReturn:
    """A DataError that begins with the path."""
    raise DataError(f"{path}: {why}", path=path)


def _as_text(path: Path, ids: NDArray[Any]) -> Text:
    if ids.dtype.kind == "S":
        return np.char.decode(ids, "utf-8")
    texts = ids.dtype == object and all(isinstance(item_id, str) for item_id in ids.flat)
    if ids.dtype.kind not in "iuU" and not texts:
        fail(path, f"has ids of type {ids.dtype}: expected texts or whole numbers")
    return ids.astype(np.str_)


def _read_npz(path: Path) -> tuple[Any, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        if missing := {"ids", "vectors"} - set(arrays.files):
            fail(path, f"has no {' and no '.join(sorted(missing))}: expected arrays `ids` and `vectors`, "
                       f"found {', '.join(arrays.files) or 'none'}")  # fmt: skip
        return arrays["ids"], arrays["vectors"]


def _read_npy(path: Path) -> tuple[Any, Any]:
    return None, np.load(path, allow_pickle=False)


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    from safetensors.numpy import load_file

    tensors = load_file(path)
    if "vectors" not in tensors:
        fail(path, f"has no `vectors`: found {', '.join(sorted(tensors)) or 'nothing'}")
    return tensors.get("ids"), tensors["vectors"]


def _read_parquet(path: Path) -> tuple[Any, Any, list[str]]:
    """Ids, vectors, and the columns that are neither."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    name = next((name for name in ("id", "item_id") if name in table.column_names), None)
    if name is None:
        fail(path, f"has no column id or item_id: found {', '.join(table.column_names)}")
    if table[name].null_count:
        fail(path, f"has {table[name].null_count:,} rows without an id")
    ids = np.asarray(table[name].to_pylist())

    lists = [
        field.name for field in table.schema if pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)
    ]
    numbered = numbered_columns([column for column in table.column_names if column != name])
    if len(lists) > 1 or (not lists and len(numbered) != 1):
        found = ", ".join(lists or [column for column in table.column_names if column != name]) or "none"
        fail(path, f"holds vectors in no one place: expected one list column, or columns x0, x1, ...; found {found}")

    used = lists or numbered[0]
    left = [column for column in table.column_names if column not in (name, *used)]
    if lists:
        rows = table[used[0]].to_pylist()
        lengths = {0 if row is None else len(row) for row in rows}
        if len(lengths) > 1:
            fail(path, f"has vectors of {min(lengths)} to {max(lengths)} numbers: expected one length")
        return ids, np.array(rows, np.float64), left
    return ids, np.stack([table[column].to_numpy().astype(np.float64) for column in used], axis=1), left
