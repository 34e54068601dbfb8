"""A component that breaks its contract is stopped by name, with the check it broke; nobody else is harmed."""

import contextlib
import os
import re
import sys
import threading
from asyncio import CancelledError
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genrec_bench.baselines.popularity import Popularity
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.rankings import Ranking
from genrec_bench.decoders.trie import TrieDecoder
from genrec_bench.errors import ComponentFault, NeedsMissing, OutOfMemory
from genrec_bench.host import registry
from genrec_bench.host.contracts import Baseline, Indexer
from genrec_bench.host.sealing import OpenedHeldOut, _without_violations
from genrec_bench.indexers.digits import RandomIndexer
from genrec_bench.runs.record import RunRecord

from genrec_bench.backbones.lightlm import LightLM  # isort: skip

TAMED = {"set": {"backbone.epochs": 1}}


class TooFewCodes(RandomIndexer):
    def build(self, train, ctx):
        index = super().build(train, ctx)
        return Index(CodeTable(index.items.codes[1:]), index.users, index.n_tokens)


class SameCodes(Indexer):
    def build(self, train, ctx):
        return Index(CodeTable(np.zeros((train.n_items, 2), np.int32)), None, 5)


class NoIndex(Indexer):
    def build(self, train, ctx):
        return "codes"


class Crashes(Indexer):
    def build(self, train, ctx):
        return train.surely_not_there


class ReadsTheData(RandomIndexer):
    path = None

    def build(self, train, ctx):
        self.path.read_text()
        return super().build(train, ctx)


class ReadsAndHidesIt(ReadsTheData):
    def build(self, train, ctx):
        with contextlib.suppress(Exception):
            self.path.read_text()
        return RandomIndexer.build(self, train, ctx)


class Leaves(Indexer):
    def build(self, train, ctx):
        raise SystemExit(0)


class NoShare(RandomIndexer):
    def build(self, train, ctx):
        return replace(super().build(train, ctx), collision_rate=float("nan"))


class OddInfo(RandomIndexer):
    def build(self, train, ctx):
        return replace(super().build(train, ctx), info={"size": np.float32(3)})


class NotReady(RandomIndexer):
    def ready(self):
        raise RuntimeError("not today")


class NoTemplate(LightLM):
    def template(self, task, index):
        return None


class OddReport(LightLM):
    def fit(self, examples, ctx):
        return replace(super().fit(examples, ctx), best_epoch=99)


class OddSize(LightLM):
    def variant(self):
        return 3


class CannotSave(LightLM):
    def save(self, folder):
        raise RuntimeError("no room")


class SavesNothing(LightLM):
    def save(self, folder):
        pass


class ReadsWhileDecoding(TrieDecoder):
    path = None

    def generate(self, backbone, batch, index, *, beams, exclude=None):
        self.path.read_text()
        return super().generate(backbone, batch, index, beams=beams, exclude=exclude)


class NarrowLogits(LightLM):
    def logits(self, hidden, candidates=None):
        return super().logits(hidden, candidates)[..., 1:]


class HalfLogits(LightLM):
    def logits(self, hidden, candidates=None):
        return super().logits(hidden, candidates).half()


class NoNumbers(LightLM):
    def logits(self, hidden, candidates=None):
        return torch.full_like(super().logits(hidden, candidates), float("nan"))


class FewHypotheses(LightLM):
    def advance(self, state, tokens, parents):
        hidden, state = super().advance(state, tokens, parents)
        return hidden[:-1], state


class OneSource(LightLM):
    def template(self, task, index):
        template = super().template(task, index)
        render = template.render
        template.render = lambda queries: render(queries.take(np.arange(1)))
        return template


class WrongItems(TrieDecoder):
    def generate(self, backbone, batch, index, *, beams, exclude=None):
        found = super().generate(backbone, batch, index, beams=beams, exclude=exclude)
        return replace(found, items=np.where(found.items >= 0, (found.items + 1) % len(index.items), found.items))


