"""What the source of a module says about a class or function, without importing it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from genrec_bench.host.modules import NotThere, module_file

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def describe(module: str, attribute: str) -> str:
    """The first sentence of the docstring of `module:attribute`; empty where there is none to read.

    NotThere for a missing module, a file that does not parse, or a module that never binds the name.
    """
    path = module_file(module)
    if path.suffix != ".py":
        return ""
    try:
        tree = _parsed(path, path.stat().st_mtime_ns)
    except (SyntaxError, ValueError) as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise NotThere(f"syntax error in {path.name}{line}: {reason}") from None
    except OSError as error:
        raise NotThere(f"{path} cannot be read: {error.strerror}") from None

    name = attribute.split(".")[0]
    for node in _statements(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _first_sentence(ast.get_docstring(node) or "")
    if not _binds(tree, name):
        raise NotThere(f"module {module!r} has no {attribute!r}")
    return ""


@lru_cache(maxsize=4)  # the components of one module are listed one after another
def _parsed(path: Path, changed: int) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about other people's code
        return ast.parse(path.read_bytes(), str(path))


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The statements that run when a module is imported, including those inside `if`, `try`, `with` and `match`."""
    for node in body:
        yield node
        if not isinstance(node, SCOPES):
            for field in ("body", "orelse", "handlers", "finalbody", "cases"):
                yield from _statements(getattr(node, field, ()))


def _first_sentence(docstring: str) -> str:
    """The first sentence of the docstring's first paragraph, on one line."""
    paragraph = " ".join(re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", paragraph, maxsplit=1)[0]


def _binds(tree: ast.Module, name: str) -> bool:
    """Whether a module may have that name by other means than a class statement: an import, an assignment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            if any(alias.name == "*" or (alias.asname or alias.name).split(".")[0] == name for alias in node.names):
                return True
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store) and node.id == name:
                return True
        elif isinstance(node, ast.FunctionDef) and node.name in (name, "__getattr__"):
            return True
    return False
