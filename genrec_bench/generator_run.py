"""The generator's part of a run: index, examples, training, decoding.

The index and the trained weights are cached, so that decoders are compared on the same weights.
"""

from __future__ import annotations

import functools
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genrec_bench import registry
from genrec_bench.codes import Index
from genrec_bench.contracts import Backbone, Context, Decoder, Indexer, Template
from genrec_bench.environment import library_versions
from genrec_bench.folders import cached, copy_into, folder_digest
from genrec_bench.indexers.numbers import random_user_labels
from genrec_bench.loading import cache_dir
from genrec_bench.metrics import lists, scores, validity
from genrec_bench.metrics.throughput import throughput
from genrec_bench.protocol import KS, POLICIES, SELECTION, SELECTION_BEAMS, train_view, validation_sample
from genrec_bench.record import write_json
from genrec_bench.types import Cases, Examples, Generations, Int32, Int64, Queries, Ragged, Ranking, digest

if TYPE_CHECKING:
    from genrec_bench.runner import Run

BATCH = 64  # users decoded at once
WARMUP_BATCHES = 2


def run_generator(this: Run) -> None:
    """Fill `this.rankings` and the record's sections."""
    index, index_folder = make_index(this)
    backbone: Backbone = this.component("backbone")
    template = backbone.template(this.spec.task, index)  # type: ignore[arg-type]
    weights = train(this, backbone, template, index)
    copy_into(index_folder, this.folder / "index")
    copy_into(weights, this.folder / "weights")
    this.found["fingerprints"] = {
        "index": index.fingerprint,
        "weights": folder_digest(this.folder / "weights" / "backbone"),
    }
    counted = dict(backbone.parameters_count())
    this.found["parameters"] = {
        **counted,
        "total": sum(counted.values()),
        "size": backbone.size(),
        "variant": backbone.variant(),
    }
    decode(this, backbone, template, index)


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
    files = this.component(part).fingerprint()
    return f"{info.distribution}:{info.name} {info.version} {registry.code_digest(info)} {options} {files}".rstrip()


def make_index(this: Run) -> tuple[Index, Path]:
    """The index of the training part, from the cache or built; and its folder."""
    indexer: Indexer = this.component("indexer")
    key = cache_key(this, component_key(this, "indexer"), this.device.split(":")[0])
    folder = cache_dir() / "index" / key

    def make(target: Path) -> Index:
        view = train_view(this.data, this.split, indexer.needs)
        index = indexer.build(view, Context(this.spec.seed, this.device, this.progress))
        if index.users is None:
            rng = np.random.default_rng([this.spec.seed, 1])
            index = index.with_users(random_user_labels(this.data.n_users, rng), "random")
        index.save(target)
        return index

    with this.phase("index"):
        index, found = cached(folder, make, Index.load, fresh=this.force, progress=this.progress)
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
    if files := indexer.fingerprint():
        this.found["index"]["files"] = files
    return index, folder


def make_examples(this: Run, template: Template, index: Index) -> Examples:
    """Training examples: `direct` has one source per user with all training items as targets, `sequential` one source
    per training position after the first."""
    train = this.split.train()
    if this.spec.task == "direct":
        users = np.flatnonzero(train.lengths > 0).astype(np.int32)
        part = train.take(users)
        queries = Queries(users, Ragged.empty(len(users)))
        return _examples(template, queries, index, part.values, part.offsets)
    position = np.arange(len(train.values)) - train.offsets[train.rows]
    rows = np.flatnonzero(position > 0)
    starts = train.offsets[:-1][train.rows[rows]]
    recent = np.maximum(starts, rows - MOST_HISTORY)
    queries = Queries(train.rows[rows].astype(np.int32), train.slice(recent, rows))
    return _examples(template, queries, index, train.values[rows], np.arange(len(rows) + 1, dtype=np.int64))


def _examples(template: Template, queries: Queries, index: Index, targets: Int32, offsets: Int64) -> Examples:
    redraw = None
    if type(template).training is not Template.training:
        redraw = functools.partial(template.training, queries)
    return Examples(template.render(queries), index.items.codes[targets], offsets, index.n_tokens, redraw)


MOST_HISTORY = 512  # items of history handed to a template in training; templates show far fewer


