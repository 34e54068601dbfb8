"""Finds a module's source file and the digest of a package without importing anything.

Listing plugins and identifying their code must neither execute foreign code nor wait for torch.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from genrec_bench.errors import GenrecError

BINARY = (".so", ".pyd")


class NotThere(GenrecError):
    """The module or class of an entry point does not exist or cannot be parsed; the message says which."""


def top_level(package: str) -> list[Path]:
    """The folders of a top-level package, or the one file of a module. NotThere if it is not installed."""
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec = find_spec(package, None) if find_spec else None
        if spec is None:
            continue
        if spec.submodule_search_locations is not None:
            return [Path(folder) for folder in spec.submodule_search_locations]
        if spec.origin is not None:
            return [Path(spec.origin)]
    raise NotThere(f"no module named {package!r}")


def module_file(module: str) -> Path:
    """The file that importing `module` would run. Follows paths; imports no parent package."""
    name, *parts = module.split(".")
    paths = top_level(name)

    for part in parts:
        inside = [path / part for path in paths if path.is_dir()]
        if not inside:
            raise NotThere(f"no module named {module!r}: {name!r} is not a package")

        name = f"{name}.{part}"
        file = _file_of(inside)
        if file is None:
            paths = [path for path in inside if path.is_dir()]  # a namespace package, or nothing
        else:
            paths = [file.parent if file.name == "__init__.py" else file]
        if not paths:
            raise NotThere(f"no module named {name!r}")

    file = _file_of(paths)
    if file is None:
        raise NotThere(f"module {module!r} is a folder without code")
    return file


def _file_of(paths: Iterable[Path]) -> Path | None:
    """The first file that would run for a module at one of `paths`, which lack their suffix."""
    for path in paths:
        if path.is_file():
            return path
        if (package := path / "__init__.py").is_file():
            return package
        if (plain := path.with_name(path.name + ".py")).is_file():
            return plain
        siblings = path.parent.glob(f"{path.name}.*") if path.parent.is_dir() else ()
        if compiled := [sibling for sibling in siblings if sibling.suffix in BINARY]:
            return compiled[0]
    return None


def digest_package(package: str, without: Iterable[str] = ()) -> str:
    """SHA-256 (hex) of the .py files of a top-level package, by relative path, except the sub-packages in `without`.

    Any line of code changes it, and nothing else does: neither the place of installation nor compiled files.
    """
    sha = hashlib.sha256()
    left_out = set(without)
    for top in top_level(package):
        files = [top] if top.is_file() else top.rglob("*.py")
        root = top.parent if top.is_file() else top
        for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
            if name.split("/")[0] not in left_out:
                content = path.read_bytes()
                sha.update(f"{name}:{len(content)};".encode() + content)
    return sha.hexdigest()
