"""Searches in fixed shapes: the lists of `trie`, few programs for many batches, and a way back where there are none.

Without a GPU a program runs operation by operation over its own buffers, as here.
"""

import numpy as np
import pytest
import torch
from genrec_decoders.captured import CapturedTrieConfig, CapturedTrieDecoder
from genrec_decoders.programs import Bucket, Programs, eager
from hypothesis import given, settings
from hypothesis import strategies as st
from small_searches import INDEX, SIZES, assert_same, batch_of, network

from genrec_bench.api import (
    CodeTable,
    DecoderContext,
    Index,
    Quiet,
    Ragged,
    Sources,
    Trie,
    TrieConfig,
    TrieDecoder,
    beam_search,
)
from genrec_bench.testing import PrefixBackbone, Subject, index_of, sources
from genrec_bench.testing.strategies import prefix_free

ON = CapturedTrieConfig(capture="on")


class Counted:
    """A capture that counts how often it is asked for."""

    def __init__(self):
        self.times = 0

    def __call__(self, run):
        self.times += 1
        return eager(run)


def capturing(most=16):
    """A decoder that captures, and the count of its captures."""
    decoder, counted = CapturedTrieDecoder(ON), Counted()
    decoder.programs = Programs(counted, most)
    return decoder, counted


# the same lists -------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(prefix_free(), st.lists(st.integers(0, 99), min_size=1, max_size=5), st.integers(1, 14), st.data())
def test_it_finds_what_the_search_without_finds_bit_by_bit(codes, users, beams, data):
    own = st.lists(st.integers(0, len(codes) - 1), max_size=4)
    exclude = Ragged.of([data.draw(own) for _ in users]) if data.draw(st.booleans()) else None
    backbone, index = PrefixBackbone(6), index_of(codes, 6)
    expected = beam_search(backbone, sources(users), Trie.build(index.items), beams=beams, free=False, exclude=exclude)
    generations = CapturedTrieDecoder(ON).generate(backbone, sources(users), index, beams=beams, exclude=exclude)
    for name in ("items", "tokens", "scores", "bound"):
        np.testing.assert_array_equal(getattr(generations, name), getattr(expected, name))


def test_both_normalisations_are_captured_each_with_programs_of_its_own():
    backbone, batch, scores = network(), batch_of(3, 8), []
    for normalisation in ("alphabet", "children"):
        decoder = CapturedTrieDecoder(CapturedTrieConfig(capture="on", normalisation=normalisation))
        plain = TrieDecoder(TrieConfig(normalisation=normalisation))
        generations, expected = (each.generate(backbone, batch, INDEX, beams=5) for each in (decoder, plain))
        assert_same(generations, expected)
        assert not decoder.programs.broken and [kept.normalisation for kept in decoder.programs.kept] == [normalisation]
        scores.append(generations.scores)
    assert (scores[1][:, 0] > scores[0][:, 0] + 0.1).all()  # fewer tokens share the probability


@pytest.mark.parametrize("codes", [[[0, 1, -1], [0, 0, -1], [1, 0, -1]], [[0, -1, -1], [1, -1, -1]]])
def test_codes_that_end_before_the_last_column_are_captured_too(codes):
    index = Index(CodeTable(np.array(codes, np.int32)), None, 6)
    decoder = CapturedTrieDecoder(ON)
    generations = decoder.generate(PrefixBackbone(6), sources([1, 2]), index, beams=3)
    assert not decoder.programs.broken
    assert_same(
        generations, beam_search(PrefixBackbone(6), sources([1, 2]), Trie.build(index.items), beams=3, free=False)
    )


@pytest.mark.parametrize("users", [1, 3, 4])
@pytest.mark.parametrize("exclude", [None, [[5, 5, 7], [], [*range(0, 900, 2)], [1]]])
def test_padded_users_tokens_and_exclusions_change_nothing(users, exclude):
    given = None if exclude is None else Ragged.of(exclude[:users])
    lists = [
        decoder.generate(network(), batch_of(users, 13), INDEX, beams=9, exclude=given)
        for decoder in (CapturedTrieDecoder(ON), TrieDecoder())
    ]
    assert_same(*lists)


def test_in_bf16_the_first_places_score_alike():
    captured = CapturedTrieDecoder(CapturedTrieConfig(capture="on", precision="bf16"))
    on, off = (
        decoder.generate(network(), batch_of(3, 13), INDEX, beams=9)
        for decoder in (captured, TrieDecoder(TrieConfig(precision="bf16")))
    )  # other shapes round otherwise, so the ends of the lists may differ
    np.testing.assert_allclose(on.scores[:, :3], off.scores[:, :3], atol=0.5)


