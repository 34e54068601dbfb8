"""The catalogue's trie: the time to build it, its size, and the cost of the constraint in a decoding step.

The peers are nested dictionaries and the prefix function over them. Both sides must give equal children at every node
that is asked for.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genrec_bench.api import CodeTable, Index, Progress, Trie, TrieDecoder
from genrec_bench.core.files import scratch
from genrec_bench.runs.environment import pick_device
from genrec_bench.testing import synthetic
from genrec_speed import hf, peers
from genrec_speed.agreement import ListsDiffer
from genrec_speed.results import Grid, Result, Row, conditions
from genrec_speed.timing import ROUNDS, Timings, interleaved, synchroniser

DICTIONARIES = "nested dictionaries with the end token, as GENRE, LightLM and OpenP5 keep them"
BARE = "the same without the end token"
PROCESSOR = "HF's prefix-constrained logits processor"
MILLION = ((128, 32, 16), 1_000_000)  # children at each level above the items, and the items
TEN_MILLION = ((100, 100, 10), 10_000_000)
TEN_THOUSAND = ((100,), 10_000)  # like TEN_MILLION, at most 100 children
USERS, BEAMS, SOURCE = 16, 20, 80
STEPS = 20  # constraint steps in one timing
END = 1  # T5's end token
BUILDS = {"small": 3, "full": ROUNDS}  # rounds of what takes seconds a round


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
    sizes = {"users": USERS, "beams": BEAMS, "source tokens": SOURCE}
    return Result("trie", grid, tuple(rows), conditions(device, **sizes))


def table(children: Sequence[int], items: int) -> CodeTable:
    """Clustered codes, items in random order."""
    codes = synthetic.clustered_codes(items, children)
    np.random.default_rng(0).shuffle(codes)
    return CodeTable(codes)


def building(grid: Grid, device: str) -> list[Row]:
    """Goals 4a and 4b: a million items, against nested dictionaries with and without an end token."""
    codes, rounds = table(*MILLION), BUILDS[grid]
    trie, rows = Trie.build(codes), []
    check_build(trie, codes, peers.NestedTrie(codes.codes))

    ended = np.pad(codes.codes, ((0, 0), (0, 1)), constant_values=END)
    size, excluding = trie.nbytes, trie.nbytes + trie.places.nbytes
    for against, nested, goals in ((DICTIONARIES, ended, ("4a", "4b")), (BARE, codes.codes, (None, None))):
        sides = {"peer": lambda nested=nested: peers.NestedTrie(nested), "ours": lambda: Trie.build(codes)}
        times = interleaved(sides, rounds=rounds, warmups=1)  # type: ignore[arg-type]
        rows.append(_ratio_row("trie of 1M items: time", against, times, goals[0], rounds))

        peer_size = dictionary_bytes(peers.NestedTrie(nested).root)
        megabytes = {"ours MB": size / 1e6, "ours MB, able to exclude": excluding / 1e6, "theirs MB": peer_size / 1e6}
        rows.append(Row("trie of 1M items: size", against, peer_size / size, "x", goal=goals[1], details=megabytes))
    return rows


def check_build(trie: Trie, table: CodeTable, nested: peers.NestedTrie) -> None:
    """ListsDiffer unless both sides hold the table's codes and no others, and the trie maps each to its item."""
    node = torch.zeros(len(table), dtype=torch.int32, device=trie.device)
    for depth, column in enumerate(torch.from_numpy(table.codes).to(trie.device).unbind(1)):
        node = trie.step(node, column, depth)

    items = torch.arange(len(table), dtype=torch.int32, device=trie.device)
    same = set(_codes(nested.root)) == {tuple(filter(None, code)) for code in (table.codes + 1).tolist()}
    if not (same and trie.n_items == len(table) and torch.equal(trie.item_at(node), items)):
        raise ListsDiffer("a trie and the nested dictionaries hold different codes", case="trie")


def _codes(root: dict[int, Any]) -> Iterator[tuple[int, ...]]:
    """Every path through nested dictionaries to an empty one."""
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
    """Goal 4c: ten million items, in CPU seconds; and how much faster it is to read a trie saved beside its index."""
    codes, seconds = table(*TEN_MILLION), []
    for _ in range(BUILDS[grid]):
        began = time.process_time()
        trie = Trie.build(codes)
        seconds.append(time.process_time() - began)

    median, details = statistics.median(seconds), {"ours MB": trie.nbytes / 1e6, "rounds": len(seconds)}
    built = Row("trie of 10M items: time", "", median, "CPU s", min(seconds), max(seconds), "4c", details)
    return [built, reading(codes, trie, len(seconds))]


def reading(codes: CodeTable, trie: Trie, rounds: int) -> Row:
    """A saved trie, read beside its index and gone through once, against building it."""
    with scratch("bench") as folder:
        index = Index(codes, None, int(codes.codes.max()) + 1, folder=folder)
        trie.save(folder, index)
        sides = {
            "peer": lambda: Trie.build(codes),
            "ours": lambda: [array.sum() for array in vars(Trie.of(index)).values() if isinstance(array, Tensor)],
        }
        times = interleaved(sides, rounds=rounds, warmups=1)
    return _ratio_row("trie of 10M items: mapped from its file, gone through once", "building it", times, None, rounds)


