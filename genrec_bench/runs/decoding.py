"""Decodes the test cases with a trained generator: in timed batches, with every step and hypothesis checked."""

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
from genrec_bench.runs.plan import Part, searched_normalisation
from genrec_bench.runs.throughput import throughput

BATCH = 64  # users decoded at once, at most
BATCH_TOKENS = 2**19  # source tokens x beams per batch, at most; counts padding
OVERLAP_USERS = 256  # searched again in fp32 if the decoder works in another precision
WARMUP_BATCHES = 2


@dataclass(frozen=True)
class Generator:
    """A backbone, its template, and the index whose codes it writes. `info` says who supplied the backbone."""

    backbone: Backbone
    template: Template
    index: Index
    info: ComponentInfo

    def render(self, queries: Queries) -> Sources:
        """The checked source tokens of these queries."""
        with held_to(self.info, "template.render"):
            sources = self.template.render(queries)
        return check_sources(self.info, sources, len(queries))


@dataclass(frozen=True)
class SearchOutcome:
    """The hypotheses in the order of the queries, the seconds of each batch, and the decoder's counts over all batches."""

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

        `exclude` leaves each user's own items out of the search. The first `warmup` batches are searched once untimed.
        The device is synchronised before a time is taken.
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
    """Rows of sources in batches, shortest sources first.

    A batch holds at most BATCH sources and BATCH_TOKENS source tokens x beams, padding included, but at least one source.
    """
    order = np.argsort(lengths, kind="stable")

    def is_full(start: int, end: int) -> bool:
        """Whether the next source, the longest so far, no longer fits."""
        longest = int(lengths[order[end]])
        return end - start == BATCH or (end + 1 - start) * longest * beams > BATCH_TOKENS

    batches, start = [], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or is_full(start, end):
            batches.append(order[start:end])
            start = end
    return batches


def overlap(
    searcher: Searcher, plain: Searcher, generator: Generator, queries: Queries, beams: int, *, exclude: bool
) -> dict[str, Any]:
    """How many of the ten best hypotheses of `plain`, which is fp32, `searcher` ranks among its ten best.

    Counted over a sample of the users.
    """
    sample = queries.take(np.unique(np.linspace(0, len(queries) - 1, OVERLAP_USERS).astype(np.int64)))
    reduced = searcher.search(generator, sample, beams, exclude=exclude).generations
    full = plain.search(generator, sample, beams, exclude=exclude).generations
    return {"fp32_overlap@10": shared(reduced, full), "fp32_overlap_users": len(sample)}


def shared(reduced: Generations, full: Generations, k: int = 10) -> float | None:
    """The share of the first `k` hypotheses of `full` that are among the first `k` of `reduced`.

    Counts hypotheses that are not items too. None if `full` holds no hypothesis.
    """
    reduced_codes, full_codes = _first_codes(reduced, k), _first_codes(full, k)
    total = sum(codes.total() for codes in full_codes)
    common = sum((a & b).total() for a, b in zip(reduced_codes, full_codes, strict=True))
    return common / total if total else None


def _first_codes(generations: Generations, k: int) -> list[Counter[tuple[int, ...]]]:
    """The codes of each user's first `k` hypotheses."""
    tokens = generations.tokens[:, :k].tolist()
    emitted = (generations.items[:, :k] != NO_HYPOTHESIS).tolist()
    return [
        Counter(tuple(token for token in code if token >= 0) for code, is_there in zip(*row, strict=True) if is_there)
        for row in zip(tokens, emitted, strict=True)
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
    """Search the test cases under each history policy, and write the hypotheses to `folder`.

    One search serves both policies if the decoder does not leave items out while it searches. Throughput and validity
    are those of the search for `mask`.
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
        normalisation=searched_normalisation(generator.backbone, decoder.component),
        trained_normalisation=generator.backbone.normalisation,
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
    """Compare the run's search with one in full precision."""
    config = replace(decoder.component.config, precision="fp32")
    full_precision = Part(decoder.info, type(decoder.component)(config))
    return overlap(searcher, _prepared(inputs, full_precision), generator, queries, beams, exclude=exclude)


def _prepared(inputs: Inputs, decoder: Part[Decoder]) -> Searcher:
    ctx = DecoderContext(inputs.spec.seed, inputs.device, inputs.progress)
    with decoder.held_to("prepare"):
        decoder.component.prepare(train_view(inputs.data, inputs.split), ctx)
    return Searcher(decoder)


def ranking(generations: Generations, queries: Queries, policy: str, beams: int) -> Ranking:
    """Each case's ranked list: the emitted items, best first; under `mask`, without seen items."""
    exclude = queries.history if policy == "mask" else None
    return validity.ranking_from(generations, depth=beams, exclude=exclude)
