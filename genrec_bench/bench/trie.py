"""The catalogue's trie: time to build, size, and what the constraint costs a decoding step.

Against nested dictionaries and the prefix function over them, with equal children at every node that is asked for.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genrec_bench.bench import hf, peers, synthetic
from genrec_bench.bench.agreement import ListsDiffer
from genrec_bench.bench.results import (
    Grid,
    Result,
    Row,
    conditions,
)
from genrec_bench.bench.timing import (
    ROUNDS,
    Timings,
    interleaved,
    synchroniser,
)
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.progress import Progress
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.runs.environment import pick_device

DICTIONARIES = "nested dictionaries with the end token, as GENRE, LightLM and OpenP5 keep them"
BARE = "the same without the end token"
PROCESSOR = "HF's prefix-constrained logits processor"
MILLION = ((128, 32, 16), 1_000_000)  # children at each level above the items, and the items
TEN_MILLION = ((100, 100, 10), 10_000_000)
TEN_THOUSAND = ((100,), 10_000)  # like TEN_MILLION, at most 100 children
USERS, BEAMS, SOURCE = 16, 20, 80
STEPS = 20  # constraint steps in one timing
END = 1  # T5's end token
BUILDS = {"small": 3, "full": ROUNDS}  # rounds of what takes seconds each


def run(grid: Grid, progress: Progress) -> Result:
    """Building first, then the step, alone and within decoding."""
    hf.transformers()
    device = pick_device("auto")
    rows: list[Row] = []
    parts = (building, large, steps, share)
    with progress.phase("trie", len(parts), "parts") as tick:
        for part in parts:
            rows += part(grid, device)
            tick(1, part.__name__)
    told = {"users": USERS, "beams": BEAMS, "source tokens": SOURCE}
    return Result("trie", grid, tuple(rows), conditions(device, **told))


def table(families: Sequence[int], items: int) -> CodeTable:
    """Clustered codes, items in any order."""
    codes = synthetic.clustered_codes(items, families)
    np.random.default_rng(0).shuffle(codes)
    return CodeTable(codes)


def building(grid: Grid, device: str) -> list[Row]:
    """Goals 4a and 4b: a million items, against nested dictionaries; and against those without an end token."""
    codes, rounds = table(*MILLION), BUILDS[grid]
    ended = np.pad(codes.codes, ((0, 0), (0, 1)), constant_values=END)
    trie, rows = Trie.build(codes), []
    size, excluding = trie.nbytes, trie.nbytes + trie.places.nbytes
    check_build(trie, codes, peers.NestedTrie(codes.codes))
    for against, theirs, goals in ((DICTIONARIES, ended, ("4a", "4b")), (BARE, codes.codes, (None, None))):
        sides = {"theirs": lambda theirs=theirs: peers.NestedTrie(theirs), "ours": lambda: Trie.build(codes)}
        times = interleaved(sides, rounds=rounds, warmups=1)  # type: ignore[arg-type]
        seconds = {"ours s": times.median("ours"), "theirs s": times.median("theirs"), "rounds": rounds}
        rows.append(Row("trie of 1M items: time", against, *_ratio(times), goal=goals[0], details=seconds))
        bytes_ = dictionary_bytes(peers.NestedTrie(theirs).root)
        megabytes = {"ours MB": size / 1e6, "ours MB, able to exclude": excluding / 1e6, "theirs MB": bytes_ / 1e6}
        rows.append(Row("trie of 1M items: size", against, bytes_ / size, "x", goal=goals[1], details=megabytes))
    return rows


def check_build(trie: Trie, table: CodeTable, nested: peers.NestedTrie) -> None:
    """ListsDiffer unless each code of the table leads to its item in the trie, and both sides hold these codes alone."""
    node = torch.zeros(len(table), dtype=torch.int32, device=trie.device)
    for depth, column in enumerate(torch.from_numpy(table.codes).to(trie.device).unbind(1)):
        node = trie.step(node, column, depth)
    items = torch.arange(len(table), dtype=torch.int32, device=trie.device)
    same = set(_codes(nested.root)) == {tuple(filter(None, code)) for code in (table.codes + 1).tolist()}
    if not (same and trie.n_items == len(table) and torch.equal(trie.item_at(node), items)):
        raise ListsDiffer("a trie and the nested dictionaries hold different codes", case="trie")


def _codes(root: dict[int, Any]) -> Iterator[tuple[int, ...]]:
    """Every way through nested dictionaries to an empty one."""
    waiting: list[tuple[tuple[int, ...], dict[int, Any]]] = [((), root)]
    while waiting:
        code, node = waiting.pop()
        waiting += [((*code, token), child) for token, child in node.items()]
        if not node:
            yield code


def dictionary_bytes(root: dict[int, Any]) -> int:
    """Bytes of nested dictionaries: each dictionary, and each of their numbers once."""
    total, numbers, waiting = 0, {}, [root]
    while waiting:
        node = waiting.pop()
        total += sys.getsizeof(node)
        for token, child in node.items():
            numbers[id(token)] = sys.getsizeof(token)
            waiting.append(child)
    return total + sum(numbers.values())


def large(grid: Grid, device: str) -> list[Row]:
    """Goal 4c: ten million items, in CPU seconds; and what it saves to read them beside their index."""
    codes, told = table(*TEN_MILLION), []
    for _ in range(BUILDS[grid]):
        began = time.process_time()
        trie = Trie.build(codes)
        told.append(time.process_time() - began)
    details = {"ours MB": trie.nbytes / 1e6, "rounds": len(told)}
    name = "trie of 10M items: time"
    return [
        Row(name, "", statistics.median(told), "CPU s", min(told), max(told), "4c", details=details),
        reading(codes, trie, len(told)),
    ]


def reading(codes: CodeTable, trie: Trie, rounds: int) -> Row:
    """The saved trie, read beside its index and gone through once, against building it."""
    with tempfile.TemporaryDirectory() as folder:
        index = Index(codes, None, int(codes.codes.max()) + 1, folder=Path(folder))
        trie.save(Path(folder), index)
        sides = {
            "theirs": lambda: Trie.build(codes),
            "ours": lambda: [array.sum() for array in vars(Trie.of(index)).values() if isinstance(array, Tensor)],
        }
        times = interleaved(sides, rounds=rounds, warmups=1)
    ratio, low, high = times.ratio("theirs", "ours")
    seconds = {"ours s": times.median("ours"), "theirs s": times.median("theirs"), "rounds": rounds}
    return Row(
        "trie of 10M items: mapped from its file, gone through once",
        "building it",
        ratio,
        "x",
        low,
        high,
        details=seconds,
    )


def steps(grid: Grid, device: str) -> list[Row]:
    """Goals 3a and 3c: a step's constraint for all beams, mean of the steps after the first; and how it grows."""
    index = synthetic.catalogue(12_000)
    trie, nested = Trie.build(index.items, device), peers.NestedTrie(index.items.codes)
    picked = np.random.default_rng(0).integers(0, len(index.items), USERS * BEAMS)
    codes = torch.from_numpy(index.items.codes[picked].astype(np.int64)).to(device)
    logp = torch.randn(USERS, BEAMS, index.n_tokens, device=device).log_softmax(-1)
    scores = torch.nn.functional.pad(logp, (1, 0)).flatten(0, 1)
    processor = hf.transformers().generation.logits_process.PrefixConstrainedLogitsProcessor(nested.allowed, BEAMS)
    ours, theirs, node = [], [], torch.zeros_like(codes[:, 0])
    for depth in range(1, index.items.width):
        node = trie.step(node, codes[:, depth - 1], depth - 1)
        ours.append((trie, node.view(USERS, BEAMS), logp, depth))
        theirs.append((torch.nn.functional.pad(codes[:, :depth] + 1, (1, 0)), scores))
        check_step(*constrained(*ours[-1]), processor(*theirs[-1]))
    sides = {
        "theirs": lambda: [processor(*each) for each in theirs],
        "ours": lambda: [[constrained(*each) for each in ours] for _ in range(STEPS)],
    }
    times = interleaved(sides, rounds=ROUNDS, synchronise=synchroniser(device))
    ratio, low, high = (STEPS * value for value in times.ratio("theirs", "ours"))
    details = {
        "ours ms": 1e3 * times.median("ours") / STEPS / len(ours),
        "theirs ms": 1e3 * times.median("theirs") / len(theirs),
        "rounds": ROUNDS,
    }
    return [
        Row("constraint of one step, 12k items", PROCESSOR, ratio, "x", low, high, "3a", details),
        growth(device),
    ]


