"""Finds the source files of a module and the digest of a package without importing anything.

Listing plugins and naming the code that ran must neither execute foreign code nor wait for torch to load.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from genrec_bench.errors import GenrecError

BINARY = (".so", ".pyd")


class NotThere(GenrecError):
    """A module or class that an entry point names does not exist or cannot be parsed; the message says which."""


def top_level(package: str) -> list[Path]:
    """Where a top-level package or module lies: its folders, or its one file. NotThere if it is not installed."""
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
    """The file that importing `module` would run, found by its path alone: no parent package is imported."""
    name, *parts = module.split(".")
    places = top_level(name)
    for part in parts:
        inside = [place / part for place in places if place.is_dir()]
        if not inside:
            raise NotThere(f"no module named {module!r}: {name!r} is no package")
        name = f"{name}.{part}"
        found = _file_of(inside)
        if found is None:
            places = [place for place in inside if place.is_dir()]  # a namespace package, or nothing
        else:
            places = [found.parent if found.name == "__init__.py" else found]
        if not places:
            raise NotThere(f"no module named {name!r}")
    found = _file_of(places)
    if found is None:
        raise NotThere(f"module {module!r} is a folder without code")
    return found


def _file_of(places: Iterable[Path]) -> Path | None:
    for place in places:
        if place.is_file():
            return place
        if (inner := place / "__init__.py").is_file():
            return inner
        if (plain := place.with_name(place.name + ".py")).is_file():
            return plain
        siblings = place.parent.glob(f"{place.name}.*") if place.parent.is_dir() else ()
        if compiled := [path for path in siblings if path.suffix in BINARY]:
            return compiled[0]
    return None


def digest_package(package: str, without: Iterable[str] = ()) -> str:
    """SHA-256 (hex) over the .py files of a top-level package, by relative path; sub-packages of `without` left out.

    Changes with any line of code and with nothing else: not with where it is installed, nor with compiled files.
    """
    sha = hashlib.sha256()
    left_out = set(without)
    for place in top_level(package):
        files = [place] if place.is_file() else place.rglob("*.py")
        root = place.parent if place.is_file() else place
        for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
            if name.split("/")[0] not in left_out:
                content = path.read_bytes()
                sha.update(f"{name}:{len(content)};".encode() + content)
    return sha.hexdigest()
