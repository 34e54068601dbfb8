"""A generator's part of a run: index, training, decoding.

The index and the trained weights are cached, so that decoders are compared on the same weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrec_bench.core.cache import cache_dir, cached
from genrec_bench.core.codes import Index
from genrec_bench.core.files import copy_into, folder_digest, write_json
from genrec_bench.core.sequences import Cases
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.host.contracts import Backbone, BackboneContext, Indexer, IndexerContext
from genrec_bench.host.faults import fault
from genrec_bench.indexers.digits import random_user_labels
from genrec_bench.protocol import scores, validity
from genrec_bench.protocol.constants import SELECTION, SELECTION_BEAMS
from genrec_bench.protocol.split import train_view, validation_sample
from genrec_bench.runs.decoding import Generator, Searcher, decode
from genrec_bench.runs.examples import make_examples
from genrec_bench.runs.handover import check_description, check_index, check_plain, check_report, check_template
from genrec_bench.runs.inputs import Inputs
from genrec_bench.runs.outcome import Outcome, Stopwatch
from genrec_bench.runs.plan import GeneratorParts, Part, protocol_part


@dataclass(frozen=True)
class IndexOutcome:
    """The index of a run, its cache folder, and whether it was read from there."""

    index: Index
    folder: Path
    cached: bool

    def describe(self) -> dict[str, Any]:
        """The record's section on the index."""
        index = self.index
        assert index.users is not None
        return {
            "n_tokens": index.n_tokens,
            "width": index.items.width,
            "user_width": index.users.width,
            "collision_rate": index.collision_rate,
            "token_scope": index.token_scope,
            "cached": self.cached,
            "info": dict(index.info),
        }


@dataclass(frozen=True)
class TrainingOutcome:
    """How training went, the weights' cache folder, and whether they were read from there."""

    report: dict[str, Any]
    folder: Path
    cached: bool

    def describe(self) -> dict[str, Any]:
        """The record's section on training."""
        return {**self.report, "cached": self.cached}


def run_generator(inputs: Inputs, parts: GeneratorParts, folder: Path) -> Outcome:
    """Index, train and decode. The run's `folder` keeps the index, the weights and the hypotheses."""
    clock = Stopwatch()
    with clock("index"), inputs.progress.phase("indexing"):
        index = build_index(inputs, parts.indexer)

    generator = make_generator(inputs, parts.backbone, index.index)
    with clock("fit"):
        training = train(inputs, parts.backbone, generator)

    copy_into(index.folder, folder / "index")
    copy_into(training.folder, folder / "weights")
    parameters = check_description(parts.backbone.info, generator.backbone)

    decoded = decode(inputs, parts.decoder, generator, folder, clock)
    return Outcome(
        rankings=decoded.rankings,
        validity=decoded.validity,
        throughput=decoded.throughput,
        phases=dict(clock.seconds),
        index=index.describe(),
        training=training.describe(),
        parameters=parameters,
        warnings=tuple(index.index.info.get("warnings", ())),
        fingerprints={
            "index": index.index.fingerprint,
            "weights": folder_digest(folder / "weights" / "backbone"),
        },
    )


def validate_generator(inputs: Inputs, parts: GeneratorParts) -> tuple[float, dict[str, Any]]:
    """Train as a run does; return the validation score of the kept weights and how training went.

    The test part stays untouched.
    """
    index = build_index(inputs, parts.indexer)
    generator = make_generator(inputs, parts.backbone, index.index)
    training = train(inputs, parts.backbone, generator)
    return validator(inputs, generator)(), training.describe()


