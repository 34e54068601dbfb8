"""Plugins, the baselines' distribution and the scaffold's templates import what is stable, and nothing else of the package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "genrec_bench" / "testing" / "scaffold" / "templates"
STABLE = ("genrec_bench.api", "genrec_bench.testing")
FROM_THE_TOP = {"run", "RunSpec", "RunRecord", "api", "testing"}


def plugin_files() -> list[Path]:
    """Every module that a plugin's author could have written."""
    modules = [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("baselines/genrec_baselines/**/*.py")]
    return sorted(modules) + sorted(TEMPLATES.glob("*.py.txt"))


def imports_of(source: str) -> Iterator[str]:
    """The absolute names of genrec_bench that a module imports: `genrec_bench.api`, or `genrec_bench:run`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            yield from [f"genrec_bench:{alias.name}" for alias in node.names] if module == "genrec_bench" else [module]


def is_stable(name: str) -> bool:
    """Whether a plugin may import this."""
    if name.startswith("genrec_bench:"):
        return name.partition(":")[2] in FROM_THE_TOP
    package = name.partition(".")[0]
    return package != "genrec_bench" or any(name == stable or name.startswith(f"{stable}.") for stable in STABLE)


@pytest.mark.parametrize("path", plugin_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_the_stable_api_only(path):
    source = path.read_text().replace("$class_name", "Plugin").replace("${class_name}", "Plugin")
    source = source.replace("$module", "plugin")
    assert [name for name in imports_of(source) if not is_stable(name)] == []


def test_no_file_is_overlooked():
    names = {path.name for path in plugin_files()}
    assert {"debiased.py", "backbone.py", "baseline.py", "indexer.py.txt", "test_decoder.py.txt"} <= names


@pytest.mark.parametrize(
    ("line", "stable"),
    [
        ("import genrec_bench.core.arrays", False),
        ("from genrec_bench import errors", False),
        ("from genrec_bench.host import registry", False),
        ("from genrec_bench.apis import Index", False),
        ("from genrec_bench import RunSpec, run", True),
        ("from genrec_bench.api import Index", True),
        ("from genrec_bench.testing.strategies import indexes", True),
        ("from .api import Index", True),
    ],
)
def test_the_rule_tells_them_apart(line, stable):
    assert all(map(is_stable, imports_of(line))) == stable
