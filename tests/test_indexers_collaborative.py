"""Collaborative indexing (P5-CID): items only, path-scoped cluster tokens, numbered leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_indexers_sci import Watching, poisoned, two_crowds

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.codes import Index
from genrec_bench.core.events import Interactions
from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import ConfigError
from genrec_bench.host.config import make_config
from genrec_bench.host.contracts import IndexerContext
from genrec_bench.indexers.collaborative import CollaborativeConfig, CollaborativeIndexer, leaf_codes
from genrec_bench.indexers.digits import random_user_labels
from genrec_bench.indexers.sci.indexer import SpectralConfig, SpectralIndexer
from genrec_bench.protocol import split as protocol


def collaborative(train: TrainView, seed: int = 0, **options) -> Index:
    small = {"clusters": 4, "leaf_size": 6}
    config = CollaborativeConfig(**{**small, **options})
    return CollaborativeIndexer(config).build(train, IndexerContext(seed=seed))


def test_the_defaults_are_those_of_the_released_script():
    config = CollaborativeConfig()
    assert (config.clusters, config.leaf_size, config.max_levels, config.token_scope) == (20, 500, 8, "path")


def test_items_of_one_crowd_share_a_prefix_and_crowds_do_not():
    codes = collaborative(two_crowds(), clusters=2, leaf_size=20).items.codes
    even, odd = set(codes[::2, 0]), set(codes[1::2, 0])
    assert len(even) == len(odd) == 1 and even != odd


def test_it_splits_the_items_as_sci_does():
    train = two_crowds()
    ours = collaborative(train).items.codes
    theirs = SpectralIndexer(SpectralConfig("items", 4, 6)).build(train, IndexerContext()).items.codes
    same = [codes[:, None, 0] == codes[None, :, 0] for codes in (ours, theirs)]
    assert (same[0] == same[1]).all()


def test_a_cluster_token_stands_below_one_path_and_leaves_share_their_numbers():
    labels = np.array([[0, 0], [0, 0], [1, 0], [1, 1]], np.int32)
    codes, n_tokens, collisions = leaf_codes(labels, "path")
    assert codes.tolist() == [[0, 2, 5], [0, 2, 6], [1, 3, 5], [1, 4, 5]]
    assert (n_tokens, collisions) == (7, 0.5)


def test_paths_of_different_lengths_end_in_a_number_too():
    codes, n_tokens, _ = leaf_codes(np.array([[0, -1], [1, 0], [1, 0]], np.int32), "path")
    assert codes.tolist() == [[0, 3, -1], [1, 2, 3], [1, 2, 4]]
    assert n_tokens == 5


def test_it_gives_no_user_codes_and_random_ones_cost_few_tokens():
    index = collaborative(two_crowds())
    assert index.users is None
    complete = index.with_users(random_user_labels(5_000, np.random.default_rng(0)), "random")
    assert complete.n_tokens - index.n_tokens <= 3 * 64


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=10),
    st.integers(2, 5),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from(["level", "shared", "path"]),
)
def test_any_training_part_gives_unique_prefix_free_codes(sequences, clusters, leaf_size, levels, scope):
    n_items = max((item for row in sequences for item in row), default=0) + 2  # the last one never occurs
    index = collaborative(  # CodeTable refuses codes that are equal or prefixes of one another
        TrainView(Ragged.of(sequences), n_items),
        clusters=clusters,
        leaf_size=leaf_size,
        max_levels=levels,
        token_scope=scope,
    )
    assert len(index.items) == n_items
    assert set(index.items.codes[index.items.codes >= 0]) == set(range(index.n_tokens))


def test_held_out_events_cannot_reach_the_codes():
    rng = np.random.default_rng(0)
    user, item = np.repeat(np.arange(30), 8), rng.integers(0, 20, 240)
    names = np.arange(30).astype(str)
    data, split = protocol.split_data(
        Interactions(user.astype(np.int32), item.astype(np.int32), None, names, names[:20])
    )
    views = [protocol.train_view(data, one) for one in (split, poisoned(split))]
    first, second = (collaborative(view) for view in views)
    assert first.fingerprint == second.fingerprint
    assert collaborative(two_crowds(seed=0)).fingerprint != collaborative(two_crowds(seed=1)).fingerprint


THREADS = """
import numpy as np
from genrec_bench.api import IndexerContext
from genrec_bench.indexers.collaborative import CollaborativeConfig, CollaborativeIndexer
from genrec_bench.api import Ragged, TrainView
rng = np.random.default_rng(0)
train = TrainView(Ragged.of([rng.choice(400, 8, replace=False) for _ in range(500)]), 400)
print(CollaborativeIndexer(CollaborativeConfig(leaf_size=30)).build(train, IndexerContext()).fingerprint)
"""


def test_codes_do_not_depend_on_the_number_of_threads():
    def fingerprint(threads: str) -> str:
        setting = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", THREADS]
        return subprocess.run(command, env={**os.environ, **setting}, capture_output=True, text=True, check=True).stdout

    assert fingerprint("1") == fingerprint("2")


def test_the_record_can_tell_how_the_codes_were_made():
    index = collaborative(two_crowds())
    assert json.loads(json.dumps(index.info)) == index.info
    assert index.info["graphs"]["items"]["nodes"] == 30
    assert index.token_scope == "path" and index.collision_rate > 0


def test_progress_counts_items():
    watching = Watching()
    CollaborativeIndexer().build(two_crowds(), IndexerContext(progress=watching))
    assert (watching.name, watching.total, watching.done, watching.threads) == ("clustering", 30, 30, {1})


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"clusters": "1"}, "clusters = '1': must be at least 2"),
        ({"leaf_size": "0"}, "leaf_size = '0': must be above 0"),
        ({"max_levels": "0"}, "max_levels = '0': must be above 0"),
        ({"balance": "true"}, "indexer has no option 'balance'"),
    ],
)
def test_impossible_options_are_configuration_errors(values, why):
    with pytest.raises(ConfigError, match=why):
        make_config(CollaborativeConfig, values, "indexer")
