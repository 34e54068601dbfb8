"""A run has one plan: components are constructed once, specs never change, and no foreign package takes a built-in's place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from example_records import finished
from installing import install
from installing import run as run_command
from small_runs import spec_for

from genrec_bench.errors import ConfigError
from genrec_bench.host.contracts import Component, IndexerContext
from genrec_bench.leaderboard.facts import command
from genrec_bench.runs.plan import resolve
from genrec_bench.runs.spec import RunSpec

GENREC = [sys.executable, "-m", "genrec_bench"]


@pytest.fixture
def constructed(monkeypatch) -> Counter[str]:
    """How often each component class was constructed."""
    counts: Counter[str] = Counter()
    construct = Component.__init__

    def count(self, config=None):
        counts[type(self).__name__] += 1
        construct(self, config)

    monkeypatch.setattr(Component, "__init__", count)
    return counts


def test_a_generator_constructs_every_component_once(go, constructed):
    go(decoder="filter", set={"backbone.epochs": 1})
    parts = {"FileDataset": 1, "RandomIndexer": 1, "LightLM": 1, "FilterDecoder": 1}
    protocol = {"TrieDecoder": 1}  # searches on validation, whichever decoder the run has
    assert constructed == parts | protocol


def test_a_run_with_the_protocols_decoder_constructs_it_once_for_each_use(go, constructed):
    go(set={"backbone.epochs": 1})
    assert constructed == {"FileDataset": 1, "RandomIndexer": 1, "LightLM": 1, "TrieDecoder": 2}


def test_a_decoder_in_bf16_is_constructed_once_more_for_its_comparison_with_fp32(go, constructed):
    go(decoder="filter", set={"backbone.epochs": 1, "decoder.precision": "bf16"})
    assert (constructed["FilterDecoder"], constructed["TrieDecoder"]) == (2, 1)


def test_a_baseline_constructs_every_component_once(go, constructed):
    go(baseline="popularity")
    assert constructed == {"FileDataset": 1, "Popularity": 1}


def test_a_finished_run_constructs_every_component_once_more(go, constructed):
    go(baseline="popularity")
    constructed.clear()
    go(baseline="popularity")
    assert constructed == {"FileDataset": 1, "Popularity": 1}


@pytest.fixture(params=["asked", "resolved"])
def spec(request, planted_file):
    """A spec before and after it is resolved."""
    asked = spec_for(planted_file)
    return asked if request.param == "asked" else resolve(asked).spec


def test_a_spec_cannot_be_changed(spec):
    with pytest.raises(FrozenInstanceError):
        spec.seed = 1
    with pytest.raises(FrozenInstanceError):
        spec.options = {}


def test_the_options_of_a_spec_cannot_be_changed(spec):
    with pytest.raises(TypeError):
        spec.options["backbone"] = {}
    with pytest.raises(TypeError):
        spec.options["backbone"]["epochs"] = 7
    with pytest.raises(TypeError):
        del spec.options["backbone"]["epochs"]


def test_a_spec_does_not_follow_the_options_it_was_given(planted_file):
    options = {"backbone": {"epochs": 1}, "dataset": {"path": str(planted_file), "format": "sequence"}}
    spec = spec_for(planted_file, options=options)
    options["backbone"]["epochs"] = 2
    assert spec.options["backbone"]["epochs"] == 3  # `set` came over 1


COUNT_HOOKS = """
import sys
hooks = []  # ours: libraries have some too
sys.addaudithook = lambda hook: hook.__module__.startswith("genrec_bench") and hooks.append(hook)
"""
BY_LIBRARY = """
import genrec_bench
options = {"dataset.path": sys.argv[1], "dataset.format": "sequence"}
spec = genrec_bench.RunSpec(dataset="file", baseline="popularity", set=options)
genrec_bench.run(spec, out=sys.argv[2])
print(len(hooks))
"""
BY_COMMAND = """
from genrec_bench.cli.main import cli
options = ["--set", f"dataset.path={sys.argv[1]}", "--set", "dataset.format=sequence"]
try:
    cli.main(["run", "--dataset", "file", "--baseline", "popularity", "--out", sys.argv[2], *options])
finally:
    print(len(hooks))
