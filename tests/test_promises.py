"""What the published numbers rest on, seen in what a run leaves behind: change one of these rules and a test fails.

The components are spied on through the methods of their contracts, so that nothing here depends on how a run is built.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from example_records import baseline_spec, finished
from small_runs import folder_of, spec_for

from genrec_bench import RunSpec, run
from genrec_bench.backbones.lightlm import LightLM
from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.rankings import Generations
from genrec_bench.core.sequences import Cases, Split
from genrec_bench.decoders.base import no_hypotheses
from genrec_bench.decoders.filter import FilterDecoder
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.indexers.digits import RandomIndexer
from genrec_bench.leaderboard.standings import standings
from genrec_bench.protocol.constants import SELECTION_BEAMS
from genrec_bench.protocol.split import split_data, validation_sample
from genrec_bench.runs.environment import peak_memory
from genrec_bench.runs.lists import read_generations, read_lists
from genrec_bench.testing import planted_interactions, planted_lines

BEAMS = 50  # of a run's own search, where nothing else is asked for
BARELY = {"backbone.epochs": 1}


# What a run searched for, as its decoder saw it.


@dataclass(frozen=True)
class Search:
    """One call of a decoder."""

    beams: int
    exclude: list[list[int]] | None  # items per source
    result: Generations


@pytest.fixture
def searches(monkeypatch) -> list[Search]:
    """Every call of the decoders `trie` and `filter`: validation, warm-up and tests, in order."""
    calls: list[Search] = []

    def spied(honest):
        def generate(self, backbone, batch, index, *, beams, exclude=None):
            result = honest(self, backbone, batch, index, beams=beams, exclude=exclude)
            rows = None if exclude is None else [row.tolist() for row in exclude]
            calls.append(Search(beams, rows, result))
            return result

        return generate

    for decoder in (TrieDecoder, FilterDecoder):
        monkeypatch.setattr(decoder, "generate", spied(decoder.generate))
    return calls


def split_of(lines: Sequence[str]) -> tuple[Interactions, Split]:
    """The protocol's split of the lines of a sequence file, without the data set that reads such files."""
    rows = [line.split() for line in lines]
    users = [row[0] for row in rows for _ in row[1:]]
    items = [item for row in rows for item in row[1:]]
    user_ids, user = np.unique(users, return_inverse=True)
    item_ids, item = np.unique(items, return_inverse=True)
    return split_data(Interactions(user.astype(np.int32), item.astype(np.int32), None, user_ids, item_ids))


def best_first(items: Sequence[int], left_out: Sequence[int] = ()) -> list[int]:
    """The items of one list of hypotheses, by the rule in words: no negative number, no repeat, nothing left out."""
    return [item for item in dict.fromkeys(items) if item >= 0 and item not in left_out]


# Numbering, order and split.


def test_the_split_of_movielens_is_the_published_one(movielens, tmp_path) -> None:
    record = run(RunSpec(baseline="popularity"), out=tmp_path, device="cpu")
    assert record.fingerprints["data"] == "aeb6b9315d4a22f2b41bcc6b0e8494205d5d103dc5a66f242a68fe2d7ad7e611"
    assert record.fingerprints["split"] == "fdfe35a78d97d145a606b1469d76e2114c90c0f500709fcf05b8142734a5322e"


def test_the_split_of_the_planted_data_with_equal_times_is_pinned() -> None:
    planted = planted_interactions()
    times = planted.time // 4  # three or four events at once: the tie rule orders them
    data, split = split_data(
        Interactions(planted.user, planted.item, times, planted.user_ids, planted.item_ids, planted.rating)
    )
    assert split.info["tie_users"] == 60
    assert data.item_ids[:5].tolist() == ["g1i9", "g1i4", "g2i0", "g1i7", "g2i1"]
    assert data.user_ids[:5].tolist() == ["u37", "u29", "u59", "u49", "u16"]
    assert split.sequences[0].tolist() == [9, 1, 45, 18, 41, 0, 12, 3, 22]
    assert split.fingerprint == "6bbe267da66fe4d452803eb043e00eb26ad5419ae12214b04f1de5e4c14ed40b"


