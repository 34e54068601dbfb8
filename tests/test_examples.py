"""Training examples: which queries and targets there are, and that chunks in a mapped file hold what one rendering gives."""

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import index_of

from genrec_bench.backbones.templates import IdTemplate, SampledPrompts, WordList
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.host import registry
from genrec_bench.runs import examples
from genrec_bench.runs.decoding import Generator

TRAIN = Ragged.of([[0, 2, 1, 3], [], [1], [3, 0, 2]])


def index():
    items = index_of([[0, 1], [2], [0, 3], [4, 1]])
    return Index(items.items, CodeTable(np.array([[5], [6], [7], [8]], np.int32)), 9)


def generator(task, prompts=False):
    template = IdTemplate(task, index(), 20)
    if prompts:
        texts = ["after {history}", "having {history} ?", "{history} then"]
        template = SampledPrompts(index(), 20, WordList(texts), texts[0], texts)
    return Generator(SimpleNamespace(trains_on="rows"), template, index(), registry.find("backbone", "lightlm"))


def content(sources):
    return [getattr(sources, name).tolist() for name in ("tokens", "levels", "words", "offsets")]


def test_direct_has_a_source_per_user_with_items_and_all_its_items_as_targets(tmp_path):
    made = examples.make_examples(TRAIN, "direct", generator("direct"), tmp_path)
    assert made.sources.tokens.tolist() == [5, 7, 8]  # the second user has no items
    assert made.target_offsets.tolist() == [0, 4, 5, 8]
    assert made.targets.tolist() == index().items.codes[TRAIN.values].tolist()
    assert made.redraw is None


def test_sequential_has_a_source_per_item_after_the_first_which_shows_what_came_before(tmp_path):
    made = examples.make_examples(TRAIN, "sequential", generator("sequential"), tmp_path)
    shown = [made.sources.tokens[a:b].tolist() for a, b in zip(made.sources.offsets, made.sources.offsets[1:])]  # noqa: B905
    assert shown == [[0, 1], [0, 1, 0, 3], [0, 1, 0, 3, 2], [4, 1], [4, 1, 0, 1]]
    assert made.targets.tolist() == index().items.codes[[2, 1, 3, 0, 2]].tolist()


@pytest.mark.parametrize("chunk", [1, 2, 3, 4])
@pytest.mark.parametrize("task", ["direct", "sequential"])
def test_chunks_hold_what_one_rendering_gives_and_leave_no_file(task, chunk, tmp_path, monkeypatch):
    whole = examples.make_examples(TRAIN, task, generator(task), tmp_path)
    monkeypatch.setattr(examples, "CHUNK", chunk)
    parts = examples.make_examples(TRAIN, task, generator(task), tmp_path)
    assert content(parts.sources) == content(whole.sources)
    assert content(parts.sources.take(np.array([2, 0]))) == content(whole.sources.take(np.array([2, 0])))
    assert isinstance(parts.sources.tokens.base, np.memmap) == (len(parts) > chunk)
    assert not list(tmp_path.iterdir())


def test_sources_without_a_token_can_be_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "CHUNK", 1)
    nothing = examples.in_chunks(lambda queries: generator("sequential").render(queries), ask_nothing, 3, tmp_path)
    assert content(nothing) == [[], [], [], [0, 0, 0, 0]]


def ask_nothing(some):
    return examples.Queries(np.arange(some.start, some.stop, dtype=np.int32), Ragged.empty(some.stop - some.start))


def test_prompts_are_drawn_anew_chunk_by_chunk_and_the_old_sources_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "CHUNK", 2)
    made = examples.make_examples(TRAIN, "sequential", generator("sequential", prompts=True), tmp_path)
    before = content(made.sources)
    drawn = [content(made.redraw(np.random.default_rng(seed))) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert content(made.sources) == before
    shown = {tuple(made.sources.tokens[a:b]) for a, b in zip(made.sources.offsets, made.sources.offsets[1:])}  # noqa: B905
    assert len({row[0] for row in shown}) == 1  # the fixed prompt: "after" and the history