"""


@pytest.mark.parametrize(("entrance", "hooks"), [(BY_LIBRARY, 0), (BY_COMMAND, 1)])
def test_only_the_command_watches_its_process(planted_file, tmp_path, entrance, hooks):
    output = run_command([sys.executable, "-c", COUNT_HOOKS + entrance, planted_file, tmp_path / "runs"])
    assert output.splitlines()[-1] == str(hooks)


NAMESAKES = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"

        [project]
        name = "acme-namesakes"
        version = "1.0"

        [project.entry-points."genrec_bench.decoders"]
        trie = "acme_namesakes.impostors:Trie"

        [project.entry-points."genrec_bench.baselines"]
        item-counts = "acme_namesakes.impostors:ItemCounts"

        [project.entry-points."genrec_bench.indexers"]
        old-layout = "acme_namesakes.old_layout:OldLayout"
        """,
    "acme_namesakes/__init__.py": "",
    "acme_namesakes/impostors.py": '''
        """Components named like built-ins. Whoever calls one finds out."""

        from genrec_bench.api import Baseline, Decoder


        class Trie(Decoder):
            """A decoder named like the protocol's own."""

            def generate(self, backbone, batch, index, *, beams, exclude=None):
                raise RuntimeError("the impostor was called")


        class ItemCounts(Baseline):
            """A baseline named like the untrained one."""

            def fit(self, train, ctx):
                raise RuntimeError("the impostor was called")

            def rank(self, queries, *, k, exclude=None):
                raise RuntimeError("the impostor was called")
        ''',
    "acme_namesakes/old_layout.py": '''
        """An indexer that imports a module that has moved."""

        from genrec_bench.contracts import Indexer


        class OldLayout(Indexer):
            """Written before genrec_bench.api."""
        ''',
}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder in which the namesakes are installed."""
    source, site = (tmp_path_factory.mktemp(name) for name in ("namesakes", "site"))
    for name, text in NAMESAKES.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(dedent(text).lstrip("\n"))
    install(source, site)
    return site


def words(file: Path, indexer: str) -> list[object]:
    """The command line of a tiny run with this indexer."""
    system = ["--indexer", indexer, "--backbone", "lightlm", "--profile", "tiny", "--device", "cpu"]
    options = {"dataset.path": file, "dataset.format": "sequence", "backbone.epochs": 1}
    settings = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    return [*GENREC, "run", "--dataset", "file", *system, *settings]


def test_namesakes_take_no_built_ins_place(site, planted_file, tmp_path):
    printed = run_command(words(planted_file, "random"), tmp_path, site)
    assert "random / lightlm / trie" in printed
    assert any(line.startswith("item-counts") for line in printed.splitlines())

    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/record.json")]
    suppliers = {part: facts["distribution"] for record in records for part, facts in record["components"].items()}
    assert len(records) == 2
    assert suppliers["decoder"] == suppliers["baseline"] == "genrec-bench"


@pytest.mark.parametrize(
    ("asked", "changed", "words"),
    [
        ({"baseline": "ease"}, {}, "--dataset ml-100k --task direct --baseline ease"),
        (
            {"baseline": "ease", "set": {"baseline.l2": 3}},
            {"baseline": {"l2": 3.0}},
            "--baseline ease --set baseline.l2=3.0",
        ),
        (
            {"indexer": "sci", "backbone": "lightlm", "task": "sequential", "set": {"backbone.minutes": 3}},
            {"backbone": {"minutes": 3.0}},
            "--indexer sci --backbone lightlm --set backbone.minutes=3.0",
        ),
        (
            {"indexer": "sci", "backbone": "lightlm", "profile": "tiny", "seed": 2, "beams": 30},
            {},
            "--indexer sci --backbone lightlm --profile tiny --beams 30 --seed 2",
        ),
    ],
)
def test_a_command_carries_only_what_differs_from_the_defaults(asked, changed, words):
    plan = resolve(RunSpec.from_dict(asked))
    assert {part: options for part, options in plan.changed.items() if options} == changed
    told = command(finished(plan.spec, changed=plan.changed))
    assert told.startswith("genrec run --dataset ml-100k") and told.endswith(words)


def test_the_command_of_a_file_names_its_path(planted_file):
    asked = {"dataset": str(planted_file), "baseline": "ease", "set": {"dataset.format": "sequence"}}
    plan = resolve(RunSpec.from_dict(asked))
    assert command(finished(plan.spec, changed=plan.changed)) == (
        f"genrec run --dataset {planted_file} --task direct --baseline ease --set dataset.format=sequence"
    )


def test_a_plugin_of_the_old_layout_is_sent_to_the_api_in_one_line(site, planted_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(site))
    command = [str(word) for word in words(planted_file, "old-layout")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("BrokenComponent: indexer 'old-layout' (acme-namesakes 1.0) cannot be loaded: ")
    assert "genrec_bench.api" in result.stderr and result.stderr.count("\n") == 1


def test_random_numbers_of_a_context_are_a_stream():
    ctx = IndexerContext(seed=3)
    stream = np.random.default_rng(3)
    assert [ctx.rng.random(), ctx.rng.random()] == [stream.random(), stream.random()]


def test_a_free_search_refuses_a_backbone_trained_over_children():
    asked = {"dataset": "ml-100k", "task": "sequential", "indexer": "kmeans-tree", "backbone": "depth"}
    with pytest.raises(
        ConfigError, match=r"decoder 'filter' normalises over alphabet, and this run over children: use --de"
    ):
        resolve(RunSpec.from_dict({**asked, "decoder": "filter"}))

    told = {"backbone.normalisation": "alphabet"}
    assert resolve(RunSpec.from_dict({**asked, "decoder": "filter", "set": told})).spec.decoder
    searched = {"decoder.normalisation": "alphabet"}  # the row then says that training was over children
    assert resolve(RunSpec.from_dict({**asked, "decoder": "filter", "set": searched})).spec.decoder
    with pytest.raises(ConfigError, match="normalises over alphabet"):
        resolve(RunSpec.from_dict({**asked, "decoder": "filter", "set": {"decoder.normalisation": "children"}}))


def test_path_tokens_need_a_tree():
    asked = {"indexer": "gci", "backbone": "lightlm", "set": {"indexer.token_scope": "path"}}
    with pytest.raises(ConfigError, match="token_scope=path needs a tree"):
        resolve(RunSpec.from_dict(asked))
