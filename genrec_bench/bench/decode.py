"""How fast lists are decoded: this package against Hugging Face transformers, on the same weights, inputs and codes.

Every case finds the batch size that suits each side, shows that at these sizes both give the same ranked lists (`exact`:
that its items have the scores that their network gives them, and no item of their beam's lists is better at that place), and
is an error otherwise; then both run, in turn.
Random weights: what is measured is the search, not what it finds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from genrec_bench.bench import hf, peers, synthetic
from genrec_bench.bench.agreement import (
    TIE,
    Agreement,
    ListsDiffer,
    compare,
    insist,
)
from genrec_bench.bench.profile import computing, profile, profile_kernels
from genrec_bench.bench.results import (
    Grid,
    Result,
    Row,
    conditions,
)
from genrec_bench.bench.timing import ROUNDS, interleaved, synchroniser
from genrec_bench.core.codes import Index
from genrec_bench.core.progress import Progress
from genrec_bench.core.rankings import Generations
from genrec_bench.decoders.exact import ExactDecoder
from genrec_bench.decoders.filter import FilterDecoder
from genrec_bench.decoders.trie import TrieConfig, TrieDecoder
from genrec_bench.host.contracts import Decoder
from genrec_bench.protocol.validity import certified
from genrec_bench.runs.decoding import shared
from genrec_bench.runs.environment import pick_device

ITEMS = 12_000
TOP = 10
Peer = Literal["prefix", "csr", "free"]
AGAINST = {
    "prefix": "HF generate + prefix function over nested dicts",
    "csr": "HF generate + vectorised trie processor",
    "free": "HF generate, unconstrained, then filtered",
}
DECODERS: dict[str, type[Decoder]] = {"trie": TrieDecoder, "exact": ExactDecoder, "filter": FilterDecoder}


@dataclass(frozen=True)
class Case:
    """One comparison: how many users of how many source tokens, searched with how many beams by whom."""

    users: int
    beams: int
    source: int
    goal: str | None = None
    decoder: str = "trie"
    peer: Peer = "prefix"
    rounds: int = ROUNDS

    @property
    def name(self) -> str:
        """The case in words."""
        users = f"{self.users} users" if self.users > 1 else "one user"
        return f"`{self.decoder}`, {users}, {self.beams} beams, {self.source} source tokens"


CPU: dict[Grid, tuple[Case, ...]] = {
    "small": (
        Case(16, 20, 80, "1a"),
        Case(1, 20, 80, "1b"),
        Case(4, 50, 200, "2"),
        Case(4, 50, 80, "5", decoder="exact"),
    ),
    "full": (
        Case(16, 20, 80, "1a"),
        Case(1, 20, 80, "1b"),
        Case(4, 50, 200, "2"),
        Case(1, 50, 200, "2"),
        Case(2, 50, 400, "2"),
        Case(4, 50, 80, "5", decoder="exact"),
        Case(16, 20, 80, peer="csr"),
        Case(16, 20, 80, decoder="filter", peer="free"),
        Case(4, 50, 200, peer="csr"),
        Case(4, 50, 200, decoder="filter", peer="free"),
    ),
}
GPU: dict[Grid, tuple[Case, ...]] = {
    "small": (Case(32, 20, 80, "10a"), Case(1, 20, 80)),
    "full": (
        Case(32, 20, 80, "10a"),
        Case(1, 20, 80),
        Case(32, 20, 80, peer="csr"),
        Case(32, 20, 80, decoder="filter", peer="free"),
        Case(32, 50, 200),
        Case(32, 50, 80, decoder="exact"),
    ),
}


@dataclass
class Lab:
    """The network on both sides, and its catalogue."""

    index: Index
    ours: Any
    theirs: Any
    device: str
    decoders: dict[str, Decoder] = field(default_factory=lambda: {name: cls() for name, cls in DECODERS.items()})

    def __post_init__(self) -> None:
        self.nested = peers.NestedTrie(self.index.items.codes)
        self.item_of = {tuple(code): item for item, code in enumerate(self.index.items.codes.tolist())}
        trie = self.decoders["trie"].trie(self.index, self.device)  # type: ignore[attr-defined]
        self.constraint: dict[Peer, dict[str, Any]] = {
            "prefix": {"allowed": self.nested.allowed},
            "csr": {"processor": peers.TrieProcessor(trie)},
            "free": {},
        }

    @classmethod
    def build(cls, index: Index, device: str, **sizes: int) -> Lab:
        """The benchmark's network; `sizes` for a smaller one."""
        backbone = synthetic.network(index.n_tokens, device, **sizes)
        return cls(index, backbone, peers.as_transformers(backbone.net), device)

    def we(self, case: Case, batch: int) -> Generations:
        """Our lists, `batch` users at a time."""
        sources = synthetic.sources(self.index, case.users, case.source)
        decoder, rows = self.decoders[case.decoder], np.arange(case.users)
        parts = [
            decoder.generate(self.ours, sources.take(rows[at : at + batch]), self.index, beams=case.beams)
            for at in range(0, case.users, batch)
        ]
        return Generations.concatenate(parts)

    def they(self, case: Case, batch: int, scores: bool = False) -> tuple[Any, Any]:
        """Their lists, `batch` users at a time: tokens (users, beams, width), and scores if asked for."""
        ids, mask = peers.padded(synthetic.sources(self.index, case.users, case.source), self.device)
        how = {**self.constraint[case.peer], "scores": scores}
        parts = [
            peers.generate(
                self.theirs, (ids[at : at + batch], mask[at : at + batch]), case.beams, self.index.items.width, **how
            )
            for at in range(0, case.users, batch)
        ]
        tokens = np.concatenate([part[0] for part in parts])
        if case.peer == "free":
            self.filtered(tokens)
        return tokens, np.concatenate([part[1] for part in parts]) if scores else None

    def their_scores(self, case: Case, tokens: Any) -> Any:
        """What their network scores our codes (users, places, width)."""
        inputs = peers.padded(synthetic.sources(self.index, case.users, case.source), self.device)
        return peers.scores_of(self.theirs, inputs, tokens)

    def filtered(self, tokens: Any) -> list[list[int]]:
        """Each user's items among the codes (users, beams, width), best first: what is no item is dropped."""
        return [[self.item_of[code] for code in map(tuple, codes) if code in self.item_of] for codes in tokens.tolist()]


