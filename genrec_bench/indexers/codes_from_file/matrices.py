"""Codes in NumPy and torch files: a matrix, alone or beside its keys, or an object from key to code."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genrec_bench.core.ids import EXACT, NotAnId, normal_ids
from genrec_bench.indexers.codes_from_file.code_file import CODES, KEYS, CodeFile, fail, one_of
from genrec_bench.indexers.codes_from_file.texts import of_pairs

HARMLESS = {  # what a pickled array is made of
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


def read_matrix(path: Path, format: str) -> CodeFile:
    """The codes in a NumPy or torch file."""
    content = _torch_content(path) if format == "pt" else _numpy_content(path)
    if isinstance(content, Mapping):
        return _of_mapping(path, content)
    return _of_matrix(path, _array(path, content), None)


def _of_mapping(path: Path, content: Mapping[Any, Any]) -> CodeFile:
    """Arrays by role, a lone array under any name, or a code for each key."""
    names = [name for name in content if isinstance(name, str)]
    code, key = one_of(path, names, CODES, "the codes"), one_of(path, names, KEYS, "the items")
    if code is not None:
        return _of_matrix(path, _array(path, content[code]), None if key is None else _array(path, content[key]))

    values = {name: _array(path, value) for name, value in content.items()}
    if len(values) == 1 and next(iter(values.values())).ndim == 2:
        return _of_matrix(path, next(iter(values.values())), None)
    if key is None and all(value.ndim <= 1 and value.dtype.kind in "iuU" for value in values.values()):
        return of_pairs(path, [(str(name), value.tolist()) for name, value in values.items()])
    shown = ", ".join(map(str, list(values)[:6]))
    fail(
        path,
        f"holds {len(values)} arrays ({shown}); call the codes `codes` and their items `item_ids`, or keep the codes only",
    )


def _of_matrix(path: Path, array: Any, keys: Any | None) -> CodeFile:
    if array.dtype == object:
        array = _padded(path, array)
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        fail(path, f"holds {array.dtype} of shape {array.shape}, not a matrix of whole numbers (keys x levels)")
    turned = array.shape[1] > array.shape[0] if keys is None else array.shape[0] != len(keys)
    matrix = array.T if turned else array
    notes = (
        [f"a column for each of its {len(matrix)} items: the matrix of shape {array.shape} is transposed"]
        if turned
        else []
    )

    garbled = (matrix != np.floor(matrix)) | (matrix < -1) | ~np.isfinite(matrix)
    garbled[:, 1:] |= (matrix[:, :-1] == -1) & (matrix[:, 1:] != -1)  # -1 only at the end
    if garbled.any():
        row, column = (int(axis[0]) for axis in np.nonzero(garbled))
        value = matrix[row, column]
        fail(path, f"{value} at level {column} is not a token (whole numbers, -1 at the end)", f"row {row}")

    whole = matrix.astype(np.int64) if matrix.dtype.kind == "f" else matrix
    codes = [tuple(str(token) for token in row if token >= 0) for row in whole.tolist()]
    names = [str(row) for row in range(len(codes))] if keys is None else _names(path, keys, len(codes))
    return CodeFile(path, names, codes, lambda row: f"row {row}", notes)


def _names(path: Path, keys: Any, rows: int) -> list[str]:
    """The keys beside a matrix, as texts."""
    if keys.shape != (rows,):
        fail(path, f"holds keys of shape {keys.shape} for {rows} codes: expected one key per code")
    try:
        return [str(key) for key in normal_ids(pa.array(keys.tolist())).to_pylist()]
    except (NotAnId, pa.ArrowException) as error:
        fail(path, f"its keys are no ids: {error}")


def _padded(path: Path, array: Any) -> Any:
    """A matrix from an array of rows, shorter ones padded with -1."""
    rows = [np.asarray(row) for row in array.ravel().tolist()] if array.ndim == 1 else []
    if not rows or any(row.ndim != 1 or row.dtype.kind not in "iu" for row in rows):
        fail(path, f"holds Python objects of shape {array.shape}, not rows of whole numbers")
    matrix = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for number, row in enumerate(rows):
        matrix[number, : len(row)] = row
    return matrix


def _array(path: Path, value: Any) -> Any:
    """A tensor or list as an array; torch's special kinds lose what makes them special.

    DataError for what is no array, and for floats so large that their last digits may be lost.
    """
    try:
        if hasattr(value, "detach"):
            value = value.detach().to_dense()
            stored, array = value.dtype, (value.double() if value.is_floating_point() else value).numpy()
        else:
            array = np.asarray(value)
            stored = array.dtype
    except (TypeError, ValueError, RuntimeError) as error:  # quantised tensors, rows of different lengths
        fail(path, f"holds a {type(value).__name__} that is no array of whole numbers: {str(error)[:120]}")

    if array.dtype.kind == "f":
        _check_exact(path, array, stored)
    return array


def _check_exact(path: Path, array: Any, stored: Any) -> None:
    """DataError if floats of the type `stored` (NumPy's or torch's) do not hold one of these whole numbers for sure."""
    power = min(round(1 - math.log2(_step(stored))), EXACT[64])
    large = np.isfinite(array) & (np.abs(array) >= 2.0**power)  # 2**power itself may stand for the number after it
    if large.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(large))
        fail(
            path,
            f"{array[place]:.0f} is a {str(stored).removeprefix('torch.')} of 2**{power} or more, so its last digits may be "
            "lost; save whole numbers (int64)",
            f"entry {', '.join(map(str, place))}",
        )


def _step(kind: Any) -> float:
    """The distance from 1 to the next number of a type of NumPy or torch."""
    if isinstance(kind, np.dtype):
        return float(np.finfo(kind).eps)
    import torch

    return float(torch.finfo(kind).eps)


def _torch_content(path: Path) -> Any:
    """The array or dictionary in a torch file. DataError for anything but plain data."""
    import torch

    try:
        # Without the check, a damaged sparse tensor ends the process.
        with warnings.catch_warnings(), torch.sparse.check_sparse_tensor_invariants():
            warnings.simplefilter("ignore")  # a garbled file is read as kinds of tensors of which torch warns
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's parsers raise many kinds of errors
        fail(path, f"is not a torch file of plain data: {str(error)[:120]}; was it cut short?")
    if isinstance(content, Mapping):
        return content
    if not isinstance(content, torch.Tensor | list):
        fail(path, f"holds a {type(content).__name__}, not a tensor of codes")
    return content


def _numpy_content(path: Path) -> Any:
    """The array in a .npy file or the arrays in a .npz file. DataError for anything else."""
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            return content
        with content:
            return {name: content[name] for name in content.files}
    except Exception as error:  # zipfile, zlib, tokenize and NumPy each raise their own
        if path.read_bytes()[:6] == b"\x93NUMPY" and "Object arrays" in str(error):
            return _unpickled(path)
        fail(path, f"is not a NumPy file: {error}; was it cut short?")


class _Arrays(pickle.Unpickler):
    """Reads arrays, lists, dictionaries, texts and numbers; a pickle of anything else could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in HARMLESS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds a {module}.{name}")


def _unpickled(path: Path) -> Any:
    """The rows or the dictionary in a .npy file of Python objects (np.save of a list of arrays, or of a dictionary)."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            read(file)
            array = _Arrays(file).load()
    except Exception as error:  # a garbled pickle raises anything
        fail(
            path,
            f"holds Python objects that are no rows of numbers ({str(error)[:80]}); save an array of whole numbers",
        )
    return array.item() if isinstance(array, np.ndarray) and array.ndim == 0 else array
