"""What every data file must pass before it is parsed: it exists, is not empty, is UTF-8. Knows no format."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from genrec_bench.errors import DataError

BLOCK = 1 << 24  # bytes read at a time


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
            if not file.read(1):
                fail(path, "is empty; was the download or the copy cut short?")
    except OSError as error:
        fail(path, f"cannot be read: {error.strerror}")

    return path


def check_text(path: Path) -> None:
    """DataError, with the line, unless the file is UTF-8 without NUL bytes."""
    lines = 0
    with path.open("rb") as file:
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
