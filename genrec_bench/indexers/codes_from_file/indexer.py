"""Codes that a person brings along: a file from item to code, and if wanted one from user to code.

Looks items up by external id and checks that every one has a code of its own. Knows nothing of how the codes were found:
whether they hold what was learnt from held-out events is for whoever made them to say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import PAD, Int32, Text
from genrec_bench.core.codes import (
    CodeTable,
    Index,
    TokenScope,
    add_suffix,
)
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import CodeClash
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Indexer, IndexerContext
from genrec_bench.indexers.codes_from_file.files import (
    Code,
    CodeFile,
    Format,
    read_codes,
    sha256,
)

Keys = Literal["external", "zero-based", "one-based"]
Duplicates = Literal["refuse", "suffix"]
Unknown = Literal["refuse", "ignore"]
SHIFT: dict[Keys, int] = {"external": 0, "zero-based": 1, "one-based": -1}  # from a key to the external id


@dataclass(frozen=True, kw_only=True)
class CodesConfig:
    """Where the codes are and how to read them."""

    path: Annotated[str, Field(min_length=1)]  # the items' codes: .json, .csv, .npy, .npz or .pt
    format: Format = "auto"  # auto: by the suffix
    keys: Keys = "external"  # keys and row numbers are: the ids | the ids less one (LETTER, LightLM) | the ids plus one
    duplicates: Duplicates = "refuse"  # items that share a code: an error | told apart by a suffix level
    unknown: Unknown = "refuse"  # keys that are no item of the data set: an error | passed over
    users_path: str | None = None  # the users' codes, in a file of the same make; none: users get random codes
    shared_alphabet: bool = False  # with users_path: a token that users and items spell alike is one token
    token_scope: TokenScope = "level"  # which equal tokens are one: of one level, anywhere, or below one path

    @model_validator(mode="after")
    def _an_alphabet_is_shared_by_two(self) -> Self:
        if self.shared_alphabet and self.users_path is None:
            raise ValueError("shared_alphabet needs users_path: there are no user codes to share with")
        return self


class CodesIndexer(Indexer):
    """Your own codes, from a JSON, CSV, NumPy or torch file: LETTER's, TIGER's, LightLM's, P5's or GRID's, say.

    Nothing is learnt here, so nothing shows whether the file's makers kept the held-out events out of it. The record
    carries the SHA-256 of the files.
    """

    Config = CodesConfig
    needs = frozenset({"item_ids", "user_ids"})

    def __init__(self, config: Any = None) -> None:
        super().__init__(make_config(CodesConfig, {}, "indexer") if config is None else config)

    def ready(self) -> None:
        self.fingerprint()

    def fingerprint(self) -> str:
        """SHA-256 of the items' file, and behind it that of the users'. DataError if one is not there."""
        return " ".join(sha256(path) for path in self._paths())

    def _paths(self) -> list[Path]:
        return [Path(path).expanduser() for path in (self.config.path, self.config.users_path) if path is not None]

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """The codes in the file. DataError, with the line or key, for an item without a code or with another's."""
        config: CodesConfig = self.config
        sides = []
        for path, ids, what in zip(self._paths(), (train.item_ids, train.user_ids), ("item", "user"), strict=False):
            assert ids is not None, "this indexer needs external ids: protocol.train_view(data, split, indexer.needs)"
            sides.append(_Side(read_codes(path, config.format), ids, what, config, ctx))
        spelled = sorted({token for side in sides for code in side.codes for token in code})
        numbers = {token: number for number, token in enumerate(spelled)}
        tables = [side.table(numbers) for side in sides]
        return Index.from_labels(
            *(labels for labels, _ in tables),
            scope=config.token_scope,
            shared_alphabet=config.shared_alphabet,
            collision_rate=tables[0][1],
            info={
                "method": "codes",
                "files": {path.name: sha256(path) for path in self._paths()},
                "collision_rates": {side.what + "s": rate for side, (_, rate) in zip(sides, tables, strict=True)},
                "duplicates": config.duplicates,
                "item_codes": "from a file",
                **({"user_codes": "from a file"} if len(sides) > 1 else {}),
                "seed_moves": "nothing" if len(sides) > 1 else "user codes",
            },
        )


