"""Where a module's source lies, what it says of a class, and a digest of a package, all without importing anything.

Listing plugins and naming the code that ran must neither execute foreign code nor wait for torch to load. Knows
modules and files only; what a component is belongs to `genrec_bench.registry`.
"""

from __future__ import annotations

import hashlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from types import CodeType

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


def describe(module: str, attribute: str) -> str:
    """The first line of the docstring of `module:attribute`, by compiling; empty where there is none to be read.

    NotThere for a missing module, a file that does not parse, or a module that never binds the name.
    """
    path = module_file(module)
    if path.suffix != ".py":
        return ""
    try:
        code = _code(path, path.stat().st_mtime_ns)
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise NotThere(f"syntax error in {path.name}{line}: {reason}") from None
    except OSError as error:
        raise NotThere(f"{path} cannot be read: {error.strerror}") from None
    name = attribute.split(".")[0]
    made = next((each for each in _classes(code) if each.co_name == name), None)
    if made is not None:
        return _first_line(_docstring(made))
    if not _binds(path.read_bytes(), name):
        raise NotThere(f"module {module!r} has no {attribute!r}")
    return ""


@lru_cache(maxsize=4)  # the components of one module follow one another
def _code(path: Path, changed: int) -> CodeType:
    """The compiled module, never run: two to three times faster than a syntax tree, and as strict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of somebody else's code
        return compile(path.read_bytes(), str(path), "exec", dont_inherit=True, optimize=0)


def _classes(code: CodeType) -> Iterator[CodeType]:
    """The bodies of the classes that running `code` defines, those inside `if`, `try` and `with` among them."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if "__qualname__" in inner.co_names:
                yield inner
            elif inner.co_name.startswith("<generic parameters"):  # class Name[T]
                yield from _classes(inner)


def _docstring(body: CodeType) -> str:
    """What a class's compiled body sets `__doc__` to before anything of its own: its first text after its name."""
    first = list(takewhile(lambda name: name.startswith("__"), body.co_names))
    texts = [const for const in body.co_consts if isinstance(const, str)]
    return texts[1] if "__doc__" in first else ""


def _first_line(docstring: str) -> str:
    """The docstring's first paragraph on one line, ended at its first sentence."""
    paragraph = " ".join(re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", paragraph, maxsplit=1)[0]


def _binds(source: bytes, name: str) -> bool:
    """Whether a module may have that name by other means than a class statement (an import, an assignment)."""
    import ast  # here: most components are classes of their module

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            if any(alias.name == "*" or (alias.asname or alias.name).split(".")[0] == name for alias in node.names):
                return True
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store) and node.id == name:
                return True
        elif isinstance(node, ast.FunctionDef) and node.name in (name, "__getattr__"):
            return True
    return False


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
