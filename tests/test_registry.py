"""From a name to a component, without importing what is only listed."""

from __future__ import annotations

import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from genrec_bench.errors import (
    BrokenComponent,
    ComponentClash,
    ContractMismatch,
    UnknownComponent,
)
from genrec_bench.host import modules, registry

GOOD = '''
"""A module."""
from pathlib import Path
from genrec_bench.api import Indexer

Path(__file__).with_suffix(".imported").touch()


class Good(Indexer):
    """Puts items in order. Nothing else.

    More.
    """

    def build(self, train, ctx):
        raise NotImplementedError
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a made-up distribution: `plugin("acme", {"mine": "acme_pkg.mod:Good"}, {"acme_pkg/mod.py": GOOD})`."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def install(distribution: str, points: dict[str, str], files: dict[str, str], kind: str = "indexer") -> Path:
        site = tmp_path / distribution
        for name, text in files.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
        info = site / f"{distribution}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n")
        lines = "\n".join(f"{name} = {target}" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[genrec_bench.{kind}s]\n{lines}\n")
        sys.path.append(str(site))
        return site

    yield install
    for module in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[module]


def status(name: str) -> str:
    return registry.find("indexer", name).status


def test_builtins_are_listed_like_anybodys_plugins():
    found = {(info.kind, info.name, info.distribution) for info in registry.list_components()}
    assert ("decoder", "trie", "genrec-bench") in found
    assert {kind for kind, _, _ in found} == set(registry.KINDS)


def test_a_plugin_is_listed_with_version_and_first_sentence_and_is_not_imported(plugin):
    site = plugin("acme", {"mine": "acme_pkg.mod:Good"}, {"acme_pkg/__init__.py": "1/0", "acme_pkg/mod.py": GOOD})
    (info,) = [info for info in registry.list_components("indexer") if info.distribution == "acme"]
    assert info.to_dict() == {
        "kind": "indexer",
        "name": "mine",
        "distribution": "acme",
        "version": "1.5",
        "target": "acme_pkg.mod:Good",
        "description": "Puts items in order.",
        "status": "ok",
    }
    assert "acme_pkg" not in sys.modules and not list(site.rglob("*.imported"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('class Good:\n    """One. Two."""', "One."),
        ('class Good:\n    """One\n    line\n      \n    Two."""', "One line"),
        ('if True:\n    class Good:\n        """Inside."""\nelse:\n    Good = None', "Inside."),
        ('@print\nclass Good(int, metaclass=type):\n    """Made."""\n    x: int = 3', "Made."),
        ("class Good:\n    text = 'no docstring'", ""),
        ("class Good:\n    text = 'no docstring'\n    print.__doc__ = 'its own'", ""),
        ('def Good():\n    """A function."""', "A function."),
        ("class Good:\n    '\\d: a warning to whoever imports it'", r"\d: a warning to whoever imports it"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_the_description_is_the_docstring_and_nothing_else(plugin, source, said):
    plugin("acme", {"mine": "acme_one:Good"}, {"acme_one.py": source})
    (info,) = [info for info in registry.list_components("indexer") if info.distribution == "acme"]
    assert (info.description, info.status) == (said, "ok")


def test_loading_gives_the_class(plugin):
    plugin("acme", {"mine": "acme_pkg.mod:Good"}, {"acme_pkg/__init__.py": "", "acme_pkg/mod.py": GOOD})
    assert registry.load("indexer", "mine").__name__ == "Good"


def test_a_module_in_a_namespace_package_is_found_without_importing(plugin):
    plugin("acme", {"deep": "acme_ns.inner.mod:Good"}, {"acme_ns/inner/mod.py": GOOD})
    assert status("deep") == "ok"
    assert registry.load("indexer", "deep").__name__ == "Good"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("nowhere.mod:Good", "no module named 'nowhere'"),
        ("acme_pkg.absent:Good", "no module named 'acme_pkg.absent'"),
        ("acme_pkg.mod.deeper:Good", "no module named 'acme_pkg.mod.deeper'"),
        ("acme_pkg.mod:Bad", "module 'acme_pkg.mod' has no 'Bad'"),
        ("acme_pkg.typo:Good", "syntax error in typo.py line 1"),
        ("acme_pkg.mod", "not of the form module:Class"),
    ],
)
def test_a_broken_component_is_shown_broken_with_its_reason_and_the_others_are_unharmed(plugin, target, reason):
    files = {"acme_pkg/__init__.py": "", "acme_pkg/mod.py": GOOD, "acme_pkg/typo.py": "def ("}
    plugin("acme", {"bad": target, "good": "acme_pkg.mod:Good"}, files)
    assert status("bad").startswith("broken: ") and reason in status("bad")
    assert status("good") == "ok"
    with pytest.raises(BrokenComponent, match=r"indexer 'bad' \(acme 1\.5\) cannot be loaded") as caught:
        registry.load("indexer", "bad")
    assert caught.value.__cause__ is not None or target == "acme_pkg.mod"


def test_a_class_that_is_only_imported_by_the_named_module_is_no_broken_one(plugin):
    files = {"acme_pkg/__init__.py": "from acme_pkg.mod import Good as Mine", "acme_pkg/mod.py": GOOD}
    plugin("acme", {"mine": "acme_pkg:Mine"}, files)
    assert status("mine") == "ok"
    assert registry.load("indexer", "mine").__name__ == "Good"


def test_the_cause_of_a_failing_import_is_chained(plugin):
    plugin("acme", {"mine": "acme_one:Good"}, {"acme_one.py": f"{GOOD}\nimport surely_not_there"})
    assert status("mine") == "ok"
    with pytest.raises(BrokenComponent, match="surely_not_there") as caught:
        registry.load("indexer", "mine")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_plugin_that_exits_on_import_is_broken_and_does_not_end_the_program(plugin):
    plugin("acme", {"mine": "acme_exit:Good"}, {"acme_exit.py": f"{GOOD}\nraise SystemExit(0)"})
    with pytest.raises(BrokenComponent, match="SystemExit"):
        registry.load("indexer", "mine")
    plugin("acme2", {"odd": "acme_odd:Good"}, {"acme_odd.py": f"{GOOD}\nclass Odd(BaseException): pass\nraise Odd"})
    with pytest.raises(BrokenComponent, match="Odd"):
        registry.load("indexer", "odd")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("Good = 3", "not a subclass of genrec_bench.api.Indexer"),
        ("class Good: pass", "not a subclass of genrec_bench.api.Indexer"),
        ("from genrec_bench.host.contracts import Decoder as Good", "not a subclass"),
        ("from genrec_bench.host.contracts import Indexer\nclass Good(Indexer): pass", "does not implement build"),
        (f"{GOOD}\nGood.Config = dict", "Config is not a dataclass"),
    ],
)
def test_what_does_not_keep_the_contract_is_refused(plugin, body, reason):
    plugin("acme", {"mine": "acme_odd:Good"}, {"acme_odd.py": textwrap.dedent(body)})
    with pytest.raises(BrokenComponent, match=reason):
        registry.load("indexer", "mine")


@pytest.mark.parametrize(("number", "remedy"), [(99, "Upgrade genrec-bench"), (0, "Upgrade acme")])
def test_another_contract_number_is_refused_with_the_remedy(plugin, number, remedy):
    plugin("acme", {"mine": "acme_v:Good"}, {"acme_v.py": f"{GOOD}\nGood.contract = {number}"})
    with pytest.raises(ContractMismatch, match=remedy) as caught:
        registry.load("indexer", "mine")
    assert (caught.value.theirs, caught.value.ours) == (number, 1)


def test_an_unknown_name_gets_the_closest_one_and_how_many_there_are():
    many = len(registry.list_components("indexer"))
    with pytest.raises(UnknownComponent) as caught:
        registry.find("indexer", "sequentail")
    said = str(caught.value)
    assert said.startswith("no indexer named 'sequentail'. Did you mean 'sequential'?")
    assert f"lists all {many}." in said and caught.value.exit_code == 2


def test_a_name_known_from_an_absent_distribution_says_what_to_install(monkeypatch):
    monkeypatch.setattr(registry, "KNOWN_ELSEWHERE", {("baseline", "easel"): "acme-models"})
    with pytest.raises(
        UnknownComponent, match=r"'easel'\. It comes with acme-models: .* pip install \./plugins/acme-models"
    ):
        registry.find("baseline", "easel")


def test_a_name_of_a_distribution_that_is_not_installed_says_so():
    with pytest.raises(UnknownComponent, match="No installed distribution 'acme' has an indexer"):
        registry.find("indexer", "acme:sci")


def test_a_clash_names_both_owners_and_a_prefix_picks_one(plugin):
    plugin("Acme_Two", {"random": "acme_clash:Good"}, {"acme_clash.py": GOOD})
    with pytest.raises(ComponentClash, match="'Acme_Two:random' or 'genrec-bench:random'") as caught:
        registry.load("indexer", "random")
    assert caught.value.owners == ("Acme_Two", "genrec-bench")
    assert registry.load("indexer", "acme-two:random").__name__ == "Good"
    assert registry.find("indexer", "genrec-bench:random").target.startswith("genrec_bench.")
    assert status("acme-two:random") == "clash: Acme_Two, genrec-bench"


def test_a_clash_of_one_name_leaves_the_others_usable(plugin):
    plugin("acme", {"random": "acme_clash:Good", "mine": "acme_clash:Good"}, {"acme_clash.py": GOOD})
    assert registry.load("indexer", "mine").__name__ == "Good"


def test_a_second_data_set_file_does_not_take_what_paths_mean(plugin):
    plugin("acme", {"file": "acme_clash:Good"}, {"acme_clash.py": GOOD}, kind="dataset")
    assert registry.find("dataset", "file").distribution == "genrec-bench"
    assert registry.find("dataset", "acme:file").distribution == "acme"


def test_no_distribution_takes_the_place_of_the_built_in_ones_by_calling_itself_so(plugin, monkeypatch):
    site = plugin("genrec-bench", {"random": "acme_clash:Good"}, {"acme_clash.py": GOOD})
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    assert registry.find("indexer", "random").target.startswith("genrec_bench.")
    assert any("calls itself genrec-bench" in line for line in registry.unreadable())


def test_a_name_means_nothing_in_another_kind(plugin):
    plugin("acme", {"random": "acme_clash:Good"}, {"acme_clash.py": GOOD}, kind="decoder")
    assert registry.find("indexer", "random").distribution == "genrec-bench"


def test_the_code_digest_moves_with_any_line_and_with_nothing_else(plugin):
    site = plugin("acme", {"mine": "acme_pkg.mod:Good"}, {"acme_pkg/__init__.py": "", "acme_pkg/mod.py": GOOD})
    info = registry.find("indexer", "mine")
    before = registry.code_digest(info)
    (site / "acme_pkg" / "notes.txt").write_text("no code")
    assert registry.code_digest(info) == before
    (site / "acme_pkg" / "helper.py").write_text("x = 1")
    assert registry.code_digest(info) != before
    assert "acme_pkg" not in sys.modules


def test_the_code_digest_does_not_depend_on_where_a_package_lies(tmp_path, monkeypatch):
    digests = []
    for place in ("one", "two"):
        (tmp_path / place / "acme_same").mkdir(parents=True)
        (tmp_path / place / "acme_same" / "__init__.py").write_text("x = 1")
        monkeypatch.setattr(sys, "path", [str(tmp_path / place)])
        digests.append(modules.digest_package("acme_same"))
    assert digests[0] == digests[1]


def test_sub_packages_that_are_left_out_do_not_move_the_digest(tmp_path, monkeypatch):
    (tmp_path / "acme_parts" / "cli").mkdir(parents=True)
    (tmp_path / "acme_parts" / "__init__.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    before = modules.digest_package("acme_parts", without=["cli"])
    (tmp_path / "acme_parts" / "cli" / "main.py").write_text("print()")
    assert modules.digest_package("acme_parts", without=["cli"]) == before
    assert modules.digest_package("acme_parts") != before


def test_the_digest_of_an_absent_package_is_a_broken_component(plugin):
    plugin("acme", {"mine": "acme_gone.mod:Good"}, {})
    with pytest.raises(BrokenComponent, match="acme_gone"):
        registry.code_digest(registry.find("indexer", "mine"))


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (GOOD, "ok"),
        (
            f"{GOOD}\nprint('chatty')\nimport surely_not_there",
            "broken: ModuleNotFoundError: No module named 'surely_not_there'",
        ),
        (f"{GOOD}\nimport os; os._exit(7)", "broken: its process ended by itself (exit code 7)"),
        (
            f"{GOOD}\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "broken: its process was killed by SIGKILL (out of memory?)",
        ),
    ],
)
def test_a_check_loads_in_a_process_of_its_own(plugin, monkeypatch, body, verdict):
    site = plugin("acme", {"mine": "acme_check:Good"}, {"acme_check.py": body})
    monkeypatch.setenv("PYTHONPATH", str(site))
    assert registry.check(registry.find("indexer", "mine")) == verdict
    assert "acme_check" not in sys.modules


def test_a_check_that_hangs_is_given_up(plugin, monkeypatch):
    site = plugin("acme", {"mine": "acme_hang:Good"}, {"acme_hang.py": "import threading; threading.Event().wait()"})
    monkeypatch.setenv("PYTHONPATH", str(site))
    assert registry.check(registry.find("indexer", "mine"), timeout=0.5) == "broken: not loaded within 0.5 s"


def test_a_misspelt_name_of_the_api_gets_the_closest_one(plugin):
    plugin("acme", {"mine": "acme_typo:Good"}, {"acme_typo.py": "from genrec_bench.api import Indexr"})
    with pytest.raises(BrokenComponent, match=r"genrec_bench\.api has no name 'Indexr'\. Did you mean 'Indexer'\?"):
        registry.load("indexer", "mine")


def test_what_is_known_from_other_distributions_is_what_they_register():
    root = Path(__file__).resolve().parents[1]
    registered = {}
    for file in (
        *root.glob("plugins/*/pyproject.toml"),
        root / "baselines/pyproject.toml",
        root / "benchmarks/pyproject.toml",
    ):
        project = tomllib.loads(file.read_text())["project"]
        for group, names in project["entry-points"].items():
            kind = group.removeprefix("genrec_bench.").removesuffix("s")
            registered |= {(kind, name): project["name"] for name in names}
    assert registered == registry.KNOWN_ELSEWHERE
