"""How fast lists are decoded, against Hugging Face transformers on the same weights, inputs and codes.

Every case finds the batch size that suits each side, and shows that at these sizes both give the same ranked lists; then
both run in turn. It is an error if the lists differ. For `exact`, items must have the scores that the peer's network gives
them, and no position of the peer's beam may be better.
At last, path tokens are compared with level tokens (`scopes`). The weights are random: what is measured is the search, not
what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from genrec_decoders.captured import CapturedTrieConfig, CapturedTrieDecoder

from genrec_bench.api import Decoder, ExactDecoder, Generations, Index, Progress, TrieDecoder
from genrec_bench.decoders.filter import FilterDecoder
from genrec_bench.decoders.trie import TrieConfig
from genrec_bench.protocol.validity import certified
from genrec_bench.runs.decoding import shared
from genrec_bench.runs.environment import pick_device
from genrec_bench.testing import synthetic
from genrec_speed import hf, peers, scopes
from genrec_speed.agreement import TIE, Agreement, ListsDiffer, compare, require_same
from genrec_speed.profile import computing, profile, profile_kernels
from genrec_speed.results import Grid, Result, Row, conditions
from genrec_speed.timing import ROUNDS, interleaved, quickest, synchroniser

ITEMS = 12_000
TOP = 10
Peer = Literal["prefix", "csr", "free"]
AGAINST = {
    "prefix": "HF generate + prefix function over nested dicts",
    "csr": "HF generate + vectorised trie processor",
    "free": "HF generate, unconstrained, then filtered",
}
DECODERS: dict[str, type[Decoder]] = {"trie": CapturedTrieDecoder, "exact": ExactDecoder, "filter": FilterDecoder}


@dataclass(frozen=True)
class Case:
    """One comparison: the number of users, beams and source tokens, and who searches."""

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
    peer: Any
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

    def our_lists(self, case: Case, batch: int) -> Generations:
        """Our lists, decoded `batch` users at a time."""
        sources = synthetic.sources(self.index, case.users, case.source)
        decoder, rows = self.decoders[case.decoder], np.arange(case.users)
        parts = [
            decoder.generate(self.ours, sources.take(rows[start : start + batch]), self.index, beams=case.beams)
            for start in range(0, case.users, batch)
        ]
        return Generations.concatenate(parts)

    def peer_lists(self, case: Case, batch: int, scores: bool = False) -> tuple[Any, Any]:
        """The peer's lists, decoded `batch` users at a time: tokens (users, beams, width), and scores if asked for."""
        ids, mask = self.inputs(case)
        how = {**self.constraint[case.peer], "scores": scores}

        parts = [
            peers.generate(
                self.peer,
                (ids[start : start + batch], mask[start : start + batch]),
                case.beams,
                self.index.items.width,
                **how,
            )
            for start in range(0, case.users, batch)
        ]

        tokens = np.concatenate([part[0] for part in parts])
        if case.peer == "free":
            self.filtered(tokens)

        return tokens, np.concatenate([part[1] for part in parts]) if scores else None

    def peer_scores(self, case: Case, tokens: Any) -> Any:
        """The scores that the peer's network gives our codes (users, positions, width)."""
        return peers.scores_of(self.peer, self.inputs(case), tokens)

    def inputs(self, case: Case) -> tuple[Any, Any]:
        """`input_ids` and `attention_mask` of a case's users, for the peer."""
        return hf.padded(synthetic.sources(self.index, case.users, case.source), self.device)

    def filtered(self, tokens: Any) -> list[list[int]]:
        """Each user's items among the codes (users, beams, width), best first; codes of no item are dropped."""
        return [[self.item_of[code] for code in map(tuple, codes) if code in self.item_of] for codes in tokens.tolist()]


