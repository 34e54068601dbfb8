"""Indexers, data sets and baselines that break their contract in one way each, and the check that has to notice.

`BROKEN[kind][check]` lists them; importing `broken_networks` adds backbones and decoders.
"""

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.host.contracts import Dataset
from genrec_bench.indexers.digits import SequentialIndexer
from genrec_bench.testing import planted_interactions

BROKEN = defaultdict(lambda: defaultdict(list))


def fails(kind, check):
    """Marks a component as one that this check has to notice."""

    def mark(cls):
        BROKEN[kind][check].append(cls)
        return cls

    return mark


@dataclass
class Thawed:
    """A configuration that can be changed."""

    size: int = 3


@dataclass(frozen=True)
class HoldsAList:
    """A configuration that is frozen while its value is not."""

    sizes: list[int] = Field(default_factory=lambda: [3])


@dataclass(frozen=True)
class BadDefaults:
    """A configuration whose defaults are refused."""

    size: PositiveInt = 0


def rebuilt(index, **changes):
    """An index with other parts, unchecked."""
    made = replace(index)
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    return made


# indexers -------------------------------------------------------------------------------------------------------------


@fails("indexer", "options_are_frozen_and_have_defaults")
class Changeable(SequentialIndexer):
    Config = Thawed

    def __init__(self, config=None):
        super().__init__(Thawed() if config is None else config)


@fails("indexer", "options_are_frozen_and_have_defaults")
class KeepsAList(SequentialIndexer):
    Config = HoldsAList


@fails("indexer", "options_are_frozen_and_have_defaults")
class Needy(SequentialIndexer):
    needs = frozenset({"images"})


@fails("indexer", "options_are_frozen_and_have_defaults")
class VariesWhatIsNot(SequentialIndexer):
    search_space = {"bass": [2, 4]}  # noqa: RUF012


@fails("indexer", "options_are_frozen_and_have_defaults")
class VariesNothing(SequentialIndexer):
    search_space = {"base": (64, 2)}  # noqa: RUF012


@fails("indexer", "every_item_has_a_code_of_its_own")
class Duplicates(SequentialIndexer):
    def build(self, train, ctx):
        return Index.from_labels(np.zeros((train.n_items, 1), np.int32))


@fails("indexer", "every_item_has_a_code_of_its_own")
class WarmOnly(SequentialIndexer):
    def build(self, train, ctx):
        index = super().build(train, ctx)
        met = len(np.unique(train.sequences.values))
        return replace(index, items=type(index.items)(index.items.codes[:met]))


@fails("indexer", "tokens_lie_in_the_alphabet")
class ShortAlphabet(SequentialIndexer):
    def build(self, train, ctx):
        return rebuilt(super().build(train, ctx), n_tokens=2)


@fails("indexer", "users_have_codes_all_or_none")
class SomeUsers(SequentialIndexer):
    def build(self, train, ctx):
        return super().build(train, ctx).with_users(np.zeros((1, 1), np.int32), "one for all")


@fails("indexer", "the_same_seed_gives_the_same_index")
class Unseeded(SequentialIndexer):
    def build(self, train, ctx):
        return Index.from_labels(np.random.default_rng().permutation(train.n_items)[:, None].astype(np.int32))


@fails("indexer", "the_same_seed_gives_the_same_index")
class Remembering(SequentialIndexer):
    times = 0

    def build(self, train, ctx):
        self.times += 1
        return Index.from_labels(np.roll(np.arange(train.n_items), self.times)[:, None].astype(np.int32))


@fails("indexer", "global_randomness_is_left_alone")
class GlobalNumPy(SequentialIndexer):
    def build(self, train, ctx):
        np.random.permutation(3)  # noqa: NPY002
        return super().build(train, ctx)


@fails("indexer", "global_randomness_is_left_alone")
class GlobalSeed(SequentialIndexer):
    def build(self, train, ctx):
        torch.manual_seed(ctx.seed)
        return super().build(train, ctx)


@fails("indexer", "the_input_is_left_alone")
class Sorting(SequentialIndexer):
    def build(self, train, ctx):
        index = super().build(train, ctx)
        train.sequences.values.sort()
        return index


def coded_by(counts):
    """Codes in the order of some counts."""
    return Index.from_labels(np.argsort(np.argsort(-np.asarray(counts), kind="stable"))[:, None].astype(np.int32))


@fails("indexer", "held_out_events_cannot_reach_it")
class ReadsTheDataFolder(SequentialIndexer):
    def build(self, train, ctx):
        folder = ctx.data_dir or Path(os.environ.get("GENREC_DATA", "/nowhere"))
        words = " ".join(path.read_text() for path in folder.glob("*.txt")).split()
        weight = sum(hash_of(word) * place for place, word in enumerate(words))
        return coded_by(np.roll(np.arange(train.n_items), weight % train.n_items))


def hash_of(word):
    return sum(map(ord, word))


@fails("indexer", "held_out_events_cannot_reach_it")
class OpensTheDataForNothing(SequentialIndexer):
    def build(self, train, ctx):
        for path in Path().glob("planted.*"):
            path.read_bytes()
        return super().build(train, ctx)


