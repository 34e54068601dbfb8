"""Co-occurrence graphs of the training part, as sparse matrices.

Nodes are users or items (or both, users first); an edge's weight says how often two nodes met. Everything is a product
of the sparse users x items count matrix: no loop over pairs, no dense matrix, no held-out event. Knows nothing of codes.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from scipy import sparse

from genrec_bench.errors import GenrecError
from genrec_bench.types import TrainView

Graph: TypeAlias = sparse.csr_array
MAX_ENTRIES = 300_000_000  # of one graph: 3.6 GB


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


def _gram(rows: Graph, node: str) -> Graph:
    """`rows.T @ rows` without its diagonal. GenrecError if it might not fit into memory."""
    nodes = rows.shape[1]
    most = min(nodes**2, int((np.diff(rows.indptr).astype(np.int64) ** 2).sum()))
    if most > MAX_ENTRIES:
        raise GenrecError(
            f"the {node} co-occurrence graph may hold {most:,} entries ({nodes:,} {node}s), more than {MAX_ENTRIES:,}. "
            "Cluster the other side only (indexer.variant), or filter the data.",
            nodes=nodes,
            entries=most,
        )
    square = (rows.T @ rows).tocoo()
    off = square.row != square.col
    entries = (square.data[off], (square.row[off], square.col[off]))
    return sparse.coo_array(entries, shape=square.shape).tocsr()
