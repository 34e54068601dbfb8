"""Searches in fixed shapes: the lists of the search without, few programs for many batches, and a way back where there is none.

Away from a GPU a program runs operation by operation over its own buffers, as here.
"""

import numpy as np
import pytest
import torch
from fakes import PrefixBackbone, index_of, prefix_free, sources
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import spec_for
from small_searches import INDEX, assert_same, batch_of, network

from genrec_bench import run
from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import CodeTable, Index
from genrec_bench.core.progress import Quiet
from genrec_bench.core.sequences import Sources
from genrec_bench.decoders.beam_search import beam_search
from genrec_bench.decoders.captured import Bucket, Programs, eager
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.decoders.trie import TrieConfig, TrieDecoder
from genrec_bench.errors import ComponentFault
from genrec_bench.host.contracts import Backbone, DecoderContext
from genrec_bench.host.registry import find
from genrec_bench.runs.handover import Watched


class Counted:
    """A capture that counts how often it is asked for."""

    def __init__(self):
        self.times = 0

    def __call__(self, run):
        self.times += 1
        return eager(run)


def capturing(most=16):
    """A decoder that captures, and the count of its captures."""
    decoder, counted = TrieDecoder(TrieConfig(capture="on")), Counted()
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
    found = TrieDecoder(TrieConfig(capture="on")).generate(
        backbone, sources(users), index, beams=beams, exclude=exclude
    )
    for name in ("items", "tokens", "scores", "bound"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("codes", [[[0, 1, -1], [0, 0, -1], [1, 0, -1]], [[0, -1, -1], [1, -1, -1]]])
def test_codes_that_end_before_the_last_column_are_captured_too(codes):
    index = Index(CodeTable(np.array(codes, np.int32)), None, 6)
    decoder = TrieDecoder(TrieConfig(capture="on"))
    found = decoder.generate(PrefixBackbone(6), sources([1, 2]), index, beams=3)
    assert not decoder.programs.broken
    assert_same(found, beam_search(PrefixBackbone(6), sources([1, 2]), Trie.build(index.items), beams=3, free=False))


@pytest.mark.parametrize("users", [1, 3, 4])
@pytest.mark.parametrize("exclude", [None, [[5, 5, 7], [], [*range(0, 900, 2)], [1]]])
def test_padded_users_tokens_and_exclusions_change_nothing(users, exclude):
    given = None if exclude is None else Ragged.of(exclude[:users])
    lists = [
        TrieDecoder(TrieConfig(capture=capture)).generate(network(), batch_of(users, 13), INDEX, beams=9, exclude=given)
        for capture in ("on", "off")
    ]
    assert_same(*lists)


def test_in_bf16_the_first_places_score_alike():
    on, off = (
        TrieDecoder(TrieConfig(capture=capture, precision="bf16")).generate(network(), batch_of(3, 13), INDEX, beams=9)
        for capture in ("on", "off")
    )  # other shapes round otherwise, so the ends of the lists may differ
    np.testing.assert_allclose(on.scores[:, :3], off.scores[:, :3], atol=0.5)


def test_users_without_any_source_token_are_searched():
    nobody = Sources(*(np.zeros(0, np.int32) for _ in range(3)), np.zeros(3, np.int64))
    on, off = (
        TrieDecoder(TrieConfig(capture=how)).generate(network(), nobody, INDEX, beams=4) for how in ("on", "off")
    )
    assert_same(on, off)


def test_a_run_with_it_has_the_numbers_of_one_without(planted_file, tmp_path):
    on, off = (
        run(spec_for(planted_file, set={"decoder.capture": how}), out=tmp_path / "runs", device="cpu")
        for how in ("on", "off")
    )
    assert on.metrics == off.metrics and on.validity == off.validity
    assert on.throughput["fixed_shape_batches"] > 0 and "fixed_shape_batches" not in off.throughput


# few programs ---------------------------------------------------------------------------------------------------------


def test_batches_of_a_bucket_share_a_program_and_results_outlive_the_next_search():
    decoder, counted = capturing()
    backbone, batches = network(), [batch_of(3, 15), batch_of(4, 9, seed=2), batch_of(4, 16, seed=5)]
    found = [decoder.generate(backbone, batch, INDEX, beams=6) for batch in batches]
    assert counted.times == 1 and decoder.counts() == {"fixed_shape_batches": 1}
    for batch, lists in zip(batches, found, strict=True):
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
        found = decoder.generate(PrefixBackbone(6), sources([1]), index_of(codes, 6), beams=3)
        assert {tuple(row[row >= 0].tolist()) for row in found.tokens[0]} == {tuple(code) for code in codes}
    assert counted.times == 2 and len(decoder.programs.kept) == 1


def test_a_trie_is_built_once_though_its_tensors_name_their_device_in_full(monkeypatch):
    built, real = [], Trie.build
    monkeypatch.setattr(Trie, "build", lambda table, device: built.append(device) or real(table, "cpu"))
    decoder = TrieDecoder()
    assert decoder.trie(INDEX, "cuda") is decoder.trie(INDEX, "cuda") and built == ["cuda"]


# a way back -----------------------------------------------------------------------------------------------------------


class Notes(Quiet):
    def __init__(self):
        self.told = []

    def note(self, message):
        self.told.append(message)


def test_a_capture_that_fails_is_told_once_and_the_search_goes_on_without():
    decoder, notes, asked = TrieDecoder(TrieConfig(capture="on")), Notes(), []

    def refuses(run):
        asked.append(run)
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might be ...")

    decoder.programs = Programs(refuses)
    decoder.prepare(None, DecoderContext(progress=notes))
    for _ in range(2):
        found = decoder.generate(network(), batch_of(2, 8), INDEX, beams=5)
        assert_same(found, TrieDecoder().generate(network(), batch_of(2, 8), INDEX, beams=5))
    assert len(asked) == len(notes.told) == 1 and decoder.counts() == {}
    assert "operation not permitted" in notes.told[0] and "\n" not in notes.told[0]


def test_a_program_that_finds_other_lists_is_given_up():
    decoder, notes = TrieDecoder(TrieConfig(capture="on")), Notes()

    def stale(run):  # what a graph would do that read a tensor of the warm-up
        key, *rest = run()
        return lambda: (key - 0.01, *rest)

    decoder.programs = Programs(stale)
    decoder.prepare(None, DecoderContext(progress=notes))
    for _ in range(2):
        found = decoder.generate(network(), batch_of(2, 8), INDEX, beams=5)
        assert_same(found, TrieDecoder().generate(network(), batch_of(2, 8), INDEX, beams=5))
    assert len(notes.told) == 1 and "its lists are not those" in notes.told[0] and decoder.counts() == {}


class StepByStep(PrefixBackbone):
    fixed_start = Backbone.fixed_start


@pytest.mark.parametrize(("capture", "told"), [("on", 1), ("auto", 0), ("off", 0)])
def test_a_backbone_that_offers_no_fixed_start_is_decoded_as_ever(capture, told):
    decoder, notes = TrieDecoder(TrieConfig(capture=capture)), Notes()
    decoder.prepare(None, DecoderContext(progress=notes))
    lists = [
        each.generate(StepByStep(6), sources([1, 2]), index_of([[0], [1, 2]], 6), beams=3)
        for each in (decoder, decoder, TrieDecoder())
    ]
    assert_same(lists[0], lists[2])
    assert len(notes.told) == told and not decoder.programs.kept


@pytest.mark.parametrize("capture", ["auto", "off"])
def test_nothing_is_captured_on_a_cpu_unless_asked_for(monkeypatch, capture):
    monkeypatch.setattr(Programs, "search", lambda *_, **__: pytest.fail("captured"))
    decoder = TrieDecoder(TrieConfig(capture=capture))
    decoder.generate(network(), batch_of(2, 8), INDEX, beams=5)
    assert decoder.counts() == {}


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="'auto', 'on' or 'off'"):
        TrieConfig(capture="sometimes")


class BreaksDown(PrefixBackbone):
    def start(self, batch):
        raise ZeroDivisionError("no sources today")


def test_a_failing_start_is_the_backbones_fault_with_and_without():
    watched = Watched(BreaksDown(6), find("backbone", "lightlm"), 6)
    with pytest.raises(ComponentFault, match=r"backbone 'lightlm'.*no sources today"):
        watched.fixed_start().start(torch.zeros(1, dtype=torch.long))
    with pytest.raises(ComponentFault, match=r"backbone 'lightlm'.*no sources today"):
        TrieDecoder(TrieConfig(capture="on")).generate(watched, sources([1]), index_of([[0], [1]], 6), beams=2)