def test_users_without_any_source_token_are_searched():
    nobody = Sources(*(np.zeros(0, np.int32) for _ in range(3)), np.zeros(3, np.int64))
    on, off = (
        decoder.generate(network(), nobody, INDEX, beams=4) for decoder in (CapturedTrieDecoder(ON), TrieDecoder())
    )
    assert_same(on, off)


def test_users_whose_lists_are_not_certified_are_searched_again_here_too():
    options = {"escalate": True}
    on, off = CapturedTrieDecoder(CapturedTrieConfig(capture="on", **options)), TrieDecoder(TrieConfig(**options))
    lists = [decoder.generate(network(), batch_of(5, 13), INDEX, beams=10) for decoder in (on, off)]
    assert_same(*lists)
    assert on.counts() == {**off.counts(), "fixed_shape_batches": 1}


# few programs ---------------------------------------------------------------------------------------------------------


def test_batches_of_a_bucket_share_a_program_and_results_outlive_the_next_search():
    decoder, counted = capturing()
    backbone, batches = network(), [batch_of(3, 15), batch_of(4, 9, seed=2), batch_of(4, 16, seed=5)]
    generations = [decoder.generate(backbone, batch, INDEX, beams=6) for batch in batches]
    assert counted.times == 1 and decoder.counts() == {"fixed_shape_batches": 1}
    for batch, lists in zip(batches, generations, strict=True):
        assert_same(lists, TrieDecoder().generate(backbone, batch, INDEX, beams=6))


@pytest.mark.parametrize(
    ("users", "length", "beams", "exclude"), [(5, 16, 6, None), (4, 17, 6, None), (4, 16, 7, None), (4, 16, 6, 1)]
)
def test_another_shape_is_another_program(users, length, beams, exclude):
    decoder, counted = capturing()
    backbone = network()
    decoder.generate(backbone, batch_of(4, 16), INDEX, beams=6)
    own = None if exclude is None else Ragged.of([[1]] * users)
    decoder.generate(backbone, batch_of(users, length), INDEX, beams=beams, exclude=own)
    assert counted.times == 2
    decoder.generate(backbone, batch_of(4, 16), INDEX, beams=6)
    assert counted.times == 2


def test_sizes_are_rounded_up():
    assert Bucket.of(batch_of(5, 17), 20, None) == Bucket(8, 32, 20, 0)
    assert Bucket.of(batch_of(1, 1), 20, np.zeros((1, 1), np.int32)) == Bucket(1, 16, 20, 64)
    assert Bucket.of(batch_of(8, 16), 20, np.zeros((8, 65), np.int32)) == Bucket(8, 16, 20, 128)


def test_the_program_that_was_used_longest_ago_goes_first():
    decoder, counted = capturing(most=2)
    backbone = network()
    for beams in (3, 4, 3, 5, 3, 4):  # 5 drives out 4
        decoder.generate(backbone, batch_of(1, 5), INDEX, beams=beams)
        assert len(decoder.programs.kept) <= 2
    assert counted.times == 4


def test_weights_changed_in_place_are_seen_and_loaded_ones_are_captured_anew(tmp_path):
    decoder, counted = capturing()
    backbone, batch, other = network(), batch_of(2, 8), network(seed=1)
    other.save(tmp_path)
    first = decoder.generate(backbone, batch, INDEX, beams=5)
    with torch.no_grad():
        backbone.net.embedding.weight.mul_(-1)
    expected = TrieDecoder().generate(other, batch, INDEX, beams=5)
    assert_same(decoder.generate(backbone, batch, INDEX, beams=5), expected)
    assert counted.times == 1 and not np.array_equal(first.items, expected.items)
    backbone.load(tmp_path)
    assert_same(decoder.generate(backbone, batch, INDEX, beams=5), expected)
    assert counted.times == 2 and len(decoder.programs.kept) == 1


def test_another_index_is_captured_anew():
    decoder, counted = capturing()
    for codes in ([[0], [1], [2, 3]], [[0], [1], [2, 4]]):
        generations = decoder.generate(PrefixBackbone(6), sources([1]), index_of(codes, 6), beams=3)
        assert {tuple(row[row >= 0].tolist()) for row in generations.tokens[0]} == {tuple(code) for code in codes}
    assert counted.times == 2 and len(decoder.programs.kept) == 1


# a way back -----------------------------------------------------------------------------------------------------------


class Notes(Quiet):
    def __init__(self):
        self.messages = []

    def note(self, message):
        self.messages.append(message)


