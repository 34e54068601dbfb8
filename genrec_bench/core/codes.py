"""Codes: what an indexer gives every item (and user), and the token alphabet that they are written in.

A code is a short row of tokens. No code is a prefix of another, so a decoder knows where a code ends without an end
token. Token scopes are decided here (`assign_tokens`). Knows nothing of how an indexer chooses codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genrec_bench.core.arrays import PAD, Float32, Int32, Int64
from genrec_bench.core.hashing import digest
from genrec_bench.errors import CodeClash

TokenScope = Literal["level", "shared", "path"]


@dataclass(frozen=True)
class CodeTable:
    """`codes`, `(n, width)` int32: the tokens of each row, padded with -1 on the right.

    CodeClash unless the codes are prefix-free.
    """

    codes: Int32

    def __post_init__(self) -> None:
        codes = self.codes
        if codes.ndim != 2 or (len(codes) and (codes.shape[1] == 0 or (codes[:, 0] < 0).any())):
            raise CodeClash(f"a code table needs at least one token per row, not shape {codes.shape}", rows=(), code=())
        if ((codes[:, 1:] >= 0) & (codes[:, :-1] < 0)).any():
            raise CodeClash("codes must be padded on the right only", rows=(), code=())

        # A prefix sorts right before its extensions, so comparing neighbours is enough.
        order = sort_codes(codes).order
        low, high = codes[order[:-1]], codes[order[1:]]
        clash = np.flatnonzero(((low == high) | (low < 0)).all(axis=1))
        if len(clash):
            a, b = int(order[clash[0]]), int(order[clash[0] + 1])
            code = tuple(int(token) for token in codes[a] if token >= 0)
            verb = "share" if (codes[a] == codes[b]).all() else "have as code or prefix"
            raise CodeClash(
                f"rows {a} and {b} {verb} {code}. Each needs its own code; add a suffix level.", rows=(a, b), code=code
            )

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def width(self) -> int:
        """Tokens of the longest code."""
        return int(self.codes.shape[1])

    def find(self, tokens: Int32) -> Int32:
        """For each row of `tokens` `(m, any width)`, padded with -1, the row that has it as its code; -1 for none."""
        numbers = np.full(len(tokens), -1, np.int32)
        fits = np.flatnonzero((tokens[:, self.width :] < 0).all(axis=1))
        if not len(self) or not len(fits):
            return numbers

        short = tokens[fits, : self.width]
        rows = _bytes_of(np.pad(short, ((0, 0), (0, self.width - short.shape[1])), constant_values=PAD))
        order, codes = self._by_bytes
        nearest = np.minimum(np.searchsorted(codes, rows), len(codes) - 1)
        numbers[fits] = np.where(codes[nearest] == rows, order[nearest], -1)
        return numbers

    @cached_property
    def _by_bytes(self) -> tuple[Int64, NDArray[np.void]]:
        codes = _bytes_of(self.codes)
        order = np.argsort(codes, kind="stable")
        return order, codes[order]


def _bytes_of(rows: Int32) -> NDArray[np.void]:
    """Each row of `(n, width)` as one value that can be sorted and compared."""
    return np.ascontiguousarray(rows, np.int32).view(np.dtype((np.void, 4 * rows.shape[1]))).reshape(-1)


@dataclass(frozen=True)
class Index:
    """The codes of all items and users, and the alphabet that both are written in: `n_tokens` token ids from 0.

    `collision_rate` is the share of items that shared their code with another item before the suffix level was added.
    `info` says how the codes were made (method, sizes) and goes into the record. `vectors` `(n_items, d)` float32 are what
    the codes were made from, where the indexer has such a thing. `folder` is where it all was read from.
    """

    items: CodeTable
    users: CodeTable | None
    n_tokens: int
    token_scope: TokenScope = "level"
    collision_rate: float = 0.0
    info: Mapping[str, Any] = field(default_factory=dict)
    vectors: Float32 | None = field(default=None, compare=False, repr=False)
    folder: Path | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for table in (self.items, self.users):
            if table is not None and len(table) and int(table.codes.max()) >= self.n_tokens:
                raise CodeClash(
                    f"token {int(table.codes.max())} lies outside the alphabet of {self.n_tokens}", rows=(), code=()
                )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of both code tables, the size of the alphabet, and the vectors where there are any."""
        users = () if self.users is None else (self.users.codes,)
        vectors = () if self.vectors is None else (self.vectors,)
        return digest(self.n_tokens, self.items.codes, *users, *vectors)

    @classmethod
    def from_labels(
        cls,
        items: Int32,
        users: Int32 | None = None,
        *,
        scope: TokenScope = "level",
        shared_alphabet: bool = False,
        collision_rate: float = 0.0,
        info: Mapping[str, Any] | None = None,
        vectors: Float32 | None = None,
    ) -> Index:
        """An index from label rows `(n, levels)`, padded with -1: the cluster chosen at each level, for example.

        `scope` says which labels become one token: equal labels of one level (`level`), equal labels anywhere
        (`shared`), or equal labels below one path (`path`). With `shared_alphabet`, users and items with the same
        label share its token; otherwise users and items have separate tokens.
        """
        if users is None:
            codes, n_tokens = assign_tokens(items, scope)
            return cls(CodeTable(codes), None, n_tokens, scope, collision_rate, dict(info or {}), vectors)

        width = max(items.shape[1], users.shape[1])
        rows = [np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=PAD) for part in (items, users)]
        if shared_alphabet:
            codes, n_tokens = assign_tokens(np.concatenate(rows), scope)
            item_codes, user_codes = codes[: len(items)], codes[len(items) :]
        else:
            item_codes, first = assign_tokens(rows[0], scope)
            user_codes, second = assign_tokens(rows[1], scope)
            user_codes, n_tokens = np.where(user_codes < 0, PAD, user_codes + first).astype(np.int32), first + second

        tables = CodeTable(item_codes[:, : items.shape[1]]), CodeTable(user_codes[:, : users.shape[1]])
        return cls(*tables, n_tokens, scope, collision_rate, dict(info or {}), vectors)

    def with_users(self, labels: Int32, why: str) -> Index:
        """The same items with user codes from `labels`, written in separate tokens; `why` goes into `info`.

        The users' scope is `level` whatever the items' scope: with `path`, no two users would share a last token.
        """
        codes, more = assign_tokens(labels, "level")
        users = CodeTable(np.where(codes < 0, PAD, codes + self.n_tokens).astype(np.int32))
        info = {**self.info, "user_codes": why}
        return replace(self, users=users, n_tokens=self.n_tokens + more, info=info)

    def save(self, folder: Path) -> None:
        """Write `codes.npz` and `index.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        more: dict[str, Any] = {} if self.users is None else {"users": self.users.codes}
        if self.vectors is not None:
            more["vectors"] = self.vectors
        np.savez_compressed(folder / "codes.npz", allow_pickle=False, items=self.items.codes, **more)

        facts = {
            "n_tokens": self.n_tokens,
            "token_scope": self.token_scope,
            "collision_rate": self.collision_rate,
            "info": dict(self.info),
            "fingerprint": self.fingerprint,
        }
        (folder / "index.json").write_text(json.dumps(facts, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Read what `save` wrote. ValueError if the codes do not match their fingerprint."""
        facts = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        with np.load(folder / "codes.npz", allow_pickle=False) as arrays:
            items, users, vectors = arrays["items"], arrays.get("users"), arrays.get("vectors")

        index = cls(
            CodeTable(items),
            None if users is None else CodeTable(users),
            facts["n_tokens"],
            facts["token_scope"],
            facts["collision_rate"],
            facts["info"],
            vectors,
            folder,
        )
        if index.fingerprint != facts["fingerprint"]:
            raise ValueError(f"the codes in {folder} do not match their fingerprint")
        return index


