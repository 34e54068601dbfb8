"""Codes made of digits: random and sequential."""

from __future__ import annotations

import numpy as np
import pytest

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import ConfigError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.indexers.digits import (
    DigitsConfig,
    RandomIndexer,
    SequentialIndexer,
    first_appearance,
    random_user_labels,
    sequential_labels,
)

TRAIN = TrainView(Ragged.of([[3, 1, 3], [1, 0], [4]]), n_items=6)


def test_first_appearance_reads_users_in_order_and_puts_unseen_items_last():
    assert first_appearance(TRAIN).tolist() == [2, 1, 4, 0, 3, 5]  # read: 3, 1, 0, 4; never seen: 2, 5


def test_sequential_writes_the_order_of_first_appearance_as_digits():
    assert sequential_labels(TRAIN, base=2).tolist() == [
        [0, 1, 0],
        [0, 0, 1],
        [1, 0, 0],
        [0, 0, 0],
        [0, 1, 1],
        [1, 0, 1],
    ]


def test_sequential_ignores_the_seed_and_leaves_users_to_others():
    first, second = (SequentialIndexer().build(TRAIN, IndexerContext(seed=seed)) for seed in (0, 1))
    assert first.fingerprint == second.fingerprint
    assert first.users is None


def test_random_codes_depend_on_the_seed_alone():
    view = TrainView(Ragged.of([[0, 1, 2]] * 40), n_items=200)
    emptier = TrainView(Ragged.of([[5]] * 40), n_items=200)
    assert (
        RandomIndexer().build(view, IndexerContext(seed=1)).fingerprint
        == RandomIndexer().build(emptier, IndexerContext(1)).fingerprint
    )
    assert (
        RandomIndexer().build(view, IndexerContext(seed=1)).fingerprint
        != RandomIndexer().build(view, IndexerContext(2)).fingerprint
    )


def test_random_gives_users_codes_in_tokens_of_their_own():
    index = RandomIndexer(DigitsConfig(base=3)).build(TRAIN, IndexerContext())
    assert index.users is not None and len(index.users) == 3
    assert not set(index.items.codes.ravel()) & set(index.users.codes.ravel())


@pytest.mark.parametrize(("n_items", "levels"), [(64, 1), (1682, 2), (4096, 2), (12_101, 3), (20_033, 3)])
def test_the_default_base_writes_small_catalogues_in_two_digits_and_large_ones_in_three(n_items, levels):
    view = TrainView(Ragged.of([[0]]), n_items=n_items)
    for indexer in (RandomIndexer(), SequentialIndexer()):
        assert indexer.build(view, IndexerContext()).items.width == levels


def test_random_user_labels_complete_an_index_without_user_codes():
    index = SequentialIndexer().build(TRAIN, IndexerContext())
    labels = random_user_labels(3, np.random.default_rng(0))
    complete = index.with_users(labels, "random")
    assert complete.users is not None and len(complete.users) == 3
    assert complete.info["user_codes"] == "random"
    assert (complete.items.codes == index.items.codes).all()


def test_a_base_that_cannot_count_is_a_configuration_error():
    with pytest.raises(ConfigError, match="base = '1': must be at least 2"):
        make_config(DigitsConfig, {"base": "1"}, "indexer")


@pytest.mark.parametrize("scope", ["level", "shared", "path"])
def test_every_token_scope_gives_valid_codes(scope):
    config = DigitsConfig(base=4, token_scope=scope)
    for indexer in (RandomIndexer(config), SequentialIndexer(config)):
        index = indexer.build(TRAIN, IndexerContext())
        assert index.token_scope == scope
        assert len(np.unique(index.items.codes, axis=0)) == 6
