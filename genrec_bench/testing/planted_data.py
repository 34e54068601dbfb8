"""A tiny data set with a pattern that is easy to learn: every user cycles through the items of one group.

Comes as lines of a sequence file, as `Interactions`, as the protocol's split and as a training view. It has a cold item on
purpose, and variants with another held-out part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.events import Interactions
from genrec_bench.core.sequences import Queries, Split, TrainView
from genrec_bench.protocol.split import split_data

COLD = "never-met"  # the external id of the cold item


@dataclass(frozen=True)
class Planted:
    """The data in the protocol's numbering, and the protocol's split of it."""

    data: Interactions
    split: Split

    @property
    def train(self) -> TrainView:
        """The training view. A component that looks behind its arrays sees the held-out items.

        A careless loader might do the same: the sequences are a view into an array that the held-out items follow.
        """
        training = self.split.train()
        held_out = np.concatenate([self.split.validation.target, self.split.test.target])
        whole = np.concatenate([training.values, held_out])
        sequences = Ragged(whole[: len(training.values)], training.offsets)
        return TrainView(sequences, self.split.n_items, self.data.item_titles, self.data.item_features)

    @property
    def queries(self) -> Queries:
        """The test queries."""
        return self.split.queries(self.split.test)

    def other_held_out(self) -> Planted:
        """The same training part with other validation and test items."""
        ends = self.split.sequences.offsets[1:]
        values = self.split.sequences.values.copy()
        for back in (1, 2):
            values[ends - back] = (values[ends - back] + 7) % self.split.n_items

        sequences = Ragged(values, self.split.sequences.offsets)
        validation = replace(self.split.validation, target=values[ends - 2])
        test = replace(self.split.test, target=values[ends - 1])
        split = replace(self.split, sequences=sequences, validation=validation, test=test)

        user = sequences.rows.astype(np.int32)
        time = np.arange(len(values), dtype=np.int64)
        return Planted(replace(self.data, user=user, item=values, time=time, rating=None), split)

    def write(self, folder: Path) -> None:
        """Write all interactions, held-out ones included, to files of the usual names and formats."""
        sequences = self.split.sequences
        lines = [
            " ".join([str(self.data.user_ids[user]), *self.data.item_ids[items].tolist()])
            for user, items in enumerate(sequences)
        ]

        rows = zip(sequences.rows.tolist(), sequences.values.tolist(), strict=True)
        interactions = "\n".join(
            f"{self.data.user_ids[user]}\t{self.data.item_ids[item]}\t1\t{time}"
            for time, (user, item) in enumerate(rows)
        )

        head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "planted.txt").write_text("\n".join(lines) + "\n")
        (folder / "planted.inter").write_text(head + interactions + "\n")
        np.savez(folder / "planted.npz", values=sequences.values, offsets=sequences.offsets)


def planted_lines(users: int = 60, groups: int = 4, per_group: int = 12, length: int = 9, seed: int = 0) -> list[str]:
    """Sequence-file lines (a user's id, then item ids, oldest first)."""
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(users):
        group, start = user % groups, int(rng.integers(per_group))
        items = [f"g{group}i{(start + step) % per_group}" for step in range(length)]
        lines.append(" ".join([f"u{user}", *items]))
    return lines


def planted_interactions(
    users: int = 60, groups: int = 4, per_group: int = 12, length: int = 9, seed: int = 0
) -> Interactions:
    """The same as `Interactions`, with times, ratings, titles, features and a cold item.

    An item's features are its group, twice, and one that all items have.
    """
    rows = [line.split() for line in planted_lines(users, groups, per_group, length, seed)]
    user_ids = np.array([row[0] for row in rows])
    item_ids = np.array([f"g{group}i{item}" for group in range(groups) for item in range(per_group)] + [COLD])

    number = {name: item for item, name in enumerate(item_ids.tolist())}
    items = np.array([number[name] for row in rows for name in row[1:]], np.int32)
    titles = np.array([name.replace("i", " item ").replace("g", "group ") for name in item_ids[:-1]] + ["never met"])
    groups_of = [*(item // per_group for item in range(groups * per_group)), groups]
    features = [[group, groups + 1, group] for group in groups_of]  # unsorted, with repeats

    return Interactions(
        user=np.repeat(np.arange(users, dtype=np.int32), length),
        item=items,
        time=np.tile(np.arange(length, dtype=np.int64), users),
        user_ids=user_ids,
        item_ids=item_ids,
        rating=np.ones(len(items), np.float32),
        item_titles=titles,
        item_features=Ragged.of(features),
    )


def planted(users: int = 60, groups: int = 4, per_group: int = 12, length: int = 9, seed: int = 0) -> Planted:
    """The data set, split by the protocol."""
    return Planted(*split_data(planted_interactions(users, groups, per_group, length, seed)))


def tiny_views() -> dict[str, TrainView]:
    """Extreme training views, each under a description of it."""
    return {
        "one user and one item": TrainView(Ragged.of([[0]]), 1, np.array(["a"]), Ragged.of([[0]])),
        "two users and two items": TrainView(Ragged.of([[0, 1], [1]]), 2, np.array(["a", "b"]), Ragged.of([[0], [1]])),
        "a catalogue of which one item was met": TrainView(
            Ragged.of([[3], [3]]), 7, np.array(list("abcdefg")), Ragged.of([[0]] * 7)
        ),
    }
