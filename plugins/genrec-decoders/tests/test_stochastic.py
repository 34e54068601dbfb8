"""Sampling without replacement: the right frequencies, the right order, and the same list for the same seed."""

import itertools

import numpy as np
import pytest
from genrec_decoders.stochastic import StochasticConfig, StochasticDecoder, gumbel, source_keys
from toys import CODES, GRID, FixedLogits, bought, index_of, sources

from genrec_bench.api import DecoderContext, Ragged, Sources

DRAWS = 4000


def decoded(codes, beams, users=range(DRAWS), exclude=None, personal=False, ctx=None, **options):
    decoder = StochasticDecoder(StochasticConfig(**options))
    if ctx is not None:
        decoder.prepare(bought([1] * len(codes)), ctx)
    backbone = FixedLogits(scale=1.0, personal=personal)
    return decoder.generate(backbone, sources(list(users)), index_of(codes), beams=beams, exclude=exclude)


def distribution(codes, allowed, temperature):
    """Of each item, the probability that the renormalised steps give it: walked here by hand."""
    backbone, out = FixedLogits(scale=1.0, personal=False), np.zeros(len(codes))
    for item in allowed:
        p = 1.0
        for place, token in enumerate(codes[item]):
            prefix = codes[item][:place]
            children = {codes[i][place] for i in allowed if codes[i][:place] == prefix}
            weights = {t: np.exp(float(backbone.logits_after(0, prefix)[t]) / temperature) for t in children}
            p *= weights[token] / sum(weights.values())
        out[item] = p
    return out


def ordered_draws(p, k):
    """The probability of every ordered draw of `k` items without replacement."""
    probabilities = {}
    for draw in itertools.permutations(np.flatnonzero(p).tolist(), k):
        chance, left = 1.0, 1.0
        for item in draw:
            chance *= p[item] / left
            left -= p[item]
        probabilities[draw] = chance
    return probabilities


@pytest.mark.parametrize(("temperature", "excluded"), [(1.0, []), (2.0, []), (0.5, []), (1.0, [3, 5])])
def test_frequencies_are_those_of_sampling_without_replacement(temperature, excluded):
    exclude = Ragged.of([excluded] * DRAWS) if excluded else None
    generations = decoded(CODES, 3, exclude=exclude, temperature=temperature, seed=11)
    allowed = [item for item in range(len(CODES)) if item not in excluded]
    p = distribution(CODES, allowed, temperature)
    assert p.sum() == pytest.approx(1)
    draws = ordered_draws(p, 3)
    inclusion = np.zeros(len(CODES))
    first = np.zeros(len(CODES))
    for draw, chance in draws.items():
        inclusion[list(draw)] += chance
        first[draw[0]] += chance
    for expected, seen in (
        (inclusion, np.bincount(generations.items.ravel(), minlength=len(CODES))),
        (first, np.bincount(generations.items[:, 0], minlength=len(CODES))),
    ):
        error = np.sqrt(expected * (1 - expected) / DRAWS)
        assert (np.abs(seen / DRAWS - expected) <= 4 * error + 1e-9).all()


def test_the_first_places_do_not_depend_on_the_number_of_beams():
    few, many = decoded(GRID, 4, range(50), personal=True), decoded(GRID, 20, range(50), personal=True)
    np.testing.assert_array_equal(few.items, many.items[:, :4])


def test_a_low_temperature_lists_the_best_items_and_a_high_one_forgets_them():
    cold, hot = (decoded(GRID, 1, range(500), temperature=t, seed=0).items[:, 0] for t in (0.002, 50.0))
    assert np.bincount(cold).max() > 480
    assert len(np.unique(hot)) > 30 and np.bincount(hot).max() < 40


def test_the_seed_decides_and_comes_from_the_run_unless_it_is_given():
    def lists(**options):
        return decoded(GRID, 10, range(20), **options).items

    np.testing.assert_array_equal(lists(seed=5), lists(seed=5))
    assert (lists(seed=5) != lists(seed=6)).any()
    np.testing.assert_array_equal(lists(ctx=DecoderContext(seed=5)), lists(seed=5))
    np.testing.assert_array_equal(lists(ctx=DecoderContext(seed=9), seed=5), lists(seed=5))


def test_a_sample_is_never_certified():
    generations = decoded(CODES, 50, range(9))
    assert (generations.bound == np.inf).all()


def test_the_noise_is_gumbel_and_its_keys_are_unlike():
    keys = source_keys(sources(range(300)), 0)
    assert len(np.unique(keys)) == 300
    drawn = np.sort(gumbel(keys[:, None], np.arange(300, dtype=np.int32)[None]).ravel())
    expected = np.exp(-np.exp(-drawn))
    assert np.abs(expected - (np.arange(len(drawn)) + 0.5) / len(drawn)).max() < 1.95 / np.sqrt(len(drawn))


def test_sources_differ_by_the_order_of_their_tokens_and_by_their_length():
    flat = np.array([1, 2, 2, 1, 1, 0, 1], np.int32)
    blank = np.zeros(len(flat), np.int32)
    offsets = np.array([0, 2, 4, 5, 7], np.int64)
    assert len(np.unique(source_keys(Sources(flat, blank, blank, offsets), 0))) == 4
