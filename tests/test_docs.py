"""What the documents tell a reader to do works: README's commands and example, CONTRIBUTING's map and components."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from genrec_bench.host.registry import KINDS
from genrec_bench.testing import Subject, run_checks

ROOT = Path(__file__).resolve().parents[1]
README, CONTRIBUTING, PLUGINS = (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docs/plugins.md"))
COMMANDS = ROOT / "docs" / "commands.md"
EXAMPLE = re.compile(r"`my_parts/(\w+)\.py`(?:(?!my_parts/).)*?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def shell(command: str, folder: Path, path: str = "") -> str:
    """Run a command line as a reader would, in `folder`, with this interpreter's scripts first; its output."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if path:
        environment["PYTHONPATH"] = path
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("movielens")
def test_the_commands_of_the_readme_run(tmp_path):
    run_folder = ""
    lines = [line.split("#")[0].strip() for block in blocks(COMMANDS, "sh") for line in block.splitlines()]
    assert len(lines) > 5
    for line in filter(None, lines):
        printed = shell(line.replace("RUN", run_folder), tmp_path)
        assert printed.strip()
        if found := re.search(r"run folder: (\S+)", printed):
            run_folder = found[1]


def test_the_suite_of_the_page_on_commands_asks_for_what_it_says(tmp_path):
    (grid,) = blocks(COMMANDS, "toml")
    (tmp_path / "grid.toml").write_text(grid)
    assert len(shell("genrec suite grid.toml --dry-run", tmp_path).splitlines()) == 2 * 3 * 2 + 1


@pytest.mark.usefixtures("movielens")
def test_the_library_example_of_the_readme_runs(tmp_path):
    (example,) = blocks(README, "python")
    (tmp_path / "example.py").write_text(example)
    assert shell(f"{sys.executable} example.py", tmp_path).startswith("ease cannot be told from item-counts (")


def test_the_readme_is_short():
    shown = re.sub(r"<!--.*?-->", "", README.read_text(), flags=re.DOTALL)
    assert sum(any(map(str.isalnum, word)) for word in shown.split()) <= 900


@pytest.fixture
def renew(monkeypatch):
    """docs/renew.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("renew")


@pytest.mark.usefixtures("movielens")
def test_the_output_of_the_readme_is_what_its_command_prints(renew):
    assert renew.OUTPUT.search(README.read_text())
    assert renew.with_outputs(README.read_text()) == README.read_text()


@pytest.mark.slow
def test_the_table_of_the_study_is_what_its_command_prints(renew):
    page = renew.STUDY.read_text()
    assert renew.TABLE.search(page)
    assert renew.with_tables(page) == page


def test_the_picture_of_the_readme_is_drawn_from_the_boards(renew, tmp_path):
    renew.draw(tmp_path / "results.svg")
    assert (tmp_path / "results.svg").read_text() == (ROOT / "docs" / "results.svg").read_text()


@pytest.mark.usefixtures("movielens")
def test_the_example_of_the_page_on_python_tells_ease_from_popularity(tmp_path):
    (example,) = blocks(ROOT / "docs" / "python.md", "python")
    (tmp_path / "example.py").write_text(example)
    printed = shell(f"{sys.executable} example.py", tmp_path)
    assert printed.startswith("ease is ahead of popularity by more than chance") and "item-counts" in printed


@pytest.mark.usefixtures("movielens")
def test_the_split_of_the_page_on_scoring_is_printed(tmp_path):
    (example, _) = blocks(ROOT / "docs" / "score-and-tune.md", "python")
    (tmp_path / "example.py").write_text(example)
    assert len(shell(f"{sys.executable} example.py", tmp_path).splitlines()) == 943


def examples() -> dict[str, str]:
    """The modules of CONTRIBUTING's example package, by name; its backbone is in docs/plugins.md."""
    return dict(EXAMPLE.findall(CONTRIBUTING.read_text()) + EXAMPLE.findall(PLUGINS.read_text()))