def build_index(inputs: Inputs, indexer: Part[Indexer]) -> IndexOutcome:
    """The index of the training part, built or read from the cache."""
    key = inputs.cache_key(inputs.part_key("indexer", indexer), inputs.device.split(":")[0])
    folder = cache_dir() / "index" / key

    def build(target: Path) -> Index:
        view = train_view(inputs.data, inputs.split, indexer.component.needs)
        ctx = IndexerContext(inputs.spec.seed, inputs.device, inputs.progress)
        with indexer.held_to("build"):
            built = indexer.component.build(view, ctx)

        index = check_index(indexer.info, built, inputs.data.n_users, inputs.data.n_items)
        if index.users is None:
            rng = np.random.default_rng([inputs.spec.seed, 1])
            index = index.with_users(random_user_labels(inputs.data.n_users, rng), "random")

        index.save(target)
        Trie.build(index.items).save(target, index)
        return index

    index, from_cache = cached(folder, build, Index.load, fresh=inputs.fresh, progress=inputs.progress)
    if not from_cache:
        index = replace(index, folder=folder)  # its trie is there
    return IndexOutcome(index, folder, from_cache)


def make_generator(inputs: Inputs, backbone: Part[Backbone], index: Index) -> Generator:
    """The untrained backbone with its template for the task and index."""
    with backbone.held_to("template"):
        template = backbone.component.template(inputs.spec.task, index)
    return Generator(backbone.component, check_template(backbone.info, template), index, backbone.info)


def train(inputs: Inputs, backbone: Part[Backbone], generator: Generator) -> TrainingOutcome:
    """Fit the backbone, or load the weights that the same data, index, options and seed gave before."""
    spec, network = inputs.spec, backbone.component
    part_key = inputs.part_key("backbone", backbone)
    key = inputs.cache_key(generator.index.fingerprint, part_key, spec.task, inputs.device.split(":")[0])
    folder = cache_dir() / "weights" / key

    def fit(target: Path) -> dict[str, Any]:
        with inputs.progress.phase("preparing examples"):
            examples = make_examples(inputs.split.train(), spec.task, generator, target)
        everyone = inputs.split.validation
        ctx = BackboneContext(
            spec.seed,
            inputs.device,
            inputs.progress,
            folder=target,
            validate=validator(inputs, generator),
            validate_on_all=validator(inputs, generator, everyone)
            if len(validation_sample(everyone)) < len(everyone)
            else None,
        )
        with backbone.held_to("fit"):
            fit_report = network.fit(examples, ctx)

        report = {
            **asdict(check_report(backbone.info, fit_report)),
            "validation_users": len(validation_sample(inputs.split.validation)),
        }
        check_plain(backbone.info, "fit report", report)

        with backbone.held_to("save"):
            network.save(target / "backbone")
        if not (target / "backbone").is_dir() or not any((target / "backbone").iterdir()):
            raise fault(backbone.info, "save", "it wrote nothing into its folder, so nobody can load the weights")
        write_json(target / "fit.json", report)
        (target / "checkpoint.pt").unlink(missing_ok=True)
        return _read_report(target)

    def read(source: Path) -> dict[str, Any]:
        with backbone.held_to("load"):
            network.load(source / "backbone", inputs.device)
        return _read_report(source)

    report, from_cache = cached(folder, fit, read, fresh=inputs.fresh, progress=inputs.progress)
    return TrainingOutcome(report, folder, from_cache)


def _read_report(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "fit.json").read_text(encoding="utf-8")))


def validator(inputs: Inputs, generator: Generator, cases: Cases | None = None) -> Callable[[], float]:
    """A function that scores the generator's current weights on validation (`cases`, or the sample), as the choice of epochs
    requires.

    It decodes with the protocol's own decoder: another package's `trie` does not change the choice.
    """
    sample = validation_sample(inputs.split.validation) if cases is None else cases
    queries = inputs.split.queries(sample)
    searcher = Searcher(protocol_part("decoder", "trie", TrieDecoder()))

    def validate() -> float:
        with inputs.progress.phase("validating", len(queries), "users") as tick:
            search = searcher.search(generator, queries, SELECTION_BEAMS, exclude=True, tick=tick)
        ranking = validity.ranking_from(search.generations, depth=SELECTION_BEAMS)
        return float(scores.score(ranking, sample.target)[0][SELECTION])

    return validate