def run(grid: Grid, progress: Progress) -> Result:
    """Rows of all cases of the grid on this machine's best device."""
    hf.transformers()
    device = pick_device("auto")
    cases = (GPU if device.startswith("cuda") else CPU)[grid]
    rows, agreements = [], []
    with progress.phase("building the network", None):
        lab = Lab.build(synthetic.catalogue(ITEMS), device)
    with progress.phase("decode", len(cases), "cases") as tick:
        for case in cases:
            row, agreement = measure(lab, case)
            rows.append(row)
            if case.decoder == "trie" and case.peer == "prefix":
                agreements.append(agreement)
            tick(1, case.name)
    rows += [identical(agreements), reduced(lab, cases[0])]
    if device.startswith("cuda"):
        rows += captured(lab, cases[0], progress)
    else:
        rows += profiles(lab, cases)
    told = {"items": ITEMS, "code tokens": lab.index.items.width, "vocabulary": lab.index.n_tokens}
    network = f"{lab.ours.size()}, random weights"
    return Result("decode", grid, tuple(rows), conditions(device, precision="fp32", network=network, **told))


def profiles(lab: Lab, cases: Sequence[Case]) -> list[Row]:
    """Where our time goes in the cases of goals 1 and 2, at one batch; and how many operators a GPU captures."""
    rows = [
        profile(case.name, partial(lab.we, case, case.users), partial(lab.they, case, 1), case.users)
        for case in cases
        if case.goal in ("1a", "1b", "2")
    ]
    return [*rows, fixed_shapes(lab, GPU["small"][0])]


def fixed_shapes(lab: Lab, case: Case) -> Row:
    """The number of operators in one batch of the search that a GPU captures (goal 10b), counted here, where each is run."""
    sources = synthetic.sources(lab.index, case.users, case.source)
    decoder = TrieDecoder(TrieConfig(capture="on"))
    search = partial(decoder.generate, lab.ours, sources, lab.index, beams=case.beams)
    search()  # what is built once is not counted
    return Row(f"{case.name}, shapes that a GPU captures: operators of one batch", "", computing(search), "operators")


def identical(agreements: list[Agreement]) -> Row:
    """Goal 6: the share of all users whose whole lists were the same."""
    same = np.concatenate([found.same for found in agreements])
    equal = np.concatenate([found.equal for found in agreements])
    details = {"lists": len(same), "without any tie %": 100 * float(equal.mean())}
    tied = 100 * float(np.mean([found.tied for found in agreements]))
    name = f"lists identical, all places, ties within {TIE:g} excepted"
    return Row(name, AGAINST["prefix"], 100 * float(same.mean()), "%", goal="6", details={**details, "ties %": tied})


def reduced(lab: Lab, case: Case) -> Row:
    """The bf16 mode: how much of the first ten it shares with fp32, and what that buys."""
    sources = synthetic.sources(lab.index, case.users, case.source)
    decoders = {precision: TrieDecoder(TrieConfig(precision=precision)) for precision in ("fp32", "bf16")}
    sides = {
        name: lambda decoder=decoder: decoder.generate(lab.ours, sources, lab.index, beams=case.beams)
        for name, decoder in decoders.items()
    }
    alike = shared(sides["bf16"](), sides["fp32"](), TOP)
    assert alike is not None
    ratio, low, high = interleaved(sides, rounds=ROUNDS, synchronise=synchroniser(lab.device)).ratio("fp32", "bf16")
    details = {"bf16 speed x": ratio, "from x": low, "to x": high, "lists": case.users, "rounds": ROUNDS}
    return Row(
        f"{case.name}, bf16: overlap@{TOP}",
        "the same in fp32",
        100 * alike,
        "%",
        details=details,
    )


