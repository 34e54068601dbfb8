"""Amazon Beauty, Amazon Toys and Yelp as published with S3-Rec (CIKM 2020); P5 and LightLM use them.

Each is one sequence file, identified by its SHA-256, without times. Knows where the files come from and what they must
hold.
"""

from __future__ import annotations

import json
import operator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.events import Interactions
from genrec_bench.core.files import file_digest
from genrec_bench.core.raw_files import check_file, fail
from genrec_bench.data.cache import load_prepared
from genrec_bench.data.download import download
from genrec_bench.data.prepare import PrepareConfig
from genrec_bench.data.sequences import read_sequences
from genrec_bench.host.contracts import Dataset, DatasetContext

SOURCE = "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/master/data/"
INSTEAD = "Download it by hand into a folder and give that folder: --data-dir"


class SequenceSet(Dataset):
    """A published sequence file. A subclass names the file, its checksums and its counts."""

    Config = PrepareConfig
    contract = 1
    offers = frozenset({"item_features"})

    name: ClassVar[str]
    file: ClassVar[str]  # without .txt
    sha256: ClassVar[str]  # of the sequences
    attributes_sha256: ClassVar[str]
    counts: ClassVar[tuple[int, int, int]]  # users, items, interactions

    def load(self, ctx: DatasetContext) -> Interactions:
        """The sequences in the order of the file, without times; `item_features` are the published attributes.

        Reads `ctx.data_dir` if it holds the file, else downloads. Without the attributes file there are no features.
        DataError for any file but the published one.
        """
        sequences, attributes = self._find(ctx)
        files = [sequences] if attributes is None else [sequences, attributes]
        self._check(sequences)
        if attributes is None:
            missing = f"no {self.file}_item2attributes.json beside {sequences}"
            ctx.progress.note(f"{missing}: {self.name} has no item features")
        return load_prepared(ctx, self.name, self.config, files, lambda: self._parse(sequences, attributes))

    def _find(self, ctx: DatasetContext) -> tuple[Path, Path | None]:
        """The files of sequences and of attributes; None where a folder has no attributes."""
        sequences, attributes = f"{self.file}.txt", f"{self.file}_item2attributes.json"
        if ctx.data_dir is not None and (ctx.data_dir / sequences).exists():
            beside = ctx.data_dir / attributes
            return check_file(ctx.data_dir / sequences), beside if beside.is_file() else None
        return (
            download(ctx, SOURCE + sequences, f"sha256:{self.sha256}", INSTEAD),
            download(ctx, SOURCE + attributes, f"sha256:{self.attributes_sha256}", INSTEAD),
        )

    def _check(self, path: Path) -> None:
        """DataError for any file but the published one, with the line if it is garbled."""
        actual = file_digest(path)
        if actual != self.sha256:
            data = read_sequences(path)
            fail(
                path,
                f"is not the published {self.name} file: it holds {data.n_users:,} of {self.counts[0]:,} users, SHA-256 "
                f"{actual[:12]}... instead of {self.sha256[:12]}...; get it again, or load it as --dataset file",
            )

    def _parse(self, path: Path, attributes: Path | None) -> Interactions:
        data = read_sequences(path)
        counts = (data.n_users, data.n_items, len(data))
        assert counts == self.counts, f"{path}: {counts} instead of {self.counts}"  # the checksum was right
        return data if attributes is None else replace(data, item_features=_features(attributes, data))


class Beauty(SequenceSet):
    """Amazon Beauty, 5-core, as sequences without times (S3-Rec, CIKM 2020)."""

    name = "beauty"
    file = "Beauty"
    sha256 = "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8"
    attributes_sha256 = "129e40f67486f6877eff0f5318cfa8530ee8ac23d8b0d1de04e1bb7a2ba0b2d4"
    counts = (22_363, 12_101, 198_502)


class Toys(SequenceSet):
    """Amazon Toys and Games, 5-core, as sequences without times (S3-Rec, CIKM 2020)."""

    name = "toys"
    file = "Toys_and_Games"
    sha256 = "176c680c688d497598c4a89a03b402c0fe78d795e5db335c2e78dd5f2d778a3f"
    attributes_sha256 = "d371acd25101eedac04afc727626464b7acec770c4eda708705d51eb76eb1ad0"
    counts = (19_412, 11_924, 167_597)


class Yelp(SequenceSet):
    """Yelp 2019, 5-core, as sequences without times (S3-Rec, CIKM 2020)."""

    name = "yelp"
    file = "Yelp"
    sha256 = "724b219106b81dd2349027da997334ddb6da9fe2f152ad6e0d97a93170f7caed"
    attributes_sha256 = "f25acd5e1e680e0b22fd4e3f4fb6be4b2a7461e9222610616e3e1ee6702dd58d"
    counts = (30_431, 20_033, 316_354)


def _features(path: Path, data: Interactions) -> Ragged:
    """Attribute numbers (dense, 0-based) of every item, from `{item: [attribute, ...]}`."""
    try:
        attributes = json.loads(path.read_text(encoding="utf-8"))
        rows = [[operator.index(number) for number in attributes.get(item, ())] for item in data.item_ids.tolist()]
    except json.JSONDecodeError as error:
        fail(path, f"is not valid JSON ({error.msg}); get the file again", error.lineno)
    except (UnicodeDecodeError, AttributeError, TypeError, ValueError):
        fail(path, "does not map items to attribute numbers; get the file again")

    ragged = Ragged.of(rows)
    return Ragged(np.unique(ragged.values, return_inverse=True)[1].astype(np.int32), ragged.offsets)
