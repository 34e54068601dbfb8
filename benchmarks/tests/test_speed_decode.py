"""The decoding benchmark: both sides do the same work, and nothing is timed if they do not."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from genrec_decoders import programs
from genrec_decoders.captured import CapturedTrieConfig, CapturedTrieDecoder
from genrec_speed import decode, hf, peers
from genrec_speed.agreement import ListsDiffer, compare, require_same
from genrec_speed.decode import (
    AGAINST,
    Case,
    Lab,
    agree,
    measure,
)

from genrec_bench.core.progress import Quiet
from genrec_bench.decoders.beam_search import to_generations
from genrec_bench.decoders.csr_trie import Trie
from genrec_bench.errors import NeedsMissing
from genrec_bench.testing import synthetic

TINY = {"layers": 1, "d_model": 32, "heads": 2, "d_ff": 8}
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def lab():
    return Lab.build(synthetic.catalogue(800), "cpu", **TINY)


@pytest.mark.parametrize(("decoder", "peer"), [("trie", "prefix"), ("trie", "csr"), ("filter", "free")])
def test_both_sides_give_the_same_whole_lists(lab, decoder, peer):
    case = Case(3, 5, 12, decoder=decoder, peer=peer)
    tokens, scores = lab.peer_lists(case, 2, scores=True)
    lists = lab.our_lists(case, 3)
    assert agree(case, lists, tokens, scores, partial(lab.peer_scores, case)).share == 100
    assert len(np.unique(lists.tokens[:, 0], axis=0)) > 1  # users get lists of their own


def test_the_exact_ranking_is_nowhere_worse_than_the_peers_beam(lab):
    case = Case(3, 20, 12, decoder="exact")
    tokens, scores = lab.peer_lists(case, 3, scores=True)
    lists, peer_scores = lab.our_lists(case, 3), partial(lab.peer_scores, case)
    agree(case, lists, tokens, scores, peer_scores)
    with pytest.raises(ListsDiffer, match="better items than the exact ranking"):
        agree(case, lists, tokens, scores + 1, peer_scores)
    twice = replace(lists, tokens=lists.tokens[:, [0] * 20], scores=lists.scores[:, [0] * 20])
    with pytest.raises(ListsDiffer, match="an item twice"):
        agree(case, twice, tokens, scores, peer_scores)


@pytest.mark.parametrize("wrong", [0.0, np.nan])
def test_the_exact_rankings_scores_are_those_of_the_peers_network(lab, wrong):
    case = Case(3, 20, 12, decoder="exact")
    lists = lab.our_lists(case, 3)
    peer_scores = lab.peer_scores(case, lists.tokens[:, :10])
    np.testing.assert_allclose(lists.scores[:, :10], peer_scores, atol=1e-4)
    claims = replace(lists, scores=np.full_like(lists.scores, wrong))
    with pytest.raises(ListsDiffer, match="other scores than the network"):
        agree(case, claims, *lab.peer_lists(case, 3, scores=True), partial(lab.peer_scores, case))


def test_a_row_has_its_ratio_and_its_conditions(lab):
    row, agreement = measure(lab, Case(2, 4, 8, "1a", rounds=2))
    assert row.low <= row.value <= row.high and row.goal == "1a" and row.against == AGAINST["prefix"]
    assert row.details["rounds"] == 2 and row.details["same lists %"] == 100 and agreement.same.all()


def test_the_lists_that_are_compared_are_those_of_the_batches_that_are_timed(lab, monkeypatch):
    right, timed = lab.our_lists, []

    def wrong(case, batch):
        lists = right(case, batch)
        return replace(lists, scores=lists.scores - 5) if batch == 2 else lists

    monkeypatch.setattr(lab, "our_lists", wrong)
    monkeypatch.setattr(decode, "interleaved", lambda sides, **how: timed.append(how) or pytest.fail("it was timed"))
    monkeypatch.setattr(decode, "quickest", lambda side, sizes: 2)
    with pytest.raises(ListsDiffer):
        measure(lab, Case(4, 4, 8))
    assert not timed


def test_the_filter_drops_codes_of_no_item_and_keeps_the_order(lab):
    codes = lab.index.items.codes
    tokens = np.stack([codes[[3, 5, 4]], codes[[1, 0, 2]]])
    tokens[0, 1] = codes[5][::-1]
    assert lab.filtered(tokens) == [[3, 4], [1, 0, 2]]


def test_no_time_is_printed_for_lists_that_differ(lab, monkeypatch):
    right = lab.peer_lists

    def wrong(case, batch, scores=False):
        tokens, given = right(case, batch, scores)
        return tokens[:, ::-1], given

    monkeypatch.setattr(lab, "peer_lists", wrong)
    monkeypatch.setattr(decode, "interleaved", lambda *a, **k: pytest.fail("it was timed"))
    monkeypatch.setattr(decode.Lab, "build", lambda *a, **k: lab)
    monkeypatch.setattr(decode, "ITEMS", 800)
    monkeypatch.setitem(decode.CPU, "small", (Case(2, 4, 8),))
    with pytest.raises(ListsDiffer, match=r"2 of 2 users differ by more than ties .* no time is printed") as caught:
        decode.run("small", Quiet())
    assert "\n" not in str(caught.value)


def test_ties_are_excused_and_counted_and_other_differences_are_not():
    ours, peer = np.array([[1, 2, 3], [1, 2, 3]]), np.array([[1, 3, 2], [1, 2, 3]])
    scores = np.array([[-1, -2, -2.00005], [-1, -2, -3]], np.float32)
    agreement = compare(ours, scores, peer, scores)
    assert agreement.equal.tolist() == [False, True] and agreement.same.all()
    assert agreement.tied == pytest.approx(2 / 6)
    assert require_same("case", agreement) is agreement
    apart = np.array([[-1, -2, -2.1], [-1, -2, -3]], np.float32)
    assert compare(ours, apart, peer, scores).same.tolist() == [False, True]
    # The scores of each position agree, those of the items do not.
    swapped = compare(ours, scores, ours[:, [1, 0, 2]], scores)
    assert not swapped.same.any()
    end = np.array([[1, 2, 4], [1, 2, 3]])
    assert compare(ours, scores, end, scores).same.all()  # as good as the last


@torch.no_grad()
def test_the_peer_has_our_logits_and_a_softmax_over_the_code_tokens_alone(lab):
    batch = synthetic.sources(lab.index, 2, 9)
    start = torch.zeros(2, 1, dtype=torch.long)
    ours = lab.ours.logits(lab.ours.advance(lab.ours.start(batch), start - 1, start)[0])
    ids, mask = hf.padded(batch, "cpu")
    peer = lab.peer(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits[:, -1:]
    assert torch.isneginf(peer[..., 0]).all()
    torch.testing.assert_close(ours, peer[..., 1:], rtol=1e-4, atol=1e-4)


def test_nested_dictionaries_and_the_processor_allow_the_same_tokens():
    index = synthetic.catalogue(1000)
    nested, processor = peers.NestedTrie(index.items.codes), peers.TrieProcessor(Trie.build(index.items))
    for length in range(4):
        prefix = torch.tensor([[0, *(index.items.codes[7][:length] + 1).tolist()]])
        mask = processor(prefix, torch.zeros(1, index.n_tokens + 1))
        assert torch.isfinite(mask[0]).nonzero().flatten().tolist() == sorted(nested.allowed(0, prefix[0]))
    assert nested.allowed(0, torch.tensor([0, *(index.items.codes[7] + 1).tolist()])) == [0]


@pytest.mark.parametrize("items", [1, 700, 12_000])
def test_clustered_codes_are_all_different_and_level_by_level(items):
    codes = synthetic.clustered_codes(items)
    assert len(np.unique(codes, axis=0)) == items
    assert (codes // synthetic.ALPHABET == np.arange(4)).all()


def test_without_transformers_the_extra_is_named_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(NeedsMissing, match=r"pip install './benchmarks\[peers\]'") as caught:
        decode.run("small", Quiet())
    assert "\n" not in str(caught.value)


def test_bf16_lists_are_compared_with_those_of_fp32(lab):
    row = decode.reduced(lab, Case(2, 12, 8))
    assert 50 <= row.value <= 100 and row.unit == "%" and row.goal is None and row.details["bf16 speed x"] > 0


def test_what_a_gpu_captures_is_as_many_operators_whatever_the_number_of_users(lab):
    counts = {decode.fixed_shapes(lab, Case(users, 6, 9)).value for users in (3, 30)}
    assert len(counts) == 1 and 550 < counts.pop() <= 630  # 623 with torch 2.13: more is a longer search


class Notes(Quiet):
    def __init__(self):
        self.messages = []

    def note(self, message):
        self.messages.append(message)


def test_a_replay_is_timed_after_both_searches_found_the_same(lab, monkeypatch):
    (row,) = decode.captured(lab, Case(3, 6, 9), Quiet())
    assert row.goal == "10b" and row.unit == "ms" and row.low <= row.value <= row.high
    assert {"with copies ms", "without capture ms", "rounds"} == set(row.details)
    monkeypatch.setattr(decode, "interleaved", lambda *a, **k: pytest.fail("it was timed"))
    monkeypatch.setattr(
        programs, "to_generations", lambda *searched: replace(to_generations(*searched), scores=np.zeros((3, 6)))
    )
    notes = Notes()
    assert decode.captured(lab, Case(3, 6, 9), notes) == [] and "its lists are not those" in notes.messages[0]


def test_a_device_that_cannot_capture_gives_a_note_and_no_row(lab, monkeypatch):
    def refuses(run):
        raise RuntimeError("no graphs today")

    monkeypatch.setattr(programs, "eager", refuses)
    notes = Notes()
    assert decode.captured(lab, Case(3, 6, 9), notes) == [] and "no graphs today" in notes.messages[0]


def test_a_case_says_when_its_search_had_fixed_shapes_without_a_graph(lab, monkeypatch):
    monkeypatch.setitem(lab.decoders, "trie", CapturedTrieDecoder(CapturedTrieConfig(capture="on")))
    row, _ = measure(lab, Case(2, 4, 8, rounds=1))
    assert row.details["captured"] == "no, fixed shapes only" and row.details["same lists %"] == 100