def steps(grid: Grid, device: str) -> list[Row]:
    """Goals 3a and 3c: a step's constraint for all beams, the mean of the steps after the first; and how it grows."""
    index = synthetic.catalogue(12_000)
    trie, nested = Trie.build(index.items, device), peers.NestedTrie(index.items.codes)
    processor = hf.transformers().generation.logits_process.PrefixConstrainedLogitsProcessor(nested.allowed, BEAMS)

    picked = np.random.default_rng(0).integers(0, len(index.items), USERS * BEAMS)
    codes = torch.from_numpy(index.items.codes[picked].astype(np.int64)).to(device)
    logp = torch.randn(USERS, BEAMS, index.n_tokens, device=device).log_softmax(-1)
    scores = torch.nn.functional.pad(logp, (1, 0)).flatten(0, 1)

    our_steps, peer_steps, node = [], [], torch.zeros_like(codes[:, 0])
    for depth in range(1, index.items.width):
        node = trie.step(node, codes[:, depth - 1], depth - 1)
        our_steps.append((trie, node.view(USERS, BEAMS), logp, depth))
        peer_steps.append((torch.nn.functional.pad(codes[:, :depth] + 1, (1, 0)), scores))
        check_step(*constrained(*our_steps[-1]), processor(*peer_steps[-1]))

    sides = {
        "peer": lambda: [processor(*step) for step in peer_steps],
        "ours": lambda: [[constrained(*step) for step in our_steps] for _ in range(STEPS)],
    }
    times = interleaved(sides, rounds=ROUNDS, synchronise=synchroniser(device))
    ratio, low, high = (STEPS * value for value in times.ratio("peer", "ours"))
    details = {
        "ours ms": 1e3 * times.median("ours") / STEPS / len(our_steps),
        "theirs ms": 1e3 * times.median("peer") / len(peer_steps),
        "rounds": ROUNDS,
    }
    step = Row("constraint of one step, 12k items", PROCESSOR, ratio, "x", low, high, "3a", details)
    return [step, growth(device)]


def growth(device: str) -> Row:
    """The same step at 10M and at 10k items, with at most 100 children a node in both."""
    sides, logp = {}, torch.randn(USERS, BEAMS, synthetic.ALPHABET * 4, device=device).log_softmax(-1)
    for name, (children, items) in (("10M", TEN_MILLION), ("10k", TEN_THOUSAND)):
        trie = Trie.build(table(children, items), device)
        depth = len(children)  # of the last step, among a hundred items
        last = np.flatnonzero(np.diff(trie.indptr.cpu().numpy()) == trie.max_children[depth])
        node = torch.from_numpy(np.random.default_rng(0).choice(last, (USERS, BEAMS)).astype(np.int32)).to(device)
        step = trie, node, logp, depth
        sides[name] = lambda step=step: [constrained(*step) for _ in range(STEPS)]  # type: ignore[misc]

    times = interleaved(sides, rounds=3 * ROUNDS, synchronise=synchroniser(device))
    ratio, low, high = times.ratio("10M", "10k")
    details = {f"{name} ms": 1e3 * times.median(name) / STEPS for name in sides} | {"rounds": 3 * ROUNDS}
    return Row("constraint of one step, 10M items", "the same at 10k items", ratio, "x", low, high, "3c", details)


def constrained(trie: Trie, node: Tensor, logp: Tensor, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """The search's constraint: the children of all beams, and their log-probabilities (-inf: no child)."""
    token, child, exists = trie.children(node, depth)
    return token, child, torch.where(exists, logp.gather(2, token.long()), -torch.inf)


def check_step(token: Tensor, child: Tensor, added: Tensor, peer_scores: Tensor) -> None:
    """ListsDiffer unless both sides leave the same tokens the same log-probabilities."""
    ours = torch.full_like(peer_scores, -torch.inf)
    ours.scatter_reduce_(1, token.long().flatten(0, 1) + 1, added.flatten(0, 1), "amax")
    if not torch.equal(ours, peer_scores):
        raise ListsDiffer("the constraint of one step: both sides allow different tokens", case="step", user=0)


def share(grid: Grid, device: str) -> list[Row]:
    """Goal 3b: the constraint's share of decoding, over all steps of a search with all beams alive."""
    index = synthetic.catalogue(12_000)
    backbone, decoder = synthetic.network(index.n_tokens, device), TrieDecoder()
    batch = synthetic.sources(index, USERS, SOURCE)
    lists = decoder.generate(backbone, batch, index, beams=BEAMS)

    trie = decoder.trie(index, device)
    logp = torch.randn(USERS, BEAMS, index.n_tokens, device=device).log_softmax(-1)
    nodes = [torch.zeros(USERS, BEAMS, dtype=torch.int32, device=device)]
    for tokens in torch.from_numpy(lists.tokens).to(device).unbind(2)[:-1]:
        nodes.append(trie.step(nodes[-1], tokens))

    sides = {
        "constraint": lambda: [
            [constrained(trie, node, logp, depth) for depth, node in enumerate(nodes)] for _ in range(STEPS)
        ],
        "decode": lambda: decoder.generate(backbone, batch, index, beams=BEAMS),
    }
    times = interleaved(sides, rounds=ROUNDS, synchronise=synchroniser(device))
    value, low, high = (100 / STEPS * part for part in times.ratio("constraint", "decode"))
    details = {
        "constraint ms": 1e3 * times.median("constraint") / STEPS,
        "decode ms": 1e3 * times.median("decode"),
        "rounds": ROUNDS,
    }
    return [Row("constraint's share of decoding", "all of decoding", value, "%", low, high, "3b", details)]


def _ratio_row(case: str, against: str, times: Timings, goal: str | None, rounds: int) -> Row:
    details = {"ours s": times.median("ours"), "theirs s": times.median("peer"), "rounds": rounds}
    ratio, low, high = times.ratio("peer", "ours")
    return Row(case, against, ratio, "x", low, high, goal, details)
