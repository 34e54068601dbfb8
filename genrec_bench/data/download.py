"""Downloads a published file once, checked against its checksum, with a progress bar. Callers know the addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path

from genrec_bench.core.files import write_whole
from genrec_bench.core.progress import Tick
from genrec_bench.errors import DataError
from genrec_bench.host.contracts import DatasetContext

PATIENCE = 30  # seconds without an answer before a download is given up


class _Bar:
    """A progress bar as pooch wants it, which passes its steps on to the phase's tick."""

    def __init__(self, open_phase: Callable[[int | None], Tick]) -> None:
        self.open_phase, self.done, self.size = open_phase, 0, 0

    @property
    def total(self) -> int:
        return self.size

    @total.setter
    def total(self, size: int) -> None:  # set once the server has sent it; 0 if it does not
        self.size = size
        self.tick = self.open_phase(size or None)

    def update(self, size: int) -> None:
        step = min(size, self.size - self.done) if self.size else size  # pooch counts whole chunks
        self.done += step
        self.tick(step)

    def reset(self) -> None:
        pass  # pooch resets the bar at the end and fills it again; ours stays full

    def close(self) -> None:
        pass


def download(ctx: DatasetContext, url: str, known_hash: str, instead: str) -> Path:
    """The file at `url`, downloaded into the cache unless it is there; `known_hash` is `sha256:...` or `md5:...`.

    DataError if it cannot be downloaded or is not the expected file; `instead` says what to do then.
    """
    name = url.rsplit("/", 1)[-1]
    path = (ctx.cache_dir or user_cache_path("genrec-bench")) / "downloads" / name
    if path.is_file():
        with path.open("rb") as kept:
            if _has(kept, known_hash):
                return path

    import pooch  # here: files on disk need none, and tqdm, which it imports, warns in notebooks

    def fetch(file: IO[bytes]) -> None:
        with ExitStack() as phase:
            bar = _Bar(lambda total: phase.enter_context(ctx.progress.phase(f"downloading {name}", total, "B")))
            pooch.HTTPDownloader(progressbar=bar, timeout=PATIENCE)(url, file, None)
        file.seek(0)
        if not _has(file, known_hash):
            raise ValueError

    try:
        write_whole(path, fetch)  # and not pooch.retrieve, whose temporary file would stay after a kill
        return path
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        reason = "its checksum is not the published one" if isinstance(error, ValueError) else _brief(error)
        raise DataError(f"{url} could not be downloaded: {reason}. {instead}", path=url) from error


def _has(file: IO[bytes], known_hash: str) -> bool:
    """Whether the rest of an open file has that hash, `ALGORITHM:HEX`."""
    algorithm, _, expected = known_hash.partition(":")
    return hashlib.file_digest(file, algorithm).hexdigest() == expected  # type: ignore[arg-type]


def _brief(error: OSError) -> str:
    """What went wrong, without the pages of text that requests puts into its messages."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__} (is there a network?)"