def growth(device: str) -> Row:
    """The same step at 10M and at 10k items, families of 100 at both."""
    sides, logp = {}, torch.randn(USERS, BEAMS, synthetic.ALPHABET * 4, device=device).log_softmax(-1)
    for name, (families, items) in (("10M", TEN_MILLION), ("10k", TEN_THOUSAND)):
        trie = Trie.build(table(families, items), device)
        depth = len(families)  # of the last choice, among a hundred items
        last = np.flatnonzero(np.diff(trie.indptr.cpu().numpy()) == trie.families[depth])
        node = torch.from_numpy(np.random.default_rng(0).choice(last, (USERS, BEAMS)).astype(np.int32)).to(device)
        given = trie, node, logp, depth
        sides[name] = lambda given=given: [constrained(*given) for _ in range(STEPS)]  # type: ignore[misc]
    times = interleaved(sides, rounds=3 * ROUNDS, synchronise=synchroniser(device))
    ratio, low, high = times.ratio("10M", "10k")
    details = {f"{name} ms": 1e3 * times.median(name) / STEPS for name in sides} | {"rounds": 3 * ROUNDS}
    return Row("constraint of one step, 10M items", "the same at 10k items", ratio, "x", low, high, "3c", details)


def constrained(trie: Trie, node: Tensor, logp: Tensor, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """What the search does for its constraint: the children of all beams, and their log-probabilities, -inf for none."""
    token, child, there = trie.children(node, depth)
    return token, child, torch.where(there, logp.gather(2, token.long()), -torch.inf)


def check_step(token: Tensor, child: Tensor, added: Tensor, theirs: Tensor) -> None:
    """ListsDiffer unless both sides leave the same tokens the same log-probabilities."""
    ours = torch.full_like(theirs, -torch.inf)
    ours.scatter_reduce_(1, token.long().flatten(0, 1) + 1, added.flatten(0, 1), "amax")
    if not torch.equal(ours, theirs):
        raise ListsDiffer("the constraint of one step: both sides allow different tokens", case="step", user=0)


def share(grid: Grid, device: str) -> list[Row]:
    """Goal 3b: the constraint's part of decoding, all steps of a search with all beams alive."""
    index = synthetic.catalogue(12_000)
    backbone, decoder = synthetic.network(index.n_tokens, device), TrieDecoder()
    batch = synthetic.sources(index, USERS, SOURCE)
    found = decoder.generate(backbone, batch, index, beams=BEAMS)
    trie = decoder.trie(index, device)
    logp = torch.randn(USERS, BEAMS, index.n_tokens, device=device).log_softmax(-1)
    nodes = [torch.zeros(USERS, BEAMS, dtype=torch.int32, device=device)]
    for tokens in torch.from_numpy(found.tokens).to(device).unbind(2)[:-1]:
        nodes.append(trie.step(nodes[-1], tokens))
    sides = {
        "constraint": lambda: [
            [constrained(trie, node, logp, depth) for depth, node in enumerate(nodes)] for _ in range(STEPS)
        ],
        "decode": lambda: decoder.generate(backbone, batch, index, beams=BEAMS),
    }
    times = interleaved(sides, rounds=ROUNDS, synchronise=synchroniser(device))
    value, low, high = (100 / STEPS * part for part in times.ratio("constraint", "decode"))
    details = _milliseconds(times)
    return [Row("constraint's share of decoding", "all of decoding", value, "%", low, high, "3b", details)]


def _ratio(times: Timings) -> tuple[float, str, float, float]:
    median, low, high = times.ratio("theirs", "ours")
    return median, "x", low, high


def _milliseconds(times: Timings) -> dict[str, float]:
    return {
        "constraint ms": 1e3 * times.median("constraint") / STEPS,
        "decode ms": 1e3 * times.median("decode"),
        "rounds": ROUNDS,
    }
