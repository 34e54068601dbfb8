"""Digests of arrays and texts, and hashes of ids. Equal on every platform."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec_bench.core.arrays import Text


def digest(*parts: Any) -> str:
    """SHA-256 (hex) of arrays, strings and numbers. Shapes and dtypes count, so layout causes no collisions."""
    return digest_of(parts)


def digest_of(parts: Iterable[Any]) -> str:
    """`digest` of parts that are made one at a time."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype.str}{part.shape}".encode())
            if part.nbytes:
                sha.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            sha.update(f"{type(part).__name__}:{part!r};".encode())
    return sha.hexdigest()


def hash_ids(ids: Text, seed: int) -> NDArray[np.uint64]:
    """One 64-bit hash per string, `(n,)`: FNV-1a over the characters, then a seeded SplitMix64 finaliser.

    Does not depend on the order of `ids`. The protocol's shuffle and tie rule are built on it.
    """
    ids = np.ascontiguousarray(ids, dtype=np.str_)
    width = ids.dtype.itemsize // 4

    hashes = np.full(len(ids), 0xCBF29CE484222325, np.uint64)
    for column in ids.view(np.uint32).reshape(len(ids), width).T if width else ():
        stirred = (hashes ^ column.astype(np.uint64)) * np.uint64(0x100000001B3)
        hashes = np.where(column > 0, stirred, hashes)  # 0: the string has ended

    return mix(hashes + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64))


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The SplitMix64 finaliser, elementwise."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