def train(this: Run, backbone: Backbone, template: Template, index: Index) -> Path:
    """Fit `backbone`, or load the weights that this data, index, configuration and seed gave before."""
    key = cache_key(this, index.fingerprint, component_key(this, "backbone"), this.spec.task, this.device.split(":")[0])
    folder = cache_dir() / "weights" / key
    sample = validation_sample(this.split.validation)
    queries = this.split.queries(sample)
    judge: Decoder = registry.load("decoder", "trie")()

    def validate() -> float:
        with this.progress.phase("validating", len(queries), "users") as tick:
            found, _ = search(backbone, judge, template, index, queries, SELECTION_BEAMS, exclude=True, tick=tick)
        ranked = validity.ranking_from(found, depth=SELECTION_BEAMS)
        return float(scores.score(ranked, sample.target)[0][SELECTION])

    def make(target: Path) -> dict[str, Any]:
        examples = make_examples(this, template, index)
        ctx = Context(this.spec.seed, this.device, this.progress, target, validate=validate)
        report = asdict(backbone.fit(examples, ctx))
        report["validation_users"] = len(sample)
        backbone.save(target / "backbone")
        write_json(target / "fit.json", report)
        (target / "checkpoint.pt").unlink(missing_ok=True)
        return dict(json.loads((target / "fit.json").read_text()))

    def read(source: Path) -> dict[str, Any]:
        backbone.load(source / "backbone", this.device)
        return dict(json.loads((source / "fit.json").read_text()))

    with this.phase("fit"):
        report, found = cached(folder, make, read, fresh=this.force, progress=this.progress)
    this.found["training"] = {**report, "cached": found}
    return folder


def search(
    backbone: Backbone,
    decoder: Decoder,
    template: Template,
    index: Index,
    queries: Queries,
    beams: int,
    *,
    exclude: bool,
    tick: Any = None,
    warmup: int = 0,
) -> tuple[Generations, list[float]]:
    """Decode all queries in fixed batches of similar source length; the generations in the order asked, and seconds
    per batch, device synchronised."""
    sources = template.render(queries)
    order = np.argsort(sources.lengths, kind="stable")
    batches = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    parts, seconds = [], []
    warm = batches[:warmup]
    for number, rows in enumerate([*warm, *batches]):
        batch = sources.take(rows)
        excluded = queries.history.take(rows) if exclude else None
        began = time.perf_counter()
        part = decoder.generate(backbone, batch, index, beams=beams, exclude=excluded)
        if backbone.device.startswith("cuda"):
            torch.cuda.synchronize()
        if number < len(warm):
            continue
        seconds.append(time.perf_counter() - began)
        parts.append(part)
        if tick is not None:
            tick(len(rows))
    together = Generations.concatenate(parts)
    return together.take(np.argsort(order, kind="stable")), seconds


def decode(this: Run, backbone: Backbone, template: Template, index: Index) -> None:
    """Search the test cases under each history policy; one search serves both where the decoder searches alike."""
    decoder: Decoder = this.component("decoder")
    decoder.prepare(train_view(this.data, this.split), Context(this.spec.seed, this.device, this.progress))
    cases: Cases = this.split.test
    queries = this.split.queries(cases)
    beams = int(this.spec.beams or 0)
    found: dict[str, Generations] = {}
    for policy in POLICIES if decoder.excludes_in_search else POLICIES[:1]:
        exclude = policy == "mask" and decoder.excludes_in_search
        warmup = WARMUP_BATCHES if policy == "mask" else 0
        with this.phase(f"decode_{policy}"), this.progress.phase(f"decoding ({policy})", len(queries), "users") as tick:
            found[policy], seconds = search(
                backbone, decoder, template, index, queries, beams, exclude=exclude, tick=tick, warmup=warmup
            )
        if policy == "mask":
            this.found["throughput"] = throughput(
                seconds,
                len(queries),
                batch_size=BATCH,
                beams=beams,
                precision="fp32",
                device=this.device,
                warmup_batches=WARMUP_BATCHES,
                threads=torch.get_num_threads(),
            )
    for policy in POLICIES:
        generations = found.get(policy, found["mask"])
        this.rankings[policy] = ranking(generations, queries, policy, beams)
    this.found["validity"] = validity.validity(found["mask"], queries.history, KS)
    lists.write_generations(this.folder / lists.GENERATIONS_FILE, found)


def ranking(generations: Generations, queries: Queries, policy: str, beams: int) -> Ranking:
    """The ranked list of each case: what was generated, without what is no item and, under `mask`, what the user has."""
    exclude = queries.history if policy == "mask" else None
    return validity.ranking_from(generations, depth=beams, exclude=exclude)
