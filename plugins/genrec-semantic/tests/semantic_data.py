"""Catalogues that fit on a screen: films of four topics, with titles, attributes, and the topic of each."""

from dataclasses import replace

import numpy as np

from genrec_bench.api import Ragged, TrainView

WORDS = (
    "rocket orbit planet comet galaxy lunar",
    "sonata violin opera cello chorus tempo",
    "ranger saddle cattle canyon outlaw sheriff",
    "recipe butter oven pastry flour sugar",
)


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


def loyal(per_topic=30, users=200, seed=0):
    """The films without titles and attributes, and users who keep to one topic, six films each."""
    rng = np.random.default_rng(seed)
    rows = [user % 4 + 4 * rng.choice(per_topic, 6, replace=False) for user in range(users)]
    return films(per_topic, item_titles=None, item_features=None, sequences=Ragged.of(rows))


def with_ids(view, ids=None):
    """The same view with external item ids: `i0, i1, ...` unless others are given."""
    ids = np.array([f"i{n}" for n in range(view.n_items)]) if ids is None else np.asarray(ids, np.str_)
    return replace(view, item_ids=ids)


def purity(labels, topic):
    """The share of items that belong to the most common topic of their label; `labels` is `(n,)`."""
    return sum(np.bincount(topic[labels == one]).max() for one in np.unique(labels)) / len(topic)
