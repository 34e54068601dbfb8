"""Three more ways to search the catalogue's trie: `diverse`, `stochastic` and `debiased`.

Each is the beam search of genrec_bench with another rule for who survives. Knows codes and scores, no architecture.
"""