class Upside(TrieDecoder):
    def generate(self, backbone, batch, index, *, beams, exclude=None):
        found = super().generate(backbone, batch, index, beams=beams, exclude=exclude)
        return replace(found, scores=found.scores[:, ::-1])


class Forgets(TrieDecoder):
    def generate(self, backbone, batch, index, *, beams, exclude=None):
        return super().generate(backbone, batch, index, beams=beams)


class ShortOfUsers(Popularity):
    def rank(self, queries, *, k, exclude=None):
        return super().rank(queries.take(np.arange(1)), k=k, exclude=exclude and exclude.take(np.arange(1)))


class Shameless(Popularity):
    def rank(self, queries, *, k, exclude=None):
        return super().rank(queries, k=k)


class Invents(Baseline):
    def fit(self, train, ctx):
        self.n_items = train.n_items

    def rank(self, queries, *, k, exclude=None):
        items = np.full((len(queries), 1), self.n_items, np.int32)
        return Ranking(items, np.zeros(items.shape, np.float32), depth=k)


class Halves(Invents):
    def rank(self, queries, *, k, exclude=None):
        shape = (len(queries), 1)
        return Ranking(np.full(shape, 0.5), np.zeros(shape, np.float32), depth=k)


class Repeats(Invents):
    def rank(self, queries, *, k, exclude=None):
        items = np.zeros((len(queries), 2), np.int32)
        return Ranking(items, np.zeros(items.shape, np.float32), depth=k)


class TellsNoData(Popularity):
    def facts(self):
        return {"loss": float("nan")}


class TellsHalfCharacters(Popularity):
    def facts(self):
        return {"x": "\ud800"}


class MeansSomethingElse(Popularity):
    def facts(self):
        return {"mood": "good", "converged": "nearly"}


@pytest.fixture
def instead(monkeypatch):
    """Puts a class in the place of an installed component."""
    real = registry.load

    def put(kind, name, cls):
        monkeypatch.setattr(
            registry, "load", lambda k, n: cls if (k, n.removeprefix("genrec-bench:")) == (kind, name) else real(k, n)
        )

    return put


@pytest.mark.parametrize(
    ("kind", "cls", "check", "says"),
    [
        ("indexer", TooFewCodes, "a code for every item", "47 codes for 48 items"),
        ("indexer", SameCodes, "build", "share (0, 0)"),
        ("indexer", NoIndex, "an Index", "gave a str"),
        ("indexer", Crashes, "build", "AttributeError"),
        ("indexer", Leaves, "build", "SystemExit"),
        ("indexer", NoShare, "collision rate", "nan"),
        ("indexer", OddInfo, "info", "not plain data"),
        ("backbone", NoTemplate, "template", "NoneType"),
        ("backbone", OddReport, "fit report", "best epoch"),
        ("backbone", OddSize, "description", "3"),
        ("backbone", CannotSave, "save", "no room"),
        ("backbone", SavesNothing, "save", "wrote nothing"),
        ("backbone", NarrowLogits, "logits", "expected (60, 1,"),
        ("backbone", HalfLogits, "logits", "torch.float16"),
        ("backbone", FewHypotheses, "hidden", "users and beams"),
        ("backbone", NoNumbers, "finite scores", "scores are NaN"),
        ("backbone", OneSource, "one source per query", "for 60 queries"),
        ("decoder", WrongItems, "items of tokens", "which are item"),
        ("decoder", Upside, "sorted scores", "rise"),
        ("decoder", Forgets, "exclude", "left out"),
        ("baseline", ShortOfUsers, "one list per query", "1 Ranking for 60 queries"),
        ("baseline", Shameless, "exclude", "must respect"),
        ("baseline", Invents, "known items", "catalogue of 48"),
        ("baseline", Halves, "whole numbers", "its item numbers are float64"),
        ("baseline", Repeats, "rank", "names an item twice"),
        ("baseline", TellsNoData, "plain facts", "JSON"),
        ("baseline", TellsHalfCharacters, "plain facts", "JSON"),
        ("baseline", MeansSomethingElse, "facts of the record", 'converged: "nearly" is not of type'),
    ],
)
def test_a_broken_component_is_stopped_by_name(go, tmp_path, instead, kind, cls, check, says):
    name = {"indexer": "random", "backbone": "lightlm", "decoder": "trie", "baseline": "popularity"}[kind]
    instead(kind, name, cls)
    with pytest.raises(ComponentFault) as caught:
        go(**{"baseline": "popularity"} if kind == "baseline" else TAMED)
    error = caught.value
    assert (error.kind, error.name, error.distribution) == (kind, name, "genrec-bench")
    assert f"{kind} {name!r} (genrec-bench " in str(error) and repr(check) in str(error)
    assert says in str(error) and "\n" not in str(error)
    (folder,) = (tmp_path / "runs").iterdir()
    record = RunRecord.read(folder)
    assert record.status == "failed" and says in record.reason


