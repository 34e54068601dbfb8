"""A long function is written in paragraphs: a blank line parts its steps.

A nested function counts to the outer one. A body that is one simple statement, such as a long literal or call, has no
steps to part and is exempt; so is the docstring.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "genrec_bench",
    "plugins/*/genrec_*",
    "baselines/genrec_baselines",
    "benchmarks/genrec_speed",
)
MOST_LINES = 12
COMPOUND = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.FunctionDef, ast.ClassDef)


def outer_functions(node: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions and methods under `node`, without those inside another function."""
    functions = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append(child)
        else:
            functions += outer_functions(child)
    return functions


def unbroken(source: str) -> list[str]:
    """The names of the functions in `source` that are too long for one paragraph."""
    lines = source.splitlines()
    names = []
    for function in outer_functions(ast.parse(source)):
        has_docstring = ast.get_docstring(function) is not None
        body = function.body[1:] if has_docstring else function.body
        if not body or (len(body) == 1 and not isinstance(body[0], COMPOUND)):
            continue

        text = lines[body[0].lineno - 1 : body[-1].end_lineno]
        if len(text) > MOST_LINES and all(line.strip() for line in text):
            names.append(function.name)
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_long_functions_are_paragraphs(package: str):
    files = [file for folder in ROOT.glob(package) for file in folder.rglob("*.py")]
    assert files

    long = {f"{file.relative_to(ROOT)}: {name}" for file in files for name in unbroken(file.read_text("utf-8"))}
    assert not long, "part the steps by blank lines: " + ", ".join(sorted(long))


def test_the_rule_itself():
    steps = "".join(f"    x = {number}\n" for number in range(7))
    literal = "    return [\n" + "        1,\n" * 12 + "    ]\n"

    assert unbroken(f"def f():\n{steps}{steps}") == ["f"]
    assert unbroken(f"def f():\n{steps}\n{steps}") == []
    assert unbroken(f"def f():\n{steps}") == []
    assert unbroken(f"def f():\n    '''Doc.'''\n{literal}") == []
    assert unbroken("def f():\n    for y in z:\n" + "        x = 1\n" * 12) == ["f"]
