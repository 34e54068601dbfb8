"""Four more ways to search the catalogue's trie: `diverse`, `stochastic`, `debiased` and `captured-trie`.

The first three are the beam search of genrec_bench with another rule for who survives; the last runs the search of `trie`
in fixed shapes, on a GPU as CUDA graphs. Knows codes and scores, no architecture.
"""
