"""Every built-in component keeps its contract: the public checks, run over everything that lies in this repository.

A new component needs a line in CASES (empty options, if its defaults are quick), or the last test fails.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec_bench.host import modules, registry
from genrec_bench.testing import (
    CHECKS,
    NotApplicable,
    Subject,
    planted,
)

ROOT = Path(__file__).resolve().parents[1]
TINY = {"layers": 1, "d_model": 32, "heads": 2, "d_ff": 16}
SMALL = {**TINY, "epochs": 12, "batch_size": 16, "learning_rate": 5e-3}
S3REC = ("beauty", "toys", "yelp")  # need the files in GENREC_DATA

# (kind, name) -> one or more {options, facts about the subject such as `task`}
CASES = {
    ("dataset", "beauty"): [{}],
    ("dataset", "file"): [{"format": "sequence"}, {"format": "inter"}],  # the path is the planted file's
    ("dataset", "ml-100k"): [{}],
    ("dataset", "toys"): [{}],
    ("dataset", "yelp"): [{}],
    ("indexer", "codes"): [{}],  # the path is a file of the planted items' codes
    ("indexer", "collaborative"): [{}, {"clusters": 3, "leaf_size": 4}],
    ("indexer", "gci"): [
        {"epochs": 3, "levels": 2, "codebook_size": 8},
        {"epochs": 3, "quantiser": "residual", "levels": 2, "codebook_size": 8, "variant": "separate"},
        {"epochs": 3, "quantiser": "hierarchical", "clusters": 3, "leaf_size": 4},
    ],
    ("indexer", "kmeans-tree"): [
        {},
        {"clusters": 3, "leaf_size": 4, "vectors": "cooccurrence", "window": 2},
        {"clusters": 3, "leaf_size": 4, "vectors": "attributes"},
        {"vectors": "both", "token_scope": "level"},
    ],
    ("indexer", "random"): [{}, {"base": 2}],
    ("indexer", "sci"): [{}, {"clusters": 3, "leaf_size": 4}],
    ("indexer", "sequential"): [{}],
    ("backbone", "depth"): [
        {**SMALL, "decoder_layers": 1, "dropout": 0.1},
        {**SMALL, "normalisation": "alphabet", "trains_on": "rows", "history_tokens": "code", "dropout": 0.1},
        {**SMALL, "epochs": 20, "dropout": 0.1, "task": "direct"},
    ],
    ("backbone", "lightlm"): [
        {**SMALL, "encoder": "causal", "trains_on": "sequences", "history_tokens": "item", "word_embedding": False},
        {**TINY, "epochs": 12, "batch_size": 16, "learning_rate": 5e-3},
        {**TINY, "epochs": 4, "batch_size": 16, "learning_rate": 1e-2, "task": "direct"},
    ],
    ("backbone", "p5"): [
        {**TINY, "epochs": 8, "batch_size": 16, "learning_rate": 5e-3},
        {**TINY, "epochs": 20, "batch_size": 16, "learning_rate": 5e-3, "task": "direct"},
    ],
    ("backbone", "t5-small"): [{**TINY, "epochs": 8, "batch_size": 16, "learning_rate": 5e-3}],
    ("decoder", "exact"): [{}],
    ("decoder", "filter"): [{}],
    ("decoder", "trie"): [{}],
    ("baseline", "ease"): [{}, {"l2": 1.0, "task": "direct"}],
    ("baseline", "id-canary"): [
        {},
        {"task": "direct"},
        {"ids": "raw"},
    ],  # raw: planted items with whole numbers for ids
    ("baseline", "item-counts"): [{}, {"recency": [1.0], "task": "direct"}],
    ("baseline", "item-knn"): [{}, {"neighbours": 3, "shrink": 0.0, "task": "direct"}],
    ("baseline", "popularity"): [{}],
}
TESTED_ELSEWHERE = {  # distribution -> the file that runs these checks over its components
    "genrec-baselines": "baselines/tests/test_conformance.py",
    "genrec-causal-lm": "plugins/genrec-causal-lm/tests/test_causal_conformance.py",
    "genrec-decoders": "plugins/genrec-decoders/tests/test_conformance.py",
    "genrec-parallel": "plugins/genrec-parallel/tests/test_parallel_conformance.py",
    "genrec-semantic": "plugins/genrec-semantic/tests/test_semantic_conformance.py",
}
KNOWN_FAULTS = {  # (kind, name, check) -> why it fails
    ("indexer", "codes", "tiny_data_is_indexed"): "its file has the codes of other items",
}


def numbered():
    """The planted data with whole numbers for item ids."""
    made = planted()
    ids = np.arange(made.data.n_items).astype(np.str_)
    return replace(made, data=replace(made.data, item_ids=ids))


@pytest.fixture(scope="session")
def subjects(tmp_path_factory):
    """One subject per case, so that a network is trained once."""
    made, folder = {}, tmp_path_factory.mktemp("planted")
    planted().write(folder)

    def subject(kind, name, number):
        key = kind, name, number
        if key not in made:
            options = dict(CASES[kind, name][number])
            facts = {"task": options.pop("task")} if "task" in options else {}
            if (kind, name) == ("dataset", "file"):
                options["path"] = str(folder / ("planted.txt" if options["format"] == "sequence" else "planted.inter"))
            if (kind, name) == ("indexer", "codes"):
                codes = {str(item): [at // 7, at % 7] for at, item in enumerate(planted().data.item_ids)}
                options["path"] = str(folder / "codes.json")
                Path(options["path"]).write_text(json.dumps(codes))
            if options.get("ids") == "raw":
                facts["data"] = numbered()
            if kind == "dataset" and os.environ.get("GENREC_DATA"):
                facts["data_dir"] = Path(os.environ["GENREC_DATA"])
            made[key] = Subject.of(kind, name, options, **facts)
        return made[key]

    return subject


def every_check():
    for (kind, name), cases in CASES.items():
        for number in range(len(cases)):
            for check in CHECKS[kind]:
                yield pytest.param(kind, name, number, check, id=f"{kind}-{name}-{number}-{check}")


@pytest.mark.parametrize(("kind", "name", "number", "check"), list(every_check()))
def test_a_built_in_component_keeps_its_contract(request, subjects, kind, name, number, check):
    if kind == "dataset" and name in S3REC:
        request.getfixturevalue("data_dir")
    if kind == "dataset" and name == "ml-100k":
        request.getfixturevalue("movielens")
    if reason := KNOWN_FAULTS.get((kind, name, check)):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    try:
        CHECKS[kind][check](subjects(kind, name, number))
    except NotApplicable as why:
        pytest.skip(str(why))


def test_what_is_tested_elsewhere_is_there():
    assert [place for place in TESTED_ELSEWHERE.values() if not (ROOT / place).is_file()] == []


def test_every_component_that_is_tested_elsewhere_is_named_there():
    for info in registry.list_components():
        if place := TESTED_ELSEWHERE.get(info.distribution):
            text = "".join(path.read_text() for path in sorted((ROOT / place).parent.glob("test_*.py")))
            over_all = f'group="genrec_bench.{info.kind}s"'  # a test that runs over whatever is registered
            known = info.target.partition(":")[2], f'"{info.name}"', over_all
            assert any(word in text for word in known), f"{info.kind} {info.name} has no case beside {place}"


def in_this_repository():
    """(kind, name) of every installed component whose code lies here, whichever distribution it belongs to."""
    for info in registry.list_components():
        try:
            code = modules.module_file(info.target.partition(":")[0])
        except modules.NotThere:
            continue
        if ROOT in code.resolve().parents and info.distribution not in TESTED_ELSEWHERE:
            yield info.kind, info.name


def test_every_component_of_this_repository_has_a_case():
    here = set(in_this_repository())
    assert not here - set(CASES), "give them a line in CASES, or their distribution one in TESTED_ELSEWHERE"
    assert not set(CASES) - here, "no such component any more: drop it from CASES"
