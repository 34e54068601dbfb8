"""The constants of the evaluation protocol `loo-full/1`. They are the protocol's, never a run's.

A change that moves any number opens a new protocol id.
"""

from __future__ import annotations

from typing import Literal

from genrec_bench.errors import UsageError, did_you_mean

PROTOCOL = "loo-full/1"
PROTOCOLS = (PROTOCOL,)
KS = (5, 10, 20)
POLICIES: tuple[Policy, ...] = ("mask", "keep")
Policy = Literal["mask", "keep"]
SELECTION = "ndcg@10"  # on validation, policy mask: what epochs are chosen by
TIE_SEED = 0  # orders equal timestamps
SHUFFLE_SEED = 0  # numbers users and items
SAMPLE_SEED = 0  # draws the validation users
SAMPLE_ABOVE, SAMPLE_SIZE = 5_000, 2_000
EXTERNAL_IDS = frozenset({"item_ids", "user_ids"})  # what every data set has, and what is shown on demand only
MIN_EVENTS = 3  # one each for training, validation and test
LIST_DEPTH = 50  # places asked of a baseline
SELECTION_BEAMS = 20  # of the trie search that scores an epoch on validation


def check_protocol(name: str) -> None:
    """UsageError unless `name` is a protocol this version implements."""
    if name not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise UsageError(f"no protocol {name!r}.{did_you_mean(name, PROTOCOLS)} Protocols: {known}.")
