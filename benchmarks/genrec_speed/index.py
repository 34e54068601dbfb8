"""Indexing: co-occurrence against a loop over pairs, clustering against the dense method, and a million items.

Data is synthetic with planted clusters (`genrec data synth`), so agreement with the truth is known too. The dense
method takes a minute or more for 10,000 items and is timed once. Large cases run in a process of their own: peak memory
is that process's, libraries and data included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
from scipy import linalg
from sklearn.metrics import normalized_mutual_info_score
from threadpoolctl import threadpool_limits

from genrec_bench.api import PAD, DatasetContext, GenrecError, IndexerContext, Int64, Progress, Ragged
from genrec_bench.core.codes import row_groups
from genrec_bench.core.files import scratch
from genrec_bench.indexers.sci.cooccurrence import Graph, interaction_counts, item_graph
from genrec_bench.indexers.sci.implicit_graph import implicit_item_graph
from genrec_bench.indexers.sci.large_graphs import large_clusters
from genrec_bench.indexers.sci.spectral import cluster_qr, spectral_clusters
from genrec_bench.runs.environment import peak_memory
from genrec_speed.results import Grid, Result, Row, conditions
from genrec_speed.synth import Plan, synthetic_train, write_synthetic
from genrec_speed.timing import interleaved

CLUSTERS = 50
PAIRS = Plan(users=10_000, items=5_000, clusters=CLUSTERS)
TEN_THOUSAND = Plan(users=20_000, items=10_000, clusters=CLUSTERS, mean_length=20)
HUNDRED_THOUSAND = Plan(users=100_000, items=100_000, clusters=1_000)
MILLION = Plan(users=1_000_000, items=1_000_000, clusters=10_000)
TWENTY_MILLION = Plan(users=2_000_000, items=300_000, clusters=1_000)  # so many interactions
ROUNDS = 3
CHILD = "import sys; from genrec_speed.index import child; child(*sys.argv[1:])"


def run(grid: Grid, progress: Progress) -> Result:
    """Every comparison in turn.

    `full` adds a million items and as many users in one graph, 100,000 items by both methods for large graphs, and
    reading 20M interactions in two formats.
    """
    cases = [lambda: [pairs(PAIRS)], lambda: clusterings(TEN_THOUSAND), lambda: million(MILLION, "items")]
    if grid == "full":
        cases += [
            lambda: million(MILLION, "joint"),
            lambda: methods(HUNDRED_THOUSAND),
            lambda: readings(TWENTY_MILLION),
        ]

    rows: list[Row] = []
    with progress.phase("index", len(cases), "cases") as tick:
        for case in cases:
            rows += case()
            tick(1, rows[-1].case)
    return Result("index", grid, tuple(rows), conditions(clusters=CLUSTERS, loyalty=MILLION.loyalty))


def pairs(plan: Plan, rounds: int = ROUNDS) -> Row:
    """The item graph as a sparse product, and by a Python loop over every user's pairs. GenrecError if they differ."""
    train = synthetic_train(plan)
    graph, counts = item_graph(interaction_counts(train)).tocoo(), pair_loop(train.sequences)
    edges = dict(zip(zip(graph.row.tolist(), graph.col.tolist(), strict=True), graph.data.tolist(), strict=True))
    if edges != counts:
        raise GenrecError("the sparse product and the loop over pairs count different edges: no time is printed")

    sides = {"loop": lambda: pair_loop(train.sequences), "ours": lambda: item_graph(interaction_counts(train))}
    times = interleaved(sides, rounds=rounds, warmups=1)
    ratio, low, high = times.ratio("loop", "ours")
    details = {"ours s": times.median("ours"), "other s": times.median("loop"), "rounds": rounds}
    case = f"co-occurrence of {plan.items:,} items, {len(train.sequences.values):,} events"
    return Row(case, "Python loop over pairs", ratio, "x", low, high, details=details)