# Validation: who is asked, how, and what an epoch is chosen by.


def cases(n: int) -> Cases:
    return Cases(*(np.arange(n, dtype=np.int32) for _ in range(3)))


def drawn_users(n: int) -> list[int]:
    """The protocol's 2,000 of `n` users."""
    return sorted(np.random.default_rng(0).choice(n, 2_000, replace=False).tolist())


def test_up_to_5000_users_are_all_validated_on_and_of_more_the_same_2000() -> None:
    assert len(validation_sample(cases(5_000))) == 5_000
    sample = validation_sample(cases(5_001))
    assert sample.user.tolist() == sample.end.tolist() == sample.target.tolist() == drawn_users(5_001)
    assert sample.user[:5].tolist() == [0, 1, 3, 8, 10]


@pytest.fixture
def crowd(tmp_path) -> Path:
    """A sequence file of 5,001 users with four items each."""
    path = tmp_path / "crowd.txt"
    lines = (f"u{user} {' '.join(f'i{(user + step) % 60}' for step in range(4))}" for user in range(5_001))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_generator_is_validated_on_the_protocols_2000_users(crowd, tmp_path, monkeypatch) -> None:
    asked, searched = [], []

    def template(self, task, index, honest=LightLM.template):
        built = honest(self, task, index)
        render = built.render
        built.render = lambda queries: (asked.append(queries.user.tolist()), render(queries))[1]
        return built

    def generate(self, backbone, batch, index, *, beams, exclude=None):
        searched.extend([beams] * len(batch))
        return no_hypotheses(len(batch), beams, index.items.width)

    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(LightLM, "template", template)
    monkeypatch.setattr(TrieDecoder, "generate", generate)
    options = {**BARELY, "backbone.examples_per_epoch": 64}
    record = run(spec_for(crowd, set=options), out=tmp_path / "runs", device="cpu")

    assert record.training["validation_users"] == 2_000
    assert drawn_users(5_001) in asked
    assert searched.count(20) == 2_000


def test_a_baseline_is_validated_on_the_protocols_2000_users_without_what_they_have(
    crowd, tmp_path, monkeypatch
) -> None:
    asked = []

    def rank(self, queries, *, k, exclude=None, honest=Popularity.rank):
        asked.append((queries, k, exclude))
        return honest(self, queries, k=k, exclude=exclude)

    def fit(self, train, ctx, honest=Popularity.fit):
        honest(self, train, ctx)
        ctx.validate()

    monkeypatch.setattr(Popularity, "rank", rank)
    monkeypatch.setattr(Popularity, "fit", fit)
    run(spec_for(crowd, baseline="popularity"), out=tmp_path / "runs", device="cpu")

    queries, places, exclude = asked[0]
    assert queries.user.tolist() == drawn_users(5_001)
    assert places == 50
    assert exclude.lengths.tolist() == [2] * 2_000
    assert exclude.values.tolist() == queries.history.values.tolist()


def test_an_epoch_is_chosen_by_twenty_beams_that_leave_out_what_each_user_has(go, searches) -> None:
    record = go(set={"backbone.epochs": 3})
    _, split = split_of(planted_lines())
    assert split.fingerprint == record.fingerprints["split"]

    # Users with the same history have the same next item here, so a history says which item is the right one.
    histories = split.queries(split.validation).history
    next_item = {tuple(row.tolist()): int(item) for row, item in zip(histories, split.validation.target, strict=True)}

    validations = [search for search in searches if search.beams != BEAMS]
    assert [search.beams for search in validations] == [20] * 3
    scores = []
    for search in validations:
        assert sorted(search.exclude) == sorted(row.tolist() for row in histories)
        gains = []
        for items, history in zip(search.result.items.tolist(), search.exclude, strict=True):
            first_ten = best_first(items, history)[:10]
            target = next_item[tuple(history)]
            gains.append(1 / math.log2(first_ten.index(target) + 2) if target in first_ten else 0.0)
        scores.append(math.fsum(gains) / len(gains))

    assert [row["validation"] for row in record.training["history"]] == pytest.approx(scores, abs=1e-12)
    assert record.training["best_epoch"] == 1 + scores.index(max(scores))
    assert SELECTION_BEAMS == 20


