"""Whether codes fit the data they are read for, or were made under another numbering of its items.

Two files may both number items from 0 and mean different items by it: LightLM's index files do not fit S3-Rec's files of the
same data set. Nothing in such codes is wrong to a reader, and every number after it is.
"""

from __future__ import annotations

import numpy as np

from genrec_bench.core.arrays import Int32, Int64, Ragged

SHUFFLES = 199  # so that the rank of the codes among them is a p-value in steps of 1/200
LEVEL = 0.05
FEW_ITEMS = 20  # among fewer, codes that fit often cannot be told from shuffled ones at that level,
LEVEL_OF_FEW = 0.5  # so only those no better than the shuffled median are suspected
MOST_PAIRS = 200_000  # neighbours compared; more add time, not certainty


def prefix_warning(sequences: Ragged, labels: Int32, rng: np.random.Generator, part: str = "indexer") -> str:
    """A sentence if neighbours in training share prefixes no more than under shuffled codes; empty otherwise.

    Compares the mean length of the common prefix of two items that follow one another in a training sequence with its
    distribution when the codes (n_items, levels) are dealt to the items at random. Says nothing about codes that share no
    prefixes at all. `part` owns the option that the sentence names.
    """
    pairs = neighbours(sequences)
    if len(pairs) > MOST_PAIRS:
        pairs = pairs[rng.choice(len(pairs), MOST_PAIRS, replace=False)]

    own = common_prefix(labels, pairs)
    shuffled = np.array([common_prefix(labels[rng.permutation(len(labels))], pairs) for _ in range(SHUFFLES)])
    if not len(pairs) or shuffled.max() == shuffled.min():
        return ""

    p = (1 + int((shuffled >= own).sum())) / (1 + SHUFFLES)
    if p <= (LEVEL if len(labels) >= FEW_ITEMS else LEVEL_OF_FEW):
        return ""
    return (
        f"neighbours in training share {own:.2f} levels of their codes, and with shuffled codes {shuffled.mean():.2f} "
        f"(p = {p:.2f}): nothing shows that the codes fit these items; were they made for another numbering ({part}.keys)?"
    )


def neighbours(sequences: Ragged) -> Int64:
    """Pairs (n, 2) of different items that follow one another in a sequence."""
    values, offsets = sequences.values.astype(np.int64), sequences.offsets
    inside = np.ones(max(len(values) - 1, 0), np.bool_)
    inside[offsets[(offsets > 0) & (offsets < len(values))] - 1] = False
    pairs = np.stack([values[:-1], values[1:]], axis=1)[inside]
    different: Int64 = pairs[pairs[:, 0] != pairs[:, 1]]
    return different


def common_prefix(labels: Int32, pairs: Int64) -> float:
    """The mean number of levels (of `labels`, padded with PAD) that both items of a pair have in common, from the first on."""
    if not len(pairs):
        return 0.0
    first, second = labels[pairs[:, 0]], labels[pairs[:, 1]]
    same = (first == second) & (first >= 0)
    return float(np.logical_and.accumulate(same, axis=1).sum(axis=1).mean())
