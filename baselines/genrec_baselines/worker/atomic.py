"""Training sequences as RecBole's atomic files. Items and users are our numbers, written as tokens.

Every user and every item has a row in `.user` and `.item`, so that RecBole knows those without a training event too.
"""

from pathlib import Path

import numpy as np

NAME = "genrec"  # the data set's name in RecBole: one that none of its property files know
TRAIN = "train"
NO_FEATURE = "none"  # of an item without features: an empty cell would be read as missing


def write(folder, sequences, n_items, features, sequential, longest):
    """`folder/genrec/genrec.*`; `sequences` are the users' training items, `features` the items' (or None).

    Sequential models get every training position as a target with the `longest` items before it, the rest pairs.
    """
    place = Path(folder) / NAME
    place.mkdir(parents=True)
    lines = _targets(sequences, longest) if sequential else _pairs(sequences)
    head = "user_id:token\titem_id:token" + ("\titem_id_list:token_seq" if sequential else "")
    _write(place / f"{NAME}.{TRAIN}.inter", head, lines)
    _write(place / f"{NAME}.user", "user_id:token", (str(user) for user in range(len(sequences))))
    if features is None:
        _write(place / f"{NAME}.item", "item_id:token", (str(item) for item in range(n_items)))
    else:
        rows = (f"{item}\t{' '.join(map(str, row)) or NO_FEATURE}" for item, row in enumerate(features))
        _write(place / f"{NAME}.item", "item_id:token\tclass:token_seq", rows)


def rows_of(values, offsets):
    """Flat arrays as a list of lists."""
    return [part.tolist() for part in np.split(values, offsets[1:-1])] if len(offsets) > 1 else []


def _pairs(sequences):
    for user, items in enumerate(sequences):
        for item in items:
            yield f"{user}\t{item}"


def _targets(sequences, longest):
    for user, items in enumerate(sequences):
        for at in range(1, len(items)):
            yield f"{user}\t{items[at]}\t{' '.join(map(str, items[max(0, at - longest) : at]))}"


def _write(path, head, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + "\n")
        file.writelines(f"{line}\n" for line in lines)
