"""Catalogues that fit on a screen: films of four topics, with titles, attributes, and the topic of each."""

from dataclasses import dataclass, fields

import numpy as np

from genrec_bench.core.arrays import Ragged
from genrec_bench.core.sequences import TrainView

WORDS = (
    "rocket orbit planet comet galaxy lunar",
    "sonata violin opera cello chorus tempo",
    "ranger saddle cattle canyon outlaw sheriff",
    "recipe butter oven pastry flour sugar",
)


@dataclass(frozen=True)
class ViewWithIds(TrainView):
    """A training view that also tells the external ids of the items, as some components ask for."""

    item_ids: np.ndarray | None = None


def films(per_topic=30, seed=0, **instead):
    """A view of `4 * per_topic` items whose topic is `item % 4`, and the topics."""
    rng = np.random.default_rng(seed)
    topic = np.arange(4 * per_topic) % 4
    titles = np.array([" ".join(rng.choice(WORDS[one].split(), 3, replace=False)) for one in topic])
    features = Ragged.of([[one, 4 + int(rng.integers(3)) + 3 * one] for one in topic.tolist()])
    view = {"sequences": events(len(topic)), "n_items": len(topic), "item_titles": titles, "item_features": features}
    return TrainView(**{**view, **instead}), topic


def events(n_items, users=20, seed=0):
    """Random sequences of five events."""
    return Ragged.of(list(np.random.default_rng(seed).integers(n_items, size=(users, 5)).astype(np.int32)))


def with_ids(view, ids=None):
    """The same view with external item ids: `i0, i1, ...` unless others are given."""
    ids = np.array([f"i{n}" for n in range(view.n_items)]) if ids is None else np.asarray(ids, np.str_)
    field = {"item_ids"} & {one.name for one in fields(TrainView)}
    cls = TrainView if field else ViewWithIds
    return cls(view.sequences, view.n_items, view.item_titles, view.item_features, item_ids=ids)


def purity(labels, topic):
    """The share of items whose label (`(n,)`) is mostly given to items of their own topic."""
    return sum(np.bincount(topic[labels == one]).max() for one in np.unique(labels)) / len(topic)
