"""Writing files whole or not at all, and digests of files and folders."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from genrec_bench.core.hashing import digest
from genrec_bench.errors import OutputError, message_of


def check_writable(folder: Path, advice: str) -> None:
    """OutputError unless `folder` can be written or created. Leaves nothing behind."""
    existing = next((path for path in (folder, *folder.absolute().parents) if os.path.lexists(path)), folder)
    probe = beside(existing / "write")
    try:
        sweep(existing / "write")
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; {advice}", path=folder) from None


def check_file_writable(path: Path, advice: str) -> None:
    """OutputError if `path` exists (a folder, a dangling link, another user's file) and cannot be written."""
    if os.path.lexists(path):
        try:
            with path.open("a"):
                pass
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; {advice}", path=path) from None


def has_ended(pid: int) -> bool:
    """Whether a process of this machine has ended; if nobody can tell, it counts as alive."""
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
SAYS_FULL = re.compile(r"no space left|disk quota|StorageFull|QuotaExceeded|requested and \d+ written", re.IGNORECASE)


def disk_trouble(error: BaseException, *folders: Path) -> OutputError | None:
    """The error that names disk and path, if `error` means that a disk is full or that a path is closed to us.

    `folders` are those that were written to: libraries in other languages name no path. None for any other error.
    """
    while True:
        path = getattr(error, "filename", None)
        if (isinstance(error, OSError) and error.errno in DISK_FULL) or SAYS_FULL.search(message_of(error)):
            where = fullest(folders) if path is None else Path(os.fsdecode(path))
            holds = f" that holds {where}" if where else ""
            return OutputError(f"no space left on the disk{holds}: make room, and run it again", path=where)
        if isinstance(error, OSError) and error.errno in CLOSED and isinstance(path, str | bytes | os.PathLike):
            where = Path(os.fsdecode(path))
            return OutputError(f"no permission for {where}: {error.strerror}", path=where)

        cause = error.__cause__ or error.__context__
        if cause is None:
            return None
        error = cause


@contextlib.contextmanager
def naming_disks(*folders: Path) -> Iterator[None]:
    """Inside, `folders` are written to. OutputError with disk and path if there is no room or no permission."""
    try:
        yield
    except OSError as error:
        if disk := disk_trouble(error, *folders):
            raise disk from error
        raise


def fullest(folders: Sequence[Path]) -> Path | None:
    """The folder whose disk has the least room; None without any."""
    room: dict[Path, int] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            room[folder] = shutil.disk_usage(folder).free
    return min(room, key=lambda folder: room[folder]) if room else None


def expand_home(path: Path | str) -> str:
    """A path with a leading `~` spelled out; any other text, such as the name of a checkpoint on a hub, as it is."""
    return os.path.expanduser(path)  # unlike Path.expanduser, it leaves `~` of an unknown person alone


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, whatever the locale, without a byte order mark. UnicodeDecodeError for other bytes."""
    return path.read_bytes().decode("utf-8-sig")


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, skip: str = "") -> str:
    """SHA-256 (hex) of the names and contents of all files in a folder, except those named `skip`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != skip)
    return digest(*(part for path in files for part in (str(path.relative_to(folder)), path.read_bytes())))


def copy_into(source: Path, target: Path) -> None:
    """Copy a cache entry without its bookkeeping."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".digest", "checkpoint.*"))


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that it holds. Nothing happens if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# files that are whole or absent ---------------------------------------------------------------------------------------


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Give `write` a file, then put it at `path` in one step: a reader sees the old file or the new one.

    The umask decides who may read it. What a killed process left beside it goes with the next call.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    partial = beside(path)
    try:
        with partial.open("x+b") as file:
            write(file)
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # a full disk names no file of its own
        raise


def beside(path: Path) -> Path:
    """A hidden name beside `path` for what is not complete yet. It says which process uses it."""
    return path.with_name(f"{_mark(path)}{os.getpid()}-{threading.get_ident()}.partial")


def sweep(path: Path) -> None:
    """Remove what ended processes of this machine left under names that `beside(path)` gave."""
    mark = _mark(path)
    for other in path.parent.iterdir():
        if other.name.startswith(mark) and _is_left_over(other.name.removeprefix(mark)):
            with contextlib.suppress(OSError):
                remove(other)


def scratch_folder(what: str) -> Path:
    """A new folder for temporary files, for `what`. Removes those of ended processes of this machine."""
    folder = Path(tempfile.gettempdir())
    mark = f"genrec-{what}-{socket.gethostname()}-"
    for other in folder.glob(f"{glob.escape(mark)}*"):
        if _is_left_over(other.name.removeprefix(mark)):
            shutil.rmtree(other, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{mark}{os.getpid()}-", dir=folder))


@contextlib.contextmanager
def scratch(what: str) -> Iterator[Path]:
    """Inside, a new folder for temporary files, which goes at the end. A later call removes what a kill has left."""
    folder = scratch_folder(what)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mark(path: Path) -> str:
    return f".{path.name}.{socket.gethostname()}."


def _is_left_over(name: str) -> bool:
    """Whether the process whose number begins a name has ended."""
    pid = name.partition("-")[0]
    return pid.isdecimal() and has_ended(int(pid))


def usual_permissions(path: Path) -> None:
    """Give a file that a library wrote for its owner alone the permissions that the umask gives any new file."""
    probe = beside(path)
    try:
        probe.touch()
        path.chmod(probe.stat().st_mode & 0o777)
    finally:
        probe.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one step, and wait until it is on disk: after a power cut, no name stands for an empty file."""

    def durable(file: IO[bytes]) -> None:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())

    write_whole(path, durable)


def write_json(path: Path, data: Any) -> None:
    """Write JSON in one step."""
    write_text(path, _text(data) + "\n")


def write_sealed(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Like `write_whole`, with a first line that holds the digest of all that follows. `read_sealed` reads it back."""

    def sealed(file: IO[bytes]) -> None:
        file.write(_seal(""))
        write(file)

        file.seek(len(_seal("")))
        content = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
        file.write(_seal(content))

    write_whole(path, sealed)


def read_sealed(path: Path) -> bytes:
    """What `write_sealed` wrote after its first line. ValueError if any byte has changed."""
    head, _, content = path.read_bytes().partition(b"\n")
    if head + b"\n" != _seal(hashlib.sha256(content).hexdigest()):
        raise ValueError("its content has changed")
    return content


def _seal(content: str) -> bytes:
    return f"genrec_bench sha256 {content:0>64}\n".encode()


def _text(data: Any) -> str:
    """Indented JSON with every list of numbers on one line, to keep records readable."""
    lists: list[str] = []
    mark = f"numbers-{uuid.uuid4().hex}-"

    def fold(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: fold(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            if value and all(type(inner) in (int, float) for inner in value):
                lists.append(json.dumps(list(value), allow_nan=False))
                return f"{mark}{len(lists) - 1}"
            return [fold(inner) for inner in value]
        return value

    text = json.dumps(fold(data), indent=1, allow_nan=False)
    return re.sub(rf'"{mark}(\d+)"', lambda match: lists[int(match[1])], text)
