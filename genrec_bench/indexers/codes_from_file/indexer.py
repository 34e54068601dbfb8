"""Your own codes: a file from item to code, and optionally one from user to code.

Matches keys to external ids and checks that every item has its own code. Knows nothing of how the codes were made:
whether held-out interactions went into them, only their makers can say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

import numpy as np
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from genrec_bench.core.arrays import PAD, Int32
from genrec_bench.core.codes import (
    CodeTable,
    Index,
    TokenScope,
    add_suffix,
)
from genrec_bench.core.files import expand_home
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import CodeClash
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import Indexer, IndexerContext
from genrec_bench.indexers.codes_from_file.code_file import Code, CodeFile, Format
from genrec_bench.indexers.codes_from_file.keys import Keys, Unknown, rows_of
from genrec_bench.indexers.codes_from_file.numbering import prefix_warning
from genrec_bench.indexers.codes_from_file.readers import read_codes, sha256

Duplicates = Literal["refuse", "suffix"]


@dataclass(frozen=True, kw_only=True)
class CodesConfig:
    """Where the codes are and how to read them."""

    path: Annotated[
        str, Field(min_length=1)
    ]  # the items' codes: .json, .jsonl, .csv, .tsv, .parquet, .txt, .npy, .npz, .pt
    format: Format = "auto"  # auto: by the suffix
    columns: tuple[str, ...] | None = None  # the names of the columns of a table without a header, in their order
    keys: Keys = "external"  # keys and row numbers are: the ids | the ids less one (LETTER) | the ids plus one
    duplicates: Duplicates = "refuse"  # items that share a code: an error | told apart by a suffix level
    unknown: Unknown = "refuse"  # keys that the data set does not know: an error | ignored
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

    Nothing is learned here, so nothing shows whether the file's makers kept held-out interactions out of it. The record
    carries the SHA-256 of the files.
    """

    Config = CodesConfig
    needs = frozenset({"item_ids", "user_ids"})

    def __init__(self, config: Any = None) -> None:
        super().__init__(make_config(CodesConfig, {}, "indexer") if config is None else config)

    def ready(self) -> None:
        self.fingerprint()

    def fingerprint(self) -> str:
        """SHA-256 of the items' file, then of the users' file. DataError if one cannot be read."""
        return " ".join(sha256(path) for path in self._paths())

    def _paths(self) -> list[Path]:
        return [Path(expand_home(path)) for path in (self.config.path, self.config.users_path) if path is not None]

    def build(self, train: TrainView, ctx: IndexerContext) -> Index:
        """The codes in the files. DataError, with the line or key, for an item without a code or with another's."""
        config: CodesConfig = self.config
        matched = []
        for path, ids, noun in zip(self._paths(), (train.item_ids, train.user_ids), ("item", "user"), strict=False):
            assert ids is not None, "this indexer needs external ids: train_view(data, split, indexer.needs)"
            file = read_codes(path, config.format, config.columns)
            for note in file.notes:
                ctx.progress.note(f"{path}: {note}")
            rows = rows_of(file, ids, noun, config.keys, config.unknown, "indexer", ctx.progress.note)
            matched.append(_Matched(file, noun, rows))

        spellings = sorted({token for part in matched for code in part.codes() for token in code})
        labels_of = {token: label for label, token in enumerate(spellings)}
        tables = [part.labels(labels_of, config.duplicates) for part in matched]
        warning = prefix_warning(train.sequences, tables[0][0], ctx.rng)
        return Index.from_labels(
            *(labels for labels, _ in tables),
            scope=config.token_scope,
            shared_alphabet=config.shared_alphabet,
            collision_rate=tables[0][1],
            info={
                "method": "codes",
                "files": {path.name: sha256(path) for path in self._paths()},
                "collision_rates": {part.noun + "s": rate for part, (_, rate) in zip(matched, tables, strict=True)},
                "notes": [f"{part.file.path.name}: {note}" for part in matched for note in part.file.notes],
                "warnings": [f"{matched[0].file.path.name}: {warning}"] if warning else [],
                "duplicates": config.duplicates,
                "item_codes": "from a file",
                **({"user_codes": "from a file"} if len(matched) > 1 else {}),
                "seed_moves": "nothing" if len(matched) > 1 else "user codes",
            },
        )


@dataclass(frozen=True)
class _Matched:
    """A file matched to all items, or to all users (`noun`): number `i` has the code in row `rows[i]` of the file."""

    file: CodeFile
    noun: str
    rows: list[int]

    def codes(self) -> list[Code]:
        """The code of every number."""
        return [self.file.codes[row] for row in self.rows]

    def labels(self, labels_of: dict[str, int], duplicates: Duplicates) -> tuple[Int32, float]:
        """Label rows `(n, levels)`, unique and prefix-free, and the share of rows that shared their code."""
        codes = self.codes()
        labels = np.full((len(codes), max(map(len, codes))), PAD, np.int32)
        for number, code in enumerate(codes):
            labels[number, : len(code)] = [labels_of[token] for token in code]

        collisions = 0.0
        if duplicates == "suffix":
            depth = (labels >= 0).sum(axis=1)
            labels, collisions = add_suffix(labels)
            suffixed = np.flatnonzero((labels >= 0).sum(axis=1) > depth)
            labels[suffixed, depth[suffixed]] += len(labels_of)  # a suffix never equals a token of the file

        try:
            CodeTable(labels)
        except CodeClash as clash:
            self._fail_clash(*clash.facts["rows"])
        return labels, collisions

    def _fail_clash(self, one: int, other: int) -> NoReturn:
        """DataError for two numbers of which one has the other's code, or a prefix of it."""
        codes = self.codes()
        if codes[one] == codes[other]:
            sharing = self._sharing()
            one, other = sharing[:2]
            self.file.fail(
                f"{self._name(one)} and {self._name(other)} share the code {' '.join(codes[one])} ({len(sharing)} "
                f"{self.noun}s share one); --set indexer.duplicates=suffix tells them apart by one more token"
            )

        short, long = sorted((one, other), key=lambda number: len(codes[number]))
        self.file.fail(
            f"{self._name(short)} has the code {' '.join(codes[short])}, a prefix of the code of {self._name(long)} "
            f"({' '.join(codes[long])}); make all codes equally long, or end each with a token of its own"
        )

    def _name(self, number: int) -> str:
        """An item or user as the file names it, with its place."""
        row = self.rows[number]
        return f"{self.noun} {self.file.keys[row]!r} ({self.file.place(row)})"

    def _sharing(self) -> list[int]:
        """The numbers that share their code, those of one code together, in the order of the file."""
        codes = self.codes()
        groups: dict[Code, list[int]] = {}
        for number in np.argsort(self.rows).tolist():
            groups.setdefault(codes[number], []).append(number)
        return [number for group in groups.values() if len(group) > 1 for number in group]
