"""Training sequences as RecBole's atomic files. Items and users are the bench's numbers, written as tokens.

Every user and every item has a row in `.user` and `.item`, so that RecBole knows those without training interactions.
"""

from pathlib import Path

import numpy as np

NAME = "genrec"  # the data set's name in RecBole; none of its property files knows it
TRAIN = "train"
NO_FEATURE = "none"  # an item without features: an empty cell would be read as missing


def write(folder, sequences, n_items, features, sequential, longest):
    """Write `folder/genrec/genrec.*`; `sequences` are the users' training items, `features` the items' features or None.

    Sequential models get every training position as a target with up to `longest` items before it; others get pairs.
    """
    target = Path(folder) / NAME
    target.mkdir(parents=True)
    lines = _targets(sequences, longest) if sequential else _pairs(sequences)
    head = "user_id:token\titem_id:token" + ("\titem_id_list:token_seq" if sequential else "")
    _write(target / f"{NAME}.{TRAIN}.inter", head, lines)
    _write(target / f"{NAME}.user", "user_id:token", (str(user) for user in range(len(sequences))))
    if features is None:
        _write(target / f"{NAME}.item", "item_id:token", (str(item) for item in range(n_items)))
    else:
        rows = (f"{item}\t{' '.join(map(str, row)) or NO_FEATURE}" for item, row in enumerate(features))
        _write(target / f"{NAME}.item", "item_id:token\tclass:token_seq", rows)


def rows_of(values, offsets):
    """Flat arrays as a list of lists."""
    return [part.tolist() for part in np.split(values, offsets[1:-1])] if len(offsets) > 1 else []


def _pairs(sequences):
    """A line per interaction."""
    for user, items in enumerate(sequences):
        for item in items:
            yield f"{user}\t{item}"


def _targets(sequences, longest):
    """A line per position that has a history."""
    for user, items in enumerate(sequences):
        for position in range(1, len(items)):
            before = items[max(0, position - longest) : position]
            yield f"{user}\t{items[position]}\t{' '.join(map(str, before))}"


def _write(path, head, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + "\n")
        file.writelines(f"{line}\n" for line in lines)
