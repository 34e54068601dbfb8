"""Co-occurrence graphs of the training part, as sparse matrices; or implicit ones where a matrix would not fit.

Nodes are users or items (or both, users first). The weight of an edge counts how often two nodes occur together. Every
graph is a product of the sparse users x items count matrix: no loop over pairs, no dense matrix, no held-out
interaction. Which form a graph takes depends on its size and on the method, never on what is installed. Knows nothing
of clusters or codes.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from genrec_bench.core.sequences import TrainView
from genrec_bench.errors import GenrecError
from genrec_bench.indexers.sci.implicit_graph import (
    AnyGraph,
    Graph,
    implicit_item_graph,
    implicit_joint_graph,
    implicit_user_graph,
)
from genrec_bench.indexers.sci.spectral import Method

MAX_ENTRIES = 300_000_000  # of one graph: 3.6 GB
LARGE_NODES = 100_000  # a graph with more nodes is not materialised


def interaction_counts(train: TrainView) -> Graph:
    """`(users, items)` float64: how often each user interacted with each item in training."""
    users, items = train.sequences.rows, train.sequences.values
    ones = np.ones(len(items))
    counts = sparse.coo_array((ones, (users, items)), shape=(train.n_users, train.n_items)).tocsr()
    counts.sum_duplicates()
    return counts


def item_graph(counts: Graph) -> Graph:
    """`(items, items)`: how many pairs of one user's interactions hold both items, in either order; no self-loops.

    LightLM's item graph, except that both orders of a pair add up; in LightLM the smaller count overwrote the larger.
    """
    return _gram(counts, "item")


def user_graph(counts: Graph) -> Graph:
    """`(users, users)`: how many pairs of interactions with one item belong to both users; no self-loops.

    LightLM's released user graph held validation and test interactions and lost training ones; this one is training
    only.
    """
    return _gram(counts.T.tocsr(), "user")


def joint_graph(counts: Graph, balance: bool = False) -> Graph:
    """`(users + items, users + items)`, users first: the user graph, the item graph, and one unit per interaction.

    The blocks hold raw counts, as in the paper, where the user and item graphs far outweigh the interactions. With
    `balance`, both graphs are scaled to the total weight of the interactions, so that users and their items can share
    a cluster.
    """
    users, items = user_graph(counts), item_graph(counts)
    if balance:
        users, items = (graph * (counts.sum() / graph.sum()) if graph.nnz else graph for graph in (users, items))
    return sparse.block_array([[users, counts], [counts.T, items]], format="csr")


def choose_item_graph(counts: Graph, method: Method) -> AnyGraph:
    """The item graph in the form that `method` and its size ask for."""
    return implicit_item_graph(counts) if _is_implicit(method, counts.shape[1], counts) else item_graph(counts)


def choose_user_graph(counts: Graph, method: Method) -> AnyGraph:
    """The user graph in the form that `method` and its size ask for."""
    implicit = _is_implicit(method, counts.shape[0], counts.T.tocsr())
    return implicit_user_graph(counts) if implicit else user_graph(counts)


def choose_joint_graph(counts: Graph, method: Method, balance: bool = False) -> AnyGraph:
    """The graph of users and items in the form that `method` and its size ask for."""
    implicit = _is_implicit(method, sum(counts.shape), counts, counts.T.tocsr())
    return implicit_joint_graph(counts, balance) if implicit else joint_graph(counts, balance)


def _is_implicit(method: Method, nodes: int, *rows: Graph) -> bool:
    """Whether a graph of `nodes` nodes, with blocks `r.T @ r` for each of `rows`, is not materialised."""
    if method != "auto":
        return method in ("randomised", "metis")
    return nodes > LARGE_NODES or max(most_entries(block) for block in rows) > MAX_ENTRIES


def most_entries(rows: Graph) -> int:
    """An upper bound on the entries of `rows.T @ rows`."""
    return min(int(rows.shape[1]) ** 2, int((np.diff(rows.indptr).astype(np.int64) ** 2).sum()))


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
