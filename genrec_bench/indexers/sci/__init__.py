"""Spectral collaborative indexing (SCI): clusters of a co-occurrence graph become codes.

indexer         the steps: graphs, trees, codes
cooccurrence    co-occurrence graphs as sparse matrices, and the rule for graphs too large for that
implicit_graph  the same graphs, never materialised
tree            splits a graph again and again
spectral        one split by exact eigenvectors
large_graphs    one split of an implicit graph
"""
