"""What holds for each of the three: only items, none twice, none excluded, none missing where there is room."""

import numpy as np
import pytest
import torch
from genrec_decoders.debiased import DebiasedConfig, DebiasedDecoder
from genrec_decoders.diverse import DiverseConfig, DiverseDecoder
from genrec_decoders.stochastic import StochasticConfig, StochasticDecoder
from toys import CODES, GRID, FixedLogits, bought, index_of, listed, sources

from genrec_bench.api import DecoderContext, Ragged, TrieDecoder

MAKE = {
    "diverse": lambda **options: DiverseDecoder(DiverseConfig(**options)),
    "stochastic": lambda **options: StochasticDecoder(StochasticConfig(**options)),
    "debiased": lambda **options: DebiasedDecoder(DebiasedConfig(**options)),
}
USERS = list(range(7))


def made(name, codes, **options):
    decoder = MAKE[name](**options)
    decoder.prepare(bought(np.arange(len(codes)) % 5), DecoderContext(seed=3))
    return decoder


def decoded(decoder, codes, users=USERS, beams=10, exclude=None):
    return decoder.generate(FixedLogits(), sources(users), index_of(codes), beams=beams, exclude=exclude)


def alike(a, b):
    for name in ("tokens", "scores", "items", "bound"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("codes", [CODES, GRID], ids=["uneven", "grid"])
@pytest.mark.parametrize("beams", [1, 4, 9])
@pytest.mark.parametrize("name", MAKE)
def test_every_hypothesis_is_an_item_none_comes_twice_and_scores_never_rise(name, beams, codes):
    generations = decoded(made(name, codes), codes, beams=beams)
    assert generations.items.shape == (len(USERS), beams)
    for items, scores, tokens in zip(generations.items, generations.scores, generations.tokens, strict=True):
        names = listed(items)
        assert len(set(names)) == len(names) >= 1 and min(names) >= 0
        assert (np.diff(scores[: len(names)]) <= 0).all()
        assert [[token for token in code if token >= 0] for code in tokens[: len(names)].tolist()] == [
            codes[item] for item in names
        ]


@pytest.mark.parametrize("name", MAKE)
def test_more_beams_than_items_list_the_whole_catalogue_and_the_rest_stays_empty(name):
    generations = decoded(made(name, CODES), CODES, beams=60)
    for items, scores in zip(generations.items, generations.scores, strict=True):
        assert sorted(listed(items)) == list(range(len(CODES)))
        assert np.isneginf(scores[len(CODES) :]).all()


@pytest.mark.parametrize("name", MAKE)
def test_a_catalogue_of_one_item(name):
    for code in ([3], [3, 1, 2]):
        assert [listed(row) for row in decoded(made(name, [code]), [code]).items] == [[0]] * len(USERS)


@pytest.mark.parametrize("name", MAKE)
def test_what_is_excluded_is_not_searched_and_its_place_goes_to_another(name):
    exclude = Ragged.of([[user, (user * 5 + 3) % len(GRID)] for user in USERS])
    generations = decoded(made(name, GRID), GRID, beams=len(GRID), exclude=exclude)
    for items, own in zip(generations.items, exclude, strict=True):
        assert set(listed(items)) == set(range(len(GRID))) - set(own.tolist())
    narrow = decoded(made(name, GRID, **({"groups": 2} if name == "diverse" else {})), GRID, beams=6, exclude=exclude)
    assert all(len(listed(row)) == 6 for row in narrow.items)


@pytest.mark.parametrize("name", MAKE)
def test_excluding_everything_leaves_nothing(name):
    everything = Ragged.of([list(range(len(CODES)))])
    generations = decoded(made(name, CODES), CODES, users=[1], beams=5, exclude=everything)
    assert listed(generations.items[0]) == []


@pytest.mark.parametrize("name", MAKE)
def test_a_list_does_not_depend_on_who_else_is_in_the_batch(name):
    decoder = made(name, GRID)
    together, backwards = decoded(decoder, GRID, USERS), decoded(decoder, GRID, USERS[::-1])
    alike(together, backwards.take(np.arange(len(USERS))[::-1]))
    alike(together.take(np.array([4])), decoded(decoder, GRID, [4]))


@pytest.mark.parametrize("name", MAKE)
def test_no_global_random_state_is_touched(name):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    decoded(made(name, GRID), GRID)
    assert (torch.get_rng_state() == before).all()
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


@pytest.mark.parametrize("codes", [CODES, GRID], ids=["uneven", "grid"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("diverse", {"groups": 1, "penalty": 0.0}),
        ("diverse", {"groups": 1, "penalty": 3.0}),
        ("debiased", {"alpha": 0.0}),
    ],
)
@pytest.mark.parametrize("beams", [1, 5, 50])
def test_without_its_own_rule_it_is_trie_to_the_last_bit(name, options, codes, beams):
    exclude = Ragged.of([[user % len(codes)] for user in USERS])
    for excluded in (None, exclude):
        plain = decoded(TrieDecoder(), codes, beams=beams, exclude=excluded)
        alike(plain, decoded(made(name, codes, **options), codes, beams=beams, exclude=excluded))


@pytest.mark.parametrize(
    ("config", "option", "value"),
    [
        (DiverseConfig, "groups", 0),
        (DiverseConfig, "penalty", -1.0),
        (StochasticConfig, "temperature", 0.0),
        (DebiasedConfig, "alpha", -0.1),
    ],
)
def test_an_option_out_of_range_is_refused(config, option, value):
    with pytest.raises(ValueError, match=option):
        config(**{option: value})