def pair_loop(sequences: Ragged) -> Counter[tuple[int, int]]:
    """Both directions of every pair of different items of a user, counted one by one."""
    counts: Counter[tuple[int, int]] = Counter()
    for items in sequences:
        for a, b in combinations(items.tolist(), 2):
            if a != b:
                counts[a, b] += 1
                counts[b, a] += 1
    return counts


def clusterings(plan: Plan, rounds: int = ROUNDS, clusters: int = CLUSTERS) -> list[Row]:
    """One split of the same interactions: dense eigenvectors (timed once), the sparse solver, the randomised method.

    All on one thread, by CPU time. At this size, `auto` is `sparse`.
    """
    incidence = interaction_counts(synthetic_train(plan))
    linked = np.flatnonzero(implicit_item_graph(incidence).degrees > 0)
    incidence, planted = incidence[:, linked], plan.item_clusters[linked]

    def sparse() -> Int64:
        labels = spectral_clusters(item_graph(incidence), clusters, "sparse", np.random.default_rng(0))
        assert labels is not None
        return labels

    def randomised() -> Int64:
        return large_clusters(implicit_item_graph(incidence), clusters, "randomised", np.random.default_rng(0))[1]

    with threadpool_limits(1):
        began = time.process_time()
        exact = dense_clusters(item_graph(incidence), clusters)
        dense_seconds = time.process_time() - began

    case, rows = f"{plan.items:,} items into {clusters}", []
    for name, side in (("sparse", sparse), ("randomised", randomised)):
        with threadpool_limits(1):
            labels = side()
            times = interleaved({name: side}, rounds=rounds, warmups=0, clock=time.process_time)
        ratios = [dense_seconds / seconds for seconds in times.seconds[name]]
        median = float(np.median(ratios))
        details = {
            "ours CPU s": times.median(name),
            "other CPU s": dense_seconds,
            "rounds": f"{rounds}, other 1",
            "NMI to planted": float(normalized_mutual_info_score(planted, labels)),
            "other's NMI to planted": float(normalized_mutual_info_score(planted, exact)),
        }
        rows.append(Row(f"{case}, {name}", "dense", median, "x", min(ratios), max(ratios), "8a", details))

        agreement = float(normalized_mutual_info_score(exact, labels))
        rows.append(Row(f"{case}, {name}: NMI", "dense", agreement, "", goal="8b"))
    return rows


def dense_clusters(graph: Graph, clusters: int) -> Int64:
    """The reference: only the leading eigenvectors of the dense matrix, by LAPACK, then `cluster_qr`."""
    scale = 1 / np.sqrt(graph.sum(axis=0))
    matrix = graph.toarray() * scale * scale[:, None]
    wanted = (len(scale) - clusters, len(scale) - 1)
    _, vectors = linalg.eigh(matrix, driver="evr", subset_by_index=wanted, overwrite_a=True, check_finite=False)
    return cluster_qr(vectors * scale[:, None])


def million(plan: Plan, variant: str) -> list[Row]:
    """The whole index of a catalogue by `sci` with `method=auto`: seconds and peak memory.

    The goals are set for `items`. In `joint`, `sci`'s default, as many users are clustered with the items, and get codes.
    """
    facts = in_process("index", plan, f"{variant}:auto")
    users = f" with {plan.users:,} users" if variant == "joint" else ""
    case = f"sci (variant={variant}), {plan.items:,} items{users}, {facts['events']:,} events"
    details = {key: facts[key] for key in ("CPU s", "leaves", "largest leaf", "NMI to planted", "method")}
    goals = ("8c", "8d") if variant == "items" else (None, None)
    return [
        Row(case, "", facts["s"], "s", goal=goals[0], details=details),
        Row(f"{case}: peak memory", "", facts["GB"], "GB", goal=goals[1]),
    ]


def methods(plan: Plan) -> list[Row]:
    """The two methods for large graphs, METIS only if it is installed."""
    rows = []
    for method in ("randomised", *(["metis"] if find_spec("pymetis") else [])):
        facts = in_process("index", plan, f"items:{method}")
        details = {key: facts[key] for key in ("CPU s", "GB", "leaves", "largest leaf", "NMI to planted", "method")}
        rows.append(Row(f"sci (variant=items), {plan.items:,} items, {method}", "", facts["s"], "s", details=details))
    return rows


