"""RPG for genrec_bench (Hou et al. 2025, arXiv 2506.05781): the backbone `rpg` and its decoder `rpg-exact`.

The tokens of a code are predicted at once, each by a head of its own, so a whole catalogue is ranked by sums of
log-probabilities, without a search.
"""
