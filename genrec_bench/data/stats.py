"""Statistics of a data set under a split: size, lengths, ties, repeats, cold items. Knows no format."""

from __future__ import annotations

from typing import Any

import numpy as np

from genrec_bench.core.arrays import Bool
from genrec_bench.core.events import Interactions
from genrec_bench.core.sequences import Cases, Split


def describe(data: Interactions, split: Split) -> dict[str, Any]:
    """JSON-able facts about `data` under `split`, both in the same numbering, as `split_data` returns them.

    Shares are fractions of 1. `ties` is None for data without times. `repeats.mask_ceiling` is the share of test cases
    whose target is new to the user: no system can exceed it under policy `mask`.
    """
    lengths = split.sequences.lengths
    quantiles = np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1])

    first = _FirstInteraction(split)
    trained = np.bincount(split.train().values, minlength=split.n_items) > 0
    tied = split.info.get("tie_users")

    return {
        "users": split.n_users,
        "items": split.n_items,
        "interactions": len(data),
        "training_interactions": int(split.train_end.sum()),
        "density": len(data) / (split.n_users * split.n_items),
        "length": {
            "min": int(quantiles[0]),
            **dict(zip(("25%", "50%", "75%"), map(float, quantiles[1:4]), strict=True)),
            "max": int(quantiles[4]),
            "mean": float(lengths.mean()),
        },
        "ties": None if tied is None else {"users": tied, "share": tied / split.n_users},
        "repeats": {
            "users": first.users_with_repeats,
            "interactions": first.repeats,
            "validation_targets": int(first.before(split.validation).sum()),
            "test_targets": int(first.before(split.test).sum()),
            "mask_ceiling": 1 - float(first.before(split.test).mean()),
        },
        "cold": {
            "items": int((~trained).sum()),
            "validation_targets": int((~trained[split.validation.target]).sum()),
            "test_targets": int((~trained[split.test.target]).sum()),
        },
        "dropped": dict(data.dropped),
        **({"read_as": dict(data.read_as)} if data.read_as else {}),
        "protocol": split.protocol,
        "fingerprints": {"data": data.fingerprint(), "split": split.fingerprint},
    }


class _FirstInteraction:
    """When each user first interacted with each of its items, as a position in the user's sequence."""

    def __init__(self, split: Split) -> None:
        self.n_items = split.n_items
        users = split.sequences.rows
        self.pairs, flat, inverse = np.unique(
            users * split.n_items + split.sequences.values, return_index=True, return_inverse=True
        )
        self.position = flat - split.sequences.offsets[users[flat]]

        again = flat[inverse] != np.arange(len(users))
        self.repeats, self.users_with_repeats = int(again.sum()), len(np.unique(users[again]))

    def before(self, cases: Cases) -> Bool:
        """Whether the user has seen the target of each case, `(n,)`."""
        pairs = cases.user.astype(np.int64) * self.n_items + cases.target
        return self.position[np.searchsorted(self.pairs, pairs)] < cases.end
