"""Searching with a trained generator: in batches, every step and every hypothesis held to its contract, and timed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrec_bench.core.arrays import Int64
from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations, Ranking
from genrec_bench.core.sequences import Queries, Sources
from genrec_bench.errors import Diverged
from genrec_bench.host.contracts import (
    Backbone,
    Decoder,
    DecoderContext,
    Template,
)
from genrec_bench.host.faults import fault, held_to
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.protocol import validity
from genrec_bench.protocol.constants import KS, POLICIES
from genrec_bench.protocol.split import train_view
from genrec_bench.runs import lists
from genrec_bench.runs.handover import Watched, check_generations, check_sources
from genrec_bench.runs.inputs import Inputs
from genrec_bench.runs.outcome import Stopwatch
from genrec_bench.runs.plan import Part
from genrec_bench.runs.throughput import throughput

BATCH = 64  # users decoded at once, at most
BATCH_TOKENS = 2**19  # source tokens x beams of a batch at most, padding included: long sources, smaller batches
OVERLAP_USERS = 256  # searched again in fp32, where a run's decoder works in another precision
WARMUP_BATCHES = 2


@dataclass(frozen=True)
class Generator:
    """A backbone with the template and the index it writes in; `info` says whose backbone it is."""

    backbone: Backbone
    template: Template
    index: Index
    info: ComponentInfo

    def render(self, queries: Queries) -> Sources:
        """The backbone's source tokens, checked."""
        with held_to(self.info, "template.render"):
            sources = self.template.render(queries)
        return check_sources(self.info, sources, len(queries))


@dataclass(frozen=True)
class SearchOutcome:
    """What was emitted, in the order of the queries; seconds per batch; what the decoder counted over all batches."""

    generations: Generations
    seconds: list[float]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Searcher:
    """A prepared decoder."""

    part: Part[Decoder]

    @property
    def precision(self) -> str:
        """The network's number format while it searches."""
        return str(getattr(self.part.component.config, "precision", "fp32"))

    def search(
        self, generator: Generator, queries: Queries, beams: int, *, exclude: bool, tick: Any = None, warmup: int = 0
    ) -> SearchOutcome:
        """Decode all queries in batches of similar source length.

        `exclude` leaves each user's own items out of the search. The first `warmup` batches are searched once before
        they are timed. Times are taken with the device synchronised.
        """
        sources = generator.render(queries)
        batches = batches_of(sources.lengths, beams)
        warmups = batches[:warmup]

        parts, seconds = [], []
        counts: Counter[str] = Counter()
        for number, rows in enumerate([*warmups, *batches]):
            batch, batch_queries = sources.take(rows), queries.take(rows)

            began = time.perf_counter()
            part = self._generate(generator, batch, batch_queries, beams, exclude)
            if generator.backbone.device.startswith("cuda"):
                torch.cuda.synchronize()
            if number < len(warmups):
                continue
            seconds.append(time.perf_counter() - began)

            check_generations(self.part.info, part, batch_queries, generator.index, beams, exclude)
            parts.append(part)
            counts.update(self.part.component.counts())
            if tick is not None:
                tick(len(rows))

        by_batch = Generations.concatenate(parts)
        order = np.argsort(np.concatenate(batches), kind="stable")
        return SearchOutcome(by_batch.take(order), seconds, counts)

    def _generate(
        self, generator: Generator, batch: Sources, queries: Queries, beams: int, exclude: bool
    ) -> Generations:
        backbone: Any = Watched(generator.backbone, generator.info, generator.index.n_tokens)
        history = queries.history if exclude else None
        try:
            with self.part.held_to("generate"):
                return self.part.component.generate(backbone, batch, generator.index, beams=beams, exclude=history)
        except Diverged as error:
            raise fault(generator.info, "finite scores", str(error)) from error


def batches_of(lengths: Int64, beams: int) -> list[Int64]:
    """The sources of these lengths in batches, shortest first: at most BATCH of them, and at most BATCH_TOKENS source tokens
    x beams, padding included; one source at least."""
    order = np.argsort(lengths, kind="stable")
    batches, begun = [], 0
    for at in range(1, len(order) + 1):
        if at == len(order) or at - begun == BATCH or (at + 1 - begun) * int(lengths[order[at]]) * beams > BATCH_TOKENS:
            batches.append(order[begun:at])
            begun = at
    return batches


