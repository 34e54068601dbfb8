"""`genrec plugins new`: what it writes can be installed, keeps its contract, and never overwrites anything."""

import importlib.util
import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from installing import install, run

from genrec_bench.cli.main import cli
from genrec_bench.host.registry import KINDS
from genrec_bench.testing import Subject, run_checks
from genrec_bench.testing.scaffold import new_package, words

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = {"an_interrupted_training_resumes"}  # what a backbone need not offer
GENREC = [sys.executable, "-m", "genrec_bench"]


def genrec(*said: object):
    return CliRunner().invoke(cli, [str(word) for word in said])


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_component_works_and_keeps_its_contract(tmp_path, kind, monkeypatch):
    folder, files = new_package(kind, "fresh-idea", tmp_path / "made")
    assert sorted(files) == sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    named = words(kind, "fresh-idea")
    spec = importlib.util.spec_from_file_location(named["module"], folder / f"{named['module']}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, named["module"], module)
    spec.loader.exec_module(module)
    component = getattr(module, named["class_name"])
    options = component.profile("tiny", "sequential") if kind == "backbone" else {}
    results = list(run_checks(Subject.of(kind, component, options)))
    assert not [result.said for result in results if result.outcome == "failed"]
    skipped = {result.check for result in results if result.outcome == "skipped"}
    assert skipped <= OPTIONAL, skipped


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_names_its_component_and_what_it_needs(tmp_path, kind):
    folder, _ = new_package(kind, "fresh-idea", tmp_path / "made")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    (group,) = project["entry-points"]
    assert (group, project["name"]) == (f"genrec_bench.{kind}s", "genrec-fresh-idea")
    assert project["entry-points"][group] == {"fresh-idea": f"genrec_fresh_idea:FreshIdea{kind.capitalize()}"}
    needs = "[torch]" if kind in ("indexer", "backbone", "decoder") else ""
    assert project["dependencies"][0].startswith(f"genrec-bench{needs}>=")


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_can_be_installed_tested_and_checked(tmp_path, kind):
    written = genrec("plugins", "new", "fresh-idea", "--kind", kind, "--out", tmp_path / "made")
    assert written.exit_code == 0, written.output
    site = tmp_path / "site"
    install(tmp_path / "made", site)
    listed = run([*GENREC, "plugins", "--kind", kind, "--check", "--json"], tmp_path, site)
    (mine,) = [row for row in json.loads(listed) if row["name"] == "fresh-idea"]
    assert (mine["status"], mine["distribution"]) == ("ok", "genrec-fresh-idea")
    assert mine["description"]
    assert " passed" in run([sys.executable, "-m", "pytest", "--rootdir", "."], tmp_path / "made", site)
    assert ", 0 failed" in run([*GENREC, "plugins", "check", "fresh-idea", "--kind", kind], tmp_path, site)


def test_the_templates_are_part_of_the_wheel(tmp_path):
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT])
    (wheel,) = tmp_path.glob("*.whl")
    here = {path.name for path in (ROOT / "genrec_bench/testing/scaffold/templates").iterdir()}
    there = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "/scaffold/templates/" in name}
    assert there == here and len(here) == 2 + 2 * len(KINDS)


def test_the_command_says_what_it_wrote_and_what_comes_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = genrec("plugins", "new", "by-mood", "--kind", "indexer")
    assert result.output.splitlines() == [
        "genrec-by-mood/README.md",
        "genrec-by-mood/pyproject.toml",
        "genrec-by-mood/genrec_by_mood.py",
        "genrec-by-mood/tests/test_genrec_by_mood.py",
        "next: pip install -e genrec-by-mood && genrec plugins check by-mood --kind indexer",
        "then: genrec run --indexer by-mood --backbone lightlm --profile tiny",
    ]


@pytest.mark.parametrize("name", ["By-Mood", "by_mood", "2nd", "a--b", "-a", "a-", "", "a b", "../x"])
def test_a_malformed_name_is_refused(tmp_path, name):
    result = genrec("plugins", "new", "--kind", "indexer", "--out", tmp_path / "made", "--", name)
    assert type(result.exception).__name__ == "SystemExit" and result.exit_code == 2
    assert "is not a valid name" in result.output
    assert not (tmp_path / "made").exists()


def test_a_taken_name_is_refused_and_its_owner_named(tmp_path):
    result = genrec("plugins", "new", "trie", "--kind", "decoder", "--out", tmp_path / "made")
    assert result.exit_code == 2
    assert "genrec-bench" in result.output and "already has a decoder named 'trie'" in result.output


def test_a_name_of_another_kind_is_free(tmp_path):
    assert genrec("plugins", "new", "trie", "--kind", "indexer", "--out", tmp_path / "made").exit_code == 0


def test_a_name_whose_module_is_installed_is_refused(tmp_path):
    result = genrec("plugins", "new", "bench", "--kind", "indexer", "--out", tmp_path / "made")
    assert result.exit_code == 2
    assert "a module genrec_bench is already installed" in result.output


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = genrec("plugins", "new", "by-mood", "--kind", "indexer", "--out", tmp_path)
    assert result.exit_code == 1
    assert "exists and is not empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert genrec("plugins", "new", "by-mood", "--kind", "indexer", "--out", tmp_path / "notes.txt").exit_code == 1


def test_a_class_is_not_named_twice_after_its_kind():
    assert words("indexer", "my-indexer")["class_name"] == "MyIndexer"
    assert words("indexer", "indexer")["class_name"] == "IndexerIndexer"
    assert words("dataset", "walks")["class_name"] == "WalksDataset"


def test_writing_a_package_waits_for_no_heavy_library(tmp_path):
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom genrec_bench.cli.main import cli\n"
        f"done = CliRunner().invoke(cli, ['plugins', 'new', 'x', '--kind', 'backbone', '--out', {str(tmp_path / 'x')!r}])\n"
        "assert done.exit_code == 0, done.output\nassert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
