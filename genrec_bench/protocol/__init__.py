"""The evaluation protocol: how data is split, how a ranked list is scored, and how sure a number is.

    constants    the protocol's id and its fixed numbers
    split        shuffled numbers, the order of interactions, leave-one-out, the validation sample
    ranks        the rank of a target in its list: ties are counted here (`target_ranks`)
    scores       hit, ndcg and mrr from ranks; the ceiling under policy mask (`ceiling`)
    validity     seen items are masked here (`ranking_from`), and what was dropped is counted (`validity`)
    consistency  numbers that contradict each other
    statistics   intervals, paired tests, detectable differences

Knows no component and no run.
"""
