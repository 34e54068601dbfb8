"""Whether the name of a data set is the path of a person's own file, which then is a data set `file`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from genrec_bench.errors import ConfigError

FILE = "file"  # the data set that reads a person's own file
SUFFIXES = (
    *(".csv", ".tsv", ".txt", ".dat", ".data", ".inter", ".parquet", ".pq", ".json", ".jsonl", ".ndjson"),
    *(".gz", ".bz2", ".xz", ".zst", ".zip"),
)


def as_file(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The data set and its options: for the path of a file, `file` with that path; else as they are.

    What holds a slash or ends like a data file is a path, whether or not the file exists. ConfigError if `options` give
    another path.
    """
    if not (name.lower().endswith(SUFFIXES) or "/" in name or os.sep in name):
        return name, dict(options)
    if options.get("path", name) != name:
        raise ConfigError(
            f"dataset {name} is a file, and dataset.path = {options['path']!r} is another: give one of them",
            part="dataset",
            key="path",
        )
    return FILE, {**options, "path": name}