@pytest.mark.parametrize("kind", KINDS)
def test_each_component_of_contributing_keeps_its_contract(kind, monkeypatch):
    module = ModuleType(f"my_parts_{kind}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(examples()[kind], f"{kind}.py", "exec"), vars(module))

    (toml,) = blocks(CONTRIBUTING, "toml")
    ((_, target),) = tomllib.loads(toml)["project"]["entry-points"][f"genrec_bench.{kind}s"].items()
    component = getattr(module, target.split(":")[1])
    options = component.profile("tiny", "sequential") if kind == "backbone" else {}

    failed = [result for result in run_checks(Subject.of(kind, component, options)) if result.outcome == "failed"]
    assert not failed


@pytest.mark.slow
def test_the_package_of_contributing_is_built_installed_and_run(tmp_path):
    package = tmp_path / "my-parts"
    (package / "my_parts").mkdir(parents=True)
    (toml,) = blocks(CONTRIBUTING, "toml")
    (package / "pyproject.toml").write_text(toml)
    for name, source in examples().items():
        (package / "my_parts" / f"{name}.py").write_text(source)

    shell(f"{sys.executable} -m build --wheel --no-isolation --outdir . my-parts", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    shell(f"{sys.executable} -m pip install --quiet --no-deps --no-index --target {site} {wheel}", tmp_path)

    assert shell("genrec plugins --check", tmp_path, path=str(site)).count("my-parts") == len(KINDS)
    assert len(shell("genrec data head circle", tmp_path, path=str(site)).splitlines()) == 5
    commands = [line for block in blocks(CONTRIBUTING, "console") for line in block.splitlines()]
    assert len(commands) == 3 and commands[0] == "pip install -e my-parts"
    printed = [shell(command, tmp_path, path=str(site)) for command in commands[1:]]
    assert ", 0 failed" in printed[0]
    assert "by-popularity / last-item / close-to-best" in printed[1]


def test_the_map_of_contributing_names_what_is_there():
    text = CONTRIBUTING.read_text()
    rooms = re.findall(r"^\| `(genrec_bench/\w+)/` \|", text, re.MULTILINE)
    there = [path.parent for path in (ROOT / "genrec_bench").glob("*/__init__.py")]
    assert sorted(rooms) == sorted(str(folder.relative_to(ROOT)) for folder in there)

    places = re.findall(r"`(\w+)` in `(genrec_bench/[\w/]+\.py)`", text)
    assert len(places) >= 8
    for name, path in places:
        assert re.search(rf"^(def {name}\(|{name}\b.* = )", (ROOT / path).read_text(), re.MULTILINE), (name, path)


def test_the_layers_of_contributing_are_those_that_are_checked():
    (shown,) = blocks(CONTRIBUTING, "text")
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [contract["layers"] for contract in config["contracts"] if contract["type"] == "layers"]
    assert shown.splitlines() == layers
    assert "exclude_type_checking_imports" not in config
    assert not any("ignore_imports" in contract for contract in config["contracts"])


def test_every_cited_rule_of_the_protocol_has_an_entry():
    cited = {}
    for folder in ("genrec_bench", "plugins", "baselines", "benchmarks", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".md", ".txt", ".toml"}:
                cited |= dict.fromkeys(cited_rules(path.read_text()), path)
    assert len(cited) >= 10

    entries = re.findall(r"^### (P\d+): ", (ROOT / "docs" / "protocol.md").read_text(), re.MULTILINE)
    assert len(entries) == len(set(entries))
    missing = {rule: path for rule, path in cited.items() if rule not in entries}
    assert not missing


def cited_rules(text: str) -> set[str]:
    """The rules in `protocol P17, P18` and `(P3)`, also across a line break. The model P5 is not one."""
    lists = re.findall(r"\bprotocol\s+(P\d+\b(?:(?:,| and)\s+P\d+\b)*)|\((P\d+\b(?:,\s+P\d+\b)*)\)", text)
    return {rule for pair in lists for rule in re.findall(r"P\d+", " ".join(pair))} - {"P5"}


def test_the_rules_that_a_text_cites_are_recognized():
    text = "(protocol\nP2), (protocol P17, P18), (P3); codes of LightLM and P5, (P5), P5-CID (P5-CID)"
    assert cited_rules(text) == {"P2", "P3", "P17", "P18"}


@pytest.mark.parametrize("name", ["protocol", "boards", "reliability"])
def test_the_links_of_a_page_lead_to_files(name):
    page = ROOT / "docs" / f"{name}.md"
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_code_that_the_protocol_names_is_there():
    text = (ROOT / "docs" / "protocol.md").read_text()
    places = re.findall(r"((?:`[\w.]+`(?: and |\s+))+)in\s+\[`[^`]+`\]\(\.\./([\w/.]+)\)", text)
    assert len(places) >= 10
    for names, path in places:
        for name in re.findall(r"[\w.]+(?=`)", names):
            last = name.rpartition(".")[2]
            assert re.search(rf"^\s*(def {last}\(|{last}\b.* = )", (ROOT / path).read_text(), re.MULTILINE), (
                name,
                path,
            )


def test_the_files_that_the_page_on_reliability_names_exist():
    names = re.findall(r"`([\w/.]+\.(?:py|toml|md))`", (ROOT / "docs" / "reliability.md").read_text())
    assert len(names) >= 8
    assert not [name for name in names if not any((folder / name).exists() for folder in (ROOT, ROOT / "tests"))]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None or shutil.which("git") is None, reason="needs make and git")
def test_the_demo_runs_from_a_fresh_clone_and_beats_popularity(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    clone = tmp_path / "clone"
    shell(f"git clone --quiet {ROOT} {clone}", tmp_path)
    printed = shell("make demo", clone)
    printed += shell(".venv/bin/genrec run --baseline popularity --task sequential", clone)
    rows = dict(
        re.findall(r"^\W*(sci / lightlm / trie|popularity)\W+hidden\W+([\d.]+(?:\W+[\d.]+)+)", printed, re.MULTILINE)
    )
    generator, popularity = (
        list(map(float, re.findall(r"\.?\d+\.\d+|\.\d+", rows[name])))
        for name in ("sci / lightlm / trie", "popularity")
    )
    assert len(generator) == len(popularity) == 6
    assert all(a > b for a, b in zip(generator, popularity, strict=True))