def test_a_component_that_is_not_ready_is_stopped_before_anything_is_written(go, tmp_path, instead):
    instead("indexer", "random", NotReady)
    with pytest.raises(ComponentFault, match="'ready': it raised RuntimeError: not today"):
        go(**TAMED)
    assert not (tmp_path / "runs").exists()


def test_a_data_set_that_gives_no_interactions_is_stopped(go, instead):
    class Odd(registry.load("dataset", "file")):
        def load(self, ctx):
            return {}

    instead("dataset", "file", Odd)
    with pytest.raises(ComponentFault, match="load gave a dict"):
        go(**TAMED)


def test_a_decoder_that_opens_the_data_is_stopped(go, instead, planted_file):
    ReadsWhileDecoding.path = planted_file
    instead("decoder", "trie", ReadsWhileDecoding)
    with pytest.raises(ComponentFault, match=r"decoder 'trie' .*'training data only'"):
        go(**TAMED)


def test_the_parsed_copy_of_the_data_is_shut_too_on_its_very_first_run(go, tmp_path, instead):
    class ReadsTheCache(RandomIndexer):
        def build(self, train, ctx):
            np.load(next((tmp_path / "cache" / "data").glob("*/item.npy")))
            return super().build(train, ctx)

    instead("indexer", "random", ReadsTheCache)
    with pytest.raises(ComponentFault, match="'training data only'"):
        go(**TAMED)


@pytest.mark.parametrize("cls", [ReadsTheData, ReadsAndHidesIt])
def test_a_component_that_opens_the_data_is_stopped_and_the_next_run_goes_on(go, instead, planted_file, cls):
    cls.path = planted_file
    instead("indexer", "random", cls)
    with pytest.raises(
        ComponentFault, match=r"'training data only': it opened .*planted\.txt, which holds validation and test"
    ):
        go(**TAMED)
    instead("indexer", "random", RandomIndexer)
    assert go(**TAMED).status == "finished"
    assert planted_file.read_text()  # outside a run the file is anybody's


def test_a_thread_that_is_stopped_at_the_data_prints_no_traceback():
    said = []
    hook = _without_violations(lambda args: said.append(args.exc_type))
    hook(SimpleNamespace(exc_type=OpenedHeldOut, exc_value=OpenedHeldOut("it opened a file")))
    hook(SimpleNamespace(exc_type=KeyError, exc_value=KeyError()))
    assert said == [KeyError]


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("name", ["notes", "notes.py"])
def test_held_out_data_stay_shut_under_every_name(go, tmp_path, instead, planted_file, link, name):
    class ReadsByAnotherName(RandomIndexer):
        def build(self, train, ctx):
            link(tmp_path / name, planted_file)
            with contextlib.suppress(OpenedHeldOut):
                (tmp_path / name).read_text()
            return super().build(train, ctx)

    instead("indexer", "random", ReadsByAnotherName)
    with pytest.raises(ComponentFault, match="'training data only'"):
        go(**TAMED)