def captured(lab: Lab, case: Case, progress: Progress) -> list[Row]:
    """Goal 10b: one replay of a batch's captured search, beside the search with its copies and the one without capture.
    ListsDiffer unless both find the same; no row where this device captures nothing."""
    sources = synthetic.sources(lab.index, case.users, case.source)
    on, off = TrieDecoder(TrieConfig(capture="on")), TrieDecoder(TrieConfig(capture="off"))
    sides = {
        name: lambda decoder=decoder: decoder.generate(lab.ours, sources, lab.index, beams=case.beams)
        for name, decoder in (("captured", on), ("without", off))
    }
    found, plain = (side() for side in sides.values())
    if on.programs.broken:
        progress.note(on.programs.broken)
        return []
    insist(case.name, compare(found.tokens, found.scores, plain.tokens, plain.scores))
    (program,) = on.programs.kept.values()
    times = interleaved({"replay": program.replay, **sides}, synchronise=synchroniser(lab.device))
    milliseconds = [1e3 * each for each in times.seconds["replay"]]
    details = {
        "with copies ms": 1e3 * times.median("captured"),
        "without capture ms": 1e3 * times.median("without"),
        "rounds": ROUNDS,
    }
    name, median = f"{case.name}: one captured batch", 1e3 * times.median("replay")
    row = Row(name, "", median, "ms", min(milliseconds), max(milliseconds), "10b", details)
    return [row, *profile_kernels(f"{case.name}, one captured batch", program.replay)]


def measure(lab: Lab, case: Case) -> tuple[Row, Agreement]:
    """One case: the batch sizes chosen, the lists of just these compared, the rounds timed. ListsDiffer if the lists do."""
    sizes = sorted({size for size in (1, 2, 4, 8, 16) if size < case.users} | {case.users}, reverse=True)
    ours, theirs = quickest(lambda size: lab.we(case, size), sizes), quickest(lambda size: lab.they(case, size), sizes)
    found = lab.we(case, ours)
    agreement = agree(case, found, *lab.they(case, theirs, scores=True), told=partial(lab.their_scores, case))
    sides = {"theirs": lambda: lab.they(case, theirs), "ours": lambda: lab.we(case, ours)}
    times = interleaved(sides, rounds=case.rounds, warmups=0, synchronise=synchroniser(lab.device))
    ratio, low, high = times.ratio("theirs", "ours")
    details = {
        "ours ms/user": 1e3 * times.median("ours") / case.users,
        "theirs ms/user": 1e3 * times.median("theirs") / case.users,
        "batch": f"{ours} / {theirs}",
        "rounds": case.rounds,
        "same lists %": agreement.share,
        "ties %": 100 * agreement.tied,
        f"certified@{TOP} %": 100 * float(certified(found, found.items >= 0, TOP).mean()),
    }
    counts = lab.decoders[case.decoder].counts()
    if counts.get("captured_batches"):
        details["captured"] = "yes"
    elif counts.get("fixed_shape_batches"):
        details["captured"] = "no, fixed shapes only"
    return Row(case.name, AGAINST[case.peer], ratio, "x", low, high, case.goal, details), agreement


def quickest(side: Callable[[int], Any], sizes: list[int]) -> int:
    """The batch size that `side` is fastest with, after an untimed run; the best two are tried again."""
    side(sizes[0])
    if len(sizes) == 1:
        return sizes[0]

    def seconds(size: int) -> float:
        began = time.perf_counter()
        side(size)
        return time.perf_counter() - began

    first = {size: seconds(size) for size in sizes}
    best = sorted(first, key=first.__getitem__)[:2]
    return min(best, key=lambda size: min(first[size], seconds(size)))


def agree(case: Case, found: Generations, tokens: Any, scores: Any, told: Callable[[Any], Any]) -> Agreement:
    """The agreement of both sides. A beam's lists have to be the same; `exact` has to be at least as good at every one of
    the first places, which is what a beam that lost nothing would be, by scores that `told`, their network, gives its codes."""
    if case.decoder != "exact":
        return insist(case.name, compare(found.tokens, found.scores, tokens, scores))
    codes, ours, theirs = found.tokens[:, :TOP], found.scores[:, :TOP], scores[:, :TOP]
    if not (np.abs(ours - told(codes)) <= TIE).all():
        raise ListsDiffer(f"{case.name}: the exact ranking gives items other scores than their network", case=case.name)
    if any(len(np.unique(each, axis=0)) < len(each) for each in codes):
        raise ListsDiffer(f"{case.name}: the exact ranking lists an item twice", case=case.name)
    if not (ours >= theirs - TIE).all():
        raise ListsDiffer(f"{case.name}: a beam found better items than the exact ranking", case=case.name)
    return compare(codes, ours, tokens[:, :TOP], theirs)
