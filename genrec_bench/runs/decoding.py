"""Searching with a trained generator: in batches, every step and every hypothesis held to its contract, and timed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genrec_bench.core.arrays import Int64
from genrec_bench.core.codes import Index
from genrec_bench.core.rankings import NO_HYPOTHESIS, Generations, Ranking
from genrec_bench.core.sequences import Queries, Sources
from genrec_bench.errors import Diverged
from genrec_bench.host.contracts import (
    Backbone,
    Context,
    Decoder,
    Template,
)
from genrec_bench.host.faults import fault, held_to
from genrec_bench.host.registry import ComponentInfo
from genrec_bench.protocol import validity
from genrec_bench.protocol.constants import KS, POLICIES
from genrec_bench.protocol.split import train_view
from genrec_bench.runs import lists
from genrec_bench.runs.handover import Watched, check_generations, check_sources
from genrec_bench.runs.throughput import throughput

if TYPE_CHECKING:
    from genrec_bench.runs.run import Run

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
class Searcher:
    """A decoder and whose it is."""

    decoder: Decoder
    info: ComponentInfo
    counts: Counter[str] = field(default_factory=Counter)  # the decoder's, over all searches

    @property
    def precision(self) -> str:
        """The network's number format while it searches."""
        return str(getattr(self.decoder.config, "precision", "fp32"))

    def search(
        self, generator: Generator, queries: Queries, beams: int, *, exclude: bool, tick: Any = None, warmup: int = 0
    ) -> tuple[Generations, list[float]]:
        """Decode all queries in batches of similar source length; the generations in the order asked, and seconds per
        batch, device synchronised. `exclude`: leave each user's own items out of the search."""
        sources = generator.render(queries)
        batches = batches_of(sources.lengths, beams)
        warm = batches[:warmup]
        parts, seconds = [], []
        for number, rows in enumerate([*warm, *batches]):
            batch, own = sources.take(rows), queries.take(rows)
            began = time.perf_counter()
            part = self._generate(generator, batch, own, beams, exclude)
            if generator.backbone.device.startswith("cuda"):
                torch.cuda.synchronize()
            if number < len(warm):
                continue
            seconds.append(time.perf_counter() - began)
            check_generations(self.info, part, own, generator.index, beams, exclude)
            parts.append(part)
            self.counts.update(self.decoder.counts())
            if tick is not None:
                tick(len(rows))
        together = Generations.concatenate(parts)
        return together.take(np.argsort(np.concatenate(batches), kind="stable")), seconds

    def _generate(self, generator: Generator, batch: Sources, own: Queries, beams: int, exclude: bool) -> Generations:
        backbone: Any = Watched(generator.backbone, generator.info, generator.index.n_tokens)
        try:
            with held_to(self.info, "generate"):
                return self.decoder.generate(
                    backbone, batch, generator.index, beams=beams, exclude=own.history if exclude else None
                )
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
    one, other = (each.search(generator, some, beams, exclude=exclude)[0] for each in (searcher, plain))
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


def decode(this: Run, generator: Generator) -> None:
    """Search the test cases under each history policy; one search serves both where the decoder searches alike."""
    decoder = _prepared(this, this.component("decoder"))
    queries = this.split.queries(this.split.test)
    beams = int(this.spec.beams or 0)
    excludes = decoder.decoder.excludes_in_search
    found: dict[str, Generations] = {}
    for policy in POLICIES if excludes else POLICIES[:1]:
        warmup = WARMUP_BATCHES if policy == "mask" else 0
        with this.phase(f"decode_{policy}"), this.progress.phase(f"decoding ({policy})", len(queries), "users") as tick:
            found[policy], seconds = decoder.search(
                generator, queries, beams, exclude=excludes and policy == "mask", tick=tick, warmup=warmup
            )
        if policy == "mask":
            this.found["throughput"] = throughput(
                seconds,
                len(queries),
                batch_size=BATCH,
                beams=beams,
                batch_tokens=BATCH_TOKENS,
                precision=decoder.precision,
                device=this.device,
                warmup_batches=WARMUP_BATCHES,
                threads=torch.get_num_threads(),
                **decoder.counts,
            )
            if decoder.precision != "fp32":
                config = replace(decoder.decoder.config, precision="fp32")
                plain = _prepared(this, type(decoder.decoder)(config))
                this.found["throughput"] |= overlap(decoder, plain, generator, queries, beams, exclude=excludes)
    for policy in POLICIES:
        this.rankings[policy] = ranking(found.get(policy, found["mask"]), queries, policy, beams)
    this.found["validity"] = validity.validity(found["mask"], queries.history, KS)
    lists.write_generations(this.folder / lists.GENERATIONS_FILE, found)


def _prepared(this: Run, decoder: Decoder) -> Searcher:
    with this.held("decoder", "prepare"):
        decoder.prepare(train_view(this.data, this.split), Context(this.spec.seed, this.device, this.progress))
    return Searcher(decoder, this.info("decoder"))


def ranking(generations: Generations, queries: Queries, policy: str, beams: int) -> Ranking:
    """The ranked list of each case: what was generated, without what is no item and, under `mask`, what the user has."""
    exclude = queries.history if policy == "mask" else None
    return validity.ranking_from(generations, depth=beams, exclude=exclude)