@dataclass(frozen=True)
class SortedCodes:
    """Code rows in lexicographic order; equal rows keep their order.

    `order` holds the row numbers, `keys` the rows themselves, packed into as few int64 as possible. Column `c` is
    `(keys[k] >> shift) & (2**bits - 1)` with `k, shift, bits = where[c]`: the token plus one, 0 after the code's end.
    """

    order: Int64
    keys: list[Int64]
    where: list[tuple[int, int, int]]


KEY_BITS = 63


def sort_codes(codes: Int32) -> SortedCodes:
    """Sort code rows `(n, width)`: one sort of integers where a row and its number fit into 63 bits."""
    tops = codes.max(axis=0, initial=-1) if len(codes) else np.full(codes.shape[1], -1)
    bits = [max(1, (int(top) + 1).bit_length()) for top in tops]

    keys: list[Int64] = []
    where: list[tuple[int, int, int]] = []
    left = 0  # free bits of the last key
    for column, size in enumerate(bits):
        if not keys or left < size:
            keys.append(np.zeros(len(codes), np.int64))
            left = KEY_BITS
        left -= size
        where.append((len(keys) - 1, left, size))
        keys[-1] |= (codes[:, column].astype(np.int64) + 1) << left

    # Row numbers in the free low bits: sorting integers beats sorting indices.
    number = max(1, (len(codes) - 1).bit_length())
    if len(keys) == 1 and left >= number:
        keys[0] |= np.arange(len(codes))
        keys[0].sort()
        return SortedCodes(keys[0] & ((1 << number) - 1), keys, where)

    order: Int64 = np.lexsort(keys[::-1]) if keys else np.arange(len(codes))
    return SortedCodes(order, [key[order] for key in keys], where)