# Lists and validity: each policy has its own search, and nothing is filled in.


def generations_of(tmp_path, record) -> dict[str, Generations]:
    return read_generations(folder_of(tmp_path, record) / "generations.npz")


def stored_lists(tmp_path, record) -> dict[str, list[list[str]]]:
    """The lists of each policy in `lists.parquet`, in external ids, in the order of the data's users."""
    data, split = split_of(planted_lines())
    users = data.user_ids[split.test.user].tolist()
    stored = read_lists(folder_of(tmp_path, record) / "lists.parquet")
    return {policy: [[item for item, _ in lists.of(user)] for user in users] for policy, lists in stored.items()}


def test_keep_lists_come_from_a_search_that_leaves_nothing_out(go, tmp_path, searches) -> None:
    record = go(set=BARELY)
    data, split = split_of(planted_lines())
    histories = [row.tolist() for row in split.queries(split.test).history]
    warm_up, mask, keep = (search for search in searches if search.beams == BEAMS)
    assert sorted(warm_up.exclude) == sorted(mask.exclude) == sorted(histories)
    assert keep.exclude is None

    generated, stored = generations_of(tmp_path, record), stored_lists(tmp_path, record)
    seen = 0
    for policy in ("mask", "keep"):
        for items, history, listed in zip(generated[policy].items.tolist(), histories, stored[policy], strict=True):
            left_out = history if policy == "mask" else []
            assert listed == data.item_ids[best_first(items, left_out)].tolist()
            seen += len(set(items) & set(history))
    assert seen == sum(len(set(history)) for history in histories)  # all of them under keep, none under mask


def test_validity_is_that_of_the_masked_search(go, tmp_path) -> None:
    record = go(set=BARELY)
    generated = generations_of(tmp_path, record)
    emitted = {policy: int((generations.items != -2).sum()) for policy, generations in generated.items()}
    assert emitted["mask"] < emitted["keep"]  # the catalogue is smaller than the beam
    assert record.validity["emitted"] == emitted["mask"]
    assert record.validity["dropped"] == {"non_items": 0, "duplicates": 0, "seen": 0}


def test_hallucinations_are_counted_before_anything_is_dropped_and_lists_stay_short(go, tmp_path, searches) -> None:
    record = go(decoder="filter", set=BARELY)
    data, split = split_of(planted_lines())
    histories = [row.tolist() for row in split.queries(split.test).history]

    _, search = (search for search in searches if search.beams == BEAMS)  # the first is the warm-up
    emitted, no_items = int((search.result.items != -2).sum()), int((search.result.items == -1).sum())
    assert 0 < no_items < emitted
    assert record.validity["emitted"] == emitted
    assert record.validity["dropped"]["non_items"] == no_items
    assert record.validity["hallucination_rate"] == no_items / emitted
    assert (generations_of(tmp_path, record)["mask"].items == -1).sum() == no_items

    items = generations_of(tmp_path, record)["mask"].items.tolist()
    for policy, lists in stored_lists(tmp_path, record).items():
        left_out = histories if policy == "mask" else [[]] * len(histories)
        expected = [best_first(row, own) for row, own in zip(items, left_out, strict=True)]
        assert lists == [data.item_ids[row].tolist() for row in expected]
        assert min(map(len, lists)) < len(data.item_ids) - 8  # shorter than what the user does not have


def test_a_baselines_short_lists_stay_short(go, tmp_path, monkeypatch) -> None:
    def rank(self, queries, *, k, exclude=None, honest=Popularity.rank):
        assert k == 50
        return honest(self, queries, k=3, exclude=exclude)

    monkeypatch.setattr(Popularity, "rank", rank)
    record = go(baseline="popularity")
    assert {len(items) for lists in stored_lists(tmp_path, record).values() for items in lists} == {3}
    assert record.validity["fill@5"] == 3 / 5
    assert record.validity["emitted"] == 3 * 60


