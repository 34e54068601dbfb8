"""docs/plugins.md tells the truth: its commands are typed in its order, its files installed, its outputs printed."""

import ast
import os
import re
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType

import pytest

from genrec_bench import api
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.host.registry import KINDS
from genrec_bench.testing import CHECKS, planted
from genrec_bench.testing.kit import promise
from genrec_bench.testing.scaffold import words

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "plugins.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILES = ("tests/test_genrec_lsh.py", "genrec_lsh.py")


def steps():
    """(language, text, what is written before it) of each block, in order; blocks inside lists are not steps."""
    before = 0
    for found in BLOCK.finditer(PAGE):
        yield found[1], found[2], PAGE[before : found.start()]
        before = found.end()


@pytest.fixture
def shell(tmp_path):
    """A reader's shell: an environment of its own, in which what this one has is installed, and a working folder."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "theirs.pth").write_text(
        "\n".join([str(ROOT), *(path for path in sys.path if "site-packages" in path)])
    )
    script = home / "bin" / "genrec"
    script.write_text(f"#!{home}/bin/python\nfrom genrec_bench.cli.main import main\n\nmain()\n")
    script.chmod(0o755)
    setting = {
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",  # what the environment lacks must not be fetched
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "false",  # pip reads this as: no isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GENREC_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | setting
    here = [tmp_path]

    def call(line):
        """Type one line; exit code, stdout, stderr. The working folder is kept from line to line."""
        command = f"{line}\ncode=$?\npwd > {tmp_path}/pwd\nexit $code"
        done = subprocess.run(
            command, shell=True, cwd=here[0], env=environment, capture_output=True, text=True, check=False
        )
        here[0] = Path((tmp_path / "pwd").read_text().strip())
        return done.returncode, done.stdout, done.stderr

    call.here = here
    return call


@pytest.mark.slow
@pytest.mark.usefixtures("movielens")
@pytest.mark.skipif(os.name == "nt", reason="the page is written for a POSIX shell")
def test_the_tutorial_works_word_for_word(shell):
    printed, typed, compared = "", 0, 0
    for language, text, before in steps():
        if language == "python":
            name = max(FILES, key=lambda file: before.rfind(f"`{file}`"))
            if f"`{name}`" in before:  # otherwise it is not a file of the tutorial
                (shell.here[0] / name).write_text(text)
        elif language == "sh":
            printed = ""
            for line in text.splitlines():
                code, out, err = shell(line)
                assert (code != 0) == line.endswith("# fails"), f"{line}\n{out}\n{err}"
                printed, typed = printed + out, typed + 1
                assert "Traceback" not in err
        elif language == "text" and printed:
            for line in text.splitlines():
                if not line.startswith("expected_failures"):
                    assert line in printed
                    compared += 1
    assert typed >= 13 and compared >= 8
    wheels = [path.name for path in (shell.here[0] / "dist").iterdir()]
    assert sorted(wheels) == ["genrec_lsh-0.1-py3-none-any.whl", "genrec_lsh-0.1.tar.gz"]


def test_the_entry_point_it_shows_is_the_one_that_is_written():
    (shown,) = re.findall(r"^  ```ini\n(.*?)^  ```", PAGE, re.MULTILINE | re.DOTALL)
    named = words("indexer", "lsh")
    assert shown.split("\n") == [
        '  [project.entry-points."genrec_bench.indexers"]',
        f'  lsh = "{named["module"]}:{named["class_name"]}"',
        "",
    ]


def test_the_finished_indexer_gives_codes_that_differ_with_the_seed(monkeypatch):
    source = next(text for language, text, _ in steps() if language == "python" and "add_suffix" in text)
    module = ModuleType("lsh")
    monkeypatch.setitem(sys.modules, "lsh", module)
    exec(compile(source, "genrec_lsh.py", "exec"), vars(module))
    first, second = (module.LshIndexer().build(planted().train, IndexerContext(seed=seed)) for seed in (0, 1))
    assert first.fingerprint != second.fingerprint


def test_authors_need_few_names_and_the_examples_no_other():
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    sources = {"indexer": [text for language, text, _ in steps() if language == "python" and "Indexer)" in text]}
    sources["indexer"] += [
        text for text in re.findall(r"^```python\n(.*?)^```", contributing, re.M | re.S) if "Indexer)" in text
    ]
    sources["backbone"] = [text for language, text, _ in steps() if language == "python" and "TorchBackbone)" in text]

    for kind, most in (("indexer", 7), ("backbone", 15)):
        (table,) = re.findall(rf"<!-- names {kind} -->(.*?)<!-- end of names -->", PAGE, re.DOTALL)
        names = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
        assert len(names) <= most
        assert all(hasattr(api, name) for name in names)

        assert sources[kind]
        for source in sources[kind]:
            imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
            ours = [node for node in imports if str(node.module).startswith("genrec_bench")]
            assert {node.module for node in ours} == {"genrec_bench.api"}
            assert {alias.name for node in ours for alias in node.names} <= names


def test_every_check_is_listed_with_what_it_promises():
    for kind in KINDS:
        for name, check in CHECKS[kind].items():
            assert f"- `{name}`: {promise(check)}\n" in PAGE


def test_every_kind_has_a_row():
    for kind in KINDS:
        assert f"| `{kind}` |" in PAGE
