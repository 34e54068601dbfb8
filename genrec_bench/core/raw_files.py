"""What every data file must pass before it is parsed: it exists, is not empty, is UTF-8.

Opens compressed files (gzip, bzip2, xz, zstd) like plain ones. Knows no format.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from genrec_bench.errors import DataError

BLOCK = 1 << 24  # bytes read at a time
PACKED = (".gz", ".bz2", ".xz", ".zst")  # suffixes of compressed files
MAGIC: dict[bytes, Callable[[Path], Any]] = {  # how compressed files begin, and how they are opened
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: io.BytesIO(_unpack_zstd(path)),
}


def fail(path: Path, why: str, line: int | None = None, unit: str = "line") -> NoReturn:
    """DataError in one line: `PATH, line N: why`."""
    place = f"{path}, {unit} {line}" if line is not None else str(path)
    raise DataError(f"{place}: {' '.join(why.split())}", path=path, line=line)


def check_file(path: Path) -> Path:
    """`path`, if it is a readable file that is not empty; else DataError."""
    if path.is_dir():
        fail(path, "is a folder; give the file")
    if not path.is_file():
        if path.is_absolute():
            fail(path, "there is no such file; check the path")
        fail(path, f"there is no such file in {Path.cwd()}; check the path, or give its folder: --data-dir")

    try:
        with path.open("rb") as file:
            first = file.read(4)
    except OSError as error:
        fail(path, f"cannot be read: {error.strerror}")

    if not first:
        fail(path, "is empty; was the download or the copy cut short?")
    if first == b"PK\x03\x04":
        fail(path, "is a zip archive; unpack it and give the file inside")
    return path


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, unpacked if it is compressed. DataError if it cannot be unpacked."""
    with path.open("rb") as file:
        first = file.read(6)
    opened = next((unpack for magic, unpack in MAGIC.items() if first.startswith(magic)), None)
    if opened is None:
        with path.open("rb") as file:
            yield file
        return

    try:
        with opened(path) as file:
            yield file
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        fail(path, f"cannot be unpacked ({error}); was the download or the copy cut short?")


def is_packed(path: Path) -> bool:
    """Whether a file is compressed, by its first bytes."""
    with path.open("rb") as file:
        return file.read(6).startswith(tuple(MAGIC))


def suffix_of(path: Path) -> str:
    """The suffix that names the format, in small letters: `.csv` for `clicks.csv.gz`."""
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


def check_text(path: Path) -> None:
    """DataError, with the line, unless the file is UTF-8 without NUL bytes."""
    lines = 0
    with open_binary(path) as file:
        while block := file.read(BLOCK) + file.readline():
            nul = block.find(b"\0")
            if nul >= 0:
                fail(path, "holds a NUL byte: binary or UTF-16, not UTF-8 text", lines + 1 + block.count(b"\n", 0, nul))
            try:
                block.decode()
            except UnicodeDecodeError as error:
                line = lines + 1 + block.count(b"\n", 0, error.start)
                fail(path, f"byte 0x{block[error.start]:02x} is not UTF-8 text; convert the file to UTF-8", line)
            lines += block.count(b"\n")


def has_half_characters(value: Any) -> bool:
    """Whether plain data from JSON holds a lone surrogate (`"\\ud800"`), which no text in UTF-8 can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _unpack_zstd(path: Path) -> bytes:
    import pyarrow as pa  # here: plain files need none

    try:
        with pa.input_stream(str(path), compression="zstd") as file:
            return bytes(file.read())
    except OSError as error:
        raise EOFError(str(error)) from None
