"""Data sets that a person added under a name with `genrec data add`: a file, and the options it is read with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from genrec_bench.core.events import Interactions
from genrec_bench.core.files import expand_home, file_digest
from genrec_bench.core.progress import Progress, Quiet
from genrec_bench.core.raw_files import check_file, fail
from genrec_bench.data.file import FileConfig, FileDataset
from genrec_bench.data.loading import tell_losses
from genrec_bench.data.prepare import PrepareConfig
from genrec_bench.errors import UsageError
from genrec_bench.host import added, registry
from genrec_bench.host.config import config_dict, make_config
from genrec_bench.host.contracts import Dataset, DatasetContext


class AddedDataset(Dataset):
    """Your own data set, added with `genrec data add`."""

    Config = PrepareConfig
    contract = 1
    name: ClassVar[str] = ""

    @classmethod
    def of(cls, name: str) -> type[Self]:
        """The data set of that name."""
        return type(cls.__name__, (cls,), {"name": name, "__module__": cls.__module__, "__doc__": cls.__doc__})

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """What the file offers."""
        return self._file().offers

    def load(self, ctx: DatasetContext) -> Interactions:
        """The interactions of the file. DataError if it is not the file that was added."""
        file, entry = self._file(), added.read(self.name)
        path = check_file(Path(file.config.path))
        if file_digest(path) != entry["sha256"]:
            fail(
                path, f"has changed since it was added as {self.name}; add it again under another name, or with --force"
            )
        return file.load(ctx)

    def _file(self) -> FileDataset:
        options = {**added.read(self.name)["options"], **config_dict(self.config)}
        return FileDataset(make_config(FileConfig, options, "dataset"))


def add(name: str, path: Path, options: Mapping[str, Any], *, replace: bool, progress: Progress | None = None) -> Path:
    """Keep the file at `path` under a name, to be read with `options`; the path of the entry. Notes what was taken for what.

    DataError if the file cannot be read so; UsageError if the name is taken.
    """
    if name in {info.name for info in registry.list_components("dataset") if info.distribution != added.OWNER}:
        raise UsageError(f"a data set is named {name!r} already: choose another name")
    path = check_file(Path(expand_home(path))).resolve()
    config = make_config(FileConfig, {**options, "path": str(path)}, "dataset")
    progress = progress or Quiet()
    tell_losses(FileDataset(config).load(DatasetContext(progress=progress)), progress)

    kept = {key: value for key, value in config_dict(config).items() if key not in config_dict(PrepareConfig())}
    if kept["items_path"]:
        kept["items_path"] = str(Path(expand_home(kept["items_path"])).resolve())
    return added.write(name, kept, file_digest(path), replace=replace)
