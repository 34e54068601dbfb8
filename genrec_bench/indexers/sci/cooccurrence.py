"""Co-occurrence graphs of the training part, as sparse matrices.

Nodes are users or items (or both, users first); an edge's weight says how often two nodes met. Everything is a product
of the sparse users x items count matrix: no loop over pairs, no dense matrix, no held-out event. Graphs too large for that
are `hidden`'s. Knows nothing of codes.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy import sparse

from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import GenrecError

Graph: TypeAlias = sparse.csr_array
MAX_ENTRIES = 300_000_000  # of one graph: 3.6 GB
LARGE_NODES = 100_000  # a graph of more nodes is not written down


def meetings(train: TrainView) -> Graph:
    """`(users, items)` float64: how often each user met each item in training (1, or more where a user repeats)."""
    users, items = train.sequences.rows, train.sequences.values
    ones = np.ones(len(items))
    counts = sparse.coo_array((ones, (users, items)), shape=(train.n_users, train.n_items)).tocsr()
    counts.sum_duplicates()
    return counts


def item_graph(met: Graph) -> Graph:
    """`(items, items)`: pairs of training events of one user that hold both items, in either order; no self-loops.

    LightLM's item graph, except that its smaller count overwrote the larger where both orders occur; here both add up.
    """
    return _gram(met, "item")


def user_graph(met: Graph) -> Graph:
    """`(users, users)`: pairs of training events on one item that belong to both users; no self-loops.

    LightLM's released user graph held validation and test events and lost training ones; this one is training only.
    """
    return _gram(met.T.tocsr(), "user")


def joint_graph(met: Graph, balance: bool = False) -> Graph:
    """`(users + items, users + items)`, users first: the user graph, the item graph, and one unit per training event.

    The blocks hold raw counts, as in the paper, where the two graphs far outweigh the meetings between users and items.
    With `balance`, both graphs are scaled to the total weight of one user-item block, so that users and the items they
    met can end in one cluster.
    """
    users, items = user_graph(met), item_graph(met)
    if balance:
        users, items = (graph * (met.sum() / graph.sum()) if graph.nnz else graph for graph in (users, items))
    return sparse.block_array([[users, met], [met.T, items]], format="csr")


def too_large(nodes: int, *sides: Graph) -> bool:
    """Whether a graph of `nodes` nodes is better not written down: by its nodes, or the edges that `rows.T @ rows` of
    each of `sides` may have."""
    return nodes > LARGE_NODES or max(most_entries(rows) for rows in sides) > MAX_ENTRIES


def most_entries(rows: Graph) -> int:
    """How many entries `rows.T @ rows` has at most."""
    return min(rows.shape[1] ** 2, int((np.diff(rows.indptr).astype(np.int64) ** 2).sum()))


def _gram(rows: Graph, node: str) -> Graph:
    """`rows.T @ rows` without its diagonal. GenrecError if it might not fit into memory."""
    nodes, most = rows.shape[1], most_entries(rows)
    if most > MAX_ENTRIES:
        raise GenrecError(
            f"the {node} co-occurrence graph may hold {most:,} entries ({nodes:,} {node}s), more than {MAX_ENTRIES:,}. "
            "Use indexer.method=auto or randomised, which do without it.",
            nodes=nodes,
            entries=most,
        )
    square = rows.T @ rows
    square.setdiag(0)  # in place: no second copy of the entries
    square.eliminate_zeros()
    square.sort_indices()
    return square