def readings(plan: Plan) -> list[Row]:
    """Goals 8e and 8f: peak memory of reading a file and splitting it, per interaction, beyond the process's own."""
    with scratch("bench") as folder:
        parquet, text = folder / "events.parquet", folder / "events.csv"
        interactions = write_synthetic(plan, parquet)["interactions"]
        _as_csv(parquet, text)
        return [_reading(plan, path, interactions, goal) for path, goal in ((parquet, "8e"), (text, "8f"))]


def _as_csv(source: Path, path: Path) -> None:
    parquet = pyarrow.parquet.ParquetFile(source)
    with pyarrow.csv.CSVWriter(path, parquet.schema_arrow) as writer:
        for batch in parquet.iter_batches(1 << 20):
            writer.write_batch(batch)


def _reading(plan: Plan, path: Path, interactions: int, goal: str) -> Row:
    facts = in_process("read", plan, str(path))
    details = {key: facts[key] for key in ("s", "CPU s", "GB")}
    case = f"reading {interactions:,} interactions, {path.suffix[1:]}"
    return Row(case, "", facts["more GB"] * 1e9 / interactions, "B/interaction", goal=goal, details=details)


def in_process(what: str, plan: Plan, how: str) -> dict[str, Any]:
    """The facts that `child` prints of one case. GenrecError with its last line if it fails."""
    sizes = json.dumps([plan.users, plan.items, plan.clusters, plan.mean_length])
    done = subprocess.run([sys.executable, "-c", CHILD, what, sizes, how], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise GenrecError(f"measuring {what} ended with exit code {done.returncode}: {last}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(what: str, sizes: str, how: str) -> None:
    """What the other process runs: one case, whose facts it prints as a line of JSON."""
    plan = Plan(*json.loads(sizes))
    wall, cpu = time.perf_counter(), time.process_time()
    facts = _index(plan, how) if what == "index" else _read(how)
    used = {"GB": _peak(), "s": time.perf_counter() - wall, "CPU s": time.process_time() - cpu}
    print(json.dumps({**used, **facts}))


def _index(plan: Plan, how: str) -> dict[str, Any]:
    """Build one index; its own seconds and memory without those of drawing the data."""
    from genrec_bench.indexers.sci.indexer import SpectralConfig, SpectralIndexer

    train = synthetic_train(plan)
    variant, method = how.split(":")
    config = SpectralConfig(variant=variant, method=method)  # type: ignore[arg-type]

    wall, cpu = time.perf_counter(), time.process_time()
    index = SpectralIndexer(config).build(train, IndexerContext())
    used = {"s": time.perf_counter() - wall, "CPU s": time.process_time() - cpu, "GB": _peak()}

    graph = index.info["graphs"][variant]
    codes = index.items.codes.copy()
    codes[np.arange(len(codes)), (codes >= 0).sum(axis=1) - 1] = PAD  # the number within the leaf
    return {
        **used,
        "events": len(train.sequences.values),
        "leaves": graph["leaves"],
        "largest leaf": graph["largest_leaf"],
        "method": graph["method"],
        "NMI to planted": float(normalized_mutual_info_score(plan.item_clusters, row_groups(codes)[0])),
    }


def _read(path: str) -> dict[str, Any]:
    """Read one file and split it; the memory that this added to the peak."""
    from genrec_bench.data.file import FileConfig, FileDataset
    from genrec_bench.protocol.split import split_data

    before, file = _peak(), Path(path)
    with threadpool_limits(1):
        ctx = DatasetContext(
            cache_dir=file.with_suffix(".cache")
        )  # every command has a cache; it is empty the first time
        split_data(FileDataset(FileConfig(path=path)).load(ctx))
    return {"more GB": _peak() - before}


def _peak() -> float:
    return (peak_memory("cpu")["peak_host_mb"] or float("nan")) / 1e3