def test_a_capture_that_fails_is_told_once_and_the_search_goes_on_without():
    decoder, notes, asked = CapturedTrieDecoder(ON), Notes(), []

    def refuses(run):
        asked.append(run)
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might be ...")

    decoder.programs = Programs(refuses)
    decoder.prepare(None, DecoderContext(progress=notes))
    for _ in range(2):
        generations = decoder.generate(network(), batch_of(2, 8), INDEX, beams=5)
        assert_same(generations, TrieDecoder().generate(network(), batch_of(2, 8), INDEX, beams=5))
    assert len(asked) == len(notes.messages) == 1 and decoder.counts() == {}
    assert "operation not permitted" in notes.messages[0] and "\n" not in notes.messages[0]


def test_a_program_that_finds_other_lists_is_given_up():
    decoder, notes = CapturedTrieDecoder(ON), Notes()

    def stale(run):  # what a graph would do that read a tensor of the warm-up
        key, *rest = run()
        return lambda: (key - 0.01, *rest)

    decoder.programs = Programs(stale)
    decoder.prepare(None, DecoderContext(progress=notes))
    for _ in range(2):
        generations = decoder.generate(network(), batch_of(2, 8), INDEX, beams=5)
        assert_same(generations, TrieDecoder().generate(network(), batch_of(2, 8), INDEX, beams=5))
    assert len(notes.messages) == 1 and "its lists are not those" in notes.messages[0] and decoder.counts() == {}


class StepByStep:
    """A backbone that offers nothing beside its contract."""

    device, extra_columns, normalisation = "cpu", 0, "alphabet"

    def __init__(self):
        fake = PrefixBackbone(6)
        self.start, self.advance, self.logits = fake.start, fake.advance, fake.logits


@pytest.mark.parametrize(("capture", "notes"), [("on", 1), ("auto", 0)])
def test_a_backbone_without_fixed_shapes_is_decoded_step_by_step(capture, notes):
    decoder, progress = CapturedTrieDecoder(CapturedTrieConfig(capture=capture)), Notes()
    decoder.prepare(None, DecoderContext(progress=progress))
    lists = [
        each.generate(StepByStep(), sources([1, 2]), index_of([[0], [1, 2]], 6), beams=3)
        for each in (decoder, decoder, TrieDecoder())
    ]
    assert_same(lists[0], lists[2])
    assert len(progress.messages) == notes and not decoder.programs.kept and decoder.counts() == {}


class ForgetsItsSources(PrefixBackbone):
    def start_padded(self, *padded):
        return self.start(sources([0] * len(padded[0])))


def test_a_backbone_whose_two_halves_are_not_its_start_is_decoded_step_by_step():
    decoder, progress = CapturedTrieDecoder(ON), Notes()
    decoder.prepare(None, DecoderContext(progress=progress))
    index = index_of([[0], [1, 2], [3]], 6)
    generations = decoder.generate(ForgetsItsSources(6), sources([1, 2]), index, beams=3)
    assert_same(generations, TrieDecoder().generate(PrefixBackbone(6), sources([1, 2]), index, beams=3))
    assert len(progress.messages) == 1 and "its lists are not those" in progress.messages[0]


def test_nothing_is_captured_on_a_cpu_unless_asked_for(monkeypatch):
    monkeypatch.setattr(Programs, "search", lambda *_, **__: pytest.fail("captured"))
    decoder = CapturedTrieDecoder()
    decoder.generate(network(), batch_of(2, 8), INDEX, beams=5)
    assert decoder.counts() == {}


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="capture"):
        CapturedTrieConfig(capture="sometimes")


# what built-in backbones offer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lightlm", "p5", "t5-small"])
def test_padded_sources_get_the_logits_of_start_in_the_shapes_asked_for(name):
    backbone, batch = Subject.of("backbone", name, SIZES).make(), batch_of(4, 13)
    backbone.begin(INDEX.n_tokens)
    users, length = 7, 18
    whole, alone = (backbone.pad(some, users, length) for some in (batch, batch.take(np.arange(1))))
    shapes = [[(part.shape, part.dtype, part.device.type) for part in padded] for padded in (whole, alone)]
    assert shapes[0] == shapes[1] and {device for *_, device in shapes[0]} == {"cpu"}

    padded, plain = walked(backbone, backbone.start_padded(*whole), users), walked(backbone, backbone.start(batch), 4)
    torch.testing.assert_close(padded[:4], plain, rtol=1e-4, atol=1e-4)


def walked(backbone, state, users):
    """Logits of the first call and of two hypotheses after it, (users, 3, n_tokens)."""
    first, state = backbone.advance(state, torch.full((users, 1), -1), torch.zeros(users, 1, dtype=torch.long))
    second, _ = backbone.advance(state, torch.tensor([[0, 1]] * users), torch.zeros(users, 2, dtype=torch.long))
    return backbone.logits(torch.cat([first, second], 1))
