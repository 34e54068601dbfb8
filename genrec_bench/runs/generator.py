"""The generator's part of a run: index, training; then `decoding`.

The index and the trained weights are cached, so that decoders are compared on the same weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrec_bench.core.cache import cache_dir, cached
from genrec_bench.core.codes import Index
from genrec_bench.core.files import copy_into, folder_digest, write_json
from genrec_bench.core.hashing import digest
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.host import registry
from genrec_bench.host.contracts import Backbone, Context, Indexer
from genrec_bench.indexers.digits import random_user_labels
from genrec_bench.protocol import scores, validity
from genrec_bench.protocol.constants import SELECTION, SELECTION_BEAMS
from genrec_bench.protocol.split import train_view, validation_sample
from genrec_bench.runs.decoding import Generator, Searcher, decode
from genrec_bench.runs.environment import library_versions
from genrec_bench.runs.examples import make_examples
from genrec_bench.runs.handover import (
    check_description,
    check_index,
    check_plain,
    check_report,
    check_template,
)
from genrec_bench.runs.loading import fingerprint

if TYPE_CHECKING:
    from genrec_bench.runs.run import Run


def run_generator(this: Run) -> None:
    """Fill `this.rankings` and the record's sections."""
    generator, index_folder = make_generator(this)
    backbone, index = generator.backbone, generator.index
    weights = train(this, generator)
    copy_into(index_folder, this.folder / "index")
    copy_into(weights, this.folder / "weights")
    this.found["fingerprints"] = {
        "index": index.fingerprint,
        "weights": folder_digest(this.folder / "weights" / "backbone"),
    }
    this.found["parameters"] = check_description(this.info("backbone"), backbone)
    decode(this, generator)


def validate_generator(this: Run) -> float:
    """Train as a run does, and stop there: the validation score of the kept weights. The test part is not looked at."""
    generator, _ = make_generator(this)
    train(this, generator)
    return validator(this, generator)()


def make_generator(this: Run) -> tuple[Generator, Path]:
    """The untrained generator of this run on its index; and the index's folder."""
    index, folder = make_index(this)
    with this.held("decoder", "check"):
        this.component("decoder").check(index)
    backbone: Backbone = this.component("backbone")
    with this.held("backbone", "template"):
        template = backbone.template(this.spec.task, index)  # type: ignore[arg-type]
    info = this.info("backbone")
    return Generator(backbone, check_template(info, template), index, info), folder


def cache_key(this: Run, *parts: Any) -> str:
    """What a cached thing depends on, as 24 hex digits: data with all that a component may see of it, seed, engine,
    versions of the numerical libraries."""
    data, features = this.data, this.data.item_features
    seen = ("",) if data.item_titles is None else (np.asarray(data.item_titles),)
    seen += ("",) if features is None else (features.values, features.offsets)
    engine = registry.engine_digest()
    versions = library_versions()
    return digest(data.fingerprint(), this.split.fingerprint, this.spec.seed, engine, versions, *seen, *parts)[:24]


def component_key(this: Run, part: str) -> str:
    """A component's name, code and options, and the content of the files it reads."""
    info = registry.find(part, getattr(this.spec, part))
    options = json.dumps(this.spec.options[part], sort_keys=True)
    files = fingerprint(this.spec, part)
    return f"{info.distribution}:{info.name} {info.version} {registry.code_digest(info)} {options} {files}".rstrip()


def make_index(this: Run) -> tuple[Index, Path]:
    """The index of the training part, from the cache or built; and its folder."""
    indexer: Indexer = this.component("indexer")
    key = cache_key(this, component_key(this, "indexer"), this.device.split(":")[0])
    folder = cache_dir() / "index" / key

    def make(target: Path) -> Index:
        view = train_view(this.data, this.split, indexer.needs)
        with this.held("indexer", "build"):
            built = indexer.build(view, Context(this.spec.seed, this.device, this.progress))
        index = check_index(this.info("indexer"), built, this.data.n_users, this.data.n_items)
        if index.users is None:
            rng = np.random.default_rng([this.spec.seed, 1])
            index = index.with_users(random_user_labels(this.data.n_users, rng), "random")
        index.save(target)
        Trie.build(index.items).save(target, index)
        return index

    with this.phase("index"):
        index, found = cached(folder, make, Index.load, fresh=this.force, progress=this.progress)
    index = index if found else replace(index, folder=folder)  # where its trie lies
    assert index.users is not None
    this.found["index"] = {
        "n_tokens": index.n_tokens,
        "width": index.items.width,
        "user_width": index.users.width,
        "collision_rate": index.collision_rate,
        "token_scope": index.token_scope,
        "cached": found,
        "info": dict(index.info),
    }
    return index, folder


def train(this: Run, generator: Generator) -> Path:
    """Fit the backbone, or load the weights that this data, index, configuration and seed gave before."""
    backbone, index = generator.backbone, generator.index
    key = cache_key(this, index.fingerprint, component_key(this, "backbone"), this.spec.task, this.device.split(":")[0])
    folder = cache_dir() / "weights" / key
    validate = validator(this, generator)

    def built() -> None:
        with this.held("decoder", "check_network"):
            longest = int(generator.render(this.split.queries(this.split.test)).lengths.max(initial=0))
            this.component("decoder").check_network(backbone, index, longest)

    def make(target: Path) -> dict[str, Any]:
        examples = make_examples(this.split.train(), this.spec.task, generator, target)  # type: ignore[arg-type]
        ctx = Context(this.spec.seed, this.device, this.progress, target, validate=validate, built=built)
        with this.held("backbone", "fit"):
            told = backbone.fit(examples, ctx)
        report = {
            **asdict(check_report(this.info("backbone"), told)),
            "validation_users": len(validation_sample(this.split.validation)),
        }
        check_plain(this.info("backbone"), "fit report", report)
        with this.held("backbone", "save"):
            backbone.save(target / "backbone")
        write_json(target / "fit.json", report)
        (target / "checkpoint.pt").unlink(missing_ok=True)
        return dict(json.loads((target / "fit.json").read_text()))

    def read(source: Path) -> dict[str, Any]:
        with this.held("backbone", "load"):
            backbone.load(source / "backbone", this.device)
        return dict(json.loads((source / "fit.json").read_text()))

    with this.phase("fit"):
        report, found = cached(folder, make, read, fresh=this.force, progress=this.progress)
    if found:
        built()
    this.found["training"] = {**report, "cached": found}
    return folder


def validator(this: Run, generator: Generator) -> Callable[[], float]:
    """What scores a generator as it is now on validation, by the rule that epochs are chosen by."""
    sample = validation_sample(this.split.validation)
    queries = this.split.queries(sample)
    judge = Searcher(registry.load("decoder", "trie")(), registry.find("decoder", "trie"))

    def validate() -> float:
        with this.progress.phase("validating", len(queries), "users") as tick:
            found, _ = judge.search(generator, queries, SELECTION_BEAMS, exclude=True, tick=tick)
        ranked = validity.ranking_from(found, depth=SELECTION_BEAMS)
        return float(scores.score(ranked, sample.target)[0][SELECTION])

    return validate