def assign_tokens(labels: Int32, scope: TokenScope) -> tuple[Int32, int]:
    """Token ids `(n, levels)` for label rows, and the number of tokens. See `Index.from_labels` for `scope`."""
    tokens = np.full(labels.shape, PAD, np.int32)
    used = 0
    if scope == "shared":
        filled = labels >= 0
        names, which = np.unique(labels[filled], return_inverse=True)
        tokens[filled] = which
        return tokens, len(names)

    for level in range(labels.shape[1]):
        rows = np.flatnonzero(labels[:, level] >= 0)
        key = labels[rows, : level + 1] if scope == "path" else labels[rows, level : level + 1]
        groups, counts = row_groups(key)
        tokens[rows, level] = used + groups
        used += len(counts)
    return tokens, used


def row_groups(rows: Int32) -> tuple[Int32, Int64]:
    """Equal rows of `(n, levels)` numbered in lexicographic order, `(n,)`, and how many rows each number has.

    The same as `np.unique(rows, axis=0)`, which sorts rows as opaque bytes, but many times faster.
    """
    order = np.lexsort(rows.T[::-1])
    changes = np.zeros(len(rows), np.bool_)
    for column in rows.T:
        ordered = column[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    which = np.empty(len(rows), np.int32)
    which[order] = np.cumsum(changes)
    return which, np.bincount(which)


def add_suffix(labels: Int32) -> tuple[Int32, float]:
    """Make label rows unique: rows that occur more than once get a running number as one more label.

    Equal rows are numbered in order; a unique row gets no suffix (LightLM's rule). Returns the new rows,
    `(n, levels + 1)`, or the old ones if all were unique, and the share of rows that were not unique.
    """
    if not len(labels):
        return labels, 0.0
    which, counts = row_groups(labels)
    if counts.max() == 1:
        return labels, 0.0

    # Number the members of each group of equal rows.
    order = np.argsort(which, kind="stable")
    starts = np.cumsum(counts) - counts
    running = np.empty(len(labels), np.int64)
    running[order] = np.arange(len(labels)) - starts[which[order]]

    unique = counts[which] == 1
    suffixed = np.pad(labels, ((0, 0), (0, 1)), constant_values=PAD).astype(np.int32)
    lengths = (labels >= 0).sum(axis=1)
    suffixed[~unique, lengths[~unique]] = running[~unique]
    return suffixed, float((~unique).mean())


def digits(numbers: Any, base: int, width: int) -> Int32:
    """Numbers `(n,)` as `width` digits in `base`, most significant first: `(n, width)`."""
    powers = base ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return ((np.asarray(numbers, np.int64)[:, None] // powers) % base).astype(np.int32)


def digits_needed(count: int, base: int) -> int:
    """How many digits in `base` the numbers from 0 to `count - 1` need; at least 1."""
    width = 1
    while base**width < count:
        width += 1
    return width
