"""The evaluation protocol: split, ranks, metrics, validity, consistency, statistics. Knows no component and no run."""