class _Side:
    """The codes of all items, or of all users: `rows[i]` is where number `i` stands in the file."""

    def __init__(self, file: CodeFile, ids: Text, what: str, config: CodesConfig, ctx: IndexerContext) -> None:
        self.file, self.what, self.duplicates = file, what, config.duplicates
        self.rows = self._look_up(ids, config, ctx)
        self.codes: list[Code] = [file.codes[row] for row in self.rows]

    def _look_up(self, ids: Text, config: CodesConfig, ctx: IndexerContext) -> list[int]:
        at = {self._external(row, config.keys): row for row in range(len(self.file.keys))}
        known = ids.tolist()
        strangers = at.keys() - set(known)
        missing = [one for one in known if one not in at]
        if missing:
            hint = "check indexer.keys" if len(missing) == len(known) else "add them, or filter them from the data set"
            self.file.fail_whole(
                f"no code for {self.what} {missing[0]!r} ({len(missing)} of {len(known)} have none); {hint}"
            )
        if strangers and config.unknown == "refuse":
            row = min(at[one] for one in strangers)
            self.file.fail(
                row,
                f"{self.file.keys[row]!r} is no {self.what} of the data set ({len(strangers)} such keys); "
                "--set indexer.unknown=ignore passes them over",
            )
        if strangers:
            ctx.progress.note(
                f"{self.file.path}: {len(strangers)} keys are no {self.what} of the data set: passed over"
            )
        return [at[one] for one in known]

    def _external(self, row: int, keys: Keys) -> str:
        """The external id that a key stands for."""
        key = self.file.keys[row]
        if keys == "external":
            return key
        try:
            return str(int(key) + SHIFT[keys])
        except ValueError:
            self.file.fail(row, f"{key!r} is no whole number, so it is not {keys}; check indexer.keys")

    def table(self, numbers: dict[str, int]) -> tuple[Int32, float]:
        """Label rows `(n, levels)`, unique and prefix-free, and the share of rows that had another's code."""
        labels = np.full((len(self.codes), max(map(len, self.codes))), PAD, np.int32)
        for row, code in enumerate(self.codes):
            labels[row, : len(code)] = [numbers[token] for token in code]
        collisions = 0.0
        if self.duplicates == "suffix":
            depth = (labels >= 0).sum(axis=1)
            labels, collisions = add_suffix(labels)
            told = np.flatnonzero((labels >= 0).sum(axis=1) > depth)
            labels[told, depth[told]] += len(numbers)  # a suffix is never a token of the file
        self._check(labels)
        return labels, collisions

    def _check(self, labels: Int32) -> None:
        """DataError if two rows share a code, or one's is how another's begins."""
        try:
            CodeTable(labels)
            return
        except CodeClash as clash:
            one, other = sorted(clash.facts["rows"], key=lambda row: len(self.codes[row]))
        if self.codes[one] == self.codes[other]:
            sharing = self._sharing()
            one, other = sharing[:2]
            why = (
                f"{self._named(one)} and {self._named(other)} share the code {' '.join(self.codes[one])} ({len(sharing)} "
                f"{self.what}s share one); --set indexer.duplicates=suffix tells them apart by one more token"
            )
        else:
            why = (
                f"{self._named(one)} has the code {' '.join(self.codes[one])}, which is how the code of "
                f"{self._named(other)} begins ({' '.join(self.codes[other])}); make all codes equally long, or end each "
                "with a token of its own"
            )
        self.file.fail_whole(why)

    def _named(self, row: int) -> str:
        return f"{self.what} {self.file.keys[self.rows[row]]!r} ({self.file.place(self.rows[row])})"

    def _sharing(self) -> list[int]:
        """The rows whose code another has too: those of one code together, in the file's order."""
        alike: dict[Code, list[int]] = {}
        for row in np.argsort(self.rows).tolist():
            alike.setdefault(self.codes[row], []).append(row)
        return [row for rows in alike.values() if len(rows) > 1 for row in rows]