def test_held_out_data_stay_shut_to_a_name_below_an_open_folder(go, instead, planted_file):
    class ReadsBelowAFolder(RandomIndexer):
        def build(self, train, ctx):
            folder = os.open(planted_file.parent, os.O_RDONLY)
            with contextlib.suppress(OpenedHeldOut):
                os.close(os.open(planted_file.name, os.O_RDONLY, dir_fd=folder))
            os.close(folder)
            return super().build(train, ctx)

    instead("indexer", "random", ReadsBelowAFolder)
    with pytest.raises(ComponentFault, match="'training data only'"):
        go(**TAMED)


def test_an_interruption_that_an_error_hides_still_interrupts(go, instead):
    class Hides(RandomIndexer):
        def build(self, train, ctx):
            try:
                raise KeyboardInterrupt
            finally:
                raise RuntimeError("unexpected pos 64 vs 0")  # as torch.save does when a signal arrives

    instead("indexer", "random", Hides)
    with pytest.raises(KeyboardInterrupt):
        go(**TAMED)


class Odd(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "said"),
    [(Odd(), "its message cannot be shown"), (ValueError("x" * 10**6), "xxx ..."), (CancelledError(), "no message")],
)
def test_an_error_of_any_kind_and_text_is_one_short_line(go, instead, error, said):
    class Odder(RandomIndexer):
        def build(self, train, ctx):
            raise error

    instead("indexer", "random", Odder)
    with pytest.raises(ComponentFault, match=re.escape(said)) as caught:
        go(**TAMED)
    assert len(str(caught.value)) < 2_000


def test_a_component_cannot_take_the_standard_streams_away(go, instead):
    class Silences(RandomIndexer):
        def build(self, train, ctx):
            sys.stdout = sys.stderr = None
            return super().build(train, ctx)

    before = sys.stdout, sys.stderr
    instead("indexer", "random", Silences)
    assert go(**TAMED).status == "finished"
    assert (sys.stdout, sys.stderr) == before


def test_a_component_that_reads_the_data_before_the_run_does_is_stopped(go, instead, planted_file):
    class ReadsInReady(RandomIndexer):
        def ready(self):
            planted_file.read_text()

    instead("indexer", "random", ReadsInReady)
    with pytest.raises(
        OpenedHeldOut, match=r"planted\.txt holds validation and test events, and a component read it before"
    ):
        go(**TAMED)
    instead("indexer", "random", RandomIndexer)
    assert go(**TAMED).status == "finished"


def test_a_thread_that_reads_the_data_between_two_calls_ends_the_run(go, instead, planted_file):
    blocked = []

    def steal():
        try:
            planted_file.read_text()
        except OpenedHeldOut as error:  # and says nothing
            blocked.append(error)

    class StartsAThread(RandomIndexer):
        def build(self, train, ctx):
            threading.Timer(0.05, steal).start()
            return super().build(train, ctx)

    instead("indexer", "random", StartsAThread)
    with pytest.raises((ComponentFault, OpenedHeldOut), match=r"planted\.txt, which holds validation and test"):
        go(**TAMED)
    assert blocked


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("1 TB"),
        torch.cuda.OutOfMemoryError("2 TB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_is_used_up_is_nobodys_fault_and_says_what_to_do(go, instead, error):
    class Greedy(RandomIndexer):
        def build(self, train, ctx):
            raise error

    instead("indexer", "random", Greedy)
    with pytest.raises(OutOfMemory, match=r"out of memory in indexer .*--profile.*batch_size"):
        go(**TAMED)


def test_errors_that_tell_a_person_what_to_do_pass_as_they_are(go, instead):
    class Needy(RandomIndexer):
        def build(self, train, ctx):
            raise NeedsMissing("this data set has no titles: choose another indexer", needs="titles")

    instead("indexer", "random", Needy)
    with pytest.raises(NeedsMissing, match="choose another indexer"):
        go(**TAMED)
