"""Which form a co-occurrence graph takes: written down, as the exact methods need it, or hidden in its events.

The one place where the rule stands; it looks at sizes, never at what is installed. Knows nothing of clusters or codes.
"""

from __future__ import annotations

from typing import Any

from genrec_bench.indexers.sci.cooccurrence import (
    LARGE_NODES,
    MAX_ENTRIES,
    Graph,
    item_graph,
    joint_graph,
    too_large,
    user_graph,
)
from genrec_bench.indexers.sci.implicit_graph import (
    HiddenGraph,
    hidden_items,
    hidden_joint,
    hidden_users,
)
from genrec_bench.indexers.sci.large import TOP, import_metis
from genrec_bench.indexers.sci.spectral import Method
from genrec_bench.indexers.sci.tree import AnyGraph

RULE = f"randomised above {LARGE_NODES:,} nodes or {MAX_ENTRIES:,} possible entries, else spectral"


def check_method(method: Method) -> None:
    """NeedsMissing if a method's library is not installed."""
    if method == "metis":
        import_metis()


def library_of(method: Method) -> str:
    """The library that a method's clusters depend on, beside those that every run records; empty if none."""
    return f"pymetis {import_metis().version}" if method == "metis" else ""


def items_of(met: Graph, method: Method) -> AnyGraph:
    """The item graph of `(users, items)` meetings, in the form that `method` and its size ask for."""
    return hidden_items(met) if _hidden(method, met.shape[1], met) else item_graph(met)


def users_of(met: Graph, method: Method) -> AnyGraph:
    """The user graph."""
    return hidden_users(met) if _hidden(method, met.shape[0], met.T.tocsr()) else user_graph(met)


def joint_of(met: Graph, method: Method, balance: bool = False) -> AnyGraph:
    """The graph of users and items, users first."""
    if _hidden(method, sum(met.shape), met, met.T.tocsr()):
        return hidden_joint(met, balance)
    return joint_graph(met, balance)


def graph_facts(graph: AnyGraph, method: Method) -> dict[str, Any]:
    """What the record tells of a graph and how it was split; a hidden graph's edges were never counted (None)."""
    if not isinstance(graph, HiddenGraph):
        how, edges = "spectral", graph.nnz // 2
    elif method == "metis":
        how, edges = f"metis ({library_of(method)}) on the {TOP} strongest edges of each node", None
    else:
        how, edges = "randomised eigenvectors and k-means", None
    return {"nodes": graph.shape[0], "edges": edges, "method": how, "rule": RULE if method == "auto" else "asked for"}


def seed_moves(graphs: dict[str, AnyGraph]) -> str:
    """What a seed moves in the clustering of these graphs."""
    hidden = any(isinstance(graph, HiddenGraph) for graph in graphs.values())
    return "start of the clustering" if hidden else "ties between eigenvalues"


def _hidden(method: Method, nodes: int, *sides: Graph) -> bool:
    return method in ("randomised", "metis") or (method == "auto" and too_large(nodes, *sides))
