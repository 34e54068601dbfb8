"""The constants of the evaluation protocol `loo-full/1`. They belong to the protocol, never to a run.

A change that moves any number needs a new protocol id.
"""

from __future__ import annotations

from typing import Literal

from genrec_bench.errors import UsageError, did_you_mean

PROTOCOL = "loo-full/1"
PROTOCOLS = (PROTOCOL,)
KS = (5, 10, 20)
POLICIES: tuple[Policy, ...] = ("mask", "keep")  # seen items are hidden, or kept in the lists
Policy = Literal["mask", "keep"]
SELECTION = "ndcg@10"  # on validation, policy mask: what the best epoch is chosen by
TIE_SEED = 0  # orders equal timestamps
SHUFFLE_SEED = 0  # numbers users and items
SAMPLE_SEED = 0  # draws the validation users
SAMPLE_ABOVE, SAMPLE_SIZE = 5_000, 2_000
EXTERNAL_IDS = frozenset({"item_ids", "user_ids"})  # every data set has them; only components that need them see them
MIN_EVENTS = 3  # interactions per user: one each for training, validation and test
LIST_DEPTH = 50  # positions in the lists that a baseline is asked for
LEVEL = 0.05  # of tests and intervals
SELECTION_BEAMS = 20  # of the trie search that scores an epoch on validation


def check_protocol(name: str) -> None:
    """UsageError unless this version implements the protocol `name`."""
    if name not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise UsageError(f"no protocol {name!r}.{did_you_mean(name, PROTOCOLS)} Protocols: {known}.")