def test_lists_are_scored_at_five_ten_and_twenty(go) -> None:
    record = go(baseline="popularity")
    keys = {f"{name}@{k}" for name in ("hit", "ndcg", "mrr") for k in (5, 10, 20)}
    assert {policy: set(metrics) for policy, metrics in record.metrics.items()} == {
        "mask": keys | {"tie_gap"},
        "keep": keys | {"tie_gap"},
    }
    assert {key for key in record.validity if key.startswith("fill")} == {"fill@5", "fill@10", "fill@20"}


# Seeds.


def indexes(go, tmp_path) -> list[Index]:
    """The index of two runs that differ in the seed."""
    return [Index.load(folder_of(tmp_path, go(seed=seed, set=BARELY)) / "index") for seed in (3, 4)]


def test_the_seed_of_a_run_reaches_the_indexer(go, tmp_path, monkeypatch) -> None:
    seeds = []

    def build(self, train, ctx, honest=RandomIndexer.build):
        seeds.append(ctx.seed)
        return honest(self, train, ctx)

    monkeypatch.setattr(RandomIndexer, "build", build)
    first, second = indexes(go, tmp_path)
    assert seeds == [3, 4]
    assert first.items.codes.tolist() != second.items.codes.tolist()


def test_a_record_counts_how_often_the_test_part_was_scored_for_its_spec(go) -> None:
    assert go().test_scored == 1
    assert go().test_scored == 1  # finished earlier: nothing ran
    assert go(force=True).test_scored == 2
    assert go(force=True).test_scored == 3
    assert go(seed=1).test_scored == 1


def test_the_seed_of_a_run_moves_the_labels_of_users_whom_the_indexer_gives_none(go, tmp_path, monkeypatch) -> None:
    def build(self, train, ctx, honest=RandomIndexer.build):
        return replace(honest(self, train, ctx), users=None)

    monkeypatch.setattr(RandomIndexer, "build", build)
    first, second = indexes(go, tmp_path)
    assert first.users.codes.tolist() != second.users.codes.tolist()


# What is best, and what is tied.


def seeded(name: str, ranks: Sequence[int]):
    """Runs of a baseline with the five seeds that a rank needs."""
    return [finished(baseline_spec(baseline=name, seed=seed), ranks, parameters={}) for seed in range(5)]


EQUAL = (1, 1, 1, 0, 0) * 8  # users who tell no two systems apart
FIRST = (*EQUAL, *[1] * 12, *[0] * 3)
OTHER = (*EQUAL, *[0] * 12, *[1] * 3)  # p is about .035 against the first


def test_best_and_tied_are_corrected_for_having_looked_at_every_row() -> None:
    alone = standings([*seeded("ease", FIRST), *seeded("item-knn", OTHER)], "mask")
    assert [(row.system, row.standing) for row in alone.rows] == [("ease", "best"), ("item-knn", "ranked")]

    names = ("item-knn", "popularity", "item-counts")
    many = standings([*seeded("ease", FIRST), *(record for name in names for record in seeded(name, OTHER))], "mask")
    assert {row.standing for row in many.rows} == {"tied"}


def test_the_distance_from_the_best_floor_is_corrected_for_having_looked_at_every_row() -> None:
    reference = seeded("item-counts", OTHER)
    (ease, _) = standings([*seeded("ease", FIRST), *reference], "mask").rows
    assert ease.against["floor"].separable

    names = ("ease", "item-knn", "bpr")
    many = standings([*reference, *(record for name in names for record in seeded(name, FIRST))], "mask")
    assert [row.against["floor"].separable for row in many.rows if row.kind == "baseline"] == [False] * 3