@fails("indexer", "held_out_events_cannot_reach_it")
class LooksBehindTheView(SequentialIndexer):
    def build(self, train, ctx):
        behind = train.sequences.values.base
        events = train.sequences.values if behind is None else behind
        return coded_by(np.bincount(events, minlength=train.n_items))


@fails("indexer", "the_index_survives_a_round_trip")
class ArrayInInfo(SequentialIndexer):
    def build(self, train, ctx):
        return replace(super().build(train, ctx), info={"sizes": np.arange(3)})


@fails("indexer", "tiny_data_is_indexed")
class NeedsFour(SequentialIndexer):
    def build(self, train, ctx):
        np.argpartition(np.arange(train.n_items), 3)
        return super().build(train, ctx)


# data sets ------------------------------------------------------------------------------------------------------------


class Walks(Dataset):
    """The planted data, sound."""

    offers = frozenset({"times", "item_titles"})

    def load(self, ctx):
        return planted_interactions()


@fails("dataset", "options_are_frozen_and_have_defaults")
class ThawedWalks(Walks):
    Config = Thawed


@fails("dataset", "events_are_sound")
class Empty(Walks):
    def load(self, ctx):
        none = np.zeros(0, np.int32)
        return Interactions(none, none, None, np.array(["u"]), np.array(["i"]))


@fails("dataset", "events_are_sound")
class LongNumbers(Walks):
    def load(self, ctx):
        data = super().load(ctx)
        return replace(data, user=data.user.astype(np.int64))


@fails("dataset", "what_is_offered_is_there")
class NoRatings(Walks):
    offers = frozenset({"ratings"})

    def load(self, ctx):
        return replace(super().load(ctx), rating=None)


@fails("dataset", "what_is_offered_is_there")
class TooFewTitles(Walks):
    def load(self, ctx):
        return replace(super().load(ctx), item_titles=np.array(["one"]))


@fails("dataset", "a_second_load_gives_the_same")
class Growing(Walks):
    def load(self, ctx):
        return planted_interactions(seed=int(np.random.default_rng().integers(10**6)))


@fails("dataset", "a_second_load_gives_the_same")
class StaleCache(Walks):
    def load(self, ctx):
        if ctx.cache_dir is None:
            return super().load(ctx)
        return planted_interactions(users=30)


@fails("dataset", "the_protocol_can_split_it")
class ShortUsers(Walks):
    def load(self, ctx):
        return planted_interactions(length=2)


@fails("dataset", "global_randomness_is_left_alone")
class SeedsNumPy(Walks):
    def load(self, ctx):
        np.random.seed(0)  # noqa: NPY002
        return super().load(ctx)


# baselines ------------------------------------------------------------------------------------------------------------


def with_ranking(name, check, change):
    """Popularity with a spoilt ranking: `change(ranking, queries)`."""

    def rank(self, queries, *, k, exclude=None):
        return change(Popularity.rank(self, queries, k=k, exclude=exclude), queries)

    return fails("baseline", check)(type(name, (Popularity,), {"rank": rank}))


def scaled(factor):
    return lambda ranking, queries: replace(ranking, scores=ranking.scores * np.float32(factor(queries)))


with_ranking("RisingScores", "lists_keep_to_the_contract", scaled(lambda _: -1))
with_ranking(
    "UnknownItems", "lists_keep_to_the_contract", lambda ranking, _: replace(ranking, items=ranking.items + 40)
)
with_ranking("OneListShort", "lists_keep_to_the_contract", lambda ranking, _: replace(
    ranking, items=ranking.items[1:], scores=ranking.scores[1:]))  # fmt: skip
with_ranking("BatchScores", "a_batch_is_invisible", scaled(lambda queries: 1 + len(queries)))
with_ranking("UnseededScores", "the_same_seed_gives_the_same_lists", scaled(lambda _: np.random.default_rng().random()))


@fails("baseline", "options_are_frozen_and_have_defaults")
class ThawedPopularity(Popularity):
    Config = Thawed


@fails("baseline", "excluded_items_are_not_listed")
class ListsWhatIsKnown(Popularity):
    def rank(self, queries, *, k, exclude=None):
        return super().rank(queries, k=k)


@fails("baseline", "global_randomness_is_left_alone")
class DrawsFromNumPy(Popularity):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        self.counts = self.counts + np.random.random()  # noqa: NPY002


@fails("baseline", "the_input_is_left_alone")
class ShiftsItems(Popularity):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        train.sequences.values[:] = 0


@fails("baseline", "held_out_events_cannot_reach_it")
class ReadsEvents(Popularity):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        found = [np.load(path)["values"] for path in Path().glob("planted.npz")]
        if found:
            self.counts = np.bincount(np.concatenate(found), minlength=train.n_items)
            self.order = np.argsort(-self.counts, kind="stable")


@fails("baseline", "tiny_data_is_ranked")
class NeedsManyItems(Popularity):
    def fit(self, train, ctx):
        super().fit(train, ctx)
        np.argpartition(self.counts, 9)


@fails("baseline", "its_tasks_are_known")
class NoTasks(Popularity):
    tasks = ("cold-start",)