def run(grid: Grid, progress: Progress) -> Result:
    """Rows of all cases of the grid on this machine's best device."""
    hf.transformers()
    device = pick_device("auto")
    cases = (GPU if device.startswith("cuda") else CPU)[grid]
    with progress.phase("building the network", None):
        lab = Lab.build(synthetic.catalogue(ITEMS), device)

    rows, agreements = [], []
    with progress.phase("decode", len(cases), "cases") as tick:
        for case in cases:
            row, agreement = measure(lab, case)
            rows.append(row)
            if case.decoder == "trie" and case.peer == "prefix":
                agreements.append(agreement)
            tick(1, case.name)

    rows += [identical(agreements), reduced(lab, cases[0]), *scopes.rows(device, progress)]
    if device.startswith("cuda"):
        rows += captured(lab, cases[0], progress)
    else:
        rows += profiles(lab, cases)

    sizes = {"items": ITEMS, "code tokens": lab.index.items.width, "vocabulary": lab.index.n_tokens}
    network = f"{lab.ours.size()}, random weights"
    return Result("decode", grid, tuple(rows), conditions(device, precision="fp32", network=network, **sizes))


def profiles(lab: Lab, cases: Sequence[Case]) -> list[Row]:
    """Where our time goes in the cases of goals 1 and 2, in one batch; and how many operators a GPU captures."""
    rows = [
        profile(case.name, partial(lab.our_lists, case, case.users), partial(lab.peer_lists, case, 1), case.users)
        for case in cases
        if case.goal in ("1a", "1b", "2")
    ]
    return [*rows, fixed_shapes(lab, GPU["small"][0])]


def fixed_shapes(lab: Lab, case: Case) -> Row:
    """The number of operators in one batch of the search that a GPU captures (goal 10b), counted as they run here."""
    sources = synthetic.sources(lab.index, case.users, case.source)
    decoder = CapturedTrieDecoder(CapturedTrieConfig(capture="on"))
    search = partial(decoder.generate, lab.ours, sources, lab.index, beams=case.beams)
    search()  # what is built once is not counted
    return Row(f"{case.name}, shapes that a GPU captures: operators of one batch", "", computing(search), "operators")


def identical(agreements: list[Agreement]) -> Row:
    """Goal 6: the share of all users whose whole lists were the same."""
    same = np.concatenate([agreement.same for agreement in agreements])
    equal = np.concatenate([agreement.equal for agreement in agreements])
    tied = 100 * float(np.mean([agreement.tied for agreement in agreements]))
    details = {"lists": len(same), "without any tie %": 100 * float(equal.mean()), "ties %": tied}
    name = f"lists identical, all places, ties within {TIE:g} excepted"
    return Row(name, AGAINST["prefix"], 100 * float(same.mean()), "%", goal="6", details=details)


def reduced(lab: Lab, case: Case) -> Row:
    """Decoding in bf16: how much of the first ten it shares with fp32, and how much faster it is."""
    decoders = {precision: TrieDecoder(TrieConfig(precision=precision)) for precision in ("fp32", "bf16")}
    sides = searches(lab, case, decoders)
    overlap = shared(sides["bf16"](), sides["fp32"](), TOP)
    assert overlap is not None

    ratio, low, high = interleaved(sides, rounds=ROUNDS, synchronise=synchroniser(lab.device)).ratio("fp32", "bf16")
    details = {"bf16 speed x": ratio, "from x": low, "to x": high, "lists": case.users, "rounds": ROUNDS}
    return Row(f"{case.name}, bf16: overlap@{TOP}", "the same in fp32", 100 * overlap, "%", details=details)


def captured(lab: Lab, case: Case, progress: Progress) -> list[Row]:
    """Goal 10b: one replay of a captured batch, beside the whole search with and without capture.

    ListsDiffer unless both searches find the same. No row if this device cannot capture.
    """
    on, off = CapturedTrieDecoder(CapturedTrieConfig(capture="on")), TrieDecoder()
    sides = searches(lab, case, {"captured": on, "without": off})
    lists, plain = (side() for side in sides.values())
    if on.programs.broken:
        progress.note(on.programs.broken)
        return []
    require_same(case.name, compare(lists.tokens, lists.scores, plain.tokens, plain.scores))

    (program,) = on.programs.kept.values()
    times = interleaved({"replay": program.replay, **sides}, synchronise=synchroniser(lab.device))
    milliseconds = [1e3 * seconds for seconds in times.seconds["replay"]]
    details = {
        "with copies ms": 1e3 * times.median("captured"),
        "without capture ms": 1e3 * times.median("without"),
        "rounds": ROUNDS,
    }
    name, median = f"{case.name}: one captured batch", 1e3 * times.median("replay")
    row = Row(name, "", median, "ms", min(milliseconds), max(milliseconds), "10b", details)
    return [row, *profile_kernels(f"{case.name}, one captured batch", program.replay)]