# Speed and memory.


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """Time that passes only where a test lets it pass."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def many_users(tmp_path, users: int) -> Path:
    path = tmp_path / "many.txt"
    path.write_text("\n".join(planted_lines(users)) + "\n")
    return path


def test_a_generator_is_timed_after_two_batches_of_warm_up(tmp_path, monkeypatch, clock) -> None:
    seconds = iter([100.0, 100.0, *[1.0] * 20])

    def generate(self, backbone, batch, index, *, beams, exclude=None):
        clock.now += next(seconds) if beams == BEAMS else 0.0
        return no_hypotheses(len(batch), beams, index.items.width)

    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(TrieDecoder, "generate", generate)
    record = run(spec_for(many_users(tmp_path, 200), set=BARELY), out=tmp_path / "runs", device="cpu")

    assert record.throughput["users_per_second"] == 200 / 4  # four batches of 64 at most, a second each
    assert record.throughput["latency_ms_p50"] == record.throughput["latency_ms_p95"] == 1000.0
    assert record.throughput["warmup_batches"] == 2


def test_a_baseline_is_timed_after_a_batch_of_warm_up(tmp_path, monkeypatch, clock) -> None:
    seconds = iter([100.0, *[1.0] * 20])

    def rank(self, queries, *, k, exclude=None, honest=Popularity.rank):
        clock.now += next(seconds)
        return honest(self, queries, k=k, exclude=exclude)

    monkeypatch.setattr(Popularity, "rank", rank)
    spec = spec_for(many_users(tmp_path, 300), baseline="popularity")
    record = run(spec, out=tmp_path / "runs", device="cpu")

    assert record.throughput["users_per_second"] == 300 / 2  # two batches of 256 at most
    assert record.throughput["latency_ms_p50"] == record.throughput["latency_ms_p95"] == 1000.0
    assert record.throughput["warmup_batches"] == 1


def test_latencies_are_percentiles_of_batches_in_milliseconds(tmp_path, monkeypatch, clock) -> None:
    seconds = iter([0.0, *(float(second) for second in range(1, 12))] * 2)

    def rank(self, queries, *, k, exclude=None, honest=Popularity.rank):
        clock.now += next(seconds)
        return honest(self, queries, k=k, exclude=exclude)

    monkeypatch.setattr(Popularity, "rank", rank)
    spec = spec_for(many_users(tmp_path, 11 * 256), baseline="popularity")
    throughput = run(spec, out=tmp_path / "runs", device="cpu").throughput
    assert (throughput["latency_ms_p50"], throughput["latency_ms_p95"]) == (6_000.0, 10_500.0)


def test_memory_is_in_millions_of_bytes(go, monkeypatch) -> None:
    def rank(self, queries, *, k, exclude=None, honest=Popularity.rank):
        np.ones(30_000_000)  # 240 MB for a moment: the run's peak is here, and nothing later is above it
        return honest(self, queries, k=k, exclude=exclude)

    monkeypatch.setattr(Popularity, "rank", rank)
    recorded = go(baseline="popularity").memory["peak_host_mb"]
    status = Path("/proc/self/status")
    if not status.exists():
        assert recorded <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        return
    peak = next(line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert peak[2] == "kB"  # the kernel's word for 1,024 bytes
    assert recorded == pytest.approx(int(peak[1]) * 1024 / 1e6, rel=0.005)


def test_memory_of_a_gpu_is_in_millions_of_bytes(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3_000_000_000)
    assert peak_memory("cuda:0")["peak_device_mb"] == 3000.0


# The ceiling.


def test_the_ceiling_counts_every_item_that_a_user_has(tmp_path) -> None:
    others = " ".join(f"i{item}" for item in range(1, 12))
    lines = [f"u{user} i0 {others} {'i0' if user % 4 else 'new'}" for user in range(8)]
    path = tmp_path / "repeats.txt"
    path.write_text("\n".join(lines) + "\n")
    record = run(spec_for(path, baseline="popularity"), out=tmp_path / "runs", device="cpu")
    assert record.data["mask_ceiling"] == 0.25