def overlap(
    searcher: Searcher, plain: Searcher, generator: Generator, queries: Queries, beams: int, *, exclude: bool
) -> dict[str, Any]:
    """Of a sample of users, how many of the ten best of `plain`, in fp32, are among the ten best of `searcher`."""
    some = queries.take(np.unique(np.linspace(0, len(queries) - 1, OVERLAP_USERS).astype(np.int64)))
    one, other = (each.search(generator, some, beams, exclude=exclude).generations for each in (searcher, plain))
    return {"fp32_overlap@10": shared(one, other), "fp32_overlap_users": len(some)}


def shared(found: Generations, plain: Generations, k: int = 10) -> float | None:
    """The share of the first `k` hypotheses of `plain`, item or not, that are among the first `k` of `found`; None if there
    are none."""
    ours, theirs = _first(found, k), _first(plain, k)
    there = sum(each.total() for each in theirs)
    return sum((a & b).total() for a, b in zip(ours, theirs, strict=True)) / there if there else None


def _first(found: Generations, k: int) -> list[Counter[tuple[int, ...]]]:
    """The codes of each user's first `k` hypotheses."""
    lists = zip(found.tokens[:, :k].tolist(), (found.items[:, :k] != NO_HYPOTHESIS).tolist(), strict=True)
    return [
        Counter(
            tuple(token for token in code if token >= 0) for code, there in zip(codes, emitted, strict=True) if there
        )
        for codes, emitted in lists
    ]


@dataclass(frozen=True)
class DecodingOutcome:
    """Ranked lists by history policy, and the record's sections on validity and throughput."""

    rankings: dict[str, Ranking]
    validity: dict[str, Any]
    throughput: dict[str, Any]


def decode(
    inputs: Inputs, decoder: Part[Decoder], generator: Generator, folder: Path, clock: Stopwatch
) -> DecodingOutcome:
    """Search the test cases under each history policy; what was emitted goes into `folder`.

    One search serves both policies where the decoder does not leave items out while it searches. The search that serves
    `mask` is the one that is timed, and the one whose validity is counted.
    """
    searcher = _prepared(inputs, decoder)
    queries = inputs.split.queries(inputs.split.test)
    beams = int(inputs.spec.beams or 0)
    excludes = decoder.component.excludes_in_search

    searches: dict[str, SearchOutcome] = {}
    for policy in POLICIES if excludes else POLICIES[:1]:
        phase = inputs.progress.phase(f"decoding ({policy})", len(queries), "users")
        with clock(f"decode_{policy}"), phase as tick:
            searches[policy] = searcher.search(
                generator,
                queries,
                beams,
                exclude=excludes and policy == "mask",
                tick=tick,
                warmup=WARMUP_BATCHES if policy == "mask" else 0,
            )

    speed = throughput(
        searches["mask"].seconds,
        len(queries),
        batch_size=BATCH,
        beams=beams,
        batch_tokens=BATCH_TOKENS,
        precision=searcher.precision,
        device=inputs.device,
        warmup_batches=WARMUP_BATCHES,
        threads=torch.get_num_threads(),
        **searches["mask"].counts,
    )
    if searcher.precision != "fp32":
        speed |= _overlap_with_fp32(inputs, decoder, searcher, generator, queries, beams, exclude=excludes)

    emitted = {policy: search.generations for policy, search in searches.items()}
    lists.write_generations(folder / lists.GENERATIONS_FILE, emitted)
    return DecodingOutcome(
        rankings={policy: ranking(emitted.get(policy, emitted["mask"]), queries, policy, beams) for policy in POLICIES},
        validity=validity.validity(emitted["mask"], queries.history, KS),
        throughput=speed,
    )


def _overlap_with_fp32(
    inputs: Inputs,
    decoder: Part[Decoder],
    searcher: Searcher,
    generator: Generator,
    queries: Queries,
    beams: int,
    *,
    exclude: bool,
) -> dict[str, Any]:
    """How much of what a search in full precision finds the run's own search finds too."""
    config = replace(decoder.component.config, precision="fp32")
    full_precision = Part(decoder.info, type(decoder.component)(config))
    return overlap(searcher, _prepared(inputs, full_precision), generator, queries, beams, exclude=exclude)


def _prepared(inputs: Inputs, decoder: Part[Decoder]) -> Searcher:
    ctx = DecoderContext(inputs.spec.seed, inputs.device, inputs.progress)
    with decoder.held_to("prepare"):
        decoder.component.prepare(train_view(inputs.data, inputs.split), ctx)
    return Searcher(decoder)


def ranking(generations: Generations, queries: Queries, policy: str, beams: int) -> Ranking:
    """The ranked list of each case: what was emitted, without what is not an item and, under `mask`, without seen items."""
    exclude = queries.history if policy == "mask" else None
    return validity.ranking_from(generations, depth=beams, exclude=exclude)