def searches(lab: Lab, case: Case, decoders: dict[str, TrieDecoder]) -> dict[str, Callable[[], Generations]]:
    """One search of a case by each decoder."""
    sources = synthetic.sources(lab.index, case.users, case.source)
    return {
        name: partial(decoder.generate, lab.ours, sources, lab.index, beams=case.beams)
        for name, decoder in decoders.items()
    }


def measure(lab: Lab, case: Case) -> tuple[Row, Agreement]:
    """One case: batch sizes are chosen, their lists compared, their rounds timed. ListsDiffer if the lists differ."""
    sizes = sorted({size for size in (1, 2, 4, 8, 16) if size < case.users} | {case.users}, reverse=True)
    our_batch = quickest(lambda size: lab.our_lists(case, size), sizes)
    peer_batch = quickest(lambda size: lab.peer_lists(case, size), sizes)

    lists = lab.our_lists(case, our_batch)
    tokens, scores = lab.peer_lists(case, peer_batch, scores=True)
    agreement = agree(case, lists, tokens, scores, partial(lab.peer_scores, case))

    sides = {"peer": lambda: lab.peer_lists(case, peer_batch), "ours": lambda: lab.our_lists(case, our_batch)}
    times = interleaved(sides, rounds=case.rounds, warmups=0, synchronise=synchroniser(lab.device))
    ratio, low, high = times.ratio("peer", "ours")
    details = {
        "ours ms/user": 1e3 * times.median("ours") / case.users,
        "theirs ms/user": 1e3 * times.median("peer") / case.users,
        "batch": f"{our_batch} / {peer_batch}",
        "rounds": case.rounds,
        "same lists %": agreement.share,
        "ties %": 100 * agreement.tied,
        f"certified@{TOP} %": 100 * float(certified(lists, lists.items >= 0, TOP).mean()),
    }

    counts = lab.decoders[case.decoder].counts()
    if counts.get("captured_batches"):
        details["captured"] = "yes"
    elif counts.get("fixed_shape_batches"):
        details["captured"] = "no, fixed shapes only"
    return Row(case.name, AGAINST[case.peer], ratio, "x", low, high, case.goal, details), agreement


def agree(case: Case, lists: Generations, tokens: Any, scores: Any, peer_scores: Callable[[Any], Any]) -> Agreement:
    """The agreement of our lists with the peer's tokens and scores. ListsDiffer if they do not agree.

    A beam's lists must be the same. `exact` must be at least as good at each of the first ten positions, as a beam that
    lost nothing would be; `peer_scores` gives the scores of our codes by the peer's network.
    """
    if case.decoder != "exact":
        return require_same(case.name, compare(lists.tokens, lists.scores, tokens, scores))

    codes, our_top, peer_top = lists.tokens[:, :TOP], lists.scores[:, :TOP], scores[:, :TOP]
    if not (np.abs(our_top - peer_scores(codes)) <= TIE).all():
        raise ListsDiffer(f"{case.name}: the exact ranking gives items other scores than the network", case=case.name)
    if any(len(np.unique(user_codes, axis=0)) < len(user_codes) for user_codes in codes):
        raise ListsDiffer(f"{case.name}: the exact ranking lists an item twice", case=case.name)
    if not (our_top >= peer_top - TIE).all():
        raise ListsDiffer(f"{case.name}: a beam found better items than the exact ranking", case=case.name)
    return compare(codes, our_top, tokens[:, :TOP], peer_top)
